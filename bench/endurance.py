"""Memory of a long run: what hermes, nodes and modules have after a tenth of the frames, they have at the end."""

import mmap
import struct
import subprocess
import time

from many_hosts import Nodes, Ring, compile_neighbour
from processes import Failed, children_of, end_with_parent, resident_mb

SEGMENT = "/dev/shm/hermes_hermes-bench"  # the desk's
BAR_MB = 0.5


def bench_memory(bench, frames):
    compile_neighbour(bench.folder, 100)
    with Nodes(bench.hermes, bench.folder, 2, bench.execution) as nodes:
        ring = Ring(bench.hermes, nodes, 2, 100)
        early, late = memory_of(ring, frames)
    for name in early:
        bench.add(f"memory gained, {name}", "MB", [], [late[name] - early[name]], BAR_MB, by="value",
                  note=f"between frame {frames // 10} and frame {frames}, of {late[name]:.1f} MB")


def memory_of(ring, frames):
    """By process, after a tenth of the frames and shortly before the last."""
    process = subprocess.Popen(ring.command(frames, None), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, preexec_fn=end_with_parent)
    try:
        found = []
        for at in (frames // 10, frames - frames // 50):
            while (frame := current_frame()) < at:
                if process.poll() is not None:
                    raise Failed(f"hermes ended at frame {frame}: {process.stderr.read().decode(errors='replace')[-2000:]}")
                time.sleep(0.01)
            found.append(everybody(process.pid, ring.nodes))
        if process.wait() != 0:
            raise Failed(f"hermes run exited with {process.returncode}: {process.stderr.read().decode(errors='replace')[-2000:]}")
        return found
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def current_frame():
    """As include/hermes/segment.h has it; 0 while there is no segment."""
    try:
        with open(SEGMENT, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as segment:
            return struct.unpack_from("<Q", segment, 8)[0]
    except (OSError, ValueError, struct.error):
        return 0


def everybody(pid, nodes):
    """Of each kind the one that has most: hermes, a node, a node's run, a module."""
    trees = [descendants(process.pid) for process in nodes.processes]
    modules = [resident_mb(pid) for tree in trees for pid in tree if is_module(pid)]
    runs = [resident_mb(pid) for tree in trees for pid in tree if not is_module(pid)]
    return {"hermes": resident_mb(pid), "a node": max(nodes.resident_mb()), "a node's run": max(runs), "a module": max(modules)}


def is_module(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as words:
        return b"neighbour_" in words.read().split(b"\0")[0]


def descendants(pid):
    found = []
    for child in map(int, children_of(pid)):
        found += [child, *descendants(child)]
    return found
