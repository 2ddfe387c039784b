//! A cell of the ring, in Rust: one step of the logistic map, and its result in every type of signal.

use hermes_module::{hermes_module, Error, Module, Signal, Signals};

struct Cell {
    neighbour: Signal<f64>,
    value: Signal<f64>,
    single: Signal<f32>,
    percent: Signal<i32>,
    high: Signal<bool>,
    steps: Signal<i64>,
    elapsed: Signal<f64>,
}

impl Module for Cell {
    fn new(signals: &mut Signals) -> Result<Self, Error> {
        Ok(Cell {
            neighbour: signals.input("neighbour", 0.0).declare()?,
            value: signals.output("value", 0.3).declare()?,
            single: signals.output("single", 0.0).declare()?,
            percent: signals.output("percent", 0).unit("%").declare()?,
            high: signals.output("high", false).declare()?,
            steps: signals.output("steps", 0).declare()?,
            elapsed: signals.output("elapsed", 0.0).unit("s").declare()?,
        })
    }

    fn step(&mut self, dt: f64) -> Result<(), Error> {
        let neighbour = self.neighbour.get();
        let value = 3.9 * neighbour * (1.0 - neighbour);
        self.value.set(value);
        self.single.set(value as f32);
        self.percent.set((100.0 * value) as i32);
        self.high.set(value > 0.5);
        self.steps.set(self.steps.get() + 1);
        self.elapsed.set(self.elapsed.get() + dt);
        Ok(())
    }
}

hermes_module!(Cell);
