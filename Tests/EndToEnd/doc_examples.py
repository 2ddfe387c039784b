"""The examples of docs/frames.md: their files, their commands and their tables, cut out of the page."""
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import plain_yaml

PAGE = Path(__file__).resolve().parents[2] / "docs" / "frames.md"


@dataclass
class Example:
    name: str
    files: dict
    commands: list
    """The words of each command line, without `$`; a trailing `&` is its own word."""
    epochs: list
    """One table an epoch: a list of rows, each a dict of column to text."""

    @property
    def config(self):
        return plain_yaml.load(self.files["sim.yaml"])

    @property
    def formulas(self):
        return {name: self.files[module["config"].removeprefix("./")] for name, module in self.config["modules"].items()}

    @property
    def sets(self):
        run = self.commands[0]
        return dict(run[i + 1].split("=", 1) for i, word in enumerate(run) if word == "--set")


def examples():
    found = []
    for name, body in re.findall(r"<!-- example: (\S+) -->\n(.*?)<!-- end -->", PAGE.read_text(), re.S):
        blocks = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", body, re.S | re.M)
        files = {path: text for _, path, text in blocks if path}
        console = next(text for language, _, text in blocks if language == "console")
        commands = [shlex.split(line.removeprefix("$ ").replace("&", " & ")) for line in console.splitlines()]
        found.append(Example(name, files, commands, [_table(text) for text in re.findall(r"(?:^\|.*\n)+", body, re.M)]))
    return found


def _table(text):
    header, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]
