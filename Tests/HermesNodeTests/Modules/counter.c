/* Counts its steps; `seen` comes over a wire, `gain` from users. With COUNTER in its environment it misbehaves. */
#include <hermes/module.h>

#include <stdio.h>
#include <stdlib.h>

static int64_t count, seen;
static double gain, product;

static const char *trouble(void) { return getenv("COUNTER") ? getenv("COUNTER") : ""; }

static int stage(void) {
  count = seen = 0;
  gain = 0.5;
  product = 0;
  if (strcmp(trouble(), "fail stage") == 0) {
    hermes_fail("no %s today", "stage");
    return 4;
  }
  return 0;
}

static int step(double dt) {
  (void)dt;
  count++;
  product = gain * (double)seen;
  if (strcmp(trouble(), "fail step 3") == 0 && count == 3) {
    fprintf(stderr, "tank is empty\n");
    hermes_fail("out of fuel");
    return 7;
  }
  if (strcmp(trouble(), "hang") == 0 && count == 3) for (;;) {}
  return 0;
}

static void terminate(void) {
  fprintf(stderr, "terminated after %lld\n", (long long)count);
}

static void declare(const char *name, hermes_type_t type, unsigned flags, void *storage) {
  hermes_signal_t signal = {.name = name, .type = type, .flags = flags, .storage = storage};
  hermes_declare(&signal);
}

hermes_module_t *hermes_module_create(void) {
  static hermes_module_t module = {.stage = stage, .step = step, .reset = stage, .terminate = terminate};
  declare("count", HERMES_I64, HERMES_OUTPUT, &count);
  declare("seen", HERMES_I64, HERMES_INPUT, &seen);
  declare("gain", HERMES_F64, HERMES_INPUT, &gain);
  declare("product", HERMES_F64, HERMES_OUTPUT, &product);
  if (strcmp(trouble(), "announce twice") == 0) declare("count", HERMES_F64, 0, NULL);
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
