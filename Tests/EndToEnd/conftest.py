"""What the end-to-end tests share: the binaries, the C modules, runs in front and in the background, and the check that
no test leaves anything behind.

HERMES_BIN      the hermes binary (default: .build/debug/hermes)
HERMES_LIBDIR   the folder with libhermes.a and libhermes.so (default: .build/lib)
"""
import contextlib
import csv
import itertools
import json
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
HERMES = Path(os.environ.get("HERMES_BIN", REPOSITORY / ".build/debug/hermes")).absolute()
LIBRARY = Path(os.environ.get("HERMES_LIBDIR", REPOSITORY / ".build/lib")).absolute()
SESSION = f"e2e{os.getpid()}"
COUNTER = itertools.count(1)
PATIENCE = float(os.environ.get("HERMES_TEST_PATIENCE", 30))
"""Seconds after which a wait for something that must happen is a failure; generous, as machines are shared."""


def wait_for(condition, what, seconds=PATIENCE):
    """Returns the condition's first true value; the test fails when the deadline passes."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain: {what}")
        time.sleep(0.002)


# ---- Recordings -------------------------------------------------------------------------------------------------

@dataclass
class Recording:
    columns: list
    rows: list
    """Each a dict of column to text."""

    def column(self, name):
        return [row[name] for row in self.rows]

    @property
    def frames(self):
        return [int(row["frame"]) for row in self.rows]


def read_recording(path):
    """The epochs of a recording, oldest first. Parts may share the file or lie beside it with a number in their name."""
    path = Path(path)
    parts = [part for part in path.parent.glob(f"{path.stem}*{path.suffix}")
             if re.fullmatch(re.escape(path.stem) + r"([._-]\w*\d+)?" + re.escape(path.suffix), part.name)]
    parts += [part for part in path.parent.glob(f"{path.name}.*") if part.name.removeprefix(path.name + ".").isdigit()]
    assert path in parts, f"no recording at {path}"
    parts.sort(key=lambda part: [int(number) for number in re.findall(r"\d+", part.name.replace(path.stem, "", 1))])
    epochs = []
    for part in parts:
        text = part.read_bytes().decode()
        assert text.endswith("\n"), f"{part} ends within a row"
        lines = list(csv.reader(text.splitlines(keepends=True)))
        header = lines[0]
        assert header[:2] == ["frame", "time"], header
        epochs.append(Recording(header[2:], []))
        for line in lines[1:]:
            if line[:2] == ["frame", "time"] or line[0] == "0" and epochs[-1].rows:
                epochs.append(Recording(header[2:], []))
                if line[0] == "frame":
                    continue
            assert len(line) == len(header), f"{part}: a row of {len(line)} values under a header of {len(header)}"
            epochs[-1].rows.append(dict(zip(header, line)))
    return epochs


# ---- Binaries and modules ---------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def hermes():
    """The path of the binary. Missing, it is a failure: no test passes without its subject."""
    if not os.access(HERMES, os.X_OK):
        pytest.fail(f"no hermes at {HERMES}; build it or set HERMES_BIN", pytrace=False)
    return HERMES


CC = [os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-O2", "-g", "-ffp-contract=off", "-I", str(REPOSITORY / "include")]
LIBS = ["-lpthread", "-ldl", "-lrt", "-lm"]


def compile_c(arguments):
    done = subprocess.run([*CC, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, arguments))}\n{done.stderr}", pytrace=False)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """`built(source)` and `built(source, shared=True)`: a module as an executable or as a shared object, made once."""
    folder = tmp_path_factory.mktemp("modules")

    def build(source, shared=False):
        source = Path(source)
        output = folder / (source.stem + (".so" if shared else ""))
        if not output.exists():
            library = LIBRARY / ("libhermes.so" if shared else "libhermes.a")
            if not library.exists():
                pytest.fail(f"no {library}; build libhermes or set HERMES_LIBDIR", pytrace=False)
            if shared:
                compile_c(["-fPIC", "-shared", source, "-o", output, f"-L{LIBRARY}", "-lhermes", f"-Wl,-rpath,{LIBRARY}", *LIBS])
            else:
                compile_c([source, library, "-o", output, *LIBS])
        return output

    return build


@pytest.fixture(scope="session")
def solo_host(tmp_path_factory):
    """formula.c with a host of its own, no Hermes needed."""
    output = tmp_path_factory.mktemp("solo") / "solo_host"
    compile_c([HERE / "modules/solo_host.c", "-o", output, "-lm"])
    return output


@pytest.fixture
def name(request):
    """A simulation name of this test's own."""
    own = re.sub(r"[^A-Za-z0-9_-]+", "-", request.node.name)[:40]
    return f"{SESSION}-{next(COUNTER)}-{own}"


