"""What the system gives and takes is bytes: paths, arguments and variables that are no UTF-8 arrive unchanged, and names that
look the same in two normal forms are two names."""
import csv
import hashlib
import json
import os
import subprocess
import sys
import unicodedata

import pytest
from conftest import Running
from nodes import NODE
from zmtp import Connection

LATIN = b"caf\xe9"
"""A name that is no UTF-8."""
COMPOSED, DECOMPOSED = "m.\u00e9t\u00e9", "m.e\u0301te\u0301"

TELLING = """\
import hermes, json, os
class Module:
    y = hermes.output(0.0)
    def init(self, config):
        found = {"folder": os.getcwdb(), "config": os.environb[b"HERMES_CONFIG"], "script": os.fsencode(__file__),
                 "path": os.fsencode(config),
                 "odd": [name + b"=" + value for name, value in os.environb.items() if name.startswith(b"ODD")]}
        with open("found.json", "w") as file:
            json.dump(found, file, default=lambda bytes: bytes.hex())
    def step(self, dt):
        self.y += 1
"""
SIMULATION = """\
version: "0.2"
name: {name}
{hosts}modules:
  m: {{ type: script, script: m.py, config: c.txt{host} }}
execution: {{ rate_hz: 10, end_time: 1 }}
"""


@pytest.fixture
def odd(desk):
    """A folder beneath the desk's, as bytes, with a configuration of such a name in it; and a way to give commands there."""
    folder = os.path.join(os.fsencode(desk.folder), LATIN)
    os.mkdir(folder)

    def write(name, text):
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(text.encode())
        return path

    def command(*words, **variables):
        environment = {**os.environb, **{name.encode(): value for name, value in variables.items()}, b"ODD\xff": b"a\xe9=\xfe"}
        words = [os.fsencode(word) for word in (desk.hermes, *words)]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        done.stderr.decode(), done.stdout.decode()  # what people and programs read is UTF-8
        return done
    write(b"m.py", TELLING)
    write(b"c.txt", "")
    odd = type("Odd", (), {})()
    odd.folder, odd.write, odd.command = folder, write, command
    odd.config = write(b"s\xe9.yaml", SIMULATION.format(name=desk.name, hosts="", host=""))
    return odd


def found(folder):
    with open(os.path.join(folder, b"found.json")) as file:
        read = json.load(file)
    odd = [bytes.fromhex(entry) for entry in read.pop("odd")]
    return {**{key: bytes.fromhex(value) for key, value in read.items()}, "odd": odd}


# ---- Paths and variables ----------------------------------------------------------------------------------------

def test_a_run_among_names_that_are_no_utf8(odd):
    """Every path that a run takes: configuration, recording, summary, timeline; joined to its option or not."""
    done = odd.command("run", b"s\xe9.yaml", "--record", b"r\xe9.csv", b"--summary=sum\xe9.json", "--trace", b"t\xe9.json")
    assert done.returncode == 0, done.stderr
    assert found(odd.folder) == {
        "folder": odd.folder, "config": odd.folder + b"/c.txt", "script": odd.folder + b"/m.py",
        "path": odd.folder + b"/c.txt", "odd": [b"ODD\xff=a\xe9=\xfe"]}
    made = {name for name in os.listdir(odd.folder) if name not in (b"m.py", b"c.txt", b"found.json", b"__pycache__")
            and not name.endswith(b".profraw")}
    assert made == {b"s\xe9.yaml", b"r\xe9.csv", b"sum\xe9.json", b"t\xe9.json"}
    for name in (b"sum\xe9.json", b"t\xe9.json"):
        with open(os.path.join(odd.folder, name), "rb") as file:
            json.loads(file.read().decode())
    with open(os.path.join(odd.folder, b"r\xe9.csv")) as file:
        assert len(list(csv.reader(file))) == 12


@pytest.mark.parametrize("words", [["validate"], ["plan"], ["list-signals"], ["verify"], ["nodes"], ["push"]], ids=" ".join)
def test_commands_that_take_a_configuration(odd, words):
    done = odd.command(*words, b"s\xe9.yaml")
    assert done.returncode == 0, done.stderr


