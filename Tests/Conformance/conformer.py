"""The conformer in Python."""

import json

import hermes


class Conformer:
    in_f64 = hermes.input(0.5, unit="m", description="moves total")
    in_f32 = hermes.input(0.25, type="f32")
    in_i64 = hermes.input(3)
    in_i32 = hermes.input(-2, type="i32")
    in_bool = hermes.input(False)
    gain = hermes.signal(2.0, writable=True)
    out_f64 = hermes.output(0.0, name="out.f64", unit="m")
    out_f32 = hermes.output(0.0, name="out.f32", type="f32")
    out_i64 = hermes.output(0, name="out.i64")
    out_i32 = hermes.output(0, name="out.i32", type="i32")
    out_bool = hermes.output(False, name="out.bool")
    total = hermes.output(0.0, unit="m s")

    def __init__(self):
        hermes.declare(self, "steps", 0, direction="output")
        self.settings = {}
        if hermes.config_path():
            with open(hermes.config_path()) as file:
                self.settings = dict(line.strip().split("=", 1) for line in file if "=" in line)
        self.fail_at = int(self.settings.get("fail_at", 0))
        self.hang_at = int(self.settings.get("hang_at", 0))

    def step(self, dt):
        self.steps += 1
        while self.steps == self.hang_at:
            pass
        if self.steps == self.fail_at:
            raise hermes.Failure(f"told to fail at step {self.steps}", status=7)
        self.out_f64 = self.in_f64 * self.gain + dt
        self.out_f32 = self.in_f32 * 1.5
        self.out_i64 = self.in_i64 + 1
        self.out_i32 = self.in_i32 - 1
        self.out_bool = not self.in_bool
        self.total += self.in_f64 * dt

    def terminate(self):
        if "terminate_file" in self.settings:
            with open(self.settings["terminate_file"], "w") as file:
                file.write(f"terminated after {self.steps} steps\n")

    def save(self):
        return json.dumps([self.total, self.steps]).encode()

    def load(self, state):
        self.total, self.steps = json.loads(state)
