#include "platform.h"

#include "edge.h"

#include <string.h>
#include <sys/prctl.h>

static uint32_t *frame_word(hermes_view *view) { return (uint32_t *)(void *)&view->header->frame; }

void hermes_edge_publish(hermes_view *view, uint64_t frame, double time) {
  hermes_header *header = view->header;
  view->own.frame = frame;
  __atomic_store(&header->time, &time, __ATOMIC_RELAXED);
  /* Sequentially consistent, as is the load: a waiter sets its target, then reads the frame. */
  __atomic_store_n(&header->frame, frame, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&view->control->wait_target, __ATOMIC_SEQ_CST) <= frame) {
    __atomic_store_n(&view->control->wait_target, UINT64_MAX, __ATOMIC_SEQ_CST);
    hermes_futex_wake(frame_word(view), INT_MAX);
  }
}

void hermes_edge_begin_reset(hermes_view *view) {
  view->own.current_frame = 0;
  hermes_store64(&view->control->current_frame, 0);
}

void hermes_edge_new_epoch(hermes_view *view) {
  /* Frame 0 before the epoch: a waiter that begins in between must not take the old epoch's frame for the new one's. */
  double zero = 0;
  __atomic_store(&view->header->time, &zero, __ATOMIC_RELAXED);
  __atomic_store_n(&view->header->frame, 0, __ATOMIC_SEQ_CST);
  view->own.frame = 0;
  hermes_store_ordered(&view->control->epoch, ++view->own.epoch);
  hermes_store64(&view->control->wait_target, UINT64_MAX);
  hermes_futex_wake(frame_word(view), INT_MAX);
}

int hermes_edge_writes_wait(const hermes_view *view) {
  return hermes_load64(&view->control->queue_tail) != view->own.queue_head;
}

/* Only what writers may queue: others than these wrote an entry that is none of these. */
static int is_settable(const hermes_view *view, uint32_t slot) {
  if (slot >= view->signal_count || view->extras[slot].bits & HERMES_EXTRA_WIRED) return 0;
  if (view->directory[slot].flags & HERMES_SIGNAL_WRITABLE) return 1;
  uint32_t module = view->extras[slot].module;
  return module < view->module_count && view->module_plans[module].kind == HERMES_KIND_FREE;
}

uint64_t hermes_edge_apply_writes(hermes_view *view) {
  hermes_control *control = view->control;
  uint64_t tail = hermes_load64(&control->queue_tail), head = view->own.queue_head;
  uint64_t applied = tail - head, mask = view->queue_capacity - 1;
  if (applied == 0) return 0;
  if (applied > view->queue_capacity || hermes_load64(&control->queue_head) != head) view->own.broken_queue = 1;
  if (view->own.broken_queue) return 0;
  for (; head != tail; head++) {
    hermes_queue_entry *entry = &view->queue[head & mask];
    uint32_t slot = entry->slot;
    if (is_settable(view, slot)) __atomic_store_n(&view->data[slot], entry->bits, __ATOMIC_RELAXED);
    else view->own.broken_queue = 1;
    /* An entry is good once, even for a tail that something wrote over. */
    entry->slot = HERMES_QUEUE_APPLIED;
  }
  view->own.queue_head = head;
  hermes_store64(&control->queue_head, head);
  return applied;
}

void hermes_edge_serve_snapshot(hermes_view *view) {
  hermes_control *control = view->control;
  uint32_t requested = hermes_load(&control->snapshot_requested);
  if (requested == view->own.snapshot_served && hermes_load(&control->snapshot_served) == requested) return;
  view->own.snapshot_served = requested;
  /* Odd while it is written, whatever the word has become meanwhile. */
  __atomic_store_n(&control->snapshot_sequence, view->own.snapshot_sequence + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  memcpy(view->snapshot, view->data, (size_t)view->signal_count * 8);
  control->snapshot_frame = view->own.frame;
  control->snapshot_time = view->header->time;
  control->snapshot_epoch = view->own.epoch;
  view->own.snapshot_sequence += 2;
  hermes_store(&control->snapshot_sequence, view->own.snapshot_sequence);
  hermes_store(&control->snapshot_served, requested);
  hermes_futex_wake(&control->snapshot_served, INT_MAX);
}

void hermes_edge_set_state(hermes_view *view, uint32_t state) {
  hermes_control *control = view->control;
  view->own.state = state;
  hermes_store_ordered(&control->state, state);
  hermes_futex_wake(&control->state, INT_MAX);
  if (state != HERMES_STATE_ENDED) return;
  hermes_futex_wake(frame_word(view), INT_MAX);
  hermes_futex_wake(&control->snapshot_served, INT_MAX);
}

void hermes_edge_attention(hermes_view *view) {
  hermes_add(&view->control->attention, 1);
  if (hermes_load_ordered(&view->control->attention_sleeping)) hermes_futex_wake(&view->control->attention, 1);
}

uint32_t hermes_edge_attention_seen(hermes_view *view) { return hermes_load(&view->control->attention); }

int hermes_edge_sleep(hermes_view *view, uint32_t seen, uint64_t deadline_ns) {
  /* In slices: who raises attention looks at a word that something may have written over, and then wakes nobody. */
  enum { SLICE_NS = 200000000 };
  hermes_control *control = view->control;
  for (;;) {
    uint64_t slice = hermes_now() + SLICE_NS;
    hermes_store_ordered(&control->attention_sleeping, 1);
    int result = 0;
    if (hermes_load_ordered(&control->attention) == seen)
      result = hermes_futex_wait(&control->attention, seen, slice < deadline_ns ? slice : deadline_ns);
    hermes_store(&control->attention_sleeping, 0);
    if (hermes_load(&control->attention) != seen || hermes_view_is_lost(view)) return 1;
    if (result == ETIMEDOUT && slice >= deadline_ns) return 0;
  }
}

void hermes_thread_wakes_precisely(void) { prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul); }
