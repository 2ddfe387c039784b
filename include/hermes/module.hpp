// hermes/module.hpp: a simulation module as a C++17 class, over hermes/module.h.
//
//   class Thruster : public hermes::Module {
//     hermes::Input<double> command{*this, "command", 0.0, "N"};
//     hermes::Output<double> thrust{*this, "thrust", 0.0, "N", "after the lag"};
//     void step(double dt) override { thrust += (command - thrust) * dt / 0.1; }
//   };
//   HERMES_MODULE(Thruster);
//
// Built with `pkg-config --cflags --libs hermes` this is an executable for `type: process`; with -shared -fPIC it is
// the same module for `type: inproc`. An exception out of any method ends the run and is shown in the report.
#ifndef HERMES_MODULE_HPP
#define HERMES_MODULE_HPP

#include <hermes/module.h>

#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace hermes {

class Module;

// Throw this to end the run with a status of your own; any other exception means status 1.
class Failure : public std::runtime_error {
 public:
  Failure(int status, const std::string &reason) : std::runtime_error(reason), status_(status == 0 ? 1 : status) {}
  int status() const noexcept { return status_; }

 private:
  int status_;
};

namespace detail {

template <typename T>
constexpr hermes_type_t type_of() {
  static_assert(std::is_same_v<T, double> || std::is_same_v<T, float> || std::is_same_v<T, std::int64_t> ||
                    std::is_same_v<T, std::int32_t> || std::is_same_v<T, bool>,
                "a signal is double, float, std::int64_t, std::int32_t or bool");
  if constexpr (std::is_same_v<T, double>) return HERMES_F64;
  else if constexpr (std::is_same_v<T, float>) return HERMES_F32;
  else if constexpr (std::is_same_v<T, std::int64_t>) return HERMES_I64;
  else if constexpr (std::is_same_v<T, std::int32_t>) return HERMES_I32;
  else return HERMES_BOOL;
}

// What a module knows of its signals without their type.
class AnySignal {
 public:
  AnySignal(const AnySignal &) = delete;
  AnySignal &operator=(const AnySignal &) = delete;
  virtual void restore() = 0;

 protected:
  AnySignal() = default;
  ~AnySignal() = default;
};

}  // namespace detail

// One module. Signals are members, made with *this as their first argument; they are announced in that order.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  // config_path: the module's `config:` file or nullptr; also hermes_config_path(), already in the constructor.
  virtual void init(const char *config_path) { (void)config_path; }
  virtual void stage() {}
  // dt: seconds of simulation time this step covers.
  virtual void step(double dt) = 0;
  // Back to the start. As it stands, every signal gets its declared default; call it from an override.
  virtual void reset() {
    for (detail::AnySignal *signal : signals_) signal->restore();
  }
  // Called once at the end, also when the run breaks off: leave hardware in a safe state.
  virtual void terminate() {}

 private:
  template <typename T>
  friend class Signal;
  std::vector<detail::AnySignal *> signals_;
};

// A second base for modules whose state can be saved, for checkpoints and restarts.
class State {
 public:
  virtual ~State() = default;
  // Bytes that load understands.
  virtual std::string save() = 0;
  virtual void load(const std::string &state) = 0;
};

// A signal of type T, used like a T. flags: HERMES_INPUT, HERMES_OUTPUT, HERMES_WRITABLE, HERMES_HIDDEN.
template <typename T>
class Signal : public detail::AnySignal {
 public:
  Signal(Module &module, const std::string &name, T initial = T{}, const char *unit = nullptr,
         const char *description = nullptr, unsigned flags = 0)
      : value_(initial), initial_(initial) {
    const hermes_signal_t signal = {name.c_str(), detail::type_of<T>(), flags, unit, description, &value_};
    if (hermes_declare(&signal) != 0) throw std::runtime_error(hermes_last_error());
    module.signals_.push_back(this);
  }

  operator T() const noexcept { return value_; }
  T value() const noexcept { return value_; }
  Signal &operator=(T value) noexcept { return value_ = value, *this; }
  Signal &operator+=(T value) noexcept { return value_ = static_cast<T>(value_ + value), *this; }
  Signal &operator-=(T value) noexcept { return value_ = static_cast<T>(value_ - value), *this; }
  Signal &operator*=(T value) noexcept { return value_ = static_cast<T>(value_ * value), *this; }
  Signal &operator/=(T value) noexcept { return value_ = static_cast<T>(value_ / value), *this; }

  void restore() final { value_ = initial_; }

 private:
  T value_;
  const T initial_;
};

