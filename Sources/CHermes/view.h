/* A mapped segment and pointers to its parts.
 *
 * Everybody who maps a segment may write it, by mistake too. So nothing that is read from it is followed unchecked: sizes and
 * offsets are checked once and kept here, indices in its tables are held against them where they are used. */
#ifndef HERMES_VIEW_H
#define HERMES_VIEW_H

#include "mapping.h"
#include "spin.h"

#include <hermes/segment.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hermes_view {
  uint8_t *base;
  size_t size;
  int descriptor;
  hermes_mapping *mapping;

  /* In the segment: words that several processes write. */
  hermes_header *header;
  uint64_t *data;
  hermes_control *control;
  hermes_module_slot *modules;
  hermes_phase *phases;
  uint64_t *stage;
  hermes_queue_entry *queue;
  uint64_t *snapshot;

  /* What never changes. Numbers are of this process alone from the start, tables once they are kept. */
  uint64_t run;
  double rate_hz;
  uint32_t signal_count, module_count, phase_count, gathers, queue_capacity;
  uint64_t slot_count; /* signals, then the mirrors */
  hermes_directory_entry *directory;
  hermes_signal_extra *extras;
  const char *texts; /* bytes from texts_begin to texts_end of the segment */
  uint64_t texts_begin, texts_end;
  hermes_module_slot *module_plans; /* its fields from `phase` to `guard`; of the node also `command` and `ready`, as it knows them */
  hermes_phase *phase_plans;        /* its fields from `flags` to `module_count` */
  uint32_t *phase_list;
  hermes_delivery *deliveries;
  hermes_wire_run *runs;
  hermes_wire_copy *copies;
  hermes_wire_convert *converts;
  uint64_t run_limit, copy_limit, convert_limit, stage_limit; /* so many lie inside the segment */
  uint8_t *kept;
  struct hermes_fixed_part *parts; /* of the whole copy */

  /* A module's process: the generation of its last step. */
  uint32_t answered;
  /* The node: what it wrote itself, and does not ask the segment for. */
  struct {
    uint64_t frame, current_frame, queue_head;
    uint32_t generation, epoch, state, snapshot_served, snapshot_sequence;
    uint32_t fault; /* (atomic) 1: a step failed or a module is gone */
    uint32_t turns; /* taken in the frame under way, of those that belong to the node */
    uint32_t next_turn;
    uint32_t broken_queue, broken_words;
    uint32_t part; /* hermes_view_next_is_sound: which comes next, */
    uint64_t at;   /* and from where on */
  } own;
  hermes_spin spin; /* of the one thread of this process that waits at the barrier */
} hermes_view;

/* Maps an existing segment ("/hermes_sim" or "hermes_sim"); what only its node writes is read-only. 0 or an errno
 * value, hermes_last_error() set. */
int hermes_view_open(hermes_view *view, const char *name);
/* Points the view's fields into memory that holds a segment, whose `base` and `size` are set, once everything that they
 * depend on has been checked. NULL, or what is wrong. */
const char *hermes_view_fault(hermes_view *view);
/* The same: 0 or EINVAL. */
int hermes_view_locate(hermes_view *view);
void hermes_view_close(hermes_view *view);

/* Takes copies of the signals' directory, extras and texts, and checks them. 0, ENOMEM or EINVAL, hermes_last_error() set and
 * calling the segment `name`. */
int hermes_view_keep_signals(hermes_view *view, const char *name);
/* Node: takes copies of all that never changes. */
int hermes_view_keep(hermes_view *view);
/* Node: what of the segment is not as the node wrote it: "its directory"; NULL when all is. Not of signals' values. */
const char *hermes_view_damage(const hermes_view *view);

/* Node: looks at some hundred bytes of what never changes, others each time; 0 when they did. */
int hermes_view_next_is_sound(hermes_view *view);

/* A zero-ended text of the segment, "" for what is none. */
const char *hermes_view_text(const hermes_view *view, uint32_t offset);
/* 1 while the process that owns the segment lives. */
int hermes_view_owner_lives(const hermes_view *view);
/* 1 once the segment's file was cut off while it was mapped. */
static inline int hermes_view_is_lost(const hermes_view *view) { return hermes_mapping_is_lost(view->mapping); }

/* Sets this thread's hermes_last_error() and errno; returns `code`. */
int hermes_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
