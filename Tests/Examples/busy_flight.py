"""plain_loop.py in a process that has other things to do: its flight must not notice.

Between two frames of the flight another aircraft flies on, memory is given back, the loop is held up, and the
random generators and the clock are used; a thread keeps the processor busy all the while.
"""

import gc
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Examples/flight"))

import plain_loop  # noqa: E402
from c172p import C172P  # noqa: E402


def disturbed(fly):
    def flight(frames):
        other = C172P(altitude=900.0, heading=200.0, airspeed=48.0)
        for frame, values in enumerate(fly(frames)):
            yield values
            other.blow(random.random(), 0.0, 0.0)
            other.command(random.random(), random.random() - 0.5, 0.0, 0.0)
            other.step(1.0 / 60.0)
            if frame % 400 == 0:
                other = C172P(altitude=900.0 + frame, heading=time.time() % 360.0, airspeed=48.0)
                gc.collect()
                time.sleep(0.02)

    return flight


def spin(stop):
    while not stop.is_set():
        sum(range(1000))


if __name__ == "__main__":
    stop = threading.Event()
    threading.Thread(target=spin, args=(stop,), daemon=True).start()
    plain_loop.fly = disturbed(plain_loop.fly)
    try:
        code = plain_loop.main()
    finally:
        stop.set()
    sys.exit(code)