// A signal the module reads: driven by a wire, else set by users.
template <typename T>
class Input : public Signal<T> {
 public:
  Input(Module &module, const std::string &name, T initial = T{}, const char *unit = nullptr,
        const char *description = nullptr, unsigned flags = 0)
      : Signal<T>(module, name, initial, unit, description, flags | HERMES_INPUT) {}
  using Signal<T>::operator=;
};

// A signal the module computes; a wire into it is refused.
template <typename T>
class Output : public Signal<T> {
 public:
  Output(Module &module, const std::string &name, T initial = T{}, const char *unit = nullptr,
         const char *description = nullptr, unsigned flags = 0)
      : Signal<T>(module, name, initial, unit, description, flags | HERMES_OUTPUT) {}
  using Signal<T>::operator=;
};

namespace detail {

// Runs one method of a module: 0, or the status of what it threw, with the reason left for the report.
template <typename Work>
int guarded(Work &&work) noexcept {
  try {
    work();
    return 0;
  } catch (const Failure &failure) {
    hermes_fail("%s", failure.what());
    return failure.status();
  } catch (const std::exception &error) {
    hermes_fail("%s", error.what());
  } catch (...) {
    hermes_fail("an exception that is no std::exception");
  }
  return 1;
}

}  // namespace detail
}  // namespace hermes

// Makes CLASS this file's module. Everything it defines is local to the file, so that many modules, also of one name,
// can live in one process; hence a macro and no template with static members.
#define HERMES_MODULE(CLASS)                                                                                     \
  namespace {                                                                                                    \
  CLASS *hermes_instance = nullptr;                                                                              \
  std::optional<std::string> hermes_saved;                                                                       \
  int hermes_do_init(const char *config_path, const char *) {                                                    \
    return hermes::detail::guarded([&] { static_cast<hermes::Module *>(hermes_instance)->init(config_path); });  \
  }                                                                                                              \
  int hermes_do_stage() {                                                                                        \
    return hermes::detail::guarded([] { static_cast<hermes::Module *>(hermes_instance)->stage(); });             \
  }                                                                                                              \
  int hermes_do_step(double dt) {                                                                                \
    return hermes::detail::guarded([=] { static_cast<hermes::Module *>(hermes_instance)->step(dt); });           \
  }                                                                                                              \
  int hermes_do_reset() {                                                                                        \
    return hermes::detail::guarded([] { static_cast<hermes::Module *>(hermes_instance)->reset(); });             \
  }                                                                                                              \
  void hermes_do_terminate() {                                                                                   \
    hermes::detail::guarded([] { static_cast<hermes::Module *>(hermes_instance)->terminate(); });                \
  }                                                                                                              \
  [[maybe_unused]] size_t hermes_do_save(void *buffer, size_t capacity) {                                        \
    const int status = hermes::detail::guarded([=] {                                                             \
      if (capacity == 0 || !hermes_saved) hermes_saved = dynamic_cast<hermes::State &>(*hermes_instance).save(); \
    });                                                                                                          \
    if (status != 0) return SIZE_MAX;                                                                            \
    const size_t size = hermes_saved->size();                                                                    \
    if (capacity != 0 && size <= capacity) {                                                                     \
      std::memcpy(buffer, hermes_saved->data(), size);                                                           \
      hermes_saved.reset();                                                                                      \
    }                                                                                                            \
    return size;                                                                                                 \
  }                                                                                                              \
    [[maybe_unused]] int hermes_do_load(const void *buffer, size_t size) {                                       \
    return hermes::detail::guarded([=] {                                                                         \
      dynamic_cast<hermes::State &>(*hermes_instance)                                                            \
          .load(std::string(static_cast<const char *>(buffer), size));                                           \
    });                                                                                                          \
  }                                                                                                              \
  hermes_module_t hermes_functions = {hermes_do_init,      hermes_do_stage, hermes_do_step, hermes_do_reset,     \
                                      hermes_do_terminate, nullptr,         nullptr,        nullptr};            \
  }                                                                                                              \
  extern "C" hermes_module_t *hermes_module_create(void) {                                                       \
    const int status = hermes::detail::guarded([] { hermes_instance = new CLASS(); });                           \
    if (status != 0) return nullptr;                                                                             \
    if constexpr (std::is_base_of_v<hermes::State, CLASS>) hermes_provide_state(hermes_do_save, hermes_do_load); \
    return &hermes_functions;                                                                                    \
  }                                                                                                              \
  extern "C" void hermes_module_destroy(hermes_module_t *) {                                                     \
    delete hermes_instance;                                                                                      \
    hermes_instance = nullptr;                                                                                   \
  }                                                                                                              \
  static_assert(std::is_base_of_v<hermes::Module, CLASS>, #CLASS " derives from hermes::Module")

#endif