def test_what_is_shown_is_escaped(odd):
    done = odd.command("validate", b"s\xe9.yaml")
    assert done.stdout.startswith(b"s\\xe9.yaml: valid")
    odd.write(b"bad\xe9.yaml", "version: 7\n")
    done = odd.command("validate", b"bad\xe9.yaml")
    assert done.returncode == 1 and b"bad\\xe9.yaml:1:10: error:" in done.stderr, done.stderr
    done = odd.command("validate", b"none\x1b[2J\xe9.yaml")
    assert done.returncode == 1 and b"none\\x1b[2J\\xe9.yaml:1:1: error: no such file" in done.stderr, done.stderr
    done = odd.command("validate", b"s\xe9.yaml", b"--none\xe9")
    assert done.returncode == 64 and b"--none\\xe9" in done.stderr, done.stderr


def test_keys_of_such_names(odd):
    assert odd.command("keygen", b"k\xe9").returncode == 0
    assert {b"k\xe9", b"k\xe9.pub"} <= set(os.listdir(odd.folder))
    done = odd.command("run", b"s\xe9.yaml", "--key", b"k\xe9.pub")
    assert done.returncode == 2 and b"k\\xe9.pub is a public key" in done.stderr and b" is k\\xe9\n" in done.stderr, done.stderr
    assert odd.command("run", b"s\xe9.yaml", "--key", b"k\xe9").returncode == 0


@pytest.mark.parametrize("file", ["\u0301x.csv", "\u20ddx\r\n.csv", "a=\u0301b.csv", "\U0010f7e9.csv"], ids=ascii)
def test_names_that_begin_with_an_accent(odd, file):
    """`=` with an accent is one character; characters of private use stand for themselves."""
    done = odd.command("run", b"s\xe9.yaml", f"--record={file}")
    assert done.returncode == 0, done.stderr
    assert file.encode() in os.listdir(odd.folder)


@pytest.mark.parametrize("words", [
    ["run", b"s\xe9.yaml", "--set", b"m.\xe9=1"], ["run", b"s\xe9.yaml", "--print", b"m.\xe9"], ["run", b"s\xe9.yaml", "--name", b"\xe9"],
    ["get", b"m.\xe9"], ["set", b"m.\xe9=1"], ["list-signals", b"s\xe9.yaml", b"m.\xe9"], ["status", b"\xe9"],
], ids=repr)
def test_names_and_values_are_text(odd, words):
    done = odd.command(*words)
    assert done.returncode == 64 and b"\\xe9" in done.stderr and b"UTF-8" in done.stderr, done.stderr


def test_the_interpreter_is_found_by_bytes(odd):
    """HERMES_PYTHON and the folders of PATH may have such names, too."""
    os.mkdir(os.path.join(odd.folder, b"bin\xff"))
    for name in (b"python3", b"py\xe9"):
        os.symlink(os.fsencode(sys.executable), os.path.join(odd.folder, b"bin\xff", name))
    path = os.path.join(odd.folder, b"bin\xff")
    done = odd.command("run", b"s\xe9.yaml", HERMES_PYTHON=os.path.join(path, b"py\xe9"))
    assert done.returncode == 0, done.stderr
    done = odd.command("run", b"s\xe9.yaml", PATH=path + b":/usr/bin:/bin", HERMES_PYTHON=b"")
    assert done.returncode == 0, done.stderr


def test_a_module_root_of_such_a_name(desk, nodes, odd):
    """A node beneath it, a push into it, and what the module finds there."""
    bench = nodes.start("bench")
    root = os.path.join(odd.folder, b"root")
    os.mkdir(root, 0o755)
    bench.stop()
    bench.process = None
    words = [os.fsencode(word) for word in [NODE, "--listen", bench.endpoint, "--ports", f"{bench.port + 1}-{bench.port + 9}", "--modules", root]]
    node = subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=odd.folder)
    try:
        line = node.stderr.readline()
        assert b"listening on" in line and b"caf\\xe9/root" in line, line
        config = odd.write(b"h\xe9.yaml", SIMULATION.format(name=desk.name, hosts=nodes.hosts, host=", host: bench"))
        assert odd.command("push", os.path.basename(config)).returncode == 0
        done = odd.command("run", os.path.basename(config))
        assert done.returncode == 0, done.stderr
        assert found(root)["folder"] == root and found(root)["config"] == root + b"/c.txt"
    finally:
        node.terminate()
        assert node.wait(20) == 0
        node.stderr.close()


