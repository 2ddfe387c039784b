"""deploy/slurm: the hosts of an allocation in a configuration, and the batch script with nodes that really run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import DEPLOY, HERMES, LIBRARY, PATIENCE, ROOT, wait_for

sys.path.insert(0, str(DEPLOY / "slurm"))
import hosts  # noqa: E402

KEYS = ["rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"]

BEFORE = """\
version: "0.2"   # hosts: of which there are two
hosts:           # filled in by the batch job
  # the fast one
  bench: { endpoint: "tcp://127.0.0.1:7600" }

  "rack":
    endpoint: tcp://127.0.0.1:7601
    mirror: tcp://127.0.0.1

# what runs
modules:
  hosts: { type: process, executable: ./hosts, host: rack }
"""

AFTER = f"""\
version: "0.2"   # hosts: of which there are two
hosts:
  bench: {{ endpoint: "tcp://node17:7600", key: "{KEYS[0]}" }}
  rack: {{ endpoint: "tcp://[fd00::17]:7600", key: "{KEYS[1]}" }}

# what runs
modules:
  hosts: {{ type: process, executable: ./hosts, host: rack }}
"""


# ---- hosts.py ---------------------------------------------------------------------------------------------------

@pytest.fixture
def keys(tmp_path):
    for machine, key in zip(["node17", "fd00::17", "node18"], [*KEYS, KEYS[0]]):
        (tmp_path / f"{machine}.pub").write_text(key + "\n")
    return tmp_path


def test_machines_take_the_places_of_hosts_in_order(keys):
    assert hosts.placed(BEFORE, ["node17", "fd00::17", "node18"], 7600, keys) == AFTER


def test_what_comes_out_can_go_in_again(keys):
    assert hosts.placed(AFTER, ["node17", "fd00::17"], 7600, keys) == AFTER


@pytest.mark.parametrize("text, word", [
    ("modules: {}\n", "no top-level sections"),
    ("hosts:\n  a: {}\nhosts:\n  b: {}\n", "2 top-level sections"),
    ('hosts: { a: { endpoint: "tcp://127.0.0.1:7600" } }\n', "line 1: write each host on a line of its own"),
    ("hosts:\nmodules: {}\n", "names no host"),
    ("hosts:\n  a: {}\n  a: {}\n", "names a host twice"),
    ("hosts:\n  - a\n", "cannot read a host's name in: - a"),
    ("hosts:\n  a: {}\n  b: {}\n  c: {}\n  d: {}\n", "has 4 hosts (a, b, c, d), and there are only 3 machines"),
])
def test_what_cannot_be_read_is_said(text, word, keys):
    with pytest.raises(ValueError) as refused:
        hosts.placed(text, ["node17", "fd00::17", "node18"], 7600, keys)
    assert word in str(refused.value)


def test_a_secret_key_is_not_taken_for_a_public_one(keys):
    (keys / "node17.pub").write_text("no key\n")
    with pytest.raises(ValueError, match="node17.pub holds no public key"):
        hosts.placed(AFTER, ["node17", "fd00::17"], 7600, keys)


def test_as_a_command(keys):
    (keys / "sim.yaml").write_text(BEFORE)
    command = [sys.executable, DEPLOY / "slurm/hosts.py", keys / "sim.yaml"]
    assert subprocess.check_output(command, text=True) == "bench\nrack\n"
    assert subprocess.check_output([*command, "--keys", keys, "node17", "fd00::17"], text=True) == AFTER
    done = subprocess.run([*command, "--keys", keys, "node17"], capture_output=True, text=True)
    assert done.returncode == 1 and "only 1 machines" in done.stderr and "Traceback" not in done.stderr


# ---- The batch script -------------------------------------------------------------------------------------------

NAME = f"deploy-{os.getpid()}"

CONFIG = f"""\
version: "0.2"
name: {NAME}
hosts:
  rack-1: {{ endpoint: "tcp://127.0.0.1:7600" }}
  rack-2: {{ endpoint: "tcp://127.0.0.1:7600" }}
modules:
  injector: {{ type: script, script: ./inject.py, host: rack-1 }}
  vehicle: {{ type: process, executable: ./vehicle, host: rack-2 }}
wiring:
  - {{ src: injector.thrust_command, dst: vehicle.thrust }}
  - {{ src: vehicle.velocity, dst: injector.velocity }}
