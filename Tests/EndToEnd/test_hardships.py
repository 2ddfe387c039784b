"""What a careful attacker, an odd compiler flag or a slow module would find: each was a defect once."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from conftest import LIBRARY, LIBS, REPOSITORY, Running, compile_c

MODULE = """
#include <hermes/module.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#define UNUSED(x) (void)(x)
static hermes_module_t module;
"""
ENDS = """
hermes_module_t *hermes_module_create(void) { announce(); return &module; }
void hermes_module_destroy(hermes_module_t *unused) { UNUSED(unused); }
"""


@pytest.fixture
def compiled(desk):
    """Compiles a module from its middle part: statics, callbacks, and `announce`, which fills `module`."""

    def build(name, text, *flags, shared=False):
        source = desk.write(f"{name}.c", MODULE + text + ENDS)
        kind = ["-fPIC", "-shared"] if shared else []
        library = [] if shared else [LIBRARY / "libhermes.a", *LIBS]
        output = desk.folder / (name + (".so" if shared else ""))
        compile_c([*kind, *flags, source, "-o", output, *library])
        return output

    return build


def config(desk, modules, wiring="", **execution):
    execution = {"mode": "afap", "rate_hz": 100, **execution}
    lines = ["version: '0.2'", f"name: {desk.name}", "modules:"]
    lines += [f"  {name}: {settings}" for name, settings in modules.items()]
    lines += [wiring] if wiring else []
    lines += ["execution:"] + [f"  {key}: {value}" for key, value in execution.items()]
    return desk.write("sim.yaml", "\n".join(lines) + "\n")


# ---- The same bits ---------------------------------------------------------------------------------------------

TINY = """
static double y = 4e-310, in;
static int step(double dt) { UNUSED(dt); return 0; }
static void announce(void) {
  module.step = step;
  hermes_declare(&(hermes_signal_t){.name = "y", .flags = HERMES_OUTPUT, .storage = &y});
  hermes_declare(&(hermes_signal_t){.name = "in", .flags = HERMES_INPUT, .storage = &in});
}
"""


@pytest.mark.parametrize("kind", ["process", "inproc"])
def test_a_module_that_flushes_small_numbers_changes_no_wire(desk, compiled, kind):
    """Who finishes a phase last delivers its wires; whatever that module did to its floating-point unit must not show."""
    compiled("exact", TINY)
    compiled("hasty", TINY, "-ffast-math", shared=kind == "inproc")
    program = "./hasty.so" if kind == "inproc" else "./hasty"
    path = config(desk, {"exact": "{ type: process, executable: ./exact }",
                         "hasty": f"{{ type: {kind}, executable: {program} }}"},
                  "wiring: [{ src: exact.y, dst: hasty.in, gain: 2.0 }]", schedule="[[exact, hasty]]", end_time=10)
    done = desk.run(path).expect(0)
    # Delivered at the end of a frame, handed over in the next: the slot keeps what was delivered.
    assert {float(row["hasty.in"]) for row in done.recording.rows} == {8e-310}


def test_signals_that_only_the_configuration_lists_are_carried(desk, compiled):
    compiled("silent", """
static double v = 3;
static double get_signal(const char *name) { return strcmp(name, "v") == 0 ? v : -1; }
static void set_signal(const char *name, double value) { if (strcmp(name, "v") == 0) v = value; }
static int step(double dt) { UNUSED(dt); v += 1; return 0; }
static void announce(void) { module.step = step; module.get_signal = get_signal; module.set_signal = set_signal; }
""")
    path = config(desk, {"silent": "{ type: process, executable: ./silent, signals: [{ name: v, type: i32, writable: true }] }"},
                  end_time=0.03)
    done = desk.run(path, "--set", "silent.v=10").expect(0)
    assert [int(row["silent.v"]) for row in done.recording.rows] == [10, 11, 12, 13]


def test_the_frame_is_0_during_a_reset(desk, compiled):
    compiled("asker", """
