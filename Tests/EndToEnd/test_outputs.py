"""Files that commands write: never two writers, never over an input, never before the run begins, wherever modules go meanwhile."""
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest
from conftest import LIBRARY, REPOSITORY, Running, compile_c, read_recording, wait_for
from test_faults import FINE, Bench


@pytest.fixture
def bench(desk):
    return Bench(desk)


def short(bench, **execution):
    return bench.config({"m": "signal x"}, **{"end_time": 0.1, **execution})


def rows(text):
    return [line for line in text.splitlines() if re.match(r"\d+,", line)]


# ---- One writer -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("other", ["out.csv", "./out.csv", "hard.csv", "soft.csv", "folder/out.csv"])
def test_a_second_run_into_one_file_is_refused(bench, other):
    """By whatever name; it is told who has the file, and leaves it alone."""
    desk = bench.desk
    (desk.folder / "folder").symlink_to(desk.folder)
    with bench.live({"m": "signal x"}) as sim:
        sim.ready().frame(5)
        if other == "hard.csv":
            os.link(desk.record, desk.folder / other)
        elif other == "soft.csv":
            (desk.folder / other).symlink_to("out.csv")
        second = bench.config({"m": "signal x"}, name=f"{desk.name}-second", end_time=0.1)
        done = desk.command("run", second, "--record", other)
        done.expect(2, other, f"process {sim.process.pid}", "another file")
        sim.command("stop")
        recording = sim.finish().expect(0).recording
    assert recording.frames == list(range(len(recording.rows)))


def test_the_file_is_free_again_when_its_run_was_killed(bench):
    with bench.live({"m": "signal x"}) as sim:
        sim.ready().frame(5)
        sim.process.kill()
        done = bench.desk.run(short(bench)).expect(0)
    assert done.recording.frames == list(range(11))


@pytest.mark.parametrize("options", [("--record", "x.csv", "--summary", "x.csv"), ("--record", "x.csv", "--trace", "./x.csv"),
                                     ("--trace", "x", "--summary", "y"), ("--record", "/dev/stdout", "--summary", "taken")])
def test_two_outputs_are_never_one_file(bench, options):
    folder = bench.desk.folder
    (folder / "y").symlink_to("x")
    with open(folder / "taken", "w") as out:
        done = subprocess.run([bench.desk.hermes, "run", short(bench), *options], stdout=out, stderr=subprocess.PIPE,
                              text=True, cwd=folder, env=bench.desk.environment)
    assert done.returncode == 64 and all(option in done.stderr for option in options[::2]), done.stderr
    assert not (folder / "x").exists() and not (folder / "x.csv").exists(), "nothing is left of a run that never began"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_is_printed_and_recorded_does_not_mix(bench, stream):
    with open(bench.desk.folder / "x.csv", "w") as out:
        done = subprocess.run([bench.desk.hermes, "run", short(bench), "--record", "x.csv"], cwd=bench.desk.folder,
                              env=bench.desk.environment, text=True, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: out})
    assert done.returncode == 64
    assert f"/dev/{stream}" in (done.stderr or (bench.desk.folder / "x.csv").read_text())


# ---- Never an input ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("option", ["--summary", "--trace", "--record"])
@pytest.mark.parametrize("what", ["configuration", "program", "config", "script", "files", "hard link", "key"])
def test_an_input_is_never_overwritten(bench, option, what):
    folder = bench.desk.folder
    (folder / "extra").write_text("precious")
    (folder / "script.py").write_text("precious")
    config = folder / "sim"
    config.write_text("version: '0.2'\nmodules:\n  m: { type: process, executable: ./trouble, config: ./extra, files: [./data] }\n"
                      "  s: { type: script, script: ./script.py }\nexecution: { end_time: 0.1 }\n")
    (folder / "data").write_text("precious")
    (folder / "key").write_text("precious")
    os.link(config, folder / "link")
    for made in ("script", "key"):
        (folder / made).exists() or (folder / made).symlink_to("script.py")
    path = {"configuration": "./sim", "program": "trouble", "config": "extra", "script": "script", "files": "data",
            "hard link": "link", "key": "key"}[what]
    before = (folder / path).read_bytes()
    done = bench.desk.command("run", config, option, path, "--key", "key")
    assert done.code == 64 and option in done.stderr and "read" in done.stderr, done.said
    assert (folder / path).read_bytes() == before