# ---- Running ----------------------------------------------------------------------------------------------------

@dataclass
class Finished:
    code: int
    stdout: str
    stderr: str
    seconds: float
    record: Path = None

    @property
    def said(self):
        return self.stdout + self.stderr

    @property
    def epochs(self):
        return read_recording(self.record)

    @property
    def recording(self):
        (only,) = self.epochs
        return only

    def expect(self, code, *words):
        """The exit code, and words that all stand in what was written to standard error."""
        assert self.code == code, f"exit {self.code}, expected {code}\n{self.said}"
        for word in words:
            assert str(word) in self.stderr, f"{word!r} is missing in\n{self.stderr}"
        return self


class Desk:
    """A folder with a configuration and its modules, and the commands given there."""

    def __init__(self, hermes, built, folder, name):
        self.hermes, self.built, self.folder, self.name = hermes, built, folder, name
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.environment = {**os.environ, "TMPDIR": str(self.temporary), "NO_COLOR": "1"}
        self.record = folder / "out.csv"

    def write(self, path, text):
        target = self.folder / path
        target.write_text(text)
        return target

    def module(self, source, shared=False, to=None):
        """Puts a compiled module from modules/ beside the configuration."""
        built = self.built(HERE / "modules" / f"{source}.c", shared)
        target = self.folder / (to or built.name)
        if not target.exists():
            shutil.copy2(built, target)  # a copy: two modules of one shared object would share their variables
        return target

    def formulas(self, config, formulas):
        """Lays out a configuration of formula modules."""
        for module, settings in config["modules"].items():
            shared = settings["type"] == "inproc"
            self.module("formula", shared, to=Path(settings["executable"]).name)
            self.write(Path(settings["config"]).name, formulas[module])

    def config(self, text_or_path):
        if isinstance(text_or_path, Path):
            return text_or_path
        return self.write("sim.yaml", text_or_path)

    def command(self, *words, timeout=60):
        began = time.monotonic()
        try:
            done = subprocess.run([self.hermes, *map(str, words)], capture_output=True, text=True, errors="replace",
                                  timeout=timeout, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as expired:
            pytest.fail(f"hermes {' '.join(map(str, words))}: no end after {timeout} s\n{expired.stdout}\n{expired.stderr}")
        return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - began, self.record)

    def begin(self, *words):
        """A command that is not waited for."""
        return subprocess.Popen([self.hermes, *map(str, words)], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, config, *args, timeout=60, record=True):
        """`hermes run` to its end."""
        recording = ["--record", self.record] if record else []
        return self.command("run", self.config(config), *recording, *args, timeout=timeout)


@pytest.fixture
def desk(hermes, built, tmp_path, name):
    return Desk(hermes, built, tmp_path, name)


@pytest.fixture
def run(desk):
    """`run(config_text_or_path, *args, timeout=60)`: runs `hermes run` with --record to its end."""
    return desk.run


@pytest.fixture
def nodes(desk):
    """Nodes on loopback, started with `nodes.start("bench")`; see nodes.py."""
    from nodes import Nodes  # which needs this file
    with Nodes(desk) as nodes:
        yield nodes


def segment_words(name):
    """(state, frame) of a simulation's segment by include/hermes/segment.h, or None while there is none."""
    try:
        with open(f"/dev/shm/hermes_{name}", "rb") as file:
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as segment:
                magic, _, frame = struct.unpack_from("<IIQ", segment, 0)
                control, = struct.unpack_from("<Q", segment, 40)
                if magic != 0x4845524D or not control:
                    return None
                state, = struct.unpack_from("<I", segment, control + 120)
                return state, frame
    except (OSError, ValueError, struct.error):
        return None


