//! The conformer in Rust.

use hermes_module::{config_path, hermes_module, Error, Module, Signal, Signals};

struct Conformer {
    in_f64: Signal<f64>,
    in_f32: Signal<f32>,
    in_i64: Signal<i64>,
    in_i32: Signal<i32>,
    in_bool: Signal<bool>,
    gain: Signal<f64>,
    out_f64: Signal<f64>,
    out_f32: Signal<f32>,
    out_i64: Signal<i64>,
    out_i32: Signal<i32>,
    out_bool: Signal<bool>,
    total: Signal<f64>,
    steps: Signal<i64>,
    fail_at: i64,
    hang_at: i64,
    terminate_file: Option<String>,
}

impl Module for Conformer {
    const SAVES_STATE: bool = true;

    fn new(signals: &mut Signals) -> Result<Self, Error> {
        let mut made = Conformer {
            in_f64: signals.input("in_f64", 0.5).unit("m").description("moves total").declare()?,
            in_f32: signals.input("in_f32", 0.25).declare()?,
            in_i64: signals.input("in_i64", 3).declare()?,
            in_i32: signals.input("in_i32", -2).declare()?,
            in_bool: signals.input("in_bool", false).declare()?,
            gain: signals.signal("gain", 2.0).writable().declare()?,
            out_f64: signals.output("out.f64", 0.0).unit("m").declare()?,
            out_f32: signals.output("out.f32", 0.0).declare()?,
            out_i64: signals.output("out.i64", 0).declare()?,
            out_i32: signals.output("out.i32", 0).declare()?,
            out_bool: signals.output("out.bool", false).declare()?,
            total: signals.output("total", 0.0).unit("m s").declare()?,
            steps: signals.output("steps", 0).declare()?,
            fail_at: 0,
            hang_at: 0,
            terminate_file: None,
        };
        if let Some(path) = config_path() {
            for line in std::fs::read_to_string(path)?.lines() {
                match line.split_once('=') {
                    Some(("fail_at", value)) => made.fail_at = value.parse()?,
                    Some(("hang_at", value)) => made.hang_at = value.parse()?,
                    Some(("terminate_file", value)) => made.terminate_file = Some(value.to_owned()),
                    _ => {}
                }
            }
        }
        Ok(made)
    }

    fn step(&mut self, dt: f64) -> Result<(), Error> {
        self.steps.set(self.steps.get() + 1);
        while self.steps.get() == self.hang_at {
            std::thread::park();
        }
        if self.steps.get() == self.fail_at {
            return Err(Error::with_status(7, format!("told to fail at step {}", self.fail_at)));
        }
        self.out_f64.set(self.in_f64.get() * self.gain.get() + dt);
        self.out_f32.set(self.in_f32.get() * 1.5);
        self.out_i64.set(self.in_i64.get() + 1);
        self.out_i32.set(self.in_i32.get() - 1);
        self.out_bool.set(!self.in_bool.get());
        self.total.set(self.total.get() + self.in_f64.get() * dt);
        Ok(())
    }

    fn terminate(&mut self) {
        if let Some(path) = &self.terminate_file {
            let _ = std::fs::write(path, format!("terminated after {} steps\n", self.steps.get()));
        }
    }

    fn safe_state() {
        let text = config_path().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        for file in text.lines().filter_map(|line| line.strip_prefix("terminate_file=")) {
            let _ = std::fs::write(file, "safe after a hang\n");
        }
    }

    fn save(&self) -> Result<Vec<u8>, Error> {
        let mut state = self.total.get().to_le_bytes().to_vec();
        state.extend(self.steps.get().to_le_bytes());
        Ok(state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), Error> {
        let (total, steps) = state.split_at_checked(8).ok_or_else(|| Error::new("the state is too short"))?;
        self.total.set(f64::from_le_bytes(total.try_into()?));
        self.steps.set(i64::from_le_bytes(steps.try_into()?));
        Ok(())
    }
}

hermes_module!(Conformer);
