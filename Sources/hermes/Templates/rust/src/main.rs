use hermes_module::{hermes_module, Error, Module, Signal, Signals};

struct {{Type}} {
    rate: Signal<f64>,
    value: Signal<f64>,
}

impl Module for {{Type}} {
    fn new(signals: &mut Signals) -> Result<Self, Error> {
        Ok({{Type}} {
            rate: signals.input("rate", 2.0).unit("1/s").description("growth of value").declare()?,
            value: signals.output("value", 0.0).declare()?,
        })
    }

    fn step(&mut self, dt: f64) -> Result<(), Error> {
        self.value.set(self.value.get() + self.rate.get() * dt);
        Ok(())
    }
}

hermes_module!({{Type}});
