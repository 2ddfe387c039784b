"""What our programs and modules start from, whatever started them: arguments, signals, descriptors, umask, limits, folder."""
import ctypes
import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import CC, Running, compile_c, environ, wait_for
from nodes import NODE
from ports import BLOCKS

COUNTING = """\
version: "0.2"
name: {name}
modules:
  c: {{ type: process, executable: ./trouble, config: ./c.trouble }}
execution: {{ mode: {mode}, rate_hz: 100, end_time: {end} }}
"""
EVERY = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}


@pytest.fixture
def counting(desk):
    desk.module("trouble")
    desk.write("c.trouble", "signal x")

    def config(mode="afap", end=0.1):
        return desk.write("sim.yaml", COUNTING.format(name=desk.name, mode=mode, end=end))
    return config


def ignore(numbers):
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def finished(desk, words, **how):
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": desk.environment, **how}
    return subprocess.run([str(word) for word in words], cwd=desk.folder, text=True, timeout=60, **how)


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
