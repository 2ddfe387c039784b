"""Failures say what is wrong, where, and what to do: one case for each thing that an errno alone tells wrongly."""
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from conftest import HERMES, LIBRARY, REPOSITORY, Running, compile_c, segment_words, wait_for
from hosts import NODE, Keys, Placed, hosts  # noqa: F401 (a fixture)
from test_faults import FINE, Bench

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="NOT TESTED: needs root")


@pytest.fixture
def bench(desk):
    return Bench(desk)


def own_mounts(*script):
    """A command in a mount namespace of its own."""
    return ["unshare", "-m", "--propagation", "private", "sh", "-c", *script]


def config(desk, module, name=None, **execution):
    lines = "".join(f"  {key}: {value}\n" for key, value in {"end_time": 0.1, **execution}.items())
    return desk.config(f"version: '0.2'\nname: {name or desk.name}\nmodules:\n  m: {module}\nexecution:\n{lines}")


def process(program, kind="process"):
    return f"{{ type: {kind}, {'script' if kind == 'script' else 'executable'}: {program} }}"


# ---- Programs that don't start ------------------------------------------------------------------------------------

def elf(machine=None, loader=None):
    """An ELF program as far as the kernel looks."""
    own = {"x86_64": 62, "aarch64": 183}[os.uname().machine]
    path = (loader or "").encode() + b"\0"
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01" + bytes(9), 3, machine or own, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 3, 4, 120, 120, 120, len(path), len(path), 1) + path + bytes(64)


PROGRAMS = {
    "crlf": (b"#!/bin/sh\r\nexit 0\r\n", ["CR LF", "sed"]),
    "crlf with argument": (b"#!/bin/sh -e\r\nexit 0\r\n", ["CR LF", "sed"]),
    "no interpreter": (b"#!/opt/none/bin/lua\nx\n", ["/opt/none/bin/lua", "not there"]),
    "empty line": (b"#!\nx\n", ["names no interpreter"]),
    "loader": (elf(loader="/lib/ld-musl-none.so.1"), ["/lib/ld-musl-none.so.1", "another C library"]),
    "another processor": (elf(machine=0xF3), ["RISC-V", os.uname().machine]),
    "empty": (b"", ["empty"]),
    "text": (b"echo hello\n", ["#!"]),
    "windows": (b"MZ" + bytes(200), ["Windows"]),
}


@pytest.mark.parametrize("what", PROGRAMS)
@pytest.mark.parametrize("kind", ["process", "script"])
def test_a_program_that_cannot_be_started(bench, what, kind):
    content, words = PROGRAMS[what]
    program = bench.desk.folder / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    done = bench.desk.run(config(bench.desk, process("./program", kind)))
    assert done.code in (1, 2), done.said
    for word in ["program", *words]:
        assert word in done.stderr, f"{word!r} is missing in\n{done.stderr}"
    assert "No such file" not in done.stderr and "chmod" not in done.stderr


def test_a_script_for_env_with_carriage_returns(bench):
    program = bench.desk.write("program", "#!/usr/bin/env sh\r\nexit 0\r\n")
    program.chmod(0o755)
    bench.desk.run(config(bench.desk, process("./program"))).expect(1, "CR LF", "sed")


def test_a_program_that_is_being_written(bench):
    program = bench.desk.folder / "program"
    shutil.copy2(bench.desk.folder / "trouble", program)
    with open(program, "ab"):
        bench.desk.run(config(bench.desk, process("./program"))).expect(2, "program", "being written")


def test_a_working_folder_that_goes_away(bench):
    """The program is there; what is missing is the folder."""
    bench.desk.write("m.trouble", "signal x\nexit 3\n")
    (bench.desk.folder / "work").mkdir()
    settings = "{ type: process, executable: ./trouble, config: ./m.trouble, working_dir: ./work, on_module_error: restart }"
    with Running(bench.desk, config(bench.desk, settings, mode="realtime", rate_hz=20, end_time=60)) as sim:
        sim.ready()
        (bench.desk.folder / "work").rename(bench.desk.folder / "gone")
        os.kill(sim.module_pid("m"), signal.SIGKILL)
        sim.says("working folder", "work")
        sim.process.terminate()
        sim.process.wait(30)


