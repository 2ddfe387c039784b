/* One of three masses, each tied to both others by a spring: what they do depends on every wire.
 *
 * Only + - * is used, and the Makefile forbids fused operations: every machine gets the same bits. */
#include <hermes/module.h>

static double one, other, push;              /* inputs: where the other two are, and a force */
static double mass, stiffness, damping;      /* set by users */
static double position, velocity;

static int stage(void) {
  one = other = push = 0.0;
  mass = 2.0;
  stiffness = 30.0;
  damping = 0.3;
  position = velocity = 0.0;
  return 0;
}

static int step(double dt) {
  const double force = stiffness * (one - position) + stiffness * (other - position) - damping * velocity + push;
  velocity += force / mass * dt;
  position += velocity * dt;
  return 0;
}

hermes_module_t *hermes_module_create(void) {
  static const hermes_signal_t signals[] = {
      {"one", HERMES_F64, HERMES_INPUT, "m", "where a neighbour is", &one},
      {"other", HERMES_F64, HERMES_INPUT, "m", "where the other neighbour is", &other},
      {"push", HERMES_F64, HERMES_INPUT, "N", NULL, &push},
      {"mass", HERMES_F64, HERMES_WRITABLE, "kg", NULL, &mass},
      {"stiffness", HERMES_F64, HERMES_WRITABLE, "N/m", "of each spring", &stiffness},
      {"damping", HERMES_F64, HERMES_WRITABLE, "N*s/m", NULL, &damping},
      {"position", HERMES_F64, HERMES_OUTPUT, "m", NULL, &position},
      {"velocity", HERMES_F64, HERMES_OUTPUT, "m/s", NULL, &velocity},
  };
  static hermes_module_t module = {.stage = stage, .step = step, .reset = stage};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
