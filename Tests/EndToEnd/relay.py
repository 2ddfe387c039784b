"""A TCP relay between two addresses of this machine: a link that is slow and cuts what it carries into pieces, and that can
remember what it carried."""
import asyncio
import contextlib
import ctypes
import os
import random
import socket
import struct
import threading

CLONE_NEWNET = 0x40000000


class Cut:
    """Resets a connection, after these last bytes; or freezes all that the relay carries, as a cable that is pulled."""

    def __init__(self, last, freezes=False):
        self.last, self.freezes = last, freezes


class Relay:
    """Listens at `address` on each of `ports` and passes on to the same port of `target`, both ways.

    Every byte comes out `delay` seconds after it went in; what the target says waits from `hold` until `let_go`, and ends for good in the middle of the next piece after `cut`. `namespace`: the file of a network namespace to be in. `carried` has what each connection said to the target.
    `meddle(said, data)`: asked for what to pass on of `data`, the end of all that a connection `said` to the target so far, or for a `Cut`.
    """

    def __init__(self, address, ports, target, delay=0.0, namespace=None, seed=1, meddle=None):
        self.meddle, self.is_frozen = meddle, False
        self.address, self.ports, self.target, self.delay, self.namespace = address, ports, target, delay, namespace
        self.random = random.Random(seed)
        self.carried = []
        self.passing = asyncio.Event()
        self.passing.set()
        self.is_cut = False
        self.loop = asyncio.new_event_loop()
        self.listening = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        assert self.listening.wait(10), "the relay does not listen"
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def hold(self):
        self.loop.call_soon_threadsafe(self.passing.clear)

    def let_go(self):
        self.loop.call_soon_threadsafe(self.passing.set)

    def cut(self):
        self.is_cut = True

    def serve(self):
        if self.namespace:
            # Of this thread alone.
            with open(self.namespace) as namespace:
                assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        asyncio.set_event_loop(self.loop)
        for port in self.ports:
            self.loop.run_until_complete(asyncio.start_server(
                lambda reader, writer, port=port: self.connect(port, reader, writer), self.address, port))
        self.listening.set()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self.loop), return_exceptions=True))
        self.loop.close()

    async def connect(self, port, reader, writer):
        try:
            there, back = await asyncio.open_connection(self.target, port)
        except OSError:
            writer.close()
            return
        said = bytearray()
        self.carried.append(said)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(self.carry(reader, back, said), self.carry(there, writer, None))

    async def carry(self, reader, writer, said):
        """One direction, until it ends; then the other side hears of it."""
        pieces = asyncio.Queue()
        sending = asyncio.create_task(self.send(pieces, writer, is_answer=said is None))
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if said is not None:
                    said += data
                    if self.meddle:
                        data = self.meddle(said, data)
                if isinstance(data, Cut):
                    pieces.put_nowait((self.loop.time(), data.last))
                    if data.freezes:
                        self.is_frozen = True
                    else:
                        # A reset in place of an end.
                        linger = struct.pack("ii", 1, 0)
                        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        break
                if self.is_frozen:
                    data = b""
                due = self.loop.time() + self.delay
                while data:
                    size = self.random.choice((1, 7, 64, 1000, 1 << 16))
                    pieces.put_nowait((due, data[:size]))
                    data = data[size:]
        pieces.put_nowait((self.loop.time() + self.delay, b""))
        await sending

    async def send(self, pieces, writer, is_answer):
        with contextlib.suppress(OSError):
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(max(0.0, due - self.loop.time()))
                if is_answer:
                    await self.passing.wait()
                if not piece:
                    break
                if is_answer and self.is_cut:
                    writer.write(piece[:len(piece) // 2])
                    break
                writer.write(piece)
                await writer.drain()
        writer.close()