# ---- Pushes -----------------------------------------------------------------------------------------------------

ACCENTED = "\u0301x"


@pytest.fixture
def pushed(desk, nodes):
    """`pushed(*files)`: pushes a module and files of the desk's folder to a node."""
    bench = nodes.start("bench")
    desk.module("trouble")
    desk.write("t.trouble", "signal x")

    def push(*files):
        return desk.command("push", desk.config(
            f'version: "0.2"\nname: {desk.name}\n{nodes.hosts}modules:\n'
            f"  m: {{ type: process, executable: ./trouble, config: t.trouble, host: bench, files: {json.dumps(files, ensure_ascii=False)} }}\n"))
    push.bench = bench
    return push


def test_a_slash_with_an_accent_leads_out_of_no_root(desk, pushed, tmp_path):
    """`out/` and an accent is one character, and a link and a name to the kernel."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (pushed.bench.root / "out").symlink_to(outside)
    (desk.folder / "out").mkdir()
    desk.write(f"out/{ACCENTED}", "escaped")
    done = pushed(f"out/{ACCENTED}")
    assert done.code == 2 and "leads out of the module root" in done.said, done.said
    assert not list(outside.iterdir()) and (pushed.bench.root / "out").is_symlink()


@pytest.mark.parametrize("path", [f"out/{ACCENTED}", "out/\u20d7x", "./out/\u200dx", ".hermes-push/\u0301x", "/\u0301x", "in/\u0301/../../x"], ids=ascii)
def test_a_coordinator_of_its_own_kind_puts_nothing_elsewhere(desk, nodes, tmp_path, path):
    """One that asks nothing first: the node itself cuts at bytes."""
    bench = nodes.start("bench")
    outside = tmp_path / "outside"
    outside.mkdir()
    (bench.root / "out").symlink_to(outside)
    before = files_of(bench.root)
    with Connection(("127.0.0.1", bench.port)).shake_hands() as coordinator:
        coordinator.ask("hello", 1, {"version": "0", "protocolVersion": 1, "oldestProtocol": 1})
        piece = {"upload": 7, "path": path, "offset": 0, "total": 3, "isExecutable": True, "bytes": "YWJj",
                 "hash": hashlib.sha256(b"abc").hexdigest()}
        answer = coordinator.ask("put", 2, piece)
        assert answer["say"] == "refused", answer
        answer = coordinator.ask("folder", 3, {"path": path})
        assert answer["say"] == "refused", answer
        assert coordinator.ask("put", 4, {**piece, "path": "in/\u0301x"})["say"] == "took"
    assert not list(outside.iterdir()) and (bench.root / "out").is_symlink()
    assert files_of(bench.root) - before == {os.fsencode(bench.root / "in"), os.fsencode(bench.root / "in/\u0301x")}


def files_of(folder):
    return {os.path.join(place, name) for place, folders, files in os.walk(os.fsencode(folder)) for name in folders + files
            if not name.endswith(b".profraw")}


def test_a_slash_with_an_accent_passes_by_no_rule(desk, pushed):
    (desk.folder / ".hermes-push").mkdir()
    desk.write(f".hermes-push/{ACCENTED}", "x")
    done = pushed(f".hermes-push/{ACCENTED}")
    assert done.code == 2 and "no place for modules" in done.said, done.said


def test_files_of_names_that_are_no_utf8_are_pushed(desk, pushed):
    folder = os.fsencode(desk.folder / "maps")
    names = [b"caf\xe9", "caf\u00e9".encode(), "cafe\u0301".encode(), b"\xf4\x8f\x9f\xa9", ACCENTED.encode()]
    os.mkdir(folder)
    os.mkdir(os.path.join(folder, b"in\xff"))
    for name in names:
        for place in (folder, os.path.join(folder, b"in\xff")):
            with open(os.path.join(place, name), "wb") as file:
                file.write(name)
    done = pushed("maps")
    assert done.code == 0, done.said
    there = os.fsencode(pushed.bench.root / "maps")
    assert sorted(os.listdir(there)) == sorted([*names, b"in\xff"])
    for name in names:
        with open(os.path.join(there, b"in\xff", name), "rb") as file:
            assert file.read() == name
    assert "maps/caf\\xe9" in done.stdout and "0 sent" not in done.stderr
    again = pushed("maps")
    assert again.code == 0 and " sent" not in again.stderr, again.said


# ---- Normal forms -----------------------------------------------------------------------------------------------

FORMS = """\
import hermes
class Module:
    a = hermes.output(1.0, name={composed!r}, writable=True, unit="\u00c5")
    b = hermes.output(2.0, name={decomposed!r}, writable=True, unit="A\u030a")
    def step(self, dt): pass
