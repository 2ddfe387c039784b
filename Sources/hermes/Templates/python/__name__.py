import hermes


class {{Type}}:
    rate = hermes.input(2.0, unit="1/s", description="growth of value")
    value = hermes.output(0.0)

    def step(self, dt):
        self.value += self.rate * dt
