/* A cell of the ring, in C: one step of the logistic map, and its result in every type of signal. */
#include <hermes/module.h>

#include <stdbool.h>

static double neighbour, value, elapsed;
static float single;
static int64_t steps;
static int32_t percent;
static bool high;

static int stage(void) {
  neighbour = elapsed = 0.0;
  value = 0.3;
  single = 0.0f;
  steps = 0;
  percent = 0;
  high = false;
  return 0;
}

static int step(double dt) {
  value = 3.9 * neighbour * (1.0 - neighbour);
  single = (float)value;
  percent = (int32_t)(100.0 * value);
  high = value > 0.5;
  steps += 1;
  elapsed += dt;
  return 0;
}

hermes_module_t *hermes_module_create(void) {
  static const hermes_signal_t signals[] = {
      {"neighbour", HERMES_F64, HERMES_INPUT, NULL, NULL, &neighbour},
      {"value", HERMES_F64, HERMES_OUTPUT, NULL, NULL, &value},
      {"single", HERMES_F32, HERMES_OUTPUT, NULL, NULL, &single},
      {"percent", HERMES_I32, HERMES_OUTPUT, "%", NULL, &percent},
      {"high", HERMES_BOOL, HERMES_OUTPUT, NULL, NULL, &high},
      {"steps", HERMES_I64, HERMES_OUTPUT, NULL, NULL, &steps},
      {"elapsed", HERMES_F64, HERMES_OUTPUT, "s", NULL, &elapsed},
  };
  static hermes_module_t module = {.stage = stage, .step = step, .reset = stage};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
