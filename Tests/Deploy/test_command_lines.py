"""Every option that something in deploy/ or docs/operations.md gives to a program of Hermes is one it has."""

import re
import subprocess

from conftest import DEPLOY, ROOT

FILES = ["systemd/hermes-node.service", "systemd/hermes-node.default", "container/Containerfile", "kubernetes/node.yaml",
         "kubernetes/coordinator.yaml", "slurm/hermes.sbatch"]
COMMAND = re.compile(r"""(?<![\w/.-])(?:/usr/bin/)?(hermes-node|hermes[ ",\[]+(?:run|keygen|push|nodes|doctor|verify))[", ](.*)""")


def used(text):
    """Options by command, of commands that a text names; a `\\` or a `,` at the end of a line continues one."""
    found = {}
    for command, rest in COMMAND.findall(re.sub(r"(\\|,)\n\s*", " ", text)):
        options = re.findall(r"(?<!\S)--[a-z-]+", re.sub(r"""[",\[\]`=]""", " ", re.split(r"[|&;)#`]", rest)[0]))
        found.setdefault(re.sub(r"[^a-z-]+", " ", command), set()).update(options)
    return found


def test_each_option_is_known(hermes, hermes_node):
    texts = [(DEPLOY / name).read_text() for name in FILES] + [(ROOT / "docs/operations.md").read_text()]
    total = {}
    for text in texts:
        for command, options in used(text).items():
            total.setdefault(command, set()).update(options)
    # The settings file gives a node's options without its name.
    total["hermes-node"] |= set(re.findall(r"--[a-z-]+", (DEPLOY / "systemd/hermes-node.default").read_text()))
    assert {"--listen", "--modules", "--key", "--accept", "--no-push"} <= total["hermes-node"]
    assert {"--key", "--summary"} <= total["hermes run"]
    for command, options in total.items():
        words = command.split()
        program = hermes_node if words[0] == "hermes-node" else hermes
        done = subprocess.run([program, *words[1:], "--help"], capture_output=True, text=True)
        known = set(re.findall(r"--[a-z-]+", done.stdout + done.stderr))
        assert options <= known, f"{command} has no {', '.join(sorted(options - known))}"
