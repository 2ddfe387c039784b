/* What drives a conformer's inputs: values that follow from the frame alone. */
#include <hermes/module.h>

#include <stdbool.h>

static double f64;
static float f32;
static int64_t i64;
static int32_t i32;
static bool boolean;

static int step(double dt) {
  (void)dt;
  int64_t frame = (int64_t)hermes_frame();
  f64 = (double)frame * 0.1;
  f32 = (float)frame * 0.3f;
  i64 = 1000000000000 + frame;
  i32 = -(int32_t)frame;
  boolean = frame % 2 == 1;
  return 0;
}

static int reset(void) {
  f64 = 0;
  f32 = 0;
  i64 = 0;
  i32 = 0;
  boolean = false;
  return 0;
}

static hermes_module_t module = {.step = step, .reset = reset};

hermes_module_t *hermes_module_create(void) {
  const hermes_signal_t signals[] = {
      {"f64", HERMES_F64, HERMES_OUTPUT, "m", NULL, &f64},     {"f32", HERMES_F32, HERMES_OUTPUT, NULL, NULL, &f32},
      {"i64", HERMES_I64, HERMES_OUTPUT, NULL, NULL, &i64},    {"i32", HERMES_I32, HERMES_OUTPUT, NULL, NULL, &i32},
      {"bool", HERMES_BOOL, HERMES_OUTPUT, NULL, NULL, &boolean},
  };
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  return &module;
}

void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
