/* A steady wind with gusts on top, the same for the same seed on every machine.
 *
 * It builds up from calm air in the first half minute. Each gust component is noise through a first-order
 * filter, as in the Dryden model: `sigma` says how strong it is in m/s, `seconds` how long it lasts. The noise is
 * the sum of twelve numbers from an integer generator minus six: mean 0, variance 1, and exact arithmetic.
 *
 * Written against the seed ABI alone, as autopilot.c is.
 */
#include <hermes/module.h>

#include <math.h>

/* Set by users. */
static double mean_north, mean_east, intensity, seed;
/* Computed: where the air moves to, m/s. */
static double north, east, down;
/* Kept from step to step. */
static double steady_north, steady_east, seeded_with;
static uint64_t generator;
static struct gust {
  double sigma, seconds, speed;
} gust_north, gust_east, gust_down;

/* SplitMix64, its upper 53 bits: 0 up to 1. */
static double uniform(void) {
  uint64_t bits = generator += 0x9E3779B97F4A7C15u;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBu;
  bits ^= bits >> 31;
  return (double)(bits >> 11) / 9007199254740992.0;
}

static double normal(void) {
  double sum = -6.0;
  for (int i = 0; i < 12; i++) sum += uniform();
  return sum;
}

/* Moves one gust on by dt. Its standard deviation is sigma whatever dt is. */
static double blow(struct gust *gust, double dt) {
  const double keep = 1.0 - dt / gust->seconds;
  gust->speed = keep * gust->speed + gust->sigma * sqrt(1.0 - keep * keep) * normal();
  return gust->speed;
}

static void sow(void) {
  memcpy(&generator, &seed, sizeof generator);
  seeded_with = seed;
}

static int stage(void) {
  mean_north = -4.0;
  mean_east = 3.0;
  intensity = 1.0;
  seed = 1.0;
  steady_north = steady_east = 0.0;
  gust_north = gust_east = (struct gust){.sigma = 1.2, .seconds = 4.0};
  gust_down = (struct gust){.sigma = 0.8, .seconds = 1.5};
  north = east = down = 0.0;
  sow();
  return 0;
}

static int step(double dt) {
  if (seed != seeded_with) sow(); /* a user chose another */
  steady_north += (mean_north - steady_north) * dt / 10.0;
  steady_east += (mean_east - steady_east) * dt / 10.0;
  north = steady_north + intensity * blow(&gust_north, dt);
  east = steady_east + intensity * blow(&gust_east, dt);
  down = intensity * blow(&gust_down, dt);
  return 0;
}

/* ---- The seed ABI. ------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  double *value;
} signals[] = {
    {"mean.north", &mean_north}, {"mean.east", &mean_east}, {"intensity", &intensity}, {"seed", &seed},
    {"north", &north}, {"east", &east}, {"down", &down},
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
