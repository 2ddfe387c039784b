/* 100 000 signals, all inputs (-DWIDE_FLAGS=HERMES_INPUT) or all outputs, that live in the segment; no work at all.
 * What a frame costs with wires between two of them, less what it costs with one wire, is the delivery. */
#include <hermes/module.h>
#include <stdio.h>

enum { WIDE_COUNT = 100000 };

static int step(double dt) {
  (void)dt;
  return 0;
}

static hermes_module_t module = {.step = step};

hermes_module_t *hermes_module_create(void) {
  for (int i = 0; i < WIDE_COUNT; i++) {
    char name[16];
    snprintf(name, sizeof name, "s%06d", i);
    if (hermes_declare(&(hermes_signal_t){.name = name, .type = HERMES_F64, .flags = WIDE_FLAGS}) != 0) return NULL;
  }
  return &module;
}

void hermes_module_destroy(hermes_module_t *unused) { (void)unused; }
