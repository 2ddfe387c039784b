"""What is Python's own: plain classes without Hermes, conversions, exceptions, and SimulationAPI."""

import os
import struct
import subprocess
import sys
import textwrap
import threading
import time

import node
import pytest
from conftest import LIBRARIES, ROOT, module_environment, program_of

sys.path.insert(0, str(ROOT / "Sources/Python"))
os.environ.setdefault("HERMES_LIBRARY", str(LIBRARIES / "libhermes.so"))

import hermes  # noqa: E402
from hermes import scripting  # noqa: E402
from hermes.scripting import SimulationAPI  # noqa: E402


class Thruster:
    command = hermes.input(0.0, unit="N")
    thrust = hermes.output(0.0, name="engine.thrust", unit="N")

    def __init__(self):
        hermes.declare(self, "tank.0.level", 5, type="i32")
        self.signals = hermes.signals(self)

    def step(self, dt):
        self.thrust += (self.command - self.thrust) * dt / 0.1
        self.signals["tank.0.level"] -= 1


def test_a_module_is_a_plain_class():
    made = Thruster()
    made.command = 10.0
    made.step(0.05)
    assert made.thrust == 5.0
    assert dict(made.signals) == {"command": 10.0, "engine.thrust": 5.0, "tank.0.level": 4}
    with pytest.raises(KeyError):
        made.signals["engine.trust"]


def test_bad_declarations_say_what_is_wrong():
    with pytest.raises(ValueError, match="no type 'f16'"):
        hermes.output(0.0, type="f16")
    with pytest.raises(TypeError, match="'mode'.*'fast'"):
        hermes.input("fast", name="mode")
    with pytest.raises(ValueError, match="direction is 'inward'"):
        hermes.declare(Thruster(), "x", direction="inward")
    with pytest.raises(TypeError, match="no step"):
        hermes.run(int)


def test_the_library_is_asked_for_by_name():
    environment = {"HERMES_LIBRARY": "/nowhere/libhermes.so", "PYTHONPATH": str(ROOT / "Sources/Python"), "PATH": os.environ["PATH"]}
    code = "import hermes\nhermes.frame()"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "ImportError: libhermes.so was not found." in result.stderr and "/nowhere/libhermes.so: no such file" in result.stderr


@pytest.fixture
def script(tmp_path):
    """Starts a script under a node of its own."""
    begun = []

    def starting(source):
        program_of("python")
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(source))
        folder = tmp_path / f"node{len(begun)}"
        folder.mkdir()
        command = [sys.executable, "-m", "hermes", str(path), "--an", "argument"]
        made = node.Node(command, folder, environment=module_environment())
        begun.append(made)
        return made

    yield starting
    for made in begun:
        made.close()


def test_values_are_converted_as_wires_do(script):
    running = script(
        """
        import hermes
        class Module:
            whole = hermes.output(0, type="i32")
            long = hermes.output(0)
            single = hermes.output(0.0, type="f32")
            double = hermes.output(0.0)
            flag = hermes.output(False)
            values = [(2.5, 3.5, 0.1, 1, 2), (1e99, -1e99, 1e99, True, float("nan")), (float("nan"), 2**99, -1e99, 10**400, 0)]
            def step(self, dt):
                self.whole, self.long, self.single, self.double, self.flag = self.values[hermes.frame() - 1]
        """
    ).start()
    seen = []
    for _ in range(3):
        assert running.step() == 0, running.failure() + running.written()
        seen.append(tuple(running.values().values()))
    tenth, infinity = struct.unpack("f", struct.pack("f", 0.1))[0], float("inf")
    assert seen[0] == (2, 4, tenth, 1.0, True)
    assert seen[1] == (2**31 - 1, -(2**63), infinity, 1.0, True)
    assert seen[2] == (0, 2**63 - 1, -infinity, infinity, False)


