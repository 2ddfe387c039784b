/* A lift: it approaches the height it is sent to, no faster than it is allowed to. */
#include <hermes/module.h>

#include <stdbool.h>

static double target, speed_limit;
static double height, speed;
static bool arrived;

static int stage(void) {
  target = height = speed = 0.0;
  speed_limit = 1.0;
  arrived = true;
  return 0;
}

static int step(double dt) {
  speed = 5.0 * (target - height);
  if (speed > speed_limit) speed = speed_limit;
  if (speed < -speed_limit) speed = -speed_limit;
  height += speed * dt;
  arrived = height > target - 0.01 && height < target + 0.01;
  return 0;
}

hermes_module_t *hermes_module_create(void) {
  static const hermes_signal_t signals[] = {
      {"target", HERMES_F64, HERMES_WRITABLE, "m", "where it is sent to", &target},
      {"speed_limit", HERMES_F64, HERMES_WRITABLE, "m/s", NULL, &speed_limit},
      {"height", HERMES_F64, HERMES_OUTPUT, "m", NULL, &height},
      {"speed", HERMES_F64, HERMES_OUTPUT, "m/s", "upwards", &speed},
      {"arrived", HERMES_BOOL, HERMES_OUTPUT, NULL, "within a centimetre of the target", &arrived},
  };
  static hermes_module_t module = {.stage = stage, .step = step, .reset = stage};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
