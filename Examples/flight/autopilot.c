/* Holds altitude, heading and airspeed of a light aircraft.
 *
 *   altitude -> climb rate -> pitch -> elevator      heading -> bank -> aileron      airspeed -> throttle
 *
 * Each arrow is a proportional loop with its output limited; pitch and throttle have an integral part besides,
 * and the attitude loops are damped by their rates.
 *
 * Written against the seed ABI alone: doubles by name, no libhermes. So the same shared object flies in
 * plain_loop.py. Only + - * / and comparisons are used, and the Makefile forbids fused operations: every
 * machine gets the same bits.
 */
#include <hermes/module.h>

/* Measured. */
static double altitude, climb_rate, airspeed, pitch, roll, heading, pitch_rate, roll_rate, yaw_rate;
/* Wanted. */
static double target_altitude, target_heading, target_airspeed;
/* Commanded. */
static double throttle, elevator, aileron, rudder;
/* Kept from step to step. */
static double pitch_integral, throttle_integral, yaw_rate_mean;

static double limited(double value, double low, double high) {
  return value < low ? low : value > high ? high : value;
}

/* The way from one heading to another, -180 to 180 degrees. */
static double turn(double from, double to) {
  double angle = to - from;
  while (angle > 180.0) angle -= 360.0;
  while (angle < -180.0) angle += 360.0;
  return angle;
}

static int stage(void) {
  target_altitude = 1500.0;
  target_heading = 90.0;
  target_airspeed = 55.0;
  throttle = throttle_integral = 0.73;
  elevator = aileron = rudder = 0.0;
  pitch_integral = 0.44; /* with throttle 0.73 what the c172p needs for level flight at this speed */
  yaw_rate_mean = 0.0;
  return 0;
}

static int step(double dt) {
  const double climb_wanted = limited(0.4 * (target_altitude - altitude), -3.0, 3.0); /* m/s */
  const double climb_error = climb_wanted - climb_rate;
  pitch_integral = limited(pitch_integral + 0.6 * climb_error * dt, -8.0, 8.0);
  const double pitch_wanted = limited(1.2 * climb_error + pitch_integral, -10.0, 12.0); /* degrees */
  elevator = limited(0.04 * (pitch_wanted - pitch) - 0.02 * pitch_rate, -0.6, 0.6);

  /* The bank turns the flight; the rudder points the nose where a gust has pushed it off, five degrees at most.
   * A steady turn is no fault: only the yaw that differs from its mean of the last seconds is damped. */
  const double heading_error = turn(heading, target_heading);
  const double bank_wanted = limited(1.6 * heading_error, -20.0, 20.0); /* degrees */
  aileron = limited(0.03 * (bank_wanted - roll) - 0.01 * roll_rate, -0.6, 0.6);
  yaw_rate_mean += (yaw_rate - yaw_rate_mean) * dt / 4.0;
  rudder = limited(0.04 * limited(heading_error, -5.0, 5.0) - 0.08 * (yaw_rate - yaw_rate_mean), -0.4, 0.4);

  const double speed_error = target_airspeed - airspeed; /* m/s */
  throttle_integral = limited(throttle_integral + 0.01 * speed_error * dt, 0.2, 1.0);
  throttle = limited(0.05 * speed_error + throttle_integral, 0.0, 1.0);
  return 0;
}

/* ---- The seed ABI. ------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  double *value;
} signals[] = {
    {"altitude", &altitude}, {"climb_rate", &climb_rate}, {"airspeed", &airspeed},
    {"pitch", &pitch}, {"roll", &roll}, {"heading", &heading},
    {"pitch_rate", &pitch_rate}, {"roll_rate", &roll_rate}, {"yaw_rate", &yaw_rate},
    {"target.altitude", &target_altitude}, {"target.heading", &target_heading}, {"target.airspeed", &target_airspeed},
    {"throttle", &throttle}, {"elevator", &elevator}, {"aileron", &aileron}, {"rudder", &rudder},
};
enum { signal_count = sizeof signals / sizeof *signals };

static double *find(const char *name) {
  for (int i = 0; i < signal_count; i++)
    if (strcmp(signals[i].name, name) == 0) return signals[i].value;
  return NULL;
}

static double get_signal(const char *name) {
  const double *value = find(name);
  return value ? *value : 0.0;
}

static void set_signal(const char *name, double value) {
  double *place = find(name);
  if (place) *place = value;
}

static const char **list_signals(void) {
  static const char *names[signal_count + 1];
  for (int i = 0; i < signal_count; i++) names[i] = signals[i].name;
  return names;
}

hermes_module_t *hermes_module_create(void) {
  static hermes_module_t module = {
      .stage = stage,
      .step = step,
      .reset = stage,
      .get_signal = get_signal,
      .set_signal = set_signal,
      .list_signals = list_signals,
  };
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
