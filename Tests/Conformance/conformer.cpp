// The conformer in C++.
#include <hermes/module.hpp>

#include <chrono>
#include <fstream>
#include <thread>

class Conformer : public hermes::Module, public hermes::State {
 public:
  Conformer() {
    const char *path = hermes_config_path();
    if (path == nullptr) return;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const auto split = line.find('=');
      if (split == std::string::npos) continue;
      const std::string key = line.substr(0, split), value = line.substr(split + 1);
      if (key == "fail_at") fail_at_ = std::stoll(value);
      if (key == "hang_at") hang_at_ = std::stoll(value);
      if (key == "terminate_file") terminate_file_ = value;
    }
  }

  void step(double dt) override {
    steps += 1;
    while (steps == hang_at_) std::this_thread::sleep_for(std::chrono::hours(1));
    if (steps == fail_at_) throw hermes::Failure(7, "told to fail at step " + std::to_string(fail_at_));
    out_f64 = in_f64 * gain + dt;
    out_f32 = in_f32 * 1.5f;
    out_i64 = in_i64 + 1;
    out_i32 = in_i32 - 1;
    out_bool = !in_bool;
    total += in_f64 * dt;
  }

  void terminate() override {
    if (!terminate_file_.empty()) std::ofstream(terminate_file_) << "terminated after " << steps.value() << " steps\n";
  }

  std::string save() override {
    const Saved now{total, steps};
    return std::string(reinterpret_cast<const char *>(&now), sizeof now);
  }

  void load(const std::string &state) override {
    Saved then;
    if (state.size() != sizeof then) throw std::runtime_error("the state has a wrong size");
    std::memcpy(&then, state.data(), sizeof then);
    total = then.total;
    steps = then.steps;
  }

 private:
  struct Saved {
    double total;
    std::int64_t steps;
  };

  hermes::Input<double> in_f64{*this, "in_f64", 0.5, "m", "moves total"};
  hermes::Input<float> in_f32{*this, "in_f32", 0.25f};
  hermes::Input<std::int64_t> in_i64{*this, "in_i64", 3};
  hermes::Input<std::int32_t> in_i32{*this, "in_i32", -2};
  hermes::Input<bool> in_bool{*this, "in_bool", false};
  hermes::Signal<double> gain{*this, "gain", 2.0, nullptr, nullptr, HERMES_WRITABLE};
  hermes::Output<double> out_f64{*this, "out.f64", 0.0, "m"};
  hermes::Output<float> out_f32{*this, "out.f32"};
  hermes::Output<std::int64_t> out_i64{*this, "out.i64"};
  hermes::Output<std::int32_t> out_i32{*this, "out.i32"};
  hermes::Output<bool> out_bool{*this, "out.bool"};
  hermes::Output<double> total{*this, "total", 0.0, "m s"};
  hermes::Output<std::int64_t> steps{*this, "steps"};

  std::int64_t fail_at_ = 0, hang_at_ = 0;
  std::string terminate_file_;
};

HERMES_MODULE(Conformer);