def test_bench_overwrites_no_input(bench):
    config = bench.desk.write("hosts.json", "version: '0.2'\nhosts: { a: { endpoint: 'tcp://127.0.0.1:1' } }\n"
                              "modules: { m: { type: process, executable: trouble, host: a } }\n")
    before = config.read_bytes()
    done = bench.desk.command("bench", config, "--json", "hosts.json")
    assert done.code == 64 and config.read_bytes() == before, done.said
    done = bench.desk.command("bench", "--quick", "--json", "x.svg", "--plot", "./x.svg")
    assert done.code == 64 and not (bench.desk.folder / "x.svg").exists(), done.said


# ---- As it was until the run begins -----------------------------------------------------------------------------

@pytest.mark.parametrize("trouble", ["invalid", "no module", "init", "wire", "name"])
def test_a_run_that_never_begins_leaves_files_as_they_were(bench, trouble):
    old = {name: f"old {name}" for name in ("out.csv", "trace.json")}
    for name, text in old.items():
        bench.desk.write(name, text)
    config = {"invalid": lambda: bench.desk.config("version: '0.3'\n"),
              "no module": lambda: bench.desk.config("version: '0.2'\nmodules: { m: { type: process, executable: /bin/false } }\n"),
              "init": lambda: bench.config({"m": "signal x\ninit return 3"}),
              "wire": lambda: bench.config({"m": "signal x"}, [("m.nothing", "m.x")]),
              "name": lambda: short(bench)}[trouble]()
    if trouble == "name":
        with Running(bench.desk, config, "--mode", "realtime", "--end-time", 60, record=False) as sim:
            sim.ready()
            done = bench.desk.command("run", config, "--record", "out.csv", "--summary", "new.json")
            sim.command("stop")
    else:
        done = bench.desk.command("run", config, "--record", "out.csv", "--summary", "new.json")
    assert done.code in (1, 2), done.said
    assert (bench.desk.folder / "out.csv").read_text() == old["out.csv"]


def test_a_recording_is_replaced_whole(bench):
    bench.desk.write("out.csv", "x" * 100_000)
    assert bench.desk.run(short(bench)).expect(0).recording.frames == list(range(11))


# ---- Endings ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("ending", ["parquet", "h5", "mcap", "hdf5", "json", "csv.gz", "CSVX"])
def test_an_unknown_ending_is_refused(bench, ending):
    done = bench.desk.command("run", short(bench), "--record", f"out.{ending}")
    assert done.code == 64 and ".csv" in done.stderr and f"out.{ending}" in done.stderr, done.said
    assert not (bench.desk.folder / f"out.{ending}").exists()


@pytest.mark.parametrize("path", ["out.csv", "OUT.CSV", "out", "a.b/out", ".hidden"])
def test_known_endings_and_none(bench, path):
    (bench.desk.folder / "a.b").mkdir()
    bench.desk.command("run", short(bench), "--record", path).expect(0)
    assert len(rows((bench.desk.folder / path).read_text())) == 11


def test_a_fifo_may_have_any_name(bench):
    fifo = bench.desk.folder / "pipe.h5"
    os.mkfifo(fifo)
    found = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_text()))
    reader.start()
    bench.desk.command("run", short(bench), "--record", "pipe.h5").expect(0)
    reader.join(30)
    assert len(rows(found[0])) == 11


# ---- What the process was given open ------------------------------------------------------------------------------

NAMES = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/proc/thread-self/fd/1", "./link"]


