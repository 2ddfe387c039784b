"""What the desk wants of the motor: two speeds in turn. `hermes set` changes them while it runs."""

import hermes


class SetPoint:
    low = hermes.signal(40.0, unit="rad/s", writable=True)
    high = hermes.signal(80.0, unit="rad/s", writable=True)
    hold = hermes.signal(1.5, unit="s", writable=True, description="how long each is wanted")
    speed = hermes.output(0.0, unit="rad/s", description="wanted now")

    def step(self, dt):
        self.speed = self.high if int(hermes.time() / self.hold) % 2 else self.low
