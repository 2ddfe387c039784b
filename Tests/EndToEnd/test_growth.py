"""Ten times as much takes about ten times as long: what takes the square of it is found here, by the processor time that a
command needs for n and for 10 n of something."""
import os
import resource
import subprocess

import pytest
from conftest import HERMES

N = 400
FLOOR = 0.15
"""Seconds below which a time is all start-up and noise."""
MOST = 40
"""10 n may take so many times as long as n; the square would be 100."""
PROGRAM = "{ type: process, executable: /bin/true }"


def one_module(n, wire):
    return f"modules:\n  m: {PROGRAM}\nwiring:\n" + "".join(wire(i) for i in range(n))


def modules(n, extra=""):
    names = [f"m{i}" for i in range(n)]
    text = "modules:\n" + "".join(f"  {name}: {PROGRAM}\n" for name in names) + "wiring:\n"
    text += "".join(f"  - {{ src: m{i}.o, dst: m{(i + 1) % n}.i }}\n" for i in range(n))
    return text + extra.replace("NAMES", ", ".join(names))


def hosts_and_modules(n):
    text = "hosts:\n" + "".join(f'  h{i}: {{ endpoint: "tcp://127.0.0.1:{1000 + i}" }}\n' for i in range(n))
    text += "modules:\n" + "".join(f"  m{i}: {{ type: process, executable: x, host: h{i} }}\n" for i in range(n))
    return text + "wiring:\n" + "".join(f"  - {{ src: m{i}.o, dst: m{(i + 1) % n}.i }}\n" for i in range(n))


SHAPES = {
    "wires inside a module": lambda n: one_module(n, lambda i: f"  - {{ src: m.a{i}, dst: m.b{i} }}\n"),
    "a chain of wires": lambda n: one_module(n, lambda i: f"  - {{ src: m.a{i}, dst: m.a{i + 1} }}\n"),
    "bulk wires": lambda n: one_module(n, lambda i: f"  - {{ src: m.x{i}.*, dst: m.y{i}.* }}\n"),
    "modules": modules,
    "phases": lambda n: modules(n, "execution: { schedule: [NAMES] }\n"),
    "realtime modules": lambda n: modules(n, "execution: { mode: realtime, realtime: { module_cpus: [0] } }\n"),
    "hosts": hosts_and_modules,
    "errors": lambda n: one_module(n, lambda i: f"  - {{ src: n.a{i}, dst: m.b }}\n"),
    "misspelt modules": lambda n: modules(n, "execution: { schedule: [NAMES] }\n").replace("src: m", "src: mm"),
}


def seconds(desk, name, text, words):
    path = desk.write(f"{name}.yaml", f'version: "0.2"\nname: {desk.name}\n{text}')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([HERMES, *words, path], cwd=desk.folder, env=desk.environment, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=240)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    return done.returncode, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("words", [["validate"], ["plan"], ["plan", "--format", "json"]], ids=" ".join)
def test_commands_grow_with_what_they_are_given(desk, shape, words):
    code, small = seconds(desk, "small", SHAPES[shape](N), words)
    same, large = seconds(desk, "large", SHAPES[shape](10 * N), words)
    assert code == same
    assert large < MOST * max(small, FLOOR), f"{small:.2f} s for {N}, {large:.2f} s for {10 * N}"
