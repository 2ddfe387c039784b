/* A segment for tests, laid out from the description in hermes/segment.h. */
#ifndef SMALL_SEGMENT_H
#define SMALL_SEGMENT_H

#include "platform.h"

#include "check.h"
#include "segment_file.h"

#include <hermes/module.h>
#include <stdio.h>
#include <string.h>

typedef struct small_shape {
  uint32_t signals, modules, phases; /* module m sits in phase m * phases / modules; signal s belongs to module s % modules */
  uint32_t runs, copies, converts;   /* room for wires */
  uint32_t queue;                    /* entries, a power of two */
} small_shape;

static inline const char *small_name(void) {
  static _Thread_local char name[64];
  snprintf(name, sizeof name, "/hermes_ctest%d", (int)getpid());
  return name;
}

static inline void small_segment_unlink(void) { hermes_segment_unlink(small_name()); }

static inline uint64_t place(uint64_t *end, uint64_t count, uint64_t size) {
  uint64_t at = (*end + 63) & ~(uint64_t)63;
  *end = at + count * size;
  return at;
}

/* Makes a segment whose signals are called "m.s0", "m.s1" ... (all f64, published, writable), and locates its parts. */
static inline void small_segment(hermes_view *view, small_shape shape) {
  enum { NAME_BYTES = 16 };
  uint64_t end = HERMES_DIRECTORY_OFFSET + (uint64_t)shape.signals * sizeof(hermes_directory_entry);
  uint64_t names = end;
  end += (uint64_t)shape.signals * NAME_BYTES + 8;
  uint64_t data = place(&end, shape.signals, 8);
  uint64_t control_at = place(&end, 1, sizeof(hermes_control));
  hermes_control control = {
      .run = 1,
      .rate_hz = 100.0,
      .module_count = shape.modules,
      .phase_count = shape.phases,
      .queue_capacity = shape.queue,
      .owner = (uint32_t)getpid(),
      .state = HERMES_STATE_RUNNING,
      .wait_target = UINT64_MAX,
      .modules_offset = place(&end, shape.modules, sizeof(hermes_module_slot)),
      .phases_offset = place(&end, shape.phases, sizeof(hermes_phase)),
  };
  control.phase_list_offset = place(&end, shape.modules, sizeof(uint32_t));
  control.extras_offset = place(&end, shape.signals, sizeof(hermes_signal_extra));
  control.deliveries_offset = place(&end, shape.phases + 1, sizeof(hermes_delivery));
  control.runs_offset = place(&end, shape.runs, sizeof(hermes_wire_run));
  control.copies_offset = place(&end, shape.copies, sizeof(hermes_wire_copy));
  control.converts_offset = place(&end, shape.converts, sizeof(hermes_wire_convert));
  control.stage_offset = place(&end, shape.signals, 8);
  control.queue_offset = place(&end, shape.queue, sizeof(hermes_queue_entry));
  control.snapshot_offset = place(&end, shape.signals, 8);

  static int is_registered;
  if (!is_registered++) atexit(small_segment_unlink); /* also when a check fails */
  CHECK(hermes_segment_create(view, small_name(), end) == 0);
  hermes_header *header = (hermes_header *)(void *)view->base;
  *header = (hermes_header){
      .magic = HERMES_SEGMENT_MAGIC,
      .version = HERMES_SEGMENT_VERSION,
      .signal_count = shape.signals,
      .extension_version = HERMES_EXTENSION_VERSION,
      .total_size = end,
      .control_offset = control_at,
      .data_offset = data,
  };
  memcpy(view->base + control_at, &control, sizeof control);
  hermes_module_slot *slots = (hermes_module_slot *)(void *)(view->base + control.modules_offset);
  hermes_phase *phases = (hermes_phase *)(void *)(view->base + control.phases_offset);
  uint32_t *list = (uint32_t *)(void *)(view->base + control.phase_list_offset);
  for (uint32_t m = 0; m < shape.modules; m++) {
    uint32_t phase = m * shape.phases / shape.modules;
    slots[m] = (hermes_module_slot){.phase = phase, .divisor = 1, .kind = HERMES_KIND_PROCESS, .signal_count = 1};
    list[m] = m;
    if (phases[phase].module_count++ == 0) phases[phase].module_begin = m;
  }
  CHECK(hermes_view_locate(view) == 0);
  for (uint32_t s = 0; s < shape.signals; s++) {
    uint64_t at = names + (uint64_t)s * NAME_BYTES;
    snprintf((char *)view->base + at, NAME_BYTES, "m.s%u", s);
    view->directory[s] = (hermes_directory_entry){
        .name_offset = (uint32_t)at,
        .data_offset = (uint32_t)(data + 8u * s),
        .data_type = HERMES_F64,
        .flags = HERMES_SIGNAL_WRITABLE | HERMES_SIGNAL_PUBLISHED,
    };
    view->extras[s].module = shape.modules ? s % shape.modules : 0;
  }
}

static inline void small_segment_remove(hermes_view *view) {
  hermes_view_close(view);
  hermes_segment_unlink(small_name());
}

#endif
