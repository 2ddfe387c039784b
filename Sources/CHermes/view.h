/* A mapped segment and pointers to its parts. */
#ifndef HERMES_VIEW_H
#define HERMES_VIEW_H

#include "spin.h"

#include <hermes/segment.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hermes_view {
  uint8_t *base;
  size_t size;
  int descriptor;
  hermes_header *header;
  hermes_directory_entry *directory;
  uint64_t *data;
  hermes_control *control;
  hermes_module_slot *modules;
  hermes_phase *phases;
  uint32_t *phase_list;
  hermes_signal_extra *extras;
  hermes_delivery *deliveries;
  hermes_wire_run *runs;
  hermes_wire_copy *copies;
  hermes_wire_convert *converts;
  uint64_t *stage;
  hermes_queue_entry *queue;
  uint64_t *snapshot;
  hermes_spin spin; /* of the one thread of this process that waits at the barrier */
} hermes_view;

/* Maps an existing segment ("/hermes_sim" or "hermes_sim") read-write. 0 or an errno value, hermes_last_error() set. */
int hermes_view_open(hermes_view *view, const char *name);
/* Points the view's fields into memory that holds a segment; `base` and `size` are set. 0 or EINVAL. */
int hermes_view_locate(hermes_view *view);
void hermes_view_close(hermes_view *view);

static inline const char *hermes_view_text(const hermes_view *view, uint32_t offset) {
  return (const char *)view->base + offset;
}
/* 1 while the process that owns the segment lives. */
int hermes_view_owner_lives(const hermes_view *view);

/* Sets this thread's hermes_last_error() and errno; returns `code`. */
int hermes_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
