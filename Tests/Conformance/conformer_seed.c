/* The conformer over the seed's functions alone: signals by name, as double. */
#include <hermes/module.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { IN_F64, IN_F32, IN_I64, IN_I32, IN_BOOL, GAIN, OUT_F64, OUT_F32, OUT_I64, OUT_I32, OUT_BOOL, TOTAL, STEPS, COUNT };

static const char *names[COUNT + 1] = {"in_f64",  "in_f32",  "in_i64",  "in_i32",   "in_bool", "gain",  "out.f64",
                                       "out.f32", "out.i64", "out.i32", "out.bool", "total",   "steps", NULL};
static const double defaults[COUNT] = {0.5, 0.25, 3, -2, 0, 2};
static double values[COUNT];
static long fail_at, hang_at;
static char terminate_file[1024];

static int index_of(const char *name) {
  for (int i = 0; i < COUNT; i++)
    if (strcmp(names[i], name) == 0) return i;
  return -1;
}

static void read_config(const char *path) {
  char line[1024];
  FILE *file = path ? fopen(path, "r") : NULL;
  while (file && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    if (strncmp(line, "fail_at=", 8) == 0) fail_at = strtol(line + 8, NULL, 10);
    if (strncmp(line, "hang_at=", 8) == 0) hang_at = strtol(line + 8, NULL, 10);
    if (strncmp(line, "terminate_file=", 15) == 0) snprintf(terminate_file, sizeof terminate_file, "%s", line + 15);
  }
  if (file) fclose(file);
}

static int init(const char *config_path, const char *shm_name) {
  (void)shm_name;
  read_config(config_path);
  return 0;
}

static int reset(void) {
  memcpy(values, defaults, sizeof values);
  return 0;
}

static int step(double dt) {
  values[STEPS] += 1;
  while ((long)values[STEPS] == hang_at) pause();
  if ((long)values[STEPS] == fail_at) {
    fprintf(stderr, "told to fail at step %ld\n", fail_at);
    return 7;
  }
  values[OUT_F64] = values[IN_F64] * values[GAIN] + dt;
  values[OUT_F32] = (float)values[IN_F32] * 1.5f;
  values[OUT_I64] = values[IN_I64] + 1;
  values[OUT_I32] = values[IN_I32] - 1;
  values[OUT_BOOL] = values[IN_BOOL] == 0;
  values[TOTAL] += values[IN_F64] * dt;
  return 0;
}

static void terminate(void) {
  FILE *file = terminate_file[0] ? fopen(terminate_file, "w") : NULL;
  if (!file) return;
  fprintf(file, "terminated after %ld steps\n", (long)values[STEPS]);
  fclose(file);
}

static double get_signal(const char *name) {
  int index = index_of(name);
  return index < 0 ? NAN : values[index];
}

static void set_signal(const char *name, double value) {
  int index = index_of(name);
  if (index >= 0) values[index] = value;
}

static const char **list_signals(void) { return names; }

static hermes_module_t module = {init, NULL, step, reset, terminate, get_signal, set_signal, list_signals};

hermes_module_t *hermes_module_create(void) {
  reset();
  return &module;
}

void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
