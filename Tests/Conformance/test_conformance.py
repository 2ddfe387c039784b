"""Every language's conformer against one table: under a node of one module, and through `hermes run`."""

import csv
import os
import signal
import subprocess
import time

import node
import pytest
import table
from conftest import CONFORMERS, HERE, HERMES, LIBRARIES, build_c, command_of, module_environment, program_of

PROCESSES = [name for name in CONFORMERS if not name.endswith("-inproc")]
STATEFUL = [name for name in PROCESSES if name != "c-seed"]


@pytest.fixture
def start(tmp_path):
    """Starts a conformer under a node of its own; as often as a test likes."""
    begun = []

    def starting(conformer, **settings):
        folder = tmp_path / f"node{len(begun)}"
        folder.mkdir()
        config = tmp_path / "conformer.config"
        config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        types = table.TYPES if conformer == "c-seed" else None
        made = node.Node(
            command_of(conformer), folder, config=config, environment=module_environment(), types=types, rate_hz=table.RATE_HZ
        )
        begun.append(made)
        return made

    yield starting
    for made in begun:
        made.close()


def drive(running, frame):
    for name, value in table.driven(frame).items():
        running.set(name, value)
    return running.step()


@pytest.mark.parametrize("conformer", PROCESSES)
def test_announces_its_signals(conformer, start):
    signals = start(conformer).signals
    assert [each.name for each in signals] == list(table.TYPES)
    if conformer == "c-seed":
        assert {(each.type, each.flags, each.unit) for each in signals} == {("f64", node.NAMED, "")}
        return
    for each in signals:
        assert each.type == table.TYPES[each.name], each
        direction = node.INPUT if each.name in table.INPUTS else node.WRITABLE if each.name == "gain" else node.OUTPUT
        assert each.flags == direction, each
        assert each.unit == table.UNITS.get(each.name, ""), each
        assert each.description == ("moves total" if each.name == "in_f64" else ""), each


@pytest.mark.parametrize("conformer", PROCESSES)
def test_steps_as_the_table_says(conformer, start):
    running = start(conformer).start()
    assert running.values() == table.DEFAULTS
    row = table.DEFAULTS
    for frame in range(1, 21):
        before = time.monotonic_ns()
        assert drive(running, frame) == 0
        begin, end = running.stamps()
        assert before <= begin <= end <= time.monotonic_ns()
        row = table.stepped(row, table.driven(frame))
        assert running.values() == row, frame
    assert running.terminate() == 0


@pytest.mark.parametrize("conformer", PROCESSES)
def test_a_parameter_that_was_set_is_used(conformer, start):
    running = start(conformer).start()
    running.set("gain", -3.5)
    assert running.step() == 0
    assert running.get("out.f64") == 0.5 * -3.5 + 0.01
    assert running.step() == 0
    assert running.get("gain") == -3.5


@pytest.mark.parametrize("conformer", STATEFUL)
def test_types_keep_every_bit(conformer, start):
    running = start(conformer).start()
    running.set("in_i64", 2**62 + 1)
    running.set("in_i32", -(2**31) + 1)
    running.set("in_f64", float("-inf"))
    running.set("in_f32", 2.0**-149 * 2)
    assert running.step() == 0
    assert running.get("out.i64") == 2**62 + 2
    assert running.get("out.i32") == -(2**31)
    assert running.get("out.f64") == float("-inf")
    assert running.get("out.f32") == 2.0**-149 * 3
    running.set("in_f64", float("nan"))
    assert running.step() == 0
    assert running.get("out.f64") != running.get("out.f64")


@pytest.mark.parametrize("conformer", PROCESSES)
def test_reset_gives_the_defaults_back(conformer, start):
    running = start(conformer).start()
    running.set("gain", 9.0)
    for frame in (1, 2, 3):
        drive(running, frame)
    status, _ = running.command(node.RESET)
    assert status == 0
    assert running.values() == table.DEFAULTS
    drive(running, 1)
    assert running.values() == table.stepped(table.DEFAULTS, table.driven(1))


@pytest.mark.parametrize("conformer", PROCESSES)
def test_a_failing_step_has_status_and_reason(conformer, start, tmp_path):
    report = tmp_path / "terminated"
    running = start(conformer, fail_at=3, terminate_file=report).start()
    assert [running.step() for _ in range(3)] == [0, 0, 7]
    assert "told to fail at step 3" in running.failure() + running.written()
    assert running.terminate() == 0
    assert report.read_text() == "terminated after 3 steps\n"


@pytest.mark.parametrize("conformer", STATEFUL)
def test_state_goes_on_in_another_process(conformer, start):
    first, row = start(conformer).start(), table.DEFAULTS
    for frame in range(1, 6):
        drive(first, frame)
        row = table.stepped(row, table.driven(frame))
    status, state = first.command(node.SAVE)
    assert status == 0
    assert first.command(node.SAVE) == (status, state), "saving has no effect on the state"
    second = start(conformer).start()
    status, text = second.command(node.LOAD, state)
    assert status == 0, text
    for frame in range(6, 9):
        drive(first, frame)
        drive(second, frame)
        row = table.stepped(row, table.driven(frame))
    assert first.values() == second.values() == row


