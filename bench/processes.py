"""Programs as the measurements start them, and what the kernel says of them."""

import ctypes
import os
import signal
import subprocess
from pathlib import Path

HANGS_SECONDS = 600  # far beyond any measurement


class Failed(Exception):
    """A measurement could not be made; the text says why."""


def run_checked(command):
    """Standard output of a command that must succeed."""
    text = " ".join(map(str, command))
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                timeout=HANGS_SECONDS)
    except subprocess.TimeoutExpired as expired:
        raise Failed(f"`{text}` hangs: {(expired.stderr or b'').decode(errors='replace')[-2000:]}") from None
    except OSError as error:
        raise Failed(f"`{text}` can't be started: {error}") from None
    if result.returncode != 0:
        raise Failed(f"`{text}` exited with {result.returncode}: {result.stderr.decode(errors='replace')[-2000:]}")
    return result.stdout.decode()


def compile_c(source, output, *arguments):
    run_checked([os.environ.get("CC", "cc"), "-std=c11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic",
                 "-Werror", str(source), "-o", str(output), *map(str, arguments)])


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def cpu_ticks(pid, *, ended=False):
    """Processor time of a process and of those beneath it, in the kernel's ticks. ended: of those that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, gone = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return own + (gone if ended else sum(map(cpu_ticks, children_of(pid))))


def resident_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024.0
    raise Failed(f"the kernel does not say how much memory process {pid} has")


def end_with_parent():
    """In a child, before it becomes its program: it gets SIGTERM when the measurement itself is killed."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
