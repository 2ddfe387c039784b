/* Puts out what it finds at its input when it steps; 0 before its first step. */
#include <hermes/module.h>

static int64_t in, out;

static int stage(void) {
  in = out = 0;
  return 0;
}

static int step(double dt) {
  (void)dt;
  out = in;
  return 0;
}

hermes_module_t *hermes_module_create(void) {
  static const hermes_signal_t input = {"in", HERMES_I64, HERMES_INPUT, NULL, NULL, &in};
  static const hermes_signal_t output = {"out", HERMES_I64, HERMES_OUTPUT, NULL, NULL, &out};
  static hermes_module_t module = {.stage = stage, .step = step, .reset = stage};
  return hermes_declare(&input) == 0 && hermes_declare(&output) == 0 ? &module : NULL;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