"""
SEEING = """\
import hermes
class Module:
    a = hermes.input(0.0)
    b = hermes.input(0.0)
    def step(self, dt): pass
"""
TWO_FORMS = """\
version: "0.2"
name: {name}
{hosts}modules:
  m: {{ type: script, script: ./m.py{host} }}
  s: {{ type: script, script: ./s.py }}
wiring:
  - {{ src: {composed}, dst: s.a, gain: 2 }}
  - {{ src: {decomposed}, dst: s.b, gain: 2 }}
execution: {{ mode: {mode}, rate_hz: 100{end} }}
"""


@pytest.fixture(params=["desk", "host"])
def forms(request, desk):
    """A configuration with two signals that look the same, on one host and over two."""
    module = FORMS.format(composed=COMPOSED[2:], decomposed=DECOMPOSED[2:])
    desk.write("m.py", module)
    desk.write("s.py", SEEING)
    hosts = host = ""
    if request.param == "host":
        nodes = request.getfixturevalue("nodes")
        nodes.start("bench").write("m.py", module)
        hosts, host = nodes.hosts, ", host: bench"

    def config(mode="afap", end=", end_time: 0.1"):
        return desk.write("sim.yaml", TWO_FORMS.format(
            name=desk.name, hosts=hosts, host=host, mode=mode, end=end, composed=COMPOSED, decomposed=DECOMPOSED))
    return config


def test_two_normal_forms_are_two_signals(desk, forms):
    done = desk.run(forms(), "--digest", "--set", f"{DECOMPOSED}=5", "--print", COMPOSED, "--print", DECOMPOSED)
    done.expect(0)
    assert done.recording.columns == sorted([COMPOSED, DECOMPOSED, "s.a", "s.b"], key=str.encode)
    assert [done.recording.column(name)[-1] for name in (COMPOSED, DECOMPOSED, "s.a", "s.b")] == ["1", "5", "2", "10"]
    assert f"{COMPOSED}=1" in done.stdout and f"{DECOMPOSED}=5" in done.stdout
    other = desk.run(forms(), "--digest", "--set", f"{COMPOSED}=5").expect(0)
    assert other.stdout.splitlines()[-1] != done.stdout.splitlines()[-1]
    listed = json.loads(desk.command("list-signals", desk.folder / "sim.yaml", "--format", "json").expect(0).stdout)["signals"]
    units = {signal["name"]: signal["unit"] for signal in listed}
    assert (units[COMPOSED], units[DECOMPOSED]) == ("\u00c5", "A\u030a")


def test_get_and_set_tell_normal_forms_apart(desk, forms):
    with Running(desk, forms("realtime", ""), record=False) as sim:
        sim.ready()
        assert sim.command("get", COMPOSED).stdout == "1\n"
        assert sim.command("get", DECOMPOSED).stdout == "2\n"
        sim.command("set", f"{COMPOSED}=7", f"{DECOMPOSED}=8")
        frame = int(json.loads(sim.command("get", "--format", "json", COMPOSED).stdout)["frame"])
        sim.frame(frame + 1) if "hosts:" not in (desk.folder / "sim.yaml").read_text() else None
        values = json.loads(sim.command("get", "--format", "json", COMPOSED, DECOMPOSED, "m.*").stdout)["values"]
        assert set(values) == {COMPOSED, DECOMPOSED}
        mixed = "m.\u00e9te\u0301"
        assert mixed != COMPOSED and unicodedata.normalize("NFC", mixed) == COMPOSED
        said = sim.command("get", mixed, code=2).stderr
        assert "byte by byte" in said and "U+00E9" in said and "U+0065 U+0301" in said, said
        sim.command("stop")


def test_a_wire_in_another_normal_form_is_told_why(desk, forms):
    config = forms()
    config.write_text(config.read_text().replace(f"src: {COMPOSED}", "src: m.\u00e9te\u0301"))
    desk.run(config).expect(1, "did you mean", "U+0065 U+0301", "Unicode normal form", "byte by byte")


@pytest.mark.parametrize("signal", ["\u00b5", "\u00b5_road"])
def test_python_normalises_what_it_takes_for_names(desk, signal):
    """PEP 3131: the micro sign in a source becomes the Greek letter."""
    desk.write("m.py", f"import hermes\nclass M:\n    {signal} = hermes.output(0.5)\n    def step(self, dt): pass\n")
    desk.write("s.py", SEEING)
    config = ('version: "0.2"\nname: {}\nmodules:\n  m: {{ type: script, script: ./m.py }}\n  s: {{ type: script, script: ./s.py }}\n'
              "wiring: [ {{ src: m.{}, dst: s.a }} ]\nexecution: {{ rate_hz: 10, end_time: 0.3 }}\n")
    desk.run(config.format(desk.name, signal)).expect(1, "did you mean", "U+03BC where this has U+00B5")
    desk.run(config.format(desk.name, signal.replace("\u00b5", "\u03bc"))).expect(0)


def test_a_header_is_quoted_by_bytes(desk):
    """A quote, a comma or a line break with an accent behind it is one."""
    names = ['a,\u0301b', 'c"\u0301d', '"\u20dd', ',\u0301']
    lines = "\n".join(f"    s{place} = hermes.output(0.0, name={name!r})" for place, name in enumerate(names))
    desk.write("m.py", f"import hermes\nclass M:\n{lines}\n    def step(self, dt): pass\n")
    done = desk.run(f'version: "0.2"\nname: {desk.name}\nmodules:\n  m: {{ type: script, script: ./m.py }}\n'
                    "execution: { rate_hz: 10, end_time: 0.3 }\n").expect(0)
    assert done.recording.columns == sorted((f"m.{name}" for name in names), key=str.encode)


def test_modules_in_two_normal_forms(desk):
    """Names of modules, keys of the configuration, members of the schedule."""
    desk.write("m.py", "import hermes\nclass M:\n    x = hermes.output(0.0)\n    def step(self, dt): self.x += 1\n")
    done = desk.run(f'version: "0.2"\nname: {desk.name}\nmodules:\n  "\u00e9": {{ type: script, script: ./m.py }}\n'
                    '  "e\u0301": { type: script, script: ./m.py, rate_hz: 5 }\n'
                    'execution: { rate_hz: 10, end_time: 1, schedule: ["e\u0301", "\u00e9"] }\n').expect(0)
    assert {name: values[-1] for name in done.recording.columns for values in [done.recording.column(name)]} == {
        "\u00e9.x": "10", "e\u0301.x": "5"}


def test_lines_that_end_as_windows_ends_them(desk):
    """One character in Swift, two bytes in a file: configuration, the program's first line, what a module prints."""
    desk.write("m.py", "import hermes, sys\nclass M:\n    x = hermes.output(0.0)\n    def step(self, dt): pass\n"
                       "sys.stderr.write('one\\r\\ntwo\\r\\n')\n")
    text = (f'version: "0.2"\nname: {desk.name}\nmodules:\n  m: {{ type: script, script: ./m.py }}\n'
            "execution: { rate_hz: 10, end_time: 0.3 }\n")
    (desk.folder / "crlf.yaml").write_bytes(text.replace("\n", "\r\n").encode())
    done = desk.command("run", "crlf.yaml").expect(0)
    lines = done.stderr.split("\n")
    assert any(line.startswith("[m] one") for line in lines) and any(line.startswith("[m] two") for line in lines), done.stderr
