"""What our programs and modules start from, whatever started them: arguments, signals, descriptors, umask, limits, folder."""
import ctypes
import fcntl
import os
import resource
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from conftest import compile_c, segment_words, shared_memory, wait_for
from nodes import NODE, is_listening
from ports import BLOCKS

COUNTING = """\
version: "0.2"
name: {name}
modules:
  c: {{ type: process, executable: ./inherited, config: ./c.config }}
execution: {{ mode: {mode}, rate_hz: 100, end_time: {end} }}
"""
EVERY = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}


@pytest.fixture
def counting(desk):
    desk.module("inherited")
    desk.write("c.config", str(desk.folder / "found"))

    def config(mode="afap", end=0.1):
        return desk.write("sim.yaml", COUNTING.format(name=desk.name, mode=mode, end=end))
    return config


def runs(desk):
    """It has staged, so its module has written what it found."""
    return (segment_words(desk.name) or (0,))[0] == 2


def found(desk):
    """What the module started from, and what it executes."""
    return dict(line.split(" ", 1) for line in (desk.folder / "found").read_text().splitlines())


def finished(desk, words, **how):
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": desk.environment,
           "cwd": desk.folder, **how}
    return subprocess.run([str(word) for word in words], text=True, timeout=60, **how)


# ---- Arguments ------------------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def early_setenv(tmp_path_factory):
    """A library that changes the environment before any program's main, as profilers and shims do."""
    folder = tmp_path_factory.mktemp("preload")
    source = folder / "early.c"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void early(void) { setenv(\"EARLY\", \"1\", 1); }\n")
    compile_c(["-shared", "-fPIC", source, "-o", folder / "early.so"])
    return folder / "early.so"


def test_arguments_survive_an_early_setenv(desk, counting, early_setenv):
    preloaded = {**desk.environment, "LD_PRELOAD": str(early_setenv)}
    done = finished(desk, [desk.hermes, "run", counting(), "--record", desk.record], env=preloaded)
    assert done.returncode == 0 and desk.record.exists(), done.stdout + done.stderr
    assert finished(desk, [desk.hermes, "no-such-command"], env=preloaded).returncode == 64
    done = finished(desk, [NODE, "--modules", "missing-folder"], env=preloaded)
    assert done.returncode == 2 and "missing-folder" in done.stderr, done.stderr


@pytest.mark.parametrize("program", ["hermes", "hermes-node"])
def test_no_arguments_at_all(desk, program):
    """Not even the program's name; the kernel or the C library may put an empty one there."""
    path = str(desk.hermes.parent / program).encode()
    words, variables = (ctypes.c_char_p * 1)(None), (ctypes.c_char_p * 1)(None)
    libc = ctypes.CDLL(None)
    process = os.fork()
    if process == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        libc.execve(path, words, variables)
        os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == (0 if program == "hermes" else 64)


# ---- Signals --------------------------------------------------------------------------------------------------

def block_all():
    signal.pthread_sigmask(signal.SIG_BLOCK, EVERY)


def ignore_all():
    for number in EVERY - {signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}:
        signal.signal(number, signal.SIG_IGN)


def ignore_and_block_all():
    ignore_all()
    block_all()


HOSTILE = [block_all, ignore_all, ignore_and_block_all]
INTERRUPTIONS = sum(1 << number - 1 for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_run_hears_and_counts_whatever_was_blocked_or_ignored(desk, counting, hostile):
    config = counting("realtime", 1000)
    with open(desk.folder / "err", "wb") as err:
        process = subprocess.Popen([desk.hermes, "run", str(config)], preexec_fn=hostile, restore_signals=False,
                                   cwd=desk.folder, env=desk.environment, stdin=subprocess.DEVNULL, stdout=err, stderr=err)
    try:
        wait_for(lambda: runs(desk), "it runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130, (desk.folder / "err").read_text()
    finally:
        process.kill()
        process.wait()
    seen = found(desk)
    assert {seen[key] for key in ("SigBlk", "SigIgn", "child.SigBlk", "child.SigIgn")} == {"0" * 16}, seen


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_node_hears_and_counts_whatever_was_blocked_or_ignored(desk, hostile):
    desk.built(Path(__file__).parent / "modules/inherited.c")
    root = desk.folder / "root"
    root.mkdir(mode=0o755)
    port = next(BLOCKS)
    shutil.copy2(desk.built(Path(__file__).parent / "modules/inherited.c"), root)
    (root / "c.config").write_text(str(desk.folder / "found"))
    with open(desk.folder / "node.err", "wb") as err:
        process = subprocess.Popen([NODE, "--listen", f"tcp://127.0.0.1:{port}", "--modules", str(root), "--ports",
                                    f"{port + 1}-{port + 4}"], preexec_fn=hostile, restore_signals=False,
                                   cwd=root, env=desk.environment, stdin=subprocess.DEVNULL, stdout=err, stderr=err)
    try:
        wait_for(lambda: is_listening(process.pid, port), "it listens")
        desk.run(f'version: "0.2"\nname: {desk.name}\nhosts: {{ lab: {{ endpoint: "tcp://127.0.0.1:{port}" }} }}\nmodules:\n'
                 "  c: { type: process, executable: inherited, config: c.config, host: lab }\n"
                 "execution: { mode: afap, rate_hz: 100, end_time: 0.1 }\n").expect(0)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, (desk.folder / "node.err").read_text()
    finally:
        process.kill()
        process.wait()
    seen = found(desk)
    assert {seen[key] for key in ("SigBlk", "SigIgn", "child.SigBlk", "child.SigIgn")} == {"0" * 16}, seen


def test_interruptions_that_are_ignored_on_purpose_stay_so(desk, counting):
    def as_nohup_does():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    config = counting("realtime", 1000)
    process = subprocess.Popen([desk.hermes, "run", str(config)], preexec_fn=as_nohup_does, cwd=desk.folder,
                               env=desk.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: runs(desk), "it runs")
        wait_for(lambda: int(status_of(process.pid, "SigIgn"), 16) & INTERRUPTIONS, "they are ignored")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
    assert found(desk)["SigIgn"] == found(desk)["child.SigIgn"] == "0" * 16


def status_of(pid, key):
    return next(line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(key + ":"))


# ---- Descriptors ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "012"])
def test_closed_standard_descriptors(desk, counting, closed):
    """What is opened first must not take the number of standard output, and get what is printed."""
    redirections = " ".join(f"{number}{'<' if number == '0' else '>'}&-" for number in closed)
    done = finished(desk, ["sh", "-c", f'exec "$@" {redirections}', "sh", desk.hermes, "run", counting(), "--record", desk.record,
                           "--print", "c.x", "--digest", "-v"])
    assert done.returncode in (0, 2 if "1" in closed else 0), done.stdout + done.stderr
    assert desk.record.read_text().splitlines()[0] == "frame,time,c.x"
    assert len(desk.record.read_text().splitlines()) == 12


def test_inherited_descriptors_end_at_the_modules(desk, counting):
    ends = os.pipe()
    for end in ends:
        os.set_inheritable(end, True)
    high = fcntl.fcntl(ends[1], fcntl.F_DUPFD, 900)
    done = finished(desk, [desk.hermes, "run", counting()], close_fds=False)
    for end in (*ends, high):
        os.close(end)
    assert done.returncode == 0, done.stderr
    assert found(desk)["open"] == "0"


# ---- umask, limits, folder, environment -----------------------------------------------------------------------

@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_umask(desk, counting, mask):
    before = shared_memory()
    config = counting("realtime", 1000)
    process = subprocess.Popen([desk.hermes, "run", str(config), "--record", str(desk.record)], umask=mask, cwd=desk.folder,
                               env=desk.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: runs(desk) and desk.record.exists(), "it runs")
        made = [path for path in shared_memory() - before if desk.name in path.name]
        made += [file for path in made if path.is_dir() for file in path.iterdir()]
        modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in made}
        assert len(modes) >= 4, modes
        for path in made:
            assert modes[path.name] == (0o700 if path.is_dir() else 0o600), modes
        assert stat.S_IMODE(desk.record.stat().st_mode) & 0o700 == 0o600
    finally:
        process.terminate()
        assert process.wait(20) == 130, process.stderr.read()
    assert found(desk)["umask"] == f"{mask & 0o077:o}"


def test_modules_keep_the_limit_on_open_files(desk, counting):
    soft, hard = 200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = finished(desk, [desk.hermes, "run", counting()], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
    assert done.returncode == 0, done.stderr
    assert found(desk)["files"] == str(soft)


def test_files_that_may_not_grow(desk, counting):
    """Past `ulimit -f` the recording fails with a reason; nothing dies by SIGXFSZ."""
    size = 400 << 10
    done = finished(desk, [desk.hermes, "run", counting(end=400), "--record", desk.record],
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert "ulimit -f" in done.stderr and "out.csv" in done.stderr, done.stderr
    text = desk.record.read_text()
    assert text.endswith("\n") and len(text) <= size
    tiny = finished(desk, [desk.hermes, "run", counting()], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    assert tiny.returncode in (0, 2) and (tiny.returncode == 0 or "ulimit -f" in tiny.stderr), (tiny.returncode, tiny.stderr)


def test_folder_that_is_gone(desk, counting):
    gone = desk.folder / "gone"
    gone.mkdir()
    config = counting()
    done = finished(desk, ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", desk.hermes, "run", config, "--record", desk.record], cwd=gone)
    assert done.returncode == 0 and desk.record.exists(), done.stderr
    gone.mkdir()
    done = finished(desk, ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", desk.hermes, "run", "sim.yaml"], cwd=gone)
    assert done.returncode == 1 and "sim.yaml" in done.stderr, done.stderr


def test_no_environment(desk, counting):
    done = finished(desk, [desk.hermes, "run", counting(), "--print", "c.x"], env={})
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("t=0.1 c.x=0.0")


@pytest.mark.parametrize("locale", ["tr_TR.UTF-8", "de_DE.UTF-8", "no such locale"])
def test_locale(desk, counting, locale):
    done = finished(desk, [desk.hermes, "run", counting(), "--print", "c.x"], env={**desk.environment, "LC_ALL": locale, "LANG": locale})
    assert done.returncode == 0 and done.stdout.startswith("t=0.1 "), done.stdout + done.stderr