def test_arrays_without_dimensions_are_numbers(script):
    """What scipy.interpolate and many functions of numpy give for one number."""
    pytest.importorskip("numpy")
    running = script(
        """
        import hermes
        import numpy
        class Module:
            long = hermes.output(0)
            double = hermes.output(0.0)
            flag = hermes.output(False)
            def step(self, dt):
                self.long, self.double, self.flag = numpy.array(7.5), numpy.array(7.5), numpy.array(1)
                if hermes.frame() == 2:
                    self.long = numpy.array(2**53 + 1)
                if hermes.frame() == 3:
                    self.long = numpy.array([1, 2])
        """
    ).start()
    assert running.step() == 0, running.failure() + running.written()
    assert running.values() == {"long": 8, "double": 7.5, "flag": True}
    assert running.step() == 0 and running.values()["long"] == 2**53 + 1
    assert running.step() == 1
    assert "signal 'long'" in running.failure()


@pytest.mark.parametrize(
    "body, status, reason",
    [
        ("raise ValueError('too hot: 5')", 1, "ValueError: too hot: 5"),
        ("self.x = 'text'", 1, "signal 'x': 'text' is a str"),
        ("self.x = None", 1, "signal 'x': None"),
        ("del self.x", 1, "signal 'x'"),
        ("import sys; sys.exit(5)", 5, "the module called sys.exit(5)"),
        ("raise hermes.Failure('no fuel', status=9)", 9, "no fuel"),
        ("return 4", 4, ""),
        ("return 'done'", 1, "step() returned 'done'"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
    ],
)
def test_what_goes_wrong_in_a_step_is_reported(script, body, status, reason):
    running = script(f"import hermes\nclass Module:\n    x = hermes.output(0.0)\n    def step(self, dt):\n        {body}\n").start()
    assert running.step() == status
    assert reason in running.failure()
    written = running.written()
    if "ValueError" in body:
        assert "Traceback" in written and 'script.py", line 5, in step' in written and "_module.py" not in written
    if "Failure" in body:
        assert written == "no fuel\n"
    assert running.terminate() == 0


def test_reset_without_a_method_goes_back_to_after_stage(script):
    running = script(
        """
        import hermes
        class Module:
            x = hermes.output(1.0)
            size = hermes.output(0)
            def __init__(self):
                self.history = []
            def stage(self):
                self.history.append("staged")
            def step(self, dt):
                self.x *= 2.0
                self.history.append(self.x)
                self.size = len(self.history)
        """
    ).start()
    for _ in range(2):
        running.step(), running.step(), running.step()
        assert running.values() == {"x": 8.0, "size": 4}
        assert running.command(node.RESET)[0] == 0
        assert running.values() == {"x": 1.0, "size": 0}


@pytest.mark.parametrize(
    "source, said",
    [
        ("print('hello')", "no class has a step(self, dt)"),
        ("class A:\n  def step(self, dt): pass\nclass B:\n  def step(self, dt): pass", "several classes have a step(self, dt): A, B"),
        ("import nothing_of_the_name", "ModuleNotFoundError"),
        ("class A:\n  def __init__(self): raise OSError('no board')\n  def step(self, dt): pass", "OSError: no board"),
    ],
)
def test_scripts_that_are_no_module_say_so(script, source, said):
    with pytest.raises(node.ModuleGone, match="exit 1") as error:
        script(source)
    assert said in str(error.value)


def test_a_script_runs_as_main_with_its_arguments(script):
    running = script(
        """
        import sys, pickle, hermes
        class Base:
            n = hermes.output(0)
            def step(self, dt): self.n += 1
        class Derived(Base):
            m = hermes.output(0)
            def step(self, dt):
                super().step(dt)
                self.m = len(sys.argv)
                pickle.dumps(self)
        if __name__ == "__main__":
            print("line", flush=False)
            hermes.run(Derived)
        """
    ).start()
    assert running.step() == 0
    assert running.values() == {"n": 1, "m": 3}
    assert running.written() == "line\n"


# SimulationAPI, over a segment that this process owns.


@pytest.fixture
def simulation(script):
    running = script(
        """
        import hermes
        class Module:
            number = hermes.signal(1.5, writable=True, unit="m", description="a number")
            count = hermes.signal(2, writable=True, type="i32")
            flag = hermes.signal(True, writable=True)
            fixed = hermes.output(4.0)
            def step(self, dt): self.fixed += 1.0
        """
    ).start()
    with SimulationAPI(running.shm) as api:
        yield running, api


def test_reads_typed_values(simulation):
    running, api = simulation
    assert [api.get(f"conformer.{name}") for name in ("number", "count", "flag")] == [1.5, 2, True]
    assert [type(api.get(f"conformer.{name}")) for name in ("number", "count", "flag")] == [float, int, bool]
    assert (api.get_frame(), api.get_time(), api.rate_hz, api.state, api.epoch) == (0, 0.0, 100.0, "running", 0)
    info = {each.name: each for each in api.signals()}["conformer.count"]
    assert (info.type, info.writable, info.published, info.wired) == ("i32", True, True, False)


def test_queues_writes_together(simulation):
    running, api = simulation
    api.inject({"conformer.count": 2.5, "conformer.number": -1, "conformer.flag": 0})
    entry = [struct.unpack_from("<IIQ", running.memory, running.queue + 16 * i) for i in range(3)]
    number = struct.unpack("<Q", struct.pack("<d", -1.0))[0]
    assert entry == [(1, 1, 2), (0, 1, number), (2, 0, 0)]
    with pytest.raises(scripting.QueueFullError, match="room"):
        for _ in range(20):
            api.set("conformer.count", 1)


def test_refusals_are_sentences(simulation):
    _, api = simulation
    with pytest.raises(scripting.UnknownSignalError, match="there is no signal 'conformer.numbr'; did you mean 'conformer.number'"):
        api.get("conformer.numbr")
    with pytest.raises(scripting.ReadOnlySignalError, match="'conformer.fixed' can't be set"):
        api.set("conformer.fixed", 1.0)
    with pytest.raises(TypeError, match="'conformer.count'.*str"):
        api.set("conformer.count", "many")
    with pytest.raises(scripting.SimulationNotFoundError, match="hermes_nobody"):
        SimulationAPI("nobody")
    with pytest.raises(builtins_timeout(), match="frame 7"):
        api.wait_frame(7, timeout=0.25)
    with pytest.raises(scripting.TimeoutError):
        api.sample(["conformer.number"], timeout=0.15)
    api.close()
    with pytest.raises(scripting.HermesError, match="closed"):
        api.get_frame()


def builtins_timeout():
    import builtins

    return builtins.TimeoutError


def test_waits_for_frames_resets_and_the_end(simulation):
    running, api = simulation

    def later(offset, layout, value):
        def act():
            time.sleep(0.15)
            running._put(layout, offset, value)

        threading.Thread(target=act).start()

    later(8, "<Q", 5)
    assert api.wait_frame(5, timeout=5) == 5
    later(running.control + 124, "<I", 1)
    with pytest.raises(scripting.SimulationResetError, match="epoch|reset"):
        api.wait_frame(9)
    later(running.control + 120, "<I", 4)
    with pytest.raises(scripting.SimulationEndedError, match="ended"):
        api.wait_frame(9)


def test_an_interrupt_ends_a_wait(simulation):
    running, _ = simulation
    code = f"from hermes.scripting import SimulationAPI\nprint('waits', flush=True)\nSimulationAPI({running.shm!r}).wait_frame(9)"
    environment = dict(os.environ, **module_environment())
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(2)
    assert b"KeyboardInterrupt" in process.communicate(timeout=5)[1]


def test_a_sample_is_a_dict_or_an_array(simulation):
    running, api = simulation
    numpy = pytest.importorskip("numpy")
    served = running.control + 204
    names = ["conformer.flag", "conformer.number", "conformer.count"]

    def serve():
        for _ in range(200):
            running.memory[running.snapshot : running.snapshot + 32] = running.memory[running.data : running.data + 32]
            running._put("<I", served, running._take("<I", served - 4))
            time.sleep(0.005)

    thread = threading.Thread(target=serve)
    thread.start()
    assert api.sample(names) == {"conformer.flag": True, "conformer.number": 1.5, "conformer.count": 2}
    array = api.sample(names, as_array=True)
    assert array.dtype == numpy.float64 and list(array) == [1.0, 1.5, 2.0]
    assert list(api.sample(names[1:2], as_array=True)) == [1.5]
    thread.join()
