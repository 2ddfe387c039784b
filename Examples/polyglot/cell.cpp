// A cell of the ring, in C++: one step of the logistic map, and its result in every type of signal.
#include <hermes/module.hpp>

class Cell : public hermes::Module {
  hermes::Input<double> neighbour{*this, "neighbour"};
  hermes::Output<double> value{*this, "value", 0.3};
  hermes::Output<float> single{*this, "single"};
  hermes::Output<std::int32_t> percent{*this, "percent", 0, "%"};
  hermes::Output<bool> high{*this, "high"};
  hermes::Output<std::int64_t> steps{*this, "steps"};
  hermes::Output<double> elapsed{*this, "elapsed", 0.0, "s"};

  void step(double dt) override {
    value = 3.9 * neighbour * (1.0 - neighbour);
    single = static_cast<float>(value);
    percent = static_cast<std::int32_t>(100.0 * value);
    high = value > 0.5;
    steps += 1;
    elapsed += dt;
  }
};
HERMES_MODULE(Cell);