@pytest.mark.parametrize("path", NAMES)
@pytest.mark.parametrize("mode", ["w", "a"])
def test_standard_output_in_a_file(bench, path, mode):
    """What was there before and what else is printed stays: the descriptor is used, not opened anew."""
    (bench.desk.folder / "link").symlink_to("/dev/stdout")
    target = bench.desk.write("all.txt", "yesterday\n")
    with open(target, mode) as out:
        print("today", file=out, flush=True)
        done = subprocess.run([bench.desk.hermes, "run", short(bench), "-q", "--record", path, "--digest", "--print", "m.x"],
                              stdout=out, stderr=subprocess.PIPE, text=True, cwd=bench.desk.folder, env=bench.desk.environment)
        print("tomorrow", file=out, flush=True)
    assert done.returncode == 0, done.stderr
    lines = target.read_text().splitlines()
    before = ["yesterday", "today"] if mode == "a" else ["today"]
    assert lines[:len(before) + 1] == [*before, "frame,time,m.x"] and lines[-1] == "tomorrow"
    assert [line for line in lines if line.startswith("digest ")] and [line for line in lines if line.startswith("t=")]
    assert [int(row.split(",")[0]) for row in rows("\n".join(lines))] == list(range(11))


@pytest.mark.parametrize("path", ["/dev/stdout", "/proc/self/fd/1"])
def test_standard_output_is_a_socket(bench, path):
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([bench.desk.hermes, "run", short(bench), "-q", "--record", path, "--digest"], stdout=theirs,
                               stderr=subprocess.PIPE, text=True, cwd=bench.desk.folder, env=bench.desk.environment)
    theirs.close()
    with ours.makefile() as stream:
        text = stream.read()
    assert process.wait(60) == 0, process.stderr.read()
    assert len(rows(text)) == 11 and "digest " in text
    process.stderr.close()
    ours.close()


