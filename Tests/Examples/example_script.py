"""The run scripts of the examples as their users meet them, and what they leave behind."""

import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from conftest import HERMES

PATIENCE = 2 * float(os.environ.get("HERMES_TEST_PATIENCE", 30))


class Script:
    """A script in the background, in a session of its own; what it leaves is found, and removed for the next test."""

    def __init__(self, path, folder, *arguments):
        self.name = path.parent.name if path.name == "run" else path.name
        self.folder, self.words = folder, [path, *arguments]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "HERMES": str(HERMES), "TMPDIR": str(self.folder)})
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        for name in self.namespaces():
            subprocess.run(["ip", "netns", "del", name])

    def finish(self):
        """(exit code, standard output, standard error)"""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.words} does not end")
        return self.process.returncode, out, err

    def namespaces(self):
        if shutil.which("ip") is None:
            return []
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.split()
        mine = f"{self.name}-{self.process.pid}-"
        return [name for name in names if name.startswith((mine, f"hermes-{mine}"))]

    def processes(self):
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.getsid(int(entry)) == self.process.pid and int(entry) != self.process.pid:
                    found.append(int(entry))
            except ProcessLookupError:
                continue
        return found

    def left(self):
        shared = pathlib.Path("/dev/shm")
        name = f"{self.name}-{self.process.pid}"
        files = [*self.folder.iterdir(), *shared.glob(f"hermes_{name}*"), *shared.glob(f"hermes-*/{name}*")]
        return self.namespaces() + self.processes() + [str(path) for path in files]
