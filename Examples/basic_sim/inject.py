"""Drives the vehicle: full thrust, then a steady speed, then none at all."""

import hermes

FULL_THRUST = 6000.0  # N


class Injector:
    velocity = hermes.input(0.0, unit="m/s")
    cruise_velocity = hermes.signal(18.0, unit="m/s", writable=True)
    thrust_command = hermes.output(0.0, unit="N")

    def step(self, dt):
        if hermes.time() <= 4.0:
            self.thrust_command = FULL_THRUST
        elif hermes.time() <= 8.0:
            wanted = 4000.0 * (self.cruise_velocity - self.velocity)
            self.thrust_command = max(-FULL_THRUST, min(wanted, FULL_THRUST))
        else:
            self.thrust_command = 0.0
