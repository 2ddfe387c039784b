/* One input, one output, next to no work: what is left of a frame's time is Hermes. */
#include <hermes/module.h>

static double x, y;

static int stage(void) {
  x = 0.0;
  y = 0.0;
  return 0;
}

static int step(double dt) {
  (void)dt;
  y = x + 1.0;
  return 0;
}

static hermes_module_t module = {.stage = stage, .step = step, .reset = stage};

hermes_module_t *hermes_module_create(void) {
  hermes_declare(&(hermes_signal_t){.name = "x", .type = HERMES_F64, .flags = HERMES_INPUT, .storage = &x});
  hermes_declare(&(hermes_signal_t){.name = "y", .type = HERMES_F64, .flags = HERMES_OUTPUT, .storage = &y});
  return &module;
}

void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
