/* A point mass on a straight road: thrust pushes it, drag holds it back. */
#include <hermes/module.h>

#include <math.h>

static double thrust, mass, drag_coefficient;
static double drag, velocity, position;

static int stage(void) {
  thrust = 0.0;
  mass = 1200.0;
  drag_coefficient = 0.8;
  drag = velocity = position = 0.0;
  return 0;
}

static int step(double dt) {
  if (!(mass > 0.0)) {
    hermes_fail("mass is %g kg, it has to be positive", mass);
    return 1;
  }
  drag = drag_coefficient * velocity * fabs(velocity);
  velocity += (thrust - drag) / mass * dt;
  position += velocity * dt;
  return 0;
}

hermes_module_t *hermes_module_create(void) {
  static const hermes_signal_t signals[] = {
      {"thrust", HERMES_F64, HERMES_INPUT, "N", "along the road", &thrust},
      {"mass", HERMES_F64, HERMES_WRITABLE, "kg", NULL, &mass},
      {"drag_coefficient", HERMES_F64, HERMES_WRITABLE, "N*s^2/m^2", NULL, &drag_coefficient},
      {"drag", HERMES_F64, HERMES_OUTPUT, "N", "against the motion", &drag},
      {"velocity", HERMES_F64, HERMES_OUTPUT, "m/s", NULL, &velocity},
      {"position", HERMES_F64, HERMES_OUTPUT, "m", NULL, &position},
  };
  static hermes_module_t module = {.stage = stage, .step = step, .reset = stage};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
