/* Counts its steps, from 10 on. */
#include <hermes/module.h>

static int64_t count;

static int stage(void) {
  count = 10;
  return 0;
}

static int step(double dt) {
  (void)dt;
  count++;
  return 0;
}

hermes_module_t *hermes_module_create(void) {
  static const hermes_signal_t signal = {"count", HERMES_I64, HERMES_OUTPUT, NULL, NULL, &count};
  static hermes_module_t module = {.stage = stage, .step = step, .reset = stage};
  return hermes_declare(&signal) == 0 ? &module : NULL;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
