"""What comes from elsewhere is not trusted further than it must be: text of modules and hosts on a terminal, variables of a
configuration, keys and folders that others may write to, programs that change while a run goes on."""
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import Running, wait_for

FORGED = r"calm\r\x1b[2K\x1b[31mhermes: error: forged\x1b[0m \x9b2J \u202eback"
"""As a Python literal: a carriage return and sequences that a terminal obeys."""

LOUD = f'''import sys
import hermes

class Loud(hermes.Module if hasattr(hermes, "Module") else object):
    def step(self, dt):
        sys.stdout.write("out {FORGED}\\n")
        sys.stderr.write("err {FORGED}\\n")
        sys.stderr.flush()
        raise RuntimeError("reason {FORGED}\\nhermes: error: forged")
'''


def sound(text):
    """No control character but line ends and tabs, and no line that pretends to be Hermes's."""
    odd = re.findall(r"[^\n\t\x20-\x7e\xa0-\u200d\u2010-\u2027\u202f-\u2065\u206a-\U0010ffff]", text)
    assert not odd, f"{odd!r} in\n{text!r}"
    assert not [line for line in text.splitlines() if line.startswith("hermes: error: forged")], text


def raw(words, folder, environment):
    """Exit code, standard output and standard error as bytes were written: no line end is translated."""
    done = subprocess.run(words, capture_output=True, cwd=folder, env=environment, stdin=subprocess.DEVNULL, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def script_config(name, script, host="", hosts="", more=""):
    return f"""version: "0.2"
name: {name}
{hosts}modules:
  m: {{ type: script, script: ./{script}{host}{more} }}
execution: {{ mode: afap, rate_hz: 100, end_time: 1 }}
"""


def test_text_of_a_module_moves_no_terminal(desk, nodes):
    """Here and on a host: what it prints, and why its step fails."""
    node = nodes.start("bench", "-v")
    node.write("loud.py", LOUD)
    desk.write("loud.py", LOUD)
    for place in ("", ", host: bench"):
        config = desk.config(script_config(desk.name, "loud.py", place, nodes.hosts if place else ""))
        code, out, err = raw([desk.hermes, "run", config, "--summary", "-"], desk.folder, desk.environment)
        assert code == 2, err
        sound(err)
        sound(out)
        assert "out calm\\r\\x1b[2K\\x1b[31mhermes: error: forged" in err, err
        assert "reason calm\\r\\x1b[2K" in err and "\\nhermes: error: forged" in err, err
    sound(node.err.read_bytes().decode())


def environment_config(desk, nodes, variables):
    shown = "; ".join(f'echo "{name}=${name}"' for name in variables)
    nodes.all["bench"].write("show.sh", f"#!/bin/sh\n{shown}\n").chmod(0o755)
    text = ", ".join(f"{name}: '{value}'" for name, value in variables.items())
    return desk.config(script_config(desk.name, "show.sh", ", host: bench", nodes.hosts, f", env: {{ {text} }}"))


@pytest.mark.parametrize("variable", ["PATH", "BASH_ENV", "ENV", "IFS", "NODE_OPTIONS", "GLIBC_TUNABLES", "TMPDIR", "OTHER"])
def test_a_variable_that_no_list_has_is_refused_on_a_node(desk, nodes, variable):
    nodes.start("bench")
    done = desk.run(environment_config(desk, nodes, {variable: "/tmp/x"}), record=False)
    done.expect(2, "module m", "host bench", variable, f"--allow-env {variable}")


def test_variables_of_the_list_and_those_an_operator_allows(desk, nodes):
    nodes.start("bench", "--allow-env", "ICARUS_*", "--allow-env", "OTHER")
    wanted = {"SIM_MODE": "fast", "OMP_NUM_THREADS": "2", "ICARUS_LOG": "quiet", "OTHER": "x"}
    config = environment_config(desk, nodes, wanted)
    with Running(desk, config, "--mode", "realtime", "--end-time", 60, record=False, name=f"{desk.name}.bench") as sim:
        for name, value in wanted.items():
            sim.says(f"[bench/m] {name}={value}")
        sim.ready()
        desk.command("stop", desk.name).expect(0)
        assert sim.finish().code == 0
    desk.run(environment_config(desk, nodes, {"ANOTHER": "x"}), record=False).expect(2, "ANOTHER", "--allow-env")


@pytest.mark.parametrize("word", ["LD_PRELOAD", "HERMES_X", "PYTHON*", "*", "A-B", ""])
def test_what_an_operator_can_not_allow(nodes, word):
    node = nodes.start("bench")
    done = subprocess.run([*node.words, "--allow-env", word], capture_output=True, text=True, timeout=20)
    assert done.returncode == 64 and "--allow-env" in done.stderr, done.stderr


def test_a_node_finds_python_in_its_own_environment(desk, nodes):
    """Also where whoever runs it lets configurations set PATH."""
    node = nodes.start("bench", "--allow-env", "PATH")
    touched = desk.folder / "touched"
    node.write("bin/python3", f"#!/bin/sh\n: > {touched}\n").chmod(0o755)
    node.write("m.py", "class M:\n    def step(self, dt): pass\n")
    config = script_config(desk.name, "m.py", ", host: bench", nodes.hosts, f", env: {{ PATH: '{node.root}/bin' }}")
    desk.run(config).expect(0)
    assert not touched.exists()


# ---- Files that others may write to ------------------------------------------------------------------------------

def try_node(node, *changed):
    """A node that is to refuse to start: what it says."""
    words = [str(word) for word in node.words]
    for old, new in changed:
        words[words.index(str(old))] = str(new)
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.fixture
def keyed(nodes):
    """A node with keys that is not running, and a folder of its own for keys."""
    node = nodes.start("bench", keys=True)
    node.stop()
    return node


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_accepted_keys_that_others_may_write(keyed, tmp_path, mode):
    folder = tmp_path / "above" / "accepted"
    folder.mkdir(parents=True)
    public = Path(f"{keyed.nodes.key}.pub")
    mine = folder / "me.pub"
    mine.write_bytes(public.read_bytes())
    for place in (folder, folder.parent, mine):
        before = place.stat().st_mode
        place.chmod(mode)
        for accepted in (folder, mine):
            said = try_node(keyed, (public, accepted))
            assert f"chmod go-w {place}" in said and "let themselves in" in said, said
        place.chmod(before)
    link = tmp_path / "link"
    link.symlink_to(folder)
    folder.chmod(mode)
    assert f"chmod go-w {folder}" in try_node(keyed, (public, link))


def test_secret_keys_that_others_may_replace(keyed, desk, tmp_path):
    folder = tmp_path / "above" / "secret"
    folder.mkdir(parents=True)
    secret = folder / "key"
    secret.write_bytes(keyed.key.read_bytes())
    secret.chmod(0o600)
    folder.parent.chmod(0o777)
    said = try_node(keyed, (keyed.key, secret))
    assert f"chmod go-w {folder.parent}" in said and str(secret) in said, said
    config = script_config(desk.name, "m.py", ", host: bench", keyed.nodes.hosts)
    desk.run(config, "--key", secret, record=False).expect(2, f"chmod go-w {folder.parent}", secret)


def test_a_module_root_beneath_a_folder_that_others_may_write(nodes, tmp_path):
    node = nodes.start("bench")
    node.stop()
    above = tmp_path / "above"
    (above / "root").mkdir(parents=True)
    above.chmod(0o777)
    assert f"chmod go-w {above}" in try_node(node, (node.root, above / "root"))


def test_accepted_keys_that_others_may_write_later_let_nobody_in(desk, nodes, tmp_path):
    folder = tmp_path / "accepted"
    folder.mkdir()
    node = nodes.start("bench", keys=True)
    node.stop()
    (folder / "me.pub").write_bytes(Path(f"{nodes.key}.pub").read_bytes())
    words = node.words
    node.arguments += ["--accept", str(folder)]
    assert len(node.words) == len(words) + 2
    node.start()
    folder.chmod(0o777)
    node.write("show.sh", "#!/bin/sh\n").chmod(0o755)
    config = script_config(desk.name, "show.sh", ", host: bench", nodes.hosts)
    desk.run(config, "--key", nodes.key, record=False).expect(2, "does not accept this key")
    assert f"chmod go-w {folder}" in node.says("no coordinator is let in")
    folder.chmod(0o755)
    desk.run(config, "--key", nodes.key, record=False).expect(0)


# ---- Programs that change while a run goes on ---------------------------------------------------------------------

VERSIONED = """
#include <hermes/module.h>
#include <stdio.h>
static double count;
static int stage(void) { printf("this is version %d\\n", VERSION); return 0; }
static int step(double dt) { (void)dt; count++; return 0; }
static hermes_module_t module = {.stage = stage, .step = step};
hermes_module_t *hermes_module_create(void) {
  hermes_declare(&(hermes_signal_t){.name = "count", .flags = HERMES_OUTPUT, .storage = &count});
  return &module;
}
void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
"""


@pytest.fixture
def version(desk):
    """`version(1)`: the program of that version."""
    def build(number):
        source = desk.folder / f"version{number}_{os.getpid()}.c"
        source.write_text(VERSIONED.replace("VERSION", str(number)))
        return desk.built(source).read_bytes()
    return build


def put(path, content):
    """As a build and `hermes push` do: another file of that name."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.chmod(0o755)
    os.replace(new, path)


def restarting(desk, module, host="", hosts=""):
    return desk.config(f"""version: "0.2"
name: {desk.name}
{hosts}modules:
  m: {{ {module}, on_module_error: restart{host} }}
execution: {{ mode: realtime, rate_hz: 100, end_time: 60 }}
""")


def kill_module(sim):
    pid = sim.module_pid("m")
    os.kill(pid, 9)
    return pid


@pytest.mark.parametrize("pushed", [False, True], ids=["desk", "push"])
def test_a_restart_starts_the_program_that_the_run_began_with(desk, nodes, version, pushed):
    put(desk.folder / "m", version(1))
    node = nodes.start("bench") if pushed else None
    config = restarting(desk, "type: process, executable: ./m", *((", host: bench", nodes.hosts) if pushed else ()))
    if pushed:
        desk.command("push", config).expect(0)
    with Running(desk, config, record=False, name=f"{desk.name}.bench" if pushed else desk.name) as sim:
        sim.says("this is version 1")
        sim.ready().frame(5)
        put(desk.folder / "m", version(1))  # the same bytes are the same program
        if pushed:
            desk.command("push", config).expect(0)
        first = kill_module(sim)
        sim.says("goes on with frame")
        assert "has changed" not in sim.stderr
        put(desk.folder / "m", version(2))
        if pushed:
            desk.command("push", config).expect(0, "1 sent")
        second = sim.until(lambda: next(iter(set(sim.modules()) - {first}), None), "another process of the module")
        second = kill_module(sim)
        sim.says("module m", "/m has changed since the run began", "started again as it was then")
        sim.until(lambda: sim.stderr.count("this is version 1") == 3, "it is the program it was")
        sim.until(lambda: sim.stderr.count("goes on with frame") == 2, "it goes on")
        assert second != first and "version 2" not in sim.stderr
        desk.command("stop", desk.name).expect(0)
        assert sim.finish().code == 0


@pytest.mark.parametrize("what", ["script", "config"])
@pytest.mark.parametrize("place", ["desk", "bench"])
def test_a_restart_with_another_script_or_configuration_ends_the_run(desk, nodes, version, what, place):
    folder = nodes.start("bench").root if place == "bench" else desk.folder
    host = (", host: bench", nodes.hosts) if place == "bench" else ()
    put(folder / "m", version(1))
    (folder / "m.ini").write_text("one")
    script = "class M:\n    def stage(self): print('staged')\n    def step(self, dt): pass\n"
    (folder / "m.py").write_text(script)
    if place == "bench":
        for name in ("m", "m.ini", "m.py"):
            (desk.folder / name).write_bytes((folder / name).read_bytes())
            (desk.folder / name).chmod(0o755)
    module = "type: script, script: ./m.py" if what == "script" else "type: process, executable: ./m, config: ./m.ini"
    with Running(desk, restarting(desk, module, *host), record=False,
                 name=f"{desk.name}.bench" if place == "bench" else desk.name) as sim:
        sim.ready().frame(5)
        changed = folder / ("m.py" if what == "script" else "m.ini")
        changed.write_text(script + "# more" if what == "script" else "two")
        kill_module(sim)
        done = sim.finish()
        done.expect(2, "module m", f"host {place}", f"{changed} has changed since the run began")