@pytest.mark.parametrize("conformer", STATEFUL)
def test_bad_state_is_refused(conformer, start):
    status, _ = start(conformer).start().command(node.LOAD, b"nonsense")
    assert status > 0


def test_the_seed_has_no_state(start):
    running = start("c-seed").start()
    assert running.command(node.SAVE)[0] == -1
    assert running.command(node.LOAD, b"x")[0] == -1


@pytest.mark.parametrize("end", ["terminate", "node gone", "SIGTERM"])
@pytest.mark.parametrize("conformer", PROCESSES)
def test_terminates_however_the_run_ends(conformer, end, start, tmp_path):
    report = tmp_path / "terminated"
    running = start(conformer, terminate_file=report).start()
    running.step()
    running.step()
    if end == "terminate":
        assert running.terminate() == 0
    elif end == "node gone":
        os.dup2(os.open(os.devnull, os.O_RDWR), running.commands)
    else:
        running.process.send_signal(signal.SIGTERM)
    running.process.wait(3)
    assert report.read_text() == "terminated after 2 steps\n"


@pytest.mark.parametrize("conformer", PROCESSES)
def test_terminates_out_of_a_hanging_step(conformer, start, tmp_path):
    report = tmp_path / "terminated"
    running = start(conformer, hang_at=2, terminate_file=report).start()
    running.step()
    running.timeout = 0.1
    with pytest.raises(TimeoutError):
        running.step()
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(3)
    expected = "safe after a hang\n" if conformer in ("rust", "swift") else "terminated after 2 steps\n"
    assert report.read_text() == expected


@pytest.mark.parametrize("conformer", PROCESSES)
def test_interrupts_are_the_nodes_to_judge(conformer, start):
    running = start(conformer).start()
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    assert running.step() == 0


# Through `hermes run`.


def write_configuration(folder, conformer, **settings):
    kind = "script" if conformer == "python" else "inproc" if conformer.endswith("-inproc") else "process"
    key = "script" if kind == "script" else "executable"
    (folder / "conformer.config").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    lines = [
        'version: "0.2"',
        f"name: conformance-{os.getpid()}",
        "modules:",
        f"  driver: {{ type: process, executable: {build_c('driver.c')} }}",
        "  conformer:",
        f"    type: {kind}",
        f"    {key}: {program_of(conformer)}",
        "    config: ./conformer.config",
    ]
    if conformer.startswith("c-seed"):
        lines.append("    signals:")
        for name, word in table.TYPES.items():
            writable = str(name == "gain").lower()
            lines.append(f"      - {{ name: {name}, type: {word}, writable: {writable} }}")
    lines += ["wiring:", "  - { src: driver.*, dst: conformer.in_* }"]
    lines += [f"execution: {{ mode: afap, rate_hz: {table.RATE_HZ}, schedule: [driver, conformer] }}"]
    path = folder / "sim.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def hermes_run(configuration, *arguments):
    if not HERMES.exists():
        pytest.skip(f"{HERMES} is not built; set HERMES_BIN to test through `hermes run`")
    environment = dict(os.environ, **module_environment(), HERMES_LIBDIR=str(LIBRARIES))
    command = [HERMES, "run", configuration, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def recorded(path):
    def value(name, text):
        number = {"true": 1, "false": 0}.get(text)
        if number is None:
            number = int(text) if table.TYPES[name][0] != "f" else float(text)
        return table.f32(number) if table.TYPES[name] == "f32" else number

    with open(path) as file:
        for line in csv.DictReader(file):
            row = {name.split(".", 1)[1]: text for name, text in line.items() if name.startswith("conformer.")}
            yield {name: value(name, row[name]) for name in table.TYPES}


@pytest.mark.parametrize("conformer", CONFORMERS)
def test_hermes_run_records_the_table(conformer, tmp_path):
    report, recording = tmp_path / "terminated", tmp_path / "recording.csv"
    configuration = write_configuration(tmp_path, conformer, terminate_file=report)
    result = hermes_run(configuration, "--frames", "20", "--record", str(recording), "--set", "conformer.gain=3.25")
    assert result.returncode == 0, result.stderr
    assert list(recorded(recording)) == list(table.rows(20, gain=3.25))
    assert report.read_text() == "terminated after 20 steps\n"


@pytest.mark.parametrize("conformer", CONFORMERS)
def test_hermes_run_reports_a_failing_step(conformer, tmp_path):
    report, recording = tmp_path / "terminated", tmp_path / "recording.csv"
    configuration = write_configuration(tmp_path, conformer, fail_at=3, terminate_file=report)
    result = hermes_run(configuration, "--frames", "20", "--record", str(recording))
    assert result.returncode == 2, result.stderr
    assert "conformer" in result.stderr and "7" in result.stderr and "told to fail at step 3" in result.stderr
    assert list(recorded(recording)) == list(table.rows(2))
    assert report.read_text() == "terminated after 3 steps\n"
