"""The Containerfile: what it copies is there, what it runs is not root; built and run where that is asked for."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import DEPLOY, ROOT

FILE = DEPLOY / "container/Containerfile"


def instructions():
    """(instruction, the rest) of every line, continued ones joined."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def stages():
    """The instructions of each FROM."""
    found = []
    for instruction, rest in instructions():
        if instruction == "FROM":
            found.append([])
        if found:
            found[-1].append((instruction, rest))
    return found


def test_what_is_copied_is_in_version_control_and_not_ignored():
    build, _ = stages()
    ignored = (ROOT / ".containerignore").read_text().split("\n")
    copied = [word for instruction, rest in build if instruction == "COPY" for word in rest.split()[:-1]]
    for path in copied:
        assert subprocess.check_output(["git", "ls-files", path], cwd=ROOT), f"{path} is copied, and is in no version"
        assert path not in ignored
    needed = {"Makefile", "Package.swift", "Sources", "Tests", "deploy", "docs", "include", "scripts"}
    assert set(copied) == needed, "each folder that scripts/install and swift build read"


def test_the_image_runs_a_node_and_not_as_root():
    _, image = stages()
    (user,) = [rest for instruction, rest in image if instruction == "USER"]
    assert int(user.split(":")[0]) > 0
    (ports,) = [rest for instruction, rest in image if instruction == "EXPOSE"]
    assert ports == "7600-7699"
    kinds = [instruction for instruction, _ in image]
    assert kinds.index("USER") > max(number for number, kind in enumerate(kinds) if kind == "RUN")


def engine():
    for name in ("podman", "docker"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0:
            return name
    return None


def test_the_image_is_built_and_runs():
    if os.environ.get("HERMES_TEST_IMAGE") != "1":
        pytest.skip("NOT BUILT: an image takes minutes and the network; HERMES_TEST_IMAGE=1 builds it")
    tool = engine() or pytest.skip("NOT BUILT: neither podman nor docker answers here")
    subprocess.run([tool, "build", "-f", FILE, "-t", "hermes-test", ROOT], check=True)
    try:
        run = [tool, "run", "--rm", "--network", "none", "hermes-test"]
        version = subprocess.check_output([ROOT / "scripts/version"], text=True).strip()
        assert version in subprocess.check_output([*run, "hermes-node", "--version"], text=True)
        assert subprocess.check_output([*run, "id"], text=True) == "uid=7600(hermes) gid=7600(hermes) groups=7600(hermes)\n"
        # Without a key there is no node for everybody.
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode != 0 and "/etc/hermes/keys/node" in done.stderr, done.stderr
    finally:
        subprocess.run([tool, "rmi", "hermes-test"], check=True, stdout=subprocess.DEVNULL)