class Running:
    """A simulation in the background. `with Running(desk, config, ...) as sim:`; at the end it must be over or is stopped."""

    def __init__(self, desk, config, *args, name=None, record=True, prefix=()):
        self.desk, self.name = desk, name or desk.name
        path = desk.config(config)
        recording = ["--record", str(desk.record)] if record else []
        self.out, self.err = desk.folder / f"{self.name}.stdout", desk.folder / f"{self.name}.stderr"
        self.words = [*prefix, str(desk.hermes), "run", str(path), *recording, *map(str, args)]

    def __enter__(self):
        self.began = time.monotonic()
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(self.words, stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                                            cwd=self.desk.folder, env=self.desk.environment)
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                if kind is None:
                    pytest.fail(f"hermes run did not end on SIGTERM\n{self.stderr}")

    @property
    def stderr(self):
        return self.err.read_text(errors="replace")

    @property
    def stdout(self):
        return self.out.read_text(errors="replace")

    def until(self, condition, what, seconds=PATIENCE):
        """Waits for a condition; a simulation that ends meanwhile is a failure with its own words."""
        def look():
            value = condition()
            if not value and self.process.poll() is not None and not condition():
                pytest.fail(f"the simulation ended (exit {self.process.returncode}) before: {what}\n{self.stdout}{self.stderr}")
            return value or condition()
        return wait_for(look, what, seconds)

    def ready(self):
        """Staged: running or paused at its first frame."""
        self.until(lambda: (segment_words(self.name) or (0, 0))[0] in (2, 3), "staging is over")
        return self

    def frame(self, at_least):
        self.until(lambda: (segment_words(self.name) or (0, -1))[1] >= at_least, f"frame {at_least}")
        return self

    def says(self, *words, seconds=PATIENCE):
        """Waits until one line of standard error has all these words, and returns it."""
        def found():
            return next((line for line in self.stderr.splitlines() if all(str(word) in line for word in words)), None)
        return self.until(found, f"a line with {words}; so far:\n{self.stderr}", seconds)

    def command(self, verb, *words, code=0, timeout=60):
        done = self.desk.command(verb, self.name, *words, timeout=timeout)
        assert done.code == code, f"hermes {verb} {words}: exit {done.code}\n{done.said}\n--- the run said\n{self.stderr}"
        return done

    def modules(self):
        return [pid for pid in processes_of(self.name)]

    def module_pid(self, module):
        return self.until(lambda: next((p for p in processes_of(self.name) if environ(p).get("HERMES_MODULE") == module
                                        and "HERMES_COMMAND_FIFO" in environ(p) and leads_its_group(p)), None),
                          f"a process of module {module}")

    def finish(self, timeout=60):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"hermes run: no end after {timeout} s\n{self.stdout}{self.stderr}")
        return Finished(self.process.returncode, self.stdout, self.stderr, time.monotonic() - self.began, self.desk.record)


# ---- Nothing stays behind ---------------------------------------------------------------------------------------

def environ(pid):
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    return dict(entry.split("=", 1) for entry in raw.decode(errors="replace").split("\0") if "=" in entry)


def kill_all(pids):
    """SIGKILL to each; one may have ended by the death of another."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def leads_its_group(pid):
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def processes_of(name):
    """Processes (zombies aside) whose environment names the simulation's segment; a prefix will do."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and environ(entry).get("HERMES_SHM", "").startswith(f"/hermes_{name}"):
            found.append(int(entry))
    return found


def shared_memory():
    """Everything of Hermes in /dev/shm; of the folder of run folders only what is in it."""
    found = set()
    for path in Path("/dev/shm").glob("hermes*"):
        found.add(path)
        if path.is_dir() and re.fullmatch(r"hermes-\d+", path.name):
            found.discard(path)
            try:
                found.update(path.iterdir())
            except OSError:
                pass
    return found


def left_behind(before, temporary):
    alone = os.environ.get("HERMES_TEST_ALONE") == "1"
    things = [str(path) for path in shared_memory() - before if alone or SESSION in path.name]
    things += [f"process {pid}: {Path(f'/proc/{pid}/cmdline').read_bytes()!r}" for pid in processes_of(SESSION)
               if Path(f"/proc/{pid}").exists()]
    things += [str(path) for path in Path(tempfile.gettempdir()).glob(f"*{SESSION}*")]
    if temporary and temporary.exists():
        things += [str(path) for path in temporary.iterdir()]
    return things


@pytest.fixture(autouse=True)
def nothing_left_behind(request):
    """Other simulations may run on this machine: only what bears this session's names counts, unless HERMES_TEST_ALONE=1
    says there are none."""
    before = shared_memory()
    temporary = request.getfixturevalue("tmp_path") / "tmp" if "tmp_path" in request.fixturenames else None
    yield
    things = left_behind(before, temporary)
    if not things:
        return
    kill_all(processes_of(SESSION))
    for path in shared_memory():
        if SESSION in path.name:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    pytest.fail("left behind: " + ", ".join(things), pytrace=False)


def summary(finished):
    """The summary JSON of a run with `--summary -`."""
    return json.loads(finished.stdout[finished.stdout.index("{"):finished.stdout.rindex("}") + 1])
