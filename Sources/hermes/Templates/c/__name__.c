#include <hermes/module.h>

static double rate = 2.0;
static double value;

static int step(double dt) {
  value += rate * dt;
  return 0;
}

static int reset(void) {
  rate = 2.0;
  value = 0.0;
  return 0;
}

static hermes_module_t module = {.step = step, .reset = reset};

hermes_module_t *hermes_module_create(void) {
  const hermes_signal_t signals[] = {
      {"rate", HERMES_F64, HERMES_INPUT, "1/s", "growth of value", &rate},
      {"value", HERMES_F64, HERMES_OUTPUT, NULL, NULL, &value},
  };
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  return &module;
}

void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
