"""Three nodes on this machine: the same bits as on one host, and nothing left."""

import re
import signal
import subprocess

import pytest

from conftest import EXAMPLES, HERMES
from example_script import Script
from hil_bench import needs_nodes, wait_for

CLUSTER = EXAMPLES / "cluster"


@needs_nodes
def test_the_same_bits_over_three_hosts_and_on_one(built, tmp_path):
    with Script(CLUSTER / "run", tmp_path, "2") as script:
        code, out, err = script.finish()
        assert code == 0, out + err
        digests = re.findall("^digest ([0-9a-f]+)$", out, re.MULTILINE)
        assert len(digests) == 2 and digests[0] == digests[1]
        assert out.splitlines()[-1] == "the same bits in every signal of every frame"
        assert len(re.findall("completed, 2000 frames", err)) == 2
        assert script.left() == []


@needs_nodes
def test_the_readme_shows_what_the_script_prints(built, tmp_path):
    shown = (CLUSTER / "README.md").read_text().split("```")[1]
    with Script(CLUSTER / "run", tmp_path) as script:
        code, out, err = script.finish()
        assert code == 0, out + err
    # Before that come the hosts, as they are here, and what is sent to them, in any order.
    shown, out = (text[text.index("over three hosts and the desk:"):].strip().splitlines() for text in (shown, out))
    assert [line for line in shown if "completed" not in line] == out


def test_every_two_are_wired_both_ways(built):
    plan = subprocess.run([HERMES, "plan", CLUSTER / "cluster.yaml"], capture_output=True, text=True).stdout
    mirrors = set(re.findall(r"^(desk|red|green|blue) -> (desk|red|green|blue) ", plan, re.MULTILINE))
    assert len(mirrors) == 4 * 3


@needs_nodes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_the_script_tidies_up_when_it_is_interrupted(built, tmp_path, number):
    with Script(CLUSTER / "run", tmp_path, "1000") as script:
        wait_for(lambda: [log for log in tmp_path.glob("*/blue.log") if "a run begins" in log.read_text()], "it runs")
        script.process.send_signal(number)
        assert script.finish()[0] == 128 + number
        assert script.left() == []


@pytest.mark.parametrize("arguments", [["0"], ["ten"], [""], ["1", "2"]], ids=repr)
def test_the_script_refuses_wrong_usage(built, tmp_path, arguments):
    with Script(CLUSTER / "run", tmp_path, *arguments) as script:
        code, _, err = script.finish()
        assert code == 64 and "usage" in err
        assert script.left() == []