static double asked = -1;
static int step(double dt) { UNUSED(dt); return 0; }
static int reset(void) { asked = (double)hermes_frame(); return 0; }
static void announce(void) {
  module.step = step; module.reset = reset;
  hermes_declare(&(hermes_signal_t){.name = "asked", .flags = HERMES_OUTPUT, .storage = &asked});
}
""")
    with Running(desk, config(desk, {"asker": "{ type: process, executable: ./asker }"}, mode="single_frame")) as sim:
        sim.ready()
        sim.command("step", 3)
        sim.command("reset")
        assert float(sim.command("get", "asker.asked").stdout) == 0
        sim.command("stop")


# ---- Safe state ------------------------------------------------------------------------------------------------

SLOW = """
static const char *path = "%s";
static void note(const char *what) { FILE *f = fopen(path, "a"); fprintf(f, "%%s\\n", what); fclose(f); }
static void rest(long ms) { struct timespec t = {ms / 1000, ms %% 1000 * 1000000}; nanosleep(&t, NULL); }
static int step(double dt) { UNUSED(dt); rest(%d); return 0; }
static void terminate(void) { note("begin"); rest(%d); note("end"); }
static void announce(void) { module.step = step; module.terminate = terminate; }
"""


@pytest.mark.parametrize("step_ms, terminate_ms", [(1, 700), (420, 300)], ids=["slow-terminate", "slow-step"])
def test_terminate_gets_its_second_when_the_node_is_killed(desk, compiled, step_ms, terminate_ms):
    notes = desk.folder / "notes"
    compiled("slow", SLOW % (notes, step_ms, terminate_ms))
    with Running(desk, config(desk, {"slow": "{ type: process, executable: ./slow }"})) as sim:
        sim.ready().frame(2)
        os.kill(sim.process.pid, signal.SIGKILL)
        sim.process.wait()
        deadline = time.monotonic() + 20
        while not (notes.exists() and "end" in notes.read_text()):
            assert time.monotonic() < deadline, f"terminate was cut short: {notes.exists() and notes.read_text()}"
            time.sleep(0.02)
    assert notes.read_text().split() == ["begin", "end"], "once, and to its end"
    desk.command("run", config(desk, {"slow": "{ type: process, executable: ./slow }"}, end_time=0)).expect(0)


def test_an_inproc_module_that_hangs_ends_the_run(desk, compiled):
    notes = desk.folder / "notes"
    compiled("slow", SLOW % (notes, 0, 0))
    compiled("stuck", """
static volatile int forever = 1;
static int step(double dt) { UNUSED(dt); while (hermes_frame() == 3 && forever) {} return 0; }
static void announce(void) { module.step = step; }
""", shared=True)
    path = config(desk, {"slow": "{ type: process, executable: ./slow }", "stuck": "{ type: inproc, executable: ./stuck.so }"},
                  step_timeout_s=1)
    done = desk.run(path, timeout=20).expect(2, "waiting for", "stuck", "within 1 s")
    assert done.recording.frames == [0, 1, 2]
    deadline = time.monotonic() + 10
    while not (notes.exists() and "end" in notes.read_text()):
        assert time.monotonic() < deadline, "the other module reached its safe state"
        time.sleep(0.02)
    # Ended from inside a foreign call: the keeper clears up a moment later.
    desk.command("run", config(desk, {"slow": "{ type: process, executable: ./slow }"}, end_time=0)).expect(0)


def test_hundreds_of_modules_start(desk):
    script = desk.write("done.sh", "#!/bin/sh\nexit 0\n")
    script.chmod(0o755)
    modules = {f"m{index}": "{ type: script, script: ./done.sh }" for index in range(320)}
    desk.command("run", config(desk, modules, end_time=0.01), timeout=120).expect(0)


# ---- Other users -----------------------------------------------------------------------------------------------

def test_a_link_in_place_of_the_run_folder_is_not_followed():
    """As a user of its own, against a folder made for the purpose: what the link points at stays as it is."""
    if os.geteuid() != 0:
        pytest.skip("SKIPPED LOUDLY: only root can act as another user")
    user = 54321
    base = Path(f"/dev/shm/hermes-{user}")
    victim = Path(tempfile.mkdtemp(prefix="victim", dir="/tmp"))
    try:
        (victim / "kept").mkdir()
        (victim / "kept" / "control.sock").write_text("precious")
        (victim / "kept" / "0.command").write_text("precious")
        (victim / "sim.yaml").write_text("version: '0.2'\nname: linked\nmodules: { m: { type: script, script: ./s.sh } }\n"
                                         "execution: { end_time: 0.01 }\n")
        (victim / "s.sh").write_text("#!/bin/sh\nexit 0\n")
        for path in [victim, *victim.rglob("*")]:
            os.chown(path, user, user)
            path.chmod(0o755)
        base.symlink_to(victim)
        hermes = Path(os.environ.get("HERMES_BIN", REPOSITORY / ".build/debug/hermes")).resolve()
        environment = {**os.environ, "LLVM_PROFILE_FILE": "/dev/null"}  # that user has no business in our build folder
        for words in (["run", victim / "sim.yaml"], ["status"]):
            done = subprocess.run([hermes, *words], capture_output=True, text=True, timeout=30, user=user, group=user,
                                  extra_groups=[], cwd="/", env=environment)
            assert "Permission denied" not in done.stderr, done.stderr
            assert (victim / "kept" / "control.sock").exists() and (victim / "kept" / "0.command").exists()
            if words[0] == "run":
                assert done.returncode == 2 and "private folder" in done.stderr, done.stderr
    finally:
        base.unlink(missing_ok=True)
        shutil.rmtree(victim)
