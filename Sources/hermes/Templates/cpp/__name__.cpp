#include <hermes/module.hpp>

class {{Type}} : public hermes::Module {
 public:
  void step(double dt) override { value += rate * dt; }

 private:
  hermes::Input<double> rate{*this, "rate", 2.0, "1/s", "growth of value"};
  hermes::Output<double> value{*this, "value", 0.0};
};

HERMES_MODULE({{Type}});
