"""Limits of the system that are reached: on processes, descriptors, memory, sizes of files, shared memory. Whatever is
missing, a run completes, or ends with exit code 2 and a line that names the limit and its cure, and leaves nothing."""
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import HERMES, SESSION, wait_for
from ports import BLOCKS, PORTS_OF_A_NODE

USER = 54_000 + os.getpid() % 1000
"""A user without a name: the processes it has are those of the test."""
CURES = ("ulimit -u", "ulimit -n", "ulimit -v")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a limit on processes counts those of a user, and root has none")


class Limited:
    """Runs of a simulation of two modules, as a user of its own, in a folder that this user may write to."""

    def __init__(self, built, name):
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"{SESSION}-limits"))
        source = self.folder / "count.c"
        source.write_text("""
#include <hermes/module.h>
static double count;
static int step(double dt) { (void)dt; count++; return 0; }
static hermes_module_t module = {.step = step};
hermes_module_t *hermes_module_create(void) {
  hermes_declare(&(hermes_signal_t){.name = "count", .flags = HERMES_OUTPUT, .storage = &count});
  return &module;
}
void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
""")
        shutil.copy2(built(source), self.folder / "count")
        (self.folder / "free.py").write_text("from hermes.scripting import SimulationAPI\nSimulationAPI()\n")
        self.write({"a": "{ type: process, executable: ./count }", "b": "{ type: process, executable: ./count }"})
        self.environment = {**os.environ, "LLVM_PROFILE_FILE": "/dev/null", "HERMES_LIMITED": name}

    def write(self, modules, hosts=""):
        lines = "".join(f"  {module}: {settings}\n" for module, settings in modules.items())
        (self.folder / "sim.yaml").write_text(
            f'version: "0.2"\nname: {self.name}\n{hosts}modules:\n{lines}'
            "execution: { mode: afap, rate_hz: 100, end_time: 1 }\n")
        if os.geteuid() == 0:
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, USER, USER)

    def run(self, limits, *words, program=HERMES, user=True):
        """Exit code and standard error. A run that has not ended by then is a failure."""
        record = ["run", "sim.yaml", "--digest", "--record", "out.csv"]

        def limit():
            for kind, value in limits.items():
                resource.setrlimit(kind, (value, value))

        as_user = {"user": USER, "group": USER, "extra_groups": []} if user and os.geteuid() == 0 else {}
        process = subprocess.Popen([program, *(words or record)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL, cwd=self.folder, env=self.environment, preexec_fn=limit, **as_user)
        try:
            _, said = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            for pid in self.left:
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"{limits}: hangs")
        wait_for(lambda: not self.left, f"{limits}: every process is gone", 10)
        shared = [str(path) for path in Path("/dev/shm").glob(f"hermes*{self.name}*")]
        shared += [str(path) for path in Path(f"/dev/shm/hermes-{USER}").glob("*")]
        assert not shared, f"{limits}: left {shared}\n{said}"
        return process.returncode, said

    @property
    def left(self):
        mark = f"HERMES_LIMITED={self.name}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                        found.append(int(entry))
                except OSError:
                    pass
        return found


@pytest.fixture
def limited(hermes, built, name):
    limited = Limited(built, name)
    yield limited
    shutil.rmtree(limited.folder)
    if os.geteuid() == 0:
        shutil.rmtree(f"/dev/shm/hermes-{USER}", ignore_errors=True)


def sweep(limited, kind, values, cure):
    """Each completes or names its limit; the least does not complete, the largest does."""
    codes = {}
    for value in values:
        code, said = limited.run({kind: value})
        assert code in (0, 2), f"{value}: exit {code}\n{said}"
        if code:
            assert cure in said, f"{value}: does not name {cure}\n{said}"
            assert "hermes: error: " in said, said
        codes[value] = code
    assert codes[min(values)] == 2 and codes[max(values)] == 0, codes


@as_root
def test_a_limit_on_processes_and_threads(limited):
    sweep(limited, resource.RLIMIT_NPROC, [*range(1, 12), 40], "ulimit -u")


@as_root
def test_a_limit_on_processes_and_threads_with_a_free_script(limited):
    limited.write({"a": "{ type: process, executable: ./count }", "f": "{ type: script, script: ./free.py }"})
    sweep(limited, resource.RLIMIT_NPROC, [*range(5, 11), 40], "ulimit -u")


