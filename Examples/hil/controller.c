/* Holds a motor's speed: a PI controller with feed-forward. It knows nothing of the device but what the bridge says.
 *
 * While the measurement is stale, or the device does not obey, the loop is open, and closing it on a held value would
 * be driving blind: the controller then commands what the safe set-point takes and forgets its integral. When the loop
 * is closed again it starts from the speed it finds and ramps to what is wanted.
 */
#include <hermes/module.h>

#include <stdbool.h>

/* Inputs. */
static double set_point, speed;
static bool stale, driven;
/* Set by users. */
static double safe_set_point, ramp, volts_per_speed, volts_per_acceleration, kp, ki;
/* Computed. */
static double target, command;
/* Kept from step to step. */
static double integral;
static bool open_loop;

static const double limit = 12.0; /* V, what the device takes */

static double limited(double value, double low, double high) { return value < low ? low : value > high ? high : value; }

static int stage(void) {
  set_point = speed = 0.0;
  stale = open_loop = true; /* nothing has been measured yet */
  driven = false;
  safe_set_point = 0.0;
  ramp = 60.0;
  volts_per_speed = 0.1;
  volts_per_acceleration = 0.04;
  kp = 0.2;
  ki = 1.0;
  target = command = integral = 0.0;
  return 0;
}

static int step(double dt) {
  if (stale || !driven) {
    open_loop = true;
    integral = 0.0;
    target = safe_set_point;
    command = limited(volts_per_speed * safe_set_point, -limit, limit);
    return 0;
  }
  if (open_loop) target = speed;
  open_loop = false;
  const double change = limited(set_point - target, -ramp * dt, ramp * dt);
  target += change;

  const double error = target - speed;
  const double forward = volts_per_speed * target + volts_per_acceleration * change / dt;
  const double wanted = forward + kp * error + integral;
  command = limited(wanted, -limit, limit);
  if (command == wanted) integral += ki * error * dt; /* at its limit the motor can't do more: nothing to add up */
  return 0;
}

hermes_module_t *hermes_module_create(void) {
  static const hermes_signal_t signals[] = {
      {"set_point", HERMES_F64, HERMES_INPUT, "rad/s", "wanted", &set_point},
      {"speed", HERMES_F64, HERMES_INPUT, "rad/s", "measured", &speed},
      {"stale", HERMES_BOOL, HERMES_INPUT, NULL, "the measurement is old", &stale},
      {"driven", HERMES_BOOL, HERMES_INPUT, NULL, "the device obeys", &driven},
      {"safe_set_point", HERMES_F64, HERMES_WRITABLE, "rad/s", "wanted while the loop is open", &safe_set_point},
      {"ramp", HERMES_F64, HERMES_WRITABLE, "rad/s^2", "how fast the target moves", &ramp},
      {"volts_per_speed", HERMES_F64, HERMES_WRITABLE, "V*s/rad", "what a steady speed takes", &volts_per_speed},
      {"volts_per_acceleration", HERMES_F64, HERMES_WRITABLE, "V*s^2/rad", "what a change of speed takes besides",
       &volts_per_acceleration},
      {"kp", HERMES_F64, HERMES_WRITABLE, "V*s/rad", NULL, &kp},
      {"ki", HERMES_F64, HERMES_WRITABLE, "V/rad", NULL, &ki},
      {"target", HERMES_F64, HERMES_OUTPUT, "rad/s", "what it steers to now", &target},
      {"command", HERMES_F64, HERMES_OUTPUT, "V", NULL, &command},
  };
  static hermes_module_t module = {.stage = stage, .step = step, .reset = stage};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
