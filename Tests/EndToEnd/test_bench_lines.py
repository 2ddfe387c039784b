"""What measurements stand on: that floors compute what they say, that the delay loses nothing, and that the gate shuts. No
time is asserted."""
import importlib.util
import json
import random
import shutil
import socket
import subprocess
import threading

import pytest
from conftest import REPOSITORY
from ports import BLOCKS

BENCH = REPOSITORY / "bench"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")

    def compile_c(name):
        program = folder / name
        if not program.exists():
            subprocess.run(["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", BENCH / f"{name}.c", "-o", program,
                            "-pthread"], check=True)
        return program

    return compile_c


# ---- The bare stream ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("words", [(1, 50), (100, 50, 3, "unix"), (100_000, 5), (100_000, 5, 2, "unix")])
def test_bare_stream_computes_what_a_plain_loop_does(compiled, words):
    done = subprocess.run([compiled("tcp_floor"), *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr  # 2 when a value is not the loop's
    assert json.loads(done.stdout)["signals"] == words[0]


@pytest.mark.parametrize("words", [(), (0, 5), (1, 5, 65), (1, 5, 1, "smoke"), (1, 5, 1, "127.0.0.1:x"), (1, 5, 1, "tcp", 1)])
def test_bare_stream_of_no_sense(compiled, words):
    done = subprocess.run([compiled("tcp_floor"), *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 64 and "usage: tcp_floor" in done.stderr


# ---- The delay ----------------------------------------------------------------------------------------------------

@pytest.fixture
def delayed(compiled):
    """`delayed(microseconds, port)`: the delay before that port of 127.0.0.1, at 127.0.0.2; ends with the test."""
    started = []

    def start(microseconds, port):
        process = subprocess.Popen([compiled("delay"), str(microseconds), "127.0.0.2", "127.0.0.1", f"{port}-{port}"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"listening\n"

    yield start
    for process in started:
        process.stdin.close()
        assert process.wait(20) == 0
        process.stdout.close()


@pytest.mark.parametrize("microseconds", [0, 3000])
def test_delay_passes_on_every_byte_both_ways(delayed, microseconds):
    """More than all buffers on the way hold, while the other side reads nothing yet; the end of a stream, too."""
    port = next(BLOCKS)
    data = random.Random(1).randbytes(30_000_000)
    with socket.create_server(("127.0.0.1", port)) as server:
        delayed(microseconds, port)
        with socket.create_connection(("127.0.0.2", port)) as near:
            far, _ = server.accept()
            with far:
                sender = threading.Thread(target=lambda: (near.sendall(data), near.shutdown(socket.SHUT_WR)))
                sender.start()
                far.sendall(data[:5_000_000])
                sender.join(60)
                assert not sender.is_alive(), "the delay does not read on"
                assert far.makefile("rb").read() == data
                far.shutdown(socket.SHUT_WR)
                assert near.makefile("rb").read() == data[:5_000_000]


def test_delay_tells_that_a_connection_is_gone(delayed):
    port = next(BLOCKS)
    with socket.create_server(("127.0.0.1", port)) as server:
        delayed(1000, port)
        near = socket.create_connection(("127.0.0.2", port))
        far, _ = server.accept()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        near.settimeout(20)
        try:
            assert near.recv(1) == b""
        except ConnectionResetError:
            pass
        near.close()
    with socket.create_connection(("127.0.0.2", port)) as nobody:  # nobody listens there any more
        nobody.settimeout(20)
        try:
            assert nobody.recv(1) == b""
        except ConnectionResetError:
            pass


# ---- The gate -----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def gate():
    spec = importlib.util.spec_from_file_location("gate", BENCH / "gate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(key, ratios, least=False):
    ratios = list(ratios)
    middle = sorted(ratios)[len(ratios) // 2]
    return {"key": key, "name": key, "gated": True, "ratio": middle, "bar_is": "least" if least else "most", "floor_name": "a floor",
            "floor_rounds": [2.0] * len(ratios), "hermes_rounds": [2 * ratio for ratio in ratios]}


ABOUT = {"cpu": "some"}


@pytest.mark.parametrize("least, worse, better", [(True, 0.79, 2.0), (False, 1.26, 0.5)])
def test_what_is_worse_than_its_bound_is_named(gate, tmp_path, least, worse, better):
    file = tmp_path / "bounds.json"
    gate.store([line("p: speed", [1.0] * 5, least)], ABOUT, "today", file)
    bounds = gate.stored_bounds(file)
    (found,) = gate.worse([line("p: speed", [worse] * 5, least)], bounds)
    assert "p: speed" in gate.complaint(found, bounds["p: speed"]) and str(worse) in gate.complaint(found, bounds["p: speed"])
    assert gate.worse([line("p: speed", [better] * 5, least), line("p: speed", [1.0] * 5, least)], bounds) == []


def test_a_noisy_line_has_a_wider_bound(gate, tmp_path):
    file = tmp_path / "bounds.json"
    gate.store([line("p: calm", [1.0] * 5), line("p: noisy", [0.8, 0.9, 1.0, 1.1, 1.2]), line("p: wild", [0.1, 0.5, 1.0, 5.0, 9.0])],
               ABOUT, "today", file)
    bounds = gate.stored_bounds(file)
    assert [bounds[key]["most"] for key in ("p: calm", "p: noisy", "p: wild")] == [1.25, 1.4, 1.6]


def test_bounds_of_parts_that_were_not_measured_stay(gate, tmp_path):
    file = tmp_path / "bounds.json"
    gate.store([line("p: one", [1.0] * 3), line("p: gone", [1.0] * 3), line("q: two", [2.0] * 3)], ABOUT, "today", file)
    gate.store([line("p: one", [4.0] * 3)], ABOUT, "tomorrow", file)
    bounds = gate.stored_bounds(file)
    assert bounds["p: one"]["most"] == 5.0 and bounds["q: two"]["most"] == 2.5
    assert "p: gone" not in bounds
    assert gate.missing([], bounds, {"q"}) == ["q: two"]
    assert gate.unknown([line("p: new", [1.0] * 3)], bounds) == ["p: new"]


def test_nothing_stored_for_this_machine(tmp_path):
    folder = tmp_path / "bench"
    shutil.copytree(BENCH, folder, ignore=shutil.ignore_patterns("bounds.json", "__pycache__"))
    done = subprocess.run(["python3", "-B", folder / "run.py", "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--store" in done.stderr
