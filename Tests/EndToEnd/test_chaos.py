"""Whatever happens to whichever process at whatever moment: the exit code fits, the cause is named, the recording is whole,
modules reach their safe state, nothing is left, and the next run of that name comes right (chaos.py).

HERMES_CHAOS=N          that many scenarios (40)
HERMES_CHAOS_SEED=S     begin with that seed; one scenario unless HERMES_CHAOS says more
HERMES_CHAOS_JOBS=N     played side by side (4); they mostly wait
"""
import os
import random
from concurrent.futures import ThreadPoolExecutor

from chaos import NEXT_FRAMES, REFERENCE_FRAMES, play
from conftest import Desk
from hosts import FORMULAS, Hosts

SEED = os.environ.get("HERMES_CHAOS_SEED")
COUNT = int(os.environ.get("HERMES_CHAOS", 1 if SEED else 40))
JOBS = int(os.environ.get("HERMES_CHAOS_JOBS", 4))


def undisturbed(desk):
    """The digest of the run that follows each scenario, and the rows of the ring."""
    hosts = Hosts(desk)
    digest = hosts.reference(end_time=NEXT_FRAMES / 100)
    rows = desk.run(hosts.ring("---", name=f"{desk.name}-rows", end_time=REFERENCE_FRAMES / 100)).expect(0)
    columns = [column for column in rows.recording.columns if column.split(".")[0] in FORMULAS]
    return digest, [{column: row[column] for column in columns} for row in rows.recording.rows]


def test_chaos(hermes, built, tmp_path, name):
    (tmp_path / "alone").mkdir()
    reference = undisturbed(Desk(hermes, built, tmp_path / "alone", f"{name}-alone"))
    first = int(SEED) if SEED else random.SystemRandom().randrange(1 << 30)
    print(f"seeds {first} to {first + COUNT - 1}")
    with ThreadPoolExecutor(JOBS) as pool:
        seeds = range(first, first + COUNT)
        wrong = pool.map(lambda seed: play(seed, hermes, built, tmp_path / str(seed), f"{name}-{seed}", reference), seeds)
        wrong = [text for text in wrong if text]
    assert not wrong, f"{len(wrong)} of {COUNT}; HERMES_CHAOS_SEED= repeats one\n\n" + "\n\n".join(wrong)
