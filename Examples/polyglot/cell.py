"""A cell of the ring, in Python: one step of the logistic map, and its result in every type of signal."""

import hermes


class Cell:
    neighbour = hermes.input(0.0)
    value = hermes.output(0.3)
    single = hermes.output(0.0, type="f32")
    percent = hermes.output(0, type="i32", unit="%")
    high = hermes.output(False)
    steps = hermes.output(0)
    elapsed = hermes.output(0.0, unit="s")

    def step(self, dt):
        self.value = 3.9 * self.neighbour * (1.0 - self.neighbour)
        self.single = self.value
        self.percent = int(100.0 * self.value)
        self.high = self.value > 0.5
        self.steps += 1
        self.elapsed += dt
