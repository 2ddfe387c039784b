"""SimulationAPI against a run: scripts that Hermes starts, and clients from outside."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
from conftest import HERMES, LIBRARIES, ROOT, build_c, module_environment, program_of

sys.path.insert(0, str(ROOT / "Sources/Python"))
os.environ.setdefault("HERMES_LIBRARY", str(LIBRARIES / "libhermes.so"))

from hermes.scripting import SimulationAPI, SimulationEndedError  # noqa: E402


@pytest.fixture
def begin(tmp_path):
    """Starts `hermes run` with the typed conformer, its driver and, where given, a free script."""
    begun = []

    def beginning(*arguments, script=None, rate_hz=1000.0, mode="realtime"):
        if not HERMES.exists():
            pytest.skip(f"{HERMES} is not built; set HERMES_BIN to test through `hermes run`")
        lines = [
            'version: "0.2"',
            f"name: scripting-{os.getpid()}",
            "modules:",
            f"  driver: {{ type: process, executable: {build_c('driver.c')} }}",
            f"  conformer: {{ type: process, executable: {program_of('c-typed')} }}",
        ]
        if script is not None:
            (tmp_path / "free.py").write_text(textwrap.dedent(script))
            lines.append("  free: { type: script, script: ./free.py, signals: [ { name: level, type: i32 } ] }")
        wires = [f"  - {{ src: driver.{each}, dst: conformer.in_{each} }}" for each in ("f64", "f32", "i64")]
        lines += ["wiring:", *wires, *(["  - { src: free.level, dst: conformer.in_i32 }"] if script else [])]
        lines.append(f"execution: {{ mode: {mode}, rate_hz: {rate_hz}, schedule: [driver, conformer{', free' if script else ''}] }}")
        path = tmp_path / "sim.yaml"
        path.write_text("\n".join(lines) + "\n")
        environment = dict(os.environ, **module_environment())
        process = subprocess.Popen(
            [str(HERMES), "run", str(path), *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        begun.append(process)
        return process

    yield beginning
    for process in begun:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=10)


NAME = f"scripting-{os.getpid()}"


def test_a_client_follows_a_run(begin):
    process = begin("--frames", "3000")
    with SimulationAPI(NAME, timeout=10) as api:
        first = api.wait_frame(20, timeout=10)
        assert first >= 20 and api.wait_frame(first + 50, timeout=10) >= first + 50
        for _ in range(50):
            names = ["driver.f64", "conformer.in_f64", "driver.i64", "conformer.out.i64", "conformer.steps"]
            sample = api.sample(names)
            frame = sample["conformer.steps"]
            assert sample["driver.f64"] == sample["conformer.in_f64"] == frame * 0.1
            assert sample["conformer.out.i64"] == sample["driver.i64"] + 1 == 1000000000001 + frame
        api.inject({"conformer.gain": -2.0, "conformer.in_bool": True})
        api.wait_frame(api.get_frame() + 3, timeout=10)
        assert api.sample(["conformer.gain", "conformer.out.bool"]) == {"conformer.gain": -2.0, "conformer.out.bool": False}
        with pytest.raises(SimulationEndedError):
            api.wait_frame(10**9, timeout=30)
    assert process.wait(20) == 0, process.stderr.read()


def test_samples_are_whole_at_full_speed(begin):
    process = begin(mode="afap")
    with SimulationAPI(NAME, timeout=10) as api:
        api.wait_frame(1, timeout=10)
        names = ["driver.i64", "conformer.in_i64", "conformer.out.i64", "conformer.steps"]
        for _ in range(300):
            values = list(api.sample(names, as_array=True))
            assert values[0] == values[1] == values[2] - 1 == values[3] + 1e12
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 130


def test_a_free_script_drives_its_signals(begin):
    process = begin(
        "--frames",
        "2000",
        script="""
        import sys
        from hermes.scripting import SimulationAPI, ReadOnlySignalError
        sim = SimulationAPI()
        print("begins at", sim.get_frame() <= 1, sim.name, sys.argv[1:])
        sim.set("free.level", 41)
        sim.wait_frame(sim.get_frame() + 10)
        print("out", sim.get("conformer.out.i32"))
        try:
            sim.set("conformer.in_i32", 1)
        except ReadOnlySignalError as error:
            print("refused:", error)
        """,
    )
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    said = out + err
    assert f"/hermes_{NAME}" in said and "out 40" in said and "refused: 'conformer.in_i32' can't be set: a wire drives it" in said


def test_a_free_script_that_fails_ends_the_run(begin):
    begun = time.monotonic()
    process = begin(script="from hermes.scripting import SimulationAPI\nSimulationAPI().wait_frame(5)\nraise ValueError('no more')")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "ValueError: no more" in err and "free" in err
    assert time.monotonic() - begun < 20


def test_a_free_script_goes_when_the_run_ends(begin, tmp_path):
    script = f"""
    import os
    from hermes.scripting import SimulationAPI, SimulationEndedError
    sim = SimulationAPI()
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
    try:
        sim.wait_frame(10**9)
    except SimulationEndedError:
        open({str(tmp_path / "ended")!r}, "w").write("ended")
    """
    process = begin("--frames", "500", script=script)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    pid = int((tmp_path / "pid").read_text())
    assert not os.path.exists(f"/proc/{pid}")
