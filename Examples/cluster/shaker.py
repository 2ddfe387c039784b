"""Shakes three masses, each at another pace, and pulls all of them back to the middle."""

import hermes

PERIODS = {"left": 0.7, "middle": 1.1, "right": 1.3}  # s


class Shaker:
    strength = hermes.signal(5.0, unit="N", writable=True)

    def __init__(self):
        for name in PERIODS:
            hermes.declare(self, f"position.{name}", direction="input", unit="m")
            hermes.declare(self, f"push.{name}", direction="output", unit="N")
        self.signals = hermes.signals(self)

    def step(self, dt):
        mean = sum(self.signals[f"position.{name}"] for name in PERIODS) / len(PERIODS)
        for name, period in PERIODS.items():
            there = int(hermes.time() / period * 2.0) % 2 == 0
            self.signals[f"push.{name}"] = (self.strength if there else -self.strength) - 4.0 * mean