@needs_root
@pytest.mark.parametrize("what", ["program", "interpreter", "inproc"])
def test_a_file_system_that_starts_nothing(bench, what):
    desk = bench.desk
    (desk.folder / "disk").mkdir()
    desk.module("trouble", shared=True)
    desk.write("script", f"#!{desk.folder}/disk/sh\n").chmod(0o755)
    settings = {"program": process("./disk/trouble"), "interpreter": process("./script"), "inproc": process("./disk/trouble.so", "inproc")}[what]
    path = config(desk, settings)
    prepare = f"mount -t tmpfs -o noexec none disk && cp trouble trouble.so disk && cp /bin/sh disk/sh && {desk.hermes} "
    done = subprocess.run(own_mounts(prepare + f"run {path}"), capture_output=True, text=True, cwd=desk.folder, env=desk.environment)
    assert done.returncode in (1, 2) and "noexec" in done.stderr and "chmod" not in done.stderr, done.stderr


def test_a_program_without_permission_keeps_its_words(bench):
    (bench.desk.folder / "trouble").chmod(0o644)
    bench.desk.run(config(bench.desk, process("./trouble"))).expect(1, "not executable", "chmod +x")


# ---- Names of others ------------------------------------------------------------------------------------------------

@needs_root
def test_a_name_that_another_user_has(bench):
    """It is said who has it, and what to do; both ways round, and to who asks for its signals."""
    desk = bench.desk
    drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    desk.folder.chmod(0o755)
    for parent in desk.folder.parents:
        if parent.stat().st_mode & 0o005 != 0o005 and parent != parent.parent:
            parent.chmod(parent.stat().st_mode | 0o055)
    (desk.folder / "theirs").mkdir()
    (desk.folder / "theirs").chmod(0o777)
    path = config(desk, "{ type: process, executable: ./trouble, config: ./m.trouble }", mode="realtime", end_time=60)
    desk.write("m.trouble", "signal x\n")
    environment = {**desk.environment, "TMPDIR": "/tmp", "LLVM_PROFILE_FILE": "/dev/null"}

    def words(user, *command):
        return [*(drop if user == "nobody" else []), str(desk.hermes), *map(str, command)]

    for first, second, owner in (("root", "nobody", "uid 0"), ("nobody", "root", "uid 65534")):
        run = subprocess.Popen(words(first, "run", path, "-q"), cwd=desk.folder, env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: run.poll() is not None or (segment_words(desk.name) or (0, 0))[0] == 2, "the first runs")
            assert run.poll() is None, run.stderr.read()
            done = subprocess.run(words(second, "run", path), cwd=desk.folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 2 and owner in done.stderr and "--name" in done.stderr, done.stderr
            assert "Permission denied" not in done.stderr
            done = subprocess.run(words(second, "get", desk.name, "m.x"), cwd=desk.folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 2 and owner in done.stderr, done.stderr
        finally:
            run.terminate()
            run.wait(30)
            run.stderr.close()


# ---- Starts that take long ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["process", "inproc"])
@pytest.mark.parametrize("call", ["init", "stage"])
def test_start_timeout(bench, kind, call):
    desk = bench.desk
    desk.module("trouble", shared=True)
    desk.write("m.trouble", f"signal x\n{call} sleep 1500\n")
    executable = "./trouble.so" if kind == "inproc" else "./trouble"
    settings = f"{{ type: {kind}, executable: {executable}, config: ./m.trouble, step_timeout_s: 0.5, start_timeout_s: %s }}"
    done = desk.run(config(desk, settings % 0.4)).expect(2, "module m", "0.4 s", "start_timeout_s")
    for enough in (20, 0):
        assert desk.run(config(desk, settings % enough)).expect(0).recording.frames == list(range(11)), "not step_timeout_s"


def test_start_timeout_of_a_host(hosts):
    hosts.start("a")
    (hosts["a"].root / "m.trouble").write_text("signal x\ninit sleep 1500\n")
    settings = "{ type: process, executable: ./trouble, config: ./m.trouble, start_timeout_s: %s{host} }"
    modules = {"m": ("a", Placed(settings % 0.4))}
    hosts.run(hosts.config(modules, end_time=0.1)).expect(2, "module m", "host a", "start_timeout_s")
    hosts["a"].rests()
    modules = {"m": ("a", Placed(settings % 20))}
    hosts.run(hosts.config(modules, end_time=0.1)).expect(0)


def test_start_timeout_is_checked(desk):
    for value in ("-1", ".inf", "soon"):
        desk.command("validate", config(desk, f"{{ type: process, executable: /bin/true, start_timeout_s: {value} }}")).expect(1, "start_timeout_s")


# ---- What a step returns --------------------------------------------------------------------------------------------

FORGETFUL = """
#include <hermes/module.h>
static double x;
static int step(double dt) { x += dt; return 42; }
static hermes_module_t module = {.step = step};
hermes_module_t *hermes_module_create(void) { hermes_declare(&(hermes_signal_t){"x", HERMES_F64, HERMES_OUTPUT, 0, 0, &x}); return &module; }
void hermes_module_destroy(hermes_module_t *m) { (void)m; }
"""


@pytest.mark.parametrize("shared", [False, True])
def test_a_step_without_return(desk, tmp_path, shared):
    """Compiled, it returns whatever the register held: 42 here."""
    source = tmp_path / "forgetful.c"
    source.write_text(FORGETFUL)
    if shared:
        compile_c(["-fPIC", "-shared", source, "-o", desk.folder / "m.so", f"-L{LIBRARY}", "-lhermes", f"-Wl,-rpath,{LIBRARY}"])
    else:
        compile_c([source, LIBRARY / "libhermes.a", "-o", desk.folder / "m", "-lpthread", "-ldl", "-lm"])
    settings = process("./m.so", "inproc") if shared else process("./m")
    desk.run(config(desk, settings)).expect(2, "module m", "frame 1", "step returned 42", "return 0")


@pytest.mark.parametrize("value, words", [("self.x", "step() returned 1.0"), ("True", "step() returned True"), ("self", "step() returned <"),
                                          ("5", "step() returned 5"), ("[]", "step() returned []"), ("2 ** 40", "step() returned 1099511627776"),
                                          ("(yield)", "step() returned <generator")])
def test_a_python_step_that_returns_something(desk, value, words):
    desk.write("s.py", f"import hermes\nclass S:\n    x = hermes.output(0.0)\n    def step(self, dt):\n        self.x += 1\n        return {value}\n")
    desk.run(config(desk, process("./s.py", "script"))).expect(2, "module m", words, "return None")


@pytest.mark.parametrize("value", ["None", "0", "int(False)"])
def test_a_python_step_that_returns_nothing(desk, value):
    desk.write("s.py", f"import hermes\nclass S:\n    x = hermes.output(0.0)\n    def step(self, dt):\n        return {value}\n")
    desk.run(config(desk, process("./s.py", "script"))).expect(0)


# ---- Clients and interrupts before there is anything --------------------------------------------------------------

F_OFD_SETLK = 37
LOCK_OWNER = 0  # HERMES_LOCK_OWNER


def test_a_segment_that_is_being_made(desk):
    """Between its making and its header a client is told to come again."""
    path = f"/dev/shm/hermes_{desk.name}"
    library = ctypes.CDLL(LIBRARY / "libhermes.so", use_errno=True)
    library.hermes_client_open.restype = ctypes.c_void_p
    library.hermes_last_error.restype = ctypes.c_char_p
    try:
        for size in (0, 65536):
            with open(path, "w+b") as file:
                # As its living owner has it: an open file description's lock on the first byte of those kept for locks.
                fcntl.fcntl(file, F_OFD_SETLK, struct.pack("=hhxxxxqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, LOCK_OWNER, 1, 0))
                file.truncate(size)
                assert not library.hermes_client_open(f"/hermes_{desk.name}".encode())
            assert b"staging" in library.hermes_last_error(), library.hermes_last_error()
    finally:
        os.unlink(path)


def test_get_at_every_moment_of_a_start(bench):
    """It answers with a value, or says that the simulation is staging or not there; never that the segment is of another version."""
    with Running(bench.desk, bench.config({"m": "signals 3000\ninit sleep 100"}, mode="realtime"), record=False) as sim:
        said = set()
        while True:
            done = bench.desk.command("get", sim.name, "m.s0")
            if done.code == 0:
                break
            said.add(done.stderr)
            assert sim.process.poll() is None, sim.stderr
        for text in said:
            assert "staging" in text or "no simulation named" in text or "has ended" in text, said
        assert not any("version" in text for text in said)


@contextlib.contextmanager
def silent_listener():
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def interrupt_soon(process, log, is_ready):
    wait_for(is_ready, "it is under way")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code = process.wait(60)
    return code, time.monotonic() - began


@pytest.mark.parametrize("where", ["nobody listens", "nobody answers"])
def test_ctrl_c_before_the_nodes_are_met(desk, where):
    with silent_listener() as port:
        if where == "nobody listens":
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
        path = desk.config(f"version: '0.2'\nname: {desk.name}\nhosts: {{ a: {{ endpoint: 'tcp://127.0.0.1:{port}' }} }}\n"
                           "modules: { m: { type: process, executable: trouble, host: a } }\nexecution: { end_time: 1 }\n")
        with Running(desk, path, "--wait", 50, record=False) as sim:
            folder = f"/dev/shm/hermes-{os.getuid()}/{desk.name}/control.sock"
            code, seconds = interrupt_soon(sim.process, sim.err, lambda: os.path.exists(folder))
        assert code == 130 and seconds < 20, (code, seconds, sim.stderr)


# ---- hermes-node ------------------------------------------------------------------------------------------------------

def node_words(*words, **how):
    return subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, **how)


def test_a_node_that_does_not_start_says_error(tmp_path):
    tmp_path.chmod(0o755)
    done = node_words(NODE, "--modules", tmp_path / "none")
    assert done.returncode == 2 and "error:" in done.stderr and "warning" not in done.stderr, done.stderr


WITHOUT = """
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int count, char **words) {
  unsigned number = atoi(words[1]), code = atoi(words[2]);
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
  if (count < 4 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 99;
  execvp(words[3], words + 3);
  return 98;
}
"""
OPENAT2 = 437


@pytest.mark.parametrize("code, words", [(38, "Linux"), (1, "sandbox"), (13, "sandbox")])
def test_a_sandbox_without_openat2(tmp_path, code, words):
    """Said when the node starts, not when the first run comes."""
    tmp_path.chmod(0o755)
    source = tmp_path / "without.c"
    source.write_text(WITHOUT)
    compile_c([source, "-o", tmp_path / "without"])
    done = node_words(tmp_path / "without", OPENAT2, code, NODE, "--modules", tmp_path, "--listen", f"ipc://{tmp_path}/node")
    assert done.returncode == 2 and "openat2" in done.stderr and words in done.stderr, done.stderr


# ---- Names of hosts ---------------------------------------------------------------------------------------------------

@pytest.fixture
def names(desk):
    """`names("127.0.0.9", "127.0.0.1")`: a command in front, under which the machine `rack` has these addresses."""
    def make(*addresses):
        table = desk.write("hosts.txt", "127.0.0.1 localhost\n" + "".join(f"{address} rack.example\n" for address in addresses))
        script = desk.write("named", "#!/bin/sh\nexec unshare -m --propagation private sh -c "
                            f"'mount --bind {table} /etc/hosts && exec \"$@\"' sh \"$@\"\n")
        script.chmod(0o755)
        return [str(script)]
    return make


def named(hosts, letters, prefix, key):
    """Hosts reached by their name, each with keys, as names are off loopback."""
    for letter in letters:
        node = hosts.add(letter, keys=Keys(hosts.desk.folder, f"node-{letter}"), accept=key.public_file, prefix=prefix)
        node.start()
    return {letter: '{ endpoint: "%s", key: "%s" }' % (hosts[letter].endpoint.replace("127.0.0.1", "rack.example"), hosts[letter].keys.public)
            for letter in letters}


@needs_root
@pytest.mark.parametrize("addresses", [("127.0.0.9", "127.0.0.1"), ("::1", "127.0.0.9", "127.0.0.1"), ("127.0.0.1",)])
@pytest.mark.parametrize("mirrors", ["auto", "zeromq"])
def test_a_name_with_several_addresses(hosts, names, addresses, mirrors):
    """Only the last answers: it is found, by the desk and by the hosts among each other."""
    prefix = names(*addresses)
    hosts.key = Keys(hosts.desk.folder, "desk")
    entries = named(hosts, "ab", prefix, hosts.key)
    config = hosts.ring("ab-", hosts=entries)
    done = subprocess.run([*prefix, hosts.desk.hermes, "run", config, *map(str, hosts.keyed), "--digest", "--mirrors", mirrors],
                          capture_output=True, text=True, cwd=hosts.desk.folder, env=hosts.desk.environment, timeout=60)
    assert done.returncode == 0 and done.stdout == hosts.reference(), done.stderr
    done = subprocess.run([*prefix, hosts.desk.hermes, "nodes", config, *map(str, hosts.keyed)], capture_output=True, text=True,
                          cwd=hosts.desk.folder, env=hosts.desk.environment, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_root
def test_a_name_of_which_no_address_answers(hosts, names):
    prefix = names("127.0.0.9", "127.0.0.8")
    hosts.key = Keys(hosts.desk.folder, "desk")
    entries = named(hosts, "a", [], hosts.key)
    config = hosts.ring("aaa", hosts=entries)
    done = subprocess.run([*prefix, hosts.desk.hermes, "run", config, *map(str, hosts.keyed), "--wait", "1"],
                          capture_output=True, text=True, cwd=hosts.desk.folder, env=hosts.desk.environment, timeout=60)
    assert done.returncode == 2
    for word in ("nobody listens", "rack.example", "127.0.0.9", "127.0.0.8"):
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize("command", ["run", "nodes"])
def test_a_name_that_leads_nowhere(hosts, command):
    """Said at once, with the resolver's reason; nothing is waited for."""
    hosts.key = Keys(hosts.desk.folder, "desk")
    config = hosts.desk.config(f"version: '0.2'\nname: {hosts.desk.name}\nhosts: {{ a: {{ endpoint: 'tcp://none.invalid:7600', key: '{hosts.key.public}' }} }}\n"
                               "modules: { m: { type: process, executable: m, host: a } }\nexecution: { end_time: 1 }\n")
    wait = ["--wait", 600] if command == "run" else []
    done = hosts.desk.command(command, config, *wait, *hosts.keyed, timeout=50)
    assert done.code == 2
    for word in ("none.invalid", "can't be resolved", "endpoint"):
        assert word in done.said, done.said


# ---- One node, two names ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("one, other", [
    ("tcp://127.0.0.1:7600", "tcp://127.0.0.1:7600"), ("tcp://localhost:7600", "tcp://127.0.0.1:7600"),
    ("tcp://127.0.0.1:7600", "tcp://127.0.0.1:07600"), ("tcp://LOCALHOST:7600", "tcp://localhost:7600"),
    ("tcp://[::1]:7600", "tcp://[0:0:0:0:0:0:0:1]:7600"), ("tcp://[::ffff:127.0.0.1]:7600", "tcp://127.0.0.1:7600"),
    ("ipc:///tmp/node", "ipc:///tmp//./node")])
def test_two_hosts_with_one_endpoint(desk, one, other):
    config = desk.config(f"version: '0.2'\nhosts:\n  a: {{ endpoint: '{one}' }}\n  b: {{ endpoint: '{other}' }}\n"
                         "modules: { m: { type: process, executable: m, host: a } }\n")
    done = desk.command("validate", config)
    assert done.code == 1 and ":4:18: error:" in done.said and "`a`" in done.said and "`b`" in done.said, done.said


@pytest.mark.parametrize("one, other", [("tcp://127.0.0.1:7600", "tcp://127.0.0.1:7601"), ("tcp://127.0.0.1:7600", "tcp://127.0.0.2:7600"),
                                        ("tcp://[::1]:7600", "tcp://127.0.0.1:7600"), ("ipc:///tmp/node", "ipc:///tmp/Node")])
def test_two_hosts_with_two_endpoints(desk, one, other):
    config = desk.config(f"version: '0.2'\nhosts:\n  a: {{ endpoint: '{one}' }}\n  b: {{ endpoint: '{other}' }}\n"
                         "modules: { m: { type: process, executable: m, host: a } }\n")
    desk.command("validate", config).expect(0)


# ---- Keys in the wrong place ---------------------------------------------------------------------------------------------

@pytest.fixture
def key(desk):
    desk.folder.chmod(0o755)
    return Keys(desk.folder, "one")


def node_with(desk, *words):
    return node_words(NODE, "--listen", f"ipc://{desk.folder}/n", "--modules", desk.folder, *words)


def test_the_secret_key_is_not_accepted(desk, key):
    done = node_with(desk, "--key", key.path, "--accept", key.path)
    assert done.returncode == 2 and "secret key" in done.stderr and f"{key.path}.pub" in done.stderr, done.stderr


def test_the_public_key_is_no_secret_one(desk, key):
    copy = desk.folder / "copy"
    shutil.copy(key.public_file, copy)
    copy.chmod(0o644)
    for path in (key.public_file, copy):
        done = node_with(desk, "--key", path, "--accept", key.public_file)
        assert done.returncode == 2 and "public key" in done.stderr, done.stderr


def test_a_secret_key_in_a_configuration(desk, key):
    """31 of 32 secret keys can't be public ones; of the rest the handshake tells."""
    secrets = [line for line in (Keys(desk.folder, f"k{n}").path.read_text().strip() for n in range(4))]
    told = 0
    for secret in secrets:
        config = desk.config(f"version: '0.2'\nhosts: {{ a: {{ endpoint: 'tcp://10.0.0.1:7600', key: '{secret}' }} }}\n"
                             "modules: { m: { type: process, executable: m, host: a } }\n")
        told += "secret" in desk.command("validate", config).said
    assert told >= 1
    for n in range(20):
        public = Keys(desk.folder, f"p{n}").public
        config = desk.config(f"version: '0.2'\nhosts: {{ a: {{ endpoint: 'tcp://10.0.0.1:7600', key: '{public}' }} }}\n"
                             "modules: { m: { type: process, executable: m, host: a } }\n")
        desk.command("validate", config).expect(0)


def test_ones_own_key_as_the_nodes(hosts):
    hosts.key = Keys(hosts.desk.folder, "desk")
    node = hosts.add("a", keys=Keys(hosts.desk.folder, "node-a"), accept=hosts.key.public_file).start()
    config = hosts.ring("aaa", hosts={"a": f'{{ endpoint: "{node.endpoint}", key: "{hosts.key.public}" }}'})
    hosts.run(config, "--wait", 3).expect(2, "your own key", "host a")


# ---- An interpreter that hangs ------------------------------------------------------------------------------------------

def hanging_python(desk):
    script = desk.write("python-that-hangs", "#!/bin/sh\nsleep 3600 & echo $! >> sleepers\nwait\n")
    script.chmod(0o755)
    return script


def sleepers(desk):
    path = desk.folder / "sleepers"
    pids = path.read_text().split() if path.exists() else []
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_doctor_with_an_interpreter_that_hangs(desk):
    desk.environment["HERMES_PYTHON"] = str(hanging_python(desk))
    done = desk.command("doctor", timeout=60)
    assert done.code == 2 and "hangs" in done.said and "HERMES_PYTHON" in done.said, done.said
    wait_for(lambda: not sleepers(desk), "what it started is gone")


def test_ctrl_c_while_doctor_waits(desk):
    desk.environment["HERMES_PYTHON"] = str(hanging_python(desk))
    process = desk.begin("doctor")
    wait_for(lambda: sleepers(desk), "the interpreter hangs")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    wait_for(lambda: not sleepers(desk), "what it started is gone")


def test_a_checkup_that_hangs_holds_nothing_up(hosts):
    """Meanwhile the node serves runs and takes files, and ends when it is told to."""
    hosts.desk.environment["HERMES_PYTHON"] = str(hanging_python(hosts.desk))
    hosts.start("a")
    config = hosts.ring("aaa")
    doctor = hosts.desk.begin("doctor", config)
    wait_for(lambda: len(sleepers(hosts.desk)) >= 1, "the interpreter hangs")
    hosts.desk.command("push", config, timeout=40).expect(0)
    hosts.serves("aaa")
    assert hosts["a"].end() == 0
    doctor.send_signal(signal.SIGINT)
    doctor.wait(30)
    wait_for(lambda: not sleepers(hosts.desk), "what they started is gone")
