/* The conformer over typed signals: inputs in bound storage, outputs and the parameter by resolved handles. */
#include <hermes/module.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static double in_f64;
static float in_f32;
static int64_t in_i64;
static int32_t in_i32;
static bool in_bool;
static double total;
static hermes_handle_t gain, out_f64, out_f32, out_i64, out_i32, out_bool, steps;

static int64_t fail_at, hang_at;
static char terminate_file[1024];

static void read_config(const char *path) {
  char line[1024];
  FILE *file = path ? fopen(path, "r") : NULL;
  while (file && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    if (strncmp(line, "fail_at=", 8) == 0) fail_at = strtoll(line + 8, NULL, 10);
    if (strncmp(line, "hang_at=", 8) == 0) hang_at = strtoll(line + 8, NULL, 10);
    if (strncmp(line, "terminate_file=", 15) == 0) snprintf(terminate_file, sizeof terminate_file, "%s", line + 15);
  }
  if (file) fclose(file);
}

static void restore_storage(void) {
  in_f64 = 0.5;
  in_f32 = 0.25f;
  in_i64 = 3;
  in_i32 = -2;
  in_bool = false;
  total = 0;
}

static int init(const char *config_path, const char *shm_name) {
  (void)config_path;
  (void)shm_name;
  const struct {
    hermes_handle_t *handle;
    const char *name;
  } wanted[] = {{&gain, "gain"},       {&out_f64, "out.f64"}, {&out_f32, "out.f32"}, {&out_i64, "out.i64"},
                {&out_i32, "out.i32"}, {&out_bool, "out.bool"}, {&steps, "steps"}};
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    *wanted[i].handle = hermes_resolve(wanted[i].name);
    if (!wanted[i].handle->slot) {
      hermes_fail("%s", hermes_last_error());
      return 1;
    }
  }
  return hermes_resolve("no such signal").slot == NULL ? 0 : 2;
}

static int stage(void) {
  hermes_write(gain, 2.0);
  return 0;
}

static int reset(void) {
  restore_storage();
  hermes_write(gain, 2.0);
  hermes_write(out_f64, 0);
  hermes_write(out_f32, 0);
  hermes_write(out_i64, 0);
  hermes_write(out_i32, 0);
  hermes_write(out_bool, 0);
  hermes_write(steps, 0);
  return 0;
}

static int step(double dt) {
  hermes_write_i64(steps, hermes_read_i64(steps) + 1);
  while (hermes_read_i64(steps) == hang_at) pause();
  if (hermes_read_i64(steps) == fail_at) {
    hermes_fail("told to fail at step %" PRId64, fail_at);
    return 7;
  }
  hermes_write_f64(out_f64, in_f64 * hermes_read_f64(gain) + dt);
  hermes_write(out_f32, in_f32 * 1.5f);
  hermes_write_i64(out_i64, in_i64 + 1);
  hermes_write(out_i32, in_i32 - 1);
  hermes_write(out_bool, !in_bool);
  total += in_f64 * dt;
  return 0;
}

static void terminate(void) {
  FILE *file = terminate_file[0] ? fopen(terminate_file, "w") : NULL;
  if (!file) return;
  fprintf(file, "terminated after %" PRId64 " steps\n", steps.slot ? hermes_read_i64(steps) : 0);
  fclose(file);
}

typedef struct {
  double total;
  int64_t steps;
} state;

static size_t save(void *buffer, size_t capacity) {
  state now = {total, hermes_read_i64(steps)};
  if (capacity >= sizeof now) memcpy(buffer, &now, sizeof now);
  return sizeof now;
}

static int load(const void *buffer, size_t size) {
  state then;
  if (size != sizeof then) {
    hermes_fail("the state has %zu bytes, not %zu", size, sizeof then);
    return 1;
  }
  memcpy(&then, buffer, sizeof then);
  total = then.total;
  hermes_write_i64(steps, then.steps);
  return 0;
}

static hermes_module_t module = {.init = init, .stage = stage, .step = step, .reset = reset, .terminate = terminate};

hermes_module_t *hermes_module_create(void) {
  const hermes_signal_t signals[] = {
      {"in_f64", HERMES_F64, HERMES_INPUT, "m", "moves total", &in_f64},
      {"in_f32", HERMES_F32, HERMES_INPUT, NULL, NULL, &in_f32},
      {"in_i64", HERMES_I64, HERMES_INPUT, NULL, NULL, &in_i64},
      {"in_i32", HERMES_I32, HERMES_INPUT, NULL, NULL, &in_i32},
      {"in_bool", HERMES_BOOL, HERMES_INPUT, NULL, NULL, &in_bool},
      {"gain", HERMES_F64, HERMES_WRITABLE, NULL, NULL, NULL},
      {"out.f64", HERMES_F64, HERMES_OUTPUT, "m", NULL, NULL},
      {"out.f32", HERMES_F32, HERMES_OUTPUT, NULL, NULL, NULL},
      {"out.i64", HERMES_I64, HERMES_OUTPUT, NULL, NULL, NULL},
      {"out.i32", HERMES_I32, HERMES_OUTPUT, NULL, NULL, NULL},
      {"out.bool", HERMES_BOOL, HERMES_OUTPUT, NULL, NULL, NULL},
      {"total", HERMES_F64, HERMES_OUTPUT, "m s", NULL, &total},
      {"steps", HERMES_I64, HERMES_OUTPUT, NULL, NULL, NULL},
  };
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  restore_storage();
  read_config(hermes_config_path());
  hermes_provide_state(save, load);
  return &module;
}

void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
