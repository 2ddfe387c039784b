/* -DNEIGHBOUR_COUNT=n: n inputs and n outputs, each output the sum of itself and its input. The same as the modules of
 * bench/zmq_floor.c, number for number, so that floor and product do the same work and can be seen to have done it.
 * -DNEIGHBOUR_SLEEP_NS=n: a step lasts so long besides, without a processor. */
#ifdef NEIGHBOUR_SLEEP_NS
#define _GNU_SOURCE
#include <time.h>
#endif
#include <hermes/module.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A prime below 2^52: sums below it are exact and their bits never settle, so a value that is a frame old shows. */
static const double LIMIT = 4503599627370449.0;

static hermes_handle_t own[NEIGHBOUR_COUNT], in[NEIGHBOUR_COUNT];

static int init(const char *config_path, const char *segment) {
  (void)config_path;
  (void)segment;
  for (int i = 0; i < NEIGHBOUR_COUNT; i++) {
    char name[16];
    snprintf(name, sizeof name, "own.%06d", i);
    own[i] = hermes_resolve(name);
    snprintf(name, sizeof name, "in.%06d", i);
    in[i] = hermes_resolve(name);
    if (own[i].slot == NULL || in[i].slot == NULL) return -1;
  }
  return 0;
}

/* Each module of a ring starts from values of its own: m12 from 12001, 12002... */
static int stage(void) {
  const char *digits = strpbrk(hermes_module_name(), "0123456789");
  double first = 1.0 + 1000.0 * (digits ? atoi(digits) : 0);
  for (int i = 0; i < NEIGHBOUR_COUNT; i++) {
    hermes_write_f64(own[i], first + i);
    hermes_write_f64(in[i], 0.0);
  }
  return 0;
}

static int step(double dt) {
  (void)dt;
#ifdef NEIGHBOUR_SLEEP_NS
  nanosleep(&(struct timespec){.tv_nsec = NEIGHBOUR_SLEEP_NS}, NULL);
#endif
  for (int i = 0; i < NEIGHBOUR_COUNT; i++) {
    double next = hermes_read_f64(own[i]) + hermes_read_f64(in[i]);
    hermes_write_f64(own[i], next >= LIMIT ? next - LIMIT : next);
  }
  return 0;
}

static hermes_module_t module = {.init = init, .stage = stage, .step = step, .reset = stage};

hermes_module_t *hermes_module_create(void) {
  for (int i = 0; i < NEIGHBOUR_COUNT; i++) {
    char name[16];
    snprintf(name, sizeof name, "own.%06d", i);
    if (hermes_declare(&(hermes_signal_t){.name = name, .type = HERMES_F64, .flags = HERMES_OUTPUT}) != 0) return NULL;
    snprintf(name, sizeof name, "in.%06d", i);
    if (hermes_declare(&(hermes_signal_t){.name = name, .type = HERMES_F64, .flags = HERMES_INPUT}) != 0) return NULL;
  }
  return &module;
}

void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
