"""What the tests of deploy/ share: the programs, a Python with published schemas, and an island to install things on.

HERMES_BIN        the hermes binary (default: .build/debug/hermes)
HERMES_NODE_BIN   the hermes-node binary (default: beside HERMES_BIN)
HERMES_LIBDIR     the folder with libhermes.a (default: .build/lib)
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
HERMES = Path(os.environ.get("HERMES_BIN", ROOT / ".build/debug/hermes")).absolute()
HERMES_NODE = Path(os.environ.get("HERMES_NODE_BIN", HERMES.parent / "hermes-node")).absolute()
LIBRARY = Path(os.environ.get("HERMES_LIBDIR", ROOT / ".build/lib")).absolute()
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
        time.sleep(0.01)


def program(path):
    if not os.access(path, os.X_OK):
        pytest.fail(f"no program at {path}; build it, or name another in HERMES_BIN and HERMES_NODE_BIN", pytrace=False)
    return path


@pytest.fixture(scope="session")
def hermes():
    """The path of the binary. Missing, it is a failure: no test passes without its subject."""
    return program(HERMES)


@pytest.fixture(scope="session")
def hermes_node():
    return program(HERMES_NODE)


# ---- The unit, read as systemd does -----------------------------------------------------------------------------

class Unit:
    """A unit file: `unit["Service", "User"]` is the last value of a key, `unit.environment(FILE)` what a service starts with."""

    def __init__(self, text):
        self.values, section = {}, None
        for line in text.splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                self.values[section, key] = value

    def __getitem__(self, key):
        return self.values[key]

    def environment(self, settings):
        """From Environment=, and over it the lines of an EnvironmentFile= with that text."""
        lines = shlex.split(self["Service", "Environment"]) + [
            word for line in settings.splitlines() if not line.startswith("#") for word in shlex.split(line)]
        return dict(line.split("=", 1) for line in lines)

    def command(self, environment):
        """The words of ExecStart=: ${NAME} stays one word, a $NAME alone becomes as many as it has."""
        words = []
        for word in self["Service", "ExecStart"].split():
            if re.fullmatch(r"\$\w+", word):
                words += shlex.split(environment.get(word[1:], ""))
            else:
                words.append(re.sub(r"\$\{(\w+)\}", lambda match: environment[match[1]], word))
        return words


# ---- Published schemas ------------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def schema_python():
    """A Python that has the packages of requirements.txt, in a folder of its own; made again when the list changes."""
    folder, wanted = ROOT / ".build/deploy-python", (Path(__file__).parent / "requirements.txt").read_text()
    python, stamp = folder / "bin/python", folder / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        done = subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r",
                               Path(__file__).parent / "requirements.txt"], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"NOT CHECKED against the schemas of Kubernetes: pip cannot install them here: {done.stderr[-500:]}")
        stamp.write_text(wanted)
    return python


# ---- An island --------------------------------------------------------------------------------------------------

class Island:
    """This machine as it is, in namespaces of its own: what is written to /usr, /etc, /var, /run and /dev/shm stays here,
    its network has loopback and nothing else, and all of it goes with the one process that holds it."""

    LAYERED = ("usr", "etc", "var")
    MADE_BY = """
        set -e
        mount -t tmpfs -o mode=755 island "$1"
        for name in usr etc var; do
            mkdir -p "$1/$name/upper" "$1/$name/work"
            mount -t overlay island -o "lowerdir=/$name,upperdir=$1/$name/upper,workdir=$1/$name/work" "/$name"
        done
        mount -t tmpfs -o mode=755 run /run
        mount -t tmpfs -o mode=1777 shm /dev/shm
        ip link set lo up
        echo made
        exec cat
    """

    def __init__(self, folder):
        self.folder = folder
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", self.MADE_BY, "island", folder],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "made\n":
            pytest.skip("NOT INSTALLED: this machine makes no overlays of /usr, /etc and /var to install upon: "
                        + self.holder.communicate()[1])

    def words(self, *command):
        """A command as it is started from outside."""
        return ["nsenter", "--target", str(self.holder.pid), "--mount", "--net", "--", *map(str, command)]

    def run(self, *command, succeeds=True):
        done = subprocess.run(self.words(*command), cwd="/", capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})
        if succeeds:
            assert done.returncode == 0, f"{shlex.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def path(self, path):
        """A path of the island, as seen from outside."""
        return Path(f"/proc/{self.holder.pid}/root{path}")

    def changes(self):
        """Paths of /usr, /etc and /var that are not what they are outside: new, gone, or files with other content."""
        for name in self.LAYERED:
            upper = self.path(f"{self.folder}/{name}/upper")
            for folder, folders, files in os.walk(upper):
                here = Path("/") / name / Path(folder).relative_to(upper)
                for entry in folders:
                    if not (here / entry).is_dir():
                        yield here / entry
                for entry in files:
                    outside, inside = here / entry, Path(folder) / entry
                    if inside.is_char_device() or not outside.exists() or inside.read_bytes() != outside.read_bytes():
                        yield outside

    def end(self):
        self.holder.communicate()


@pytest.fixture
def island(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("NOT INSTALLED: namespaces to install upon need root")
    made = Island(tmp_path)
    yield made
    made.end()