def test_standard_output_is_a_pipe_that_is_read_slowly(bench):
    """More than a pipe holds, and lines of others in between: each stays whole, and the pipe's flags are the reader's affair."""
    config = bench.config({"m": "signals 200"}, end_time=40)
    process = subprocess.Popen([bench.desk.hermes, "run", config, "-q", "--record", "/dev/stdout", "--digest"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, cwd=bench.desk.folder, env=bench.desk.environment)
    text = process.stdout.read()
    assert process.wait(60) == 0, process.stderr.read()
    lines = text.splitlines()
    width = lines[0].count(",")
    assert {line.count(",") for line in rows(text)} == {width} and len(rows(text)) == 4001
    process.stdout.close()
    process.stderr.close()


def test_a_descriptor_of_the_caller(bench):
    target = bench.desk.folder / "all"
    done = subprocess.run(["bash", "-c", f"exec 7>all; echo first >&7; {bench.desk.hermes} run {short(bench)} -q "
                           "--record /dev/fd/7 --summary /dev/stderr; code=$?; echo last >&7; exit $code"],
                          capture_output=True, text=True, cwd=bench.desk.folder, env=bench.desk.environment)
    assert done.returncode == 0, done.stderr
    lines = target.read_text().splitlines()
    assert lines[0] == "first" and lines[-1] == "last" and len(lines) == 14
    assert json.loads(done.stderr)["outcome"] == "completed"
    done = bench.desk.command("run", short(bench), "--record", "/dev/fd/7")
    done.expect(2, "/dev/fd/7", "no file is open")
    with open(target) as source:
        done = subprocess.run([bench.desk.hermes, "run", short(bench), "--record", "/dev/stdin"], stdin=source, capture_output=True,
                              text=True, cwd=bench.desk.folder, env=bench.desk.environment)
    assert done.returncode == 2 and "/dev/stdin" in done.stderr and "reading only" in done.stderr, done.stderr


def test_the_terminal(bench):
    main, side = os.openpty()
    process = subprocess.Popen([bench.desk.hermes, "run", short(bench), "-q", "--record", "/dev/stdout", "--digest"], stdout=side,
                               stderr=side, cwd=bench.desk.folder, env=bench.desk.environment)
    os.close(side)
    text = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(main)
    assert process.wait(60) == 0 and len(rows(text.decode())) == 11 and b"digest" in text


# ---- Where modules go meanwhile -----------------------------------------------------------------------------------

WANDERER = """
#include <hermes/module.h>
#include <sys/stat.h>
#include <unistd.h>
static double x;
static int init(const char *config, const char *shm) { (void)config; (void)shm; mkdir("elsewhere", 0755); return chdir("elsewhere"); }
static int step(double dt) { x += dt; return 0; }
static hermes_module_t module = {.init = init, .step = step};
hermes_module_t *hermes_module_create(void) { hermes_declare(&(hermes_signal_t){"x", HERMES_F64, HERMES_OUTPUT, 0, 0, &x}); return &module; }
void hermes_module_destroy(hermes_module_t *m) { (void)m; }
"""


def test_an_inproc_module_that_changes_the_folder(bench, tmp_path):
    source = tmp_path / "wanderer.c"
    source.write_text(WANDERER)
    compile_c(["-fPIC", "-shared", source, "-o", bench.desk.folder / "wanderer.so", f"-L{LIBRARY}", "-lhermes", f"-Wl,-rpath,{LIBRARY}"])
    config = bench.desk.config(f"version: '0.2'\nname: {bench.desk.name}\nmodules: {{ w: {{ type: inproc, executable: ./wanderer.so }} }}\n"
                               "execution: { mode: single_frame, end_time: 10 }\n")
    with Running(bench.desk, config, "--record", "out.csv", "--summary", "sum.json", "--trace", "t.json", record=False) as sim:
        sim.ready()
        sim.command("step", 2)
        sim.command("reset")
        sim.command("step", 1)
        sim.command("stop")
        sim.finish().expect(0)
    folder = bench.desk.folder
    assert not [path for path in (folder / "elsewhere").iterdir() if path.suffix != ".profraw"], "nothing is written where the module went"
    assert [epoch.frames for epoch in read_recording(folder / "out.csv")] == [[0, 1, 2], [0, 1]]
    assert json.loads((folder / "sum.json").read_text())["outcome"] == "stopped" and (folder / "t.json").stat().st_size


# ---- Parts ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("there", ["older part", "another's", "input", "output"])
def test_the_part_of_an_epoch_overwrites_nothing_else(bench, there):
    desk, part = bench.desk, bench.desk.folder / "out.epoch1.csv"
    config = bench.config({"m": "signal x"}, mode="single_frame", end_time=10)
    options = []
    if there == "older part":
        part.write_text("frame,time,m.x\n0,0,17\n")
    elif there == "another's":
        part.write_text("my thesis\n")
    elif there == "input":
        os.link(config, part)
    else:
        options = ["--summary", part]
    before = part.read_text() if part.exists() else ""
    with Running(desk, config, *options) as sim:
        sim.ready()
        sim.command("step", 1)
        if there == "older part":
            sim.command("reset")
            sim.command("stop")
            assert [epoch.frames for epoch in sim.finish().expect(0).epochs] == [[0, 1], [0]]
            return
        sim.command("reset", code=2)
        sim.finish().expect(2, "out.epoch1.csv")
    if there != "output":
        assert part.read_text() == before
    assert len(rows(desk.record.read_text())) == 2


def test_epochs_in_a_stream_follow_each_other(bench):
    config = bench.config({"m": "signal x"}, mode="single_frame", end_time=10)
    with Running(bench.desk, config, "--record", "/dev/stdout", record=False) as sim:
        sim.ready()
        sim.command("step", 1)
        sim.command("reset")
        sim.command("stop")
        sim.finish().expect(0)
    assert [line.split(",")[0] for line in sim.stdout.splitlines()] == ["frame", "0", "1", "frame", "0"]
    assert not os.path.exists("/dev/stdout.epoch1")
