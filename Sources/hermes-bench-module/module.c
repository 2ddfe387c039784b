/* The module of `hermes bench`: SIGNALS inputs and as many outputs, each output the sum of itself and its input. When it
 * ends it tells what it took; the first of its host also what the host's node took, the process that started it; the first
 * of all also how long its frames were, from one step to the next. */
#define _GNU_SOURCE
#include "bench.h"

#include <hermes/module.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A prime below 2^52: sums below it are exact and their bits never settle. */
static const double LIMIT = 4503599627370449.0;

static int signal_count;
static long first_value, frame_count;
static hermes_handle_t *own, *in;
static bench_times times;
static bench_laps laps = {.times = &times};
static bench_usage own_begin, node_begin;
static pid_t node;
static int telling, has_told;

static void name_signal(char name[32], const char *kind, int index) { snprintf(name, 32, "%s.%06d", kind, index); }

/* The keeper starts modules, and the node's process of this run started the keeper. */
static pid_t parent_of(pid_t process) {
  char path[40], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
  FILE *file = fopen(path, "re");
  if (file == NULL) return -1;
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = '\0';
  const char *behind = strrchr(text, ')');
  int parent = -1;
  return behind && sscanf(behind + 1, " %*c %d", &parent) == 1 ? parent : -1;
}

static int init(const char *config_path, const char *segment) {
  (void)config_path;
  (void)segment;
  for (int i = 0; i < signal_count; i++) {
    char name[32];
    name_signal(name, "own", i);
    own[i] = hermes_resolve(name);
    name_signal(name, "in", i);
    in[i] = hermes_resolve(name);
    if (own[i].slot == NULL || in[i].slot == NULL) return -1;
  }
  node = parent_of(getppid());
  return 0;
}

static int stage(void) {
  for (int i = 0; i < signal_count; i++) {
    hermes_write_f64(own[i], (double)(first_value + i));
    hermes_write_f64(in[i], 0.0);
  }
  own_begin = bench_usage_of(getpid());
  node_begin = bench_usage_of(node);
  return 0;
}

static int step(double dt) {
  (void)dt;
  bench_lap(&laps);
  frame_count++;
  for (int i = 0; i < signal_count; i++) {
    double next = hermes_read_f64(own[i]) + hermes_read_f64(in[i]);
    hermes_write_f64(own[i], next >= LIMIT ? next - LIMIT : next);
  }
  return 0;
}

static void terminate(void) {
  if (has_told || frame_count == 0) return;
  has_told = 1;
  bench_report_usage("module", own_begin, bench_usage_of(getpid()), frame_count);
  if (telling > 0) bench_report_usage("node", node_begin, bench_usage_of(node), frame_count);
  if (telling > 1) bench_report_times("times", &times);
}

static hermes_module_t module = {.init = init, .stage = stage, .step = step, .reset = stage, .terminate = terminate};

static hermes_module_t *create(void) {
  own = calloc((size_t)signal_count, sizeof *own);
  in = calloc((size_t)signal_count, sizeof *in);
  if (own == NULL || in == NULL) return NULL;
  for (int i = 0; i < signal_count; i++) {
    char name[32];
    name_signal(name, "own", i);
    if (hermes_declare(&(hermes_signal_t){.name = name, .type = HERMES_F64, .flags = HERMES_OUTPUT}) != 0) return NULL;
    name_signal(name, "in", i);
    if (hermes_declare(&(hermes_signal_t){.name = name, .type = HERMES_F64, .flags = HERMES_INPUT}) != 0) return NULL;
  }
  return &module;
}

static void destroy(hermes_module_t *unused) {
  (void)unused;
  free(own);
  free(in);
}

int bench_module(int signals, long first, long warm_up, int tells) {
  signal_count = signals;
  first_value = first;
  laps.left = warm_up;
  telling = tells;
  return hermes_module_run(create, destroy);
}
