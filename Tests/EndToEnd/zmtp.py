"""ZeroMQ for tests: its wire protocol byte by byte (ZMTP 3.1, RFC 37) with NULL and PLAIN security, so that a test can
break every rule of it, and libzmq through ctypes where only CURVE will do."""
import contextlib
import ctypes
import json
import os
import socket
import struct
import threading

COMMAND, LONG, MORE = 4, 2, 1


def greeting(mechanism=b"NULL", as_server=False, version=(3, 1)):
    return b"\xff" + bytes(8) + b"\x7f" + bytes(version) + mechanism.ljust(20, b"\0") + bytes([as_server]) + bytes(31)


def frame(body, flags=0):
    if len(body) > 255:
        return struct.pack(">BQ", flags | LONG, len(body)) + body
    return struct.pack(">BB", flags, len(body)) + body


def command(name, body=b""):
    return frame(bytes([len(name)]) + name + body, COMMAND)


def metadata(**entries):
    text = b""
    for name, value in entries.items():
        name = name.replace("_", "-").encode()
        text += bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
    return text


def ready(kind=b"DEALER", identity=b""):
    return command(b"READY", metadata(Socket_Type=kind, Identity=identity))


def control(say, id=0, body=None, version=1):
    """A control message as it stands on the wire."""
    return json.dumps({"hermes": version, "id": id, "say": say, "body": body if body is not None else {}}).encode()


class Connection:
    """One end of a TCP connection that speaks ZMTP."""

    def __init__(self, peer, timeout=10):
        self.socket = socket.create_connection(peer, timeout) if isinstance(peer, tuple) else peer
        self.socket.settimeout(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError(f"the other side hung up after {len(data)} of {count} bytes")
            data += more
        return data

    def write(self, data):
        self.socket.sendall(data)

    def read_frame(self):
        flags = self.read(1)[0]
        size, = struct.unpack(">Q", self.read(8)) if flags & LONG else self.read(1)
        return flags, self.read(size)

    def read_message(self):
        """The next message; commands are answered or passed over."""
        while True:
            flags, body = self.read_frame()
            if not flags & COMMAND:
                return body
            if body.startswith(b"\x04PING"):
                self.write(command(b"PONG", body[7:]))

    def shake_hands(self, kind=b"DEALER", as_server=False, identity=b"", password=None):
        """The whole handshake; NULL without a password, else PLAIN."""
        self.write(greeting(b"PLAIN" if password is not None else b"NULL", as_server))
        self.read(64)
        if password is not None:
            self.write(command(b"HELLO", b"\x06hermes" + bytes([len(password)]) + password))
            _, answer = self.read_frame()
            if not answer.startswith(b"\x07WELCOME"):
                raise EOFError(f"refused: {answer!r}")
            self.write(command(b"INITIATE", metadata(Socket_Type=kind, Identity=identity)))
        else:
            self.write(ready(kind, identity))
        self.read_frame()
        return self

    def ask(self, say, id=1, body=None):
        """A control message and its answer."""
        self.write(frame(control(say, id, body)))
        return json.loads(self.read_message())


class FakeNode:
    """Listens like a node and answers each control message with what `answer(message)` returns: bytes, a (say, body) or
    None for silence."""

    def __init__(self, answer):
        self.answer = answer
        self.heard = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.listening.getsockname()[1]}"
        self.connections = []
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
            connection.socket.close()
        self.thread.join(5)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listening.accept()
                connection = Connection(peer, timeout=30)
                self.connections.append(connection)
                threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError, EOFError):
            connection.shake_hands(b"ROUTER", as_server=True)
            while True:
                message = json.loads(connection.read_message())
                self.heard.append(message)
                answer = self.answer(message)
                if isinstance(answer, tuple):
                    answer = control(answer[0], message["id"], answer[1])
                if answer is not None:
                    connection.write(frame(answer))


# ---- CURVE, by libzmq --------------------------------------------------------------------------------------------

PUBLICKEY, SECRETKEY, SERVERKEY, LINGER, SNDTIMEO, RCVTIMEO, DEALER = 48, 49, 50, 17, 28, 27, 5


def libzmq():
    library = ctypes.CDLL("libzmq.so.5", use_errno=True)
    library.zmq_ctx_new.restype = library.zmq_socket.restype = ctypes.c_void_p
    library.zmq_socket.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.zmq_ctx_term.argtypes = library.zmq_close.argtypes = [ctypes.c_void_p]
    library.zmq_connect.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.zmq_setsockopt.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
    library.zmq_send.argtypes = library.zmq_recv.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    library.zmq_curve_keypair.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    return library


def key_pair():
    """Public and secret key, 40 characters of Z85 each."""
    public, secret = ctypes.create_string_buffer(41), ctypes.create_string_buffer(41)
    assert libzmq().zmq_curve_keypair(public, secret) == 0, "this libzmq comes without CURVE"
    return public.value.decode(), secret.value.decode()


class Curve:
    """A DEALER that speaks CURVE to a node."""

    def __init__(self, endpoint, server_key, public, secret, timeout=5):
        self.library = libzmq()
        self.context = self.library.zmq_ctx_new()
        self.socket = self.library.zmq_socket(self.context, DEALER)
        for option, text in ((PUBLICKEY, public), (SECRETKEY, secret), (SERVERKEY, server_key)):
            self.library.zmq_setsockopt(self.socket, option, text.encode(), len(text))
        for option, value in ((LINGER, 0), (SNDTIMEO, timeout * 1000), (RCVTIMEO, timeout * 1000)):
            self.library.zmq_setsockopt(self.socket, option, struct.pack("i", value), 4)
        self.library.zmq_connect(self.socket, endpoint.encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.zmq_close(self.socket)
        self.library.zmq_ctx_term(self.context)

    def send(self, data, more=False):
        """False when it could not be sent in time: no handshake came about."""
        return self.library.zmq_send(self.socket, data, len(data), 2 if more else 0) >= 0

    def receive(self, room=1 << 16):
        buffer = ctypes.create_string_buffer(room)
        size = self.library.zmq_recv(self.socket, buffer, room, 0)
        return None if size < 0 else buffer.raw[:size]


def write_keys(path):
    """A key pair as `hermes keygen` writes it: path, mode 0600, and path.pub. The public key."""
    public, secret = key_pair()
    path.write_text(secret + "\n")
    os.chmod(path, 0o600)
    path.with_name(path.name + ".pub").write_text(public + "\n")
    return public