def test_a_limit_on_open_files(limited):
    sweep(limited, resource.RLIMIT_NOFILE, [*range(5, 30, 2), 64], "ulimit -n")


def test_a_limit_on_memory(limited):
    """Where the loader or the language's runtime gets none, nothing of Hermes has run; from there on it names the limit."""
    begun = 0
    for megabytes in (*range(60, 400, 20), 4000):
        code, said = limited.run({resource.RLIMIT_AS: megabytes << 20})
        if "hermes: error: " in said or code == 0:
            begun += 1
            assert code in (0, 2), f"{megabytes} MB: exit {code}\n{said}"
            assert code == 0 or "ulimit -v" in said or "memory" in said, f"{megabytes} MB:\n{said}"
    assert begun > 0 and code == 0, said


def test_a_limit_on_the_size_of_files(limited):
    for size in (0, 64, 4096, 1 << 16, 1 << 30):
        code, said = limited.run({resource.RLIMIT_FSIZE: size})
        assert code in (0, 2), f"{size}: exit {code}\n{said}"
        assert code == 0 or "ulimit -f" in said, f"{size}:\n{said}"
    assert code == 0, said


@as_root
def test_shared_memory_that_is_too_small(limited):
    """In a mount of the test's own."""
    for size in (4, 16, 64, 256, 65536):
        script = f"mount -t tmpfs -o size={size}k,mode=1777 tmpfs /dev/shm && exec {HERMES} run sim.yaml --digest"
        code, said = limited.run({}, "-m", "sh", "-c", script, program="unshare", user=False)
        assert code in (0, 2), f"{size} KiB: exit {code}\n{said}"
        assert code == 0 or "/dev/shm" in said or "full" in said, f"{size} KiB:\n{said}"
    assert code == 0, said


@as_root
def test_a_node_at_a_limit_goes_on(limited):
    """A run that gets no process, thread or descriptor there is refused or fails by name; the node serves the next one."""
    node = shutil.copy2(HERMES.parent / "hermes-node", limited.folder / "node")
    port = next(BLOCKS)
    limited.write({"a": "{ type: process, executable: ./count, host: h }"},
                  f'hosts: {{ h: {{ endpoint: "tcp://127.0.0.1:{port}" }} }}\n')
    for path in [limited.folder, *limited.folder.rglob("*")]:
        path.chmod(0o755)
    as_user = {"user": USER, "group": USER, "extra_groups": []}
    log = limited.folder / "node.log"
    with open(log, "wb") as err:
        process = subprocess.Popen([node, "--listen", f"tcp://127.0.0.1:{port}", "--ports",
                                    f"{port + 1}-{port + PORTS_OF_A_NODE - 1}", "--modules", limited.folder],
                                   stdout=err, stderr=err, stdin=subprocess.DEVNULL, cwd=limited.folder,
                                   env={**os.environ, "LLVM_PROFILE_FILE": "/dev/null"}, **as_user)
    try:
        wait_for(lambda: "listening" in log.read_text() or process.poll() is not None, "the node listens")
        assert process.poll() is None, log.read_text()
        def set_limit(kind, value):
            subprocess.run(["prlimit", "--pid", str(process.pid), f"--{kind}={value}:"], check=True, **as_user)

        for kind, values, before in (("nproc", (1, 5, 7, 9, 11, 13, 15, 17), 1000), ("nofile", (14, 16, 20, 28, 40, 56), 1000)):
            for value in values:
                set_limit(kind, value)
                # The desk is root, whom no limit on processes binds.
                code, said = limited.run({}, "run", "sim.yaml", "--wait", "2", user=False)
                assert code in (0, 2), f"{value}: {said}"
                assert process.poll() is None, f"{value}: the node is gone\n{log.read_text()}"
                if code:
                    # Without a descriptor to take a connection by it can't even say so.
                    is_named = any(word in said for word in CURES) or kind == "nofile" and "is not reached" in said
                    assert "host h" in said and is_named, f"{value}: {said}\n{log.read_text()}"
            set_limit(kind, before)
            code, said = limited.run({}, "run", "sim.yaml", "--wait", "2", user=False)
            assert code == 0, said + log.read_text()
    finally:
        process.terminate()
        assert process.wait(20) == 0, log.read_text()