execution: {{ mode: afap, rate_hz: 100.0, end_time: 10.0, schedule: [injector, vehicle] }}
"""


class Job:
    """The batch script as sbatch starts it, on machines that are addresses of loopback."""

    NUMBER = str(os.getpid())

    def __init__(self, folder, machines):
        self.folder, self.slurm, self.secrets = folder / "submitted", folder / "slurm", folder / "secrets"
        for made in (self.folder, self.slurm, self.secrets):
            made.mkdir()
        (self.folder / "sim.yaml").write_text(CONFIG)
        # sbatch runs a copy that lies alone; a copy of hosts.py is installed beside hermes.
        self.script = shutil.copy(DEPLOY / "slurm/hermes.sbatch", self.slurm)
        shutil.copy(DEPLOY / "slurm/hosts.py", self.slurm)
        self.environment = {
            **os.environ, "PATH": f"{Path(__file__).parent / 'slurm'}:{HERMES.parent}:{os.environ['PATH']}",
            "SLURM_JOB_ID": self.NUMBER, "SLURM_JOB_NODELIST": ",".join(machines), "FAKE_SLURM": str(self.slurm),
            "HERMES_SECRETS": str(self.secrets), "HERMES_PORT": str(20000 + os.getpid() % 100 * 100)}

    def start(self, *options):
        with open(self.slurm / "output", "wb") as output:
            self.process = subprocess.Popen(["bash", self.script, "sim.yaml", *map(str, options)], cwd=self.folder, stdout=output,
                                            stderr=output, stdin=subprocess.DEVNULL, env=self.environment)
        return self

    @property
    def output(self):
        return (self.slurm / "output").read_text(errors="replace")

    def nodes(self):
        return [int(word) for word in (self.slurm / f"{self.NUMBER}.0").read_text().split()]

    def ends(self, code):
        try:
            assert self.process.wait(PATIENCE) == code, self.output
        except subprocess.TimeoutExpired:
            self.process.kill()
            for pid in self.nodes():
                os.kill(pid, signal.SIGKILL)
            pytest.fail(f"the job does not end:\n{self.output}")
        return self

    def left_nothing(self):
        """No node, no module, no segment, no key, no file beside what was submitted and asked for."""
        assert [pid for pid in self.nodes() if Path(f"/proc/{pid}").exists()] == []
        wait_for(lambda: not modules(), "modules and keepers are gone")
        assert [path for path in Path("/dev/shm").rglob("*") if NAME in path.name] == []
        assert list(self.secrets.iterdir()) == []
        assert [path.name for path in self.folder.iterdir() if path.name.startswith(".")] == []


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path, ["127.0.0.11", "127.0.0.12", "127.0.0.13"])


@pytest.fixture
def placed_job(job, hermes, hermes_node):
    """With modules, on the first two machines of three."""
    example = ROOT / "Examples/basic_sim"
    shutil.copy(example / "inject.py", job.folder)
    subprocess.run(["cc", "-O2", "-ffp-contract=off", "-I", ROOT / "include", example / "vehicle.c", LIBRARY / "libhermes.a",
                    "-o", job.folder / "vehicle", "-lpthread", "-ldl", "-lm"], check=True)
    return job


def modules():
    """Processes of this simulation."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"HERMES_SHM=/hermes_{NAME}".encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            pass
    return found


def running(job):
    """Waits until frames are being recorded."""
    record = job.folder / "out.csv"

    def look():
        assert job.process.poll() is None, job.output
        return record.exists() and record.read_bytes().count(b"\n") > 10
    wait_for(look, f"frames of the job; so far:\n{job.output}")


def test_a_run_on_allocated_machines_gives_the_numbers_of_one(placed_job, hermes):
    there, here = placed_job.slurm / "there.json", placed_job.slurm / "here.json"
    placed_job.start("--digest", "--summary", there).ends(0).left_nothing()
    config = CONFIG.replace(", host: rack-1", "").replace(", host: rack-2", "")
    alone = placed_job.folder / "alone.yaml"
    alone.write_text("\n".join(line for line in config.splitlines() if not line.startswith(("hosts:", "  rack"))) + "\n")
    subprocess.run([hermes, "run", alone, "--digest", "--summary", here], check=True, capture_output=True)
    there, here = json.loads(there.read_text()), json.loads(here.read_text())
    assert there["frames"] == here["frames"] == 1000
    assert there["digest"] == here["digest"]


def test_a_job_that_is_told_to_end_ends_in_order(placed_job):
    placed_job.start("--mode", "realtime", "--end-time", 1e6, "--record", "out.csv")
    running(placed_job)
    placed_job.process.terminate()
    placed_job.ends(143).left_nothing()
    assert (placed_job.folder / "out.csv").read_bytes().endswith(b"\n")
    assert placed_job.output.count("hermes-node: ended\n") == 2, placed_job.output


def test_a_node_that_is_lost_ends_the_job_with_the_word_of_the_run(placed_job):
    placed_job.start("--mode", "realtime", "--end-time", 1e6, "--record", "out.csv")
    running(placed_job)
    os.kill(placed_job.nodes()[1], signal.SIGKILL)
    placed_job.ends(2).left_nothing()
    assert "rack-2" in placed_job.output


def test_too_few_machines_are_refused_before_anything_starts(tmp_path, hermes):
    job = Job(tmp_path, ["127.0.0.11"]).start().ends(64)
    assert "has 2 hosts, the allocation 1 machines; ask for --nodes=2" in job.output
    assert list(job.secrets.iterdir()) == [] and not (job.slurm / f"{job.NUMBER}.0").exists()
