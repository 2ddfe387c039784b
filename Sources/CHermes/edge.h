/* What a node does at a frame edge for those who look on from outside. */
#ifndef HERMES_EDGE_H
#define HERMES_EDGE_H

#include "view.h"

/* Stores time, then frame with release order, and wakes who waits for this frame. */
void hermes_edge_publish(hermes_view *view, uint64_t frame, double time);
/* A reset begins: from here hermes_frame() is 0. */
void hermes_edge_begin_reset(hermes_view *view);
/* Shows an epoch at frame 0, whose values are stored: everybody who waits for a frame wakes. */
void hermes_edge_new_epoch(hermes_view *view);
/* 1 while writes queued from outside wait. */
int hermes_edge_writes_wait(const hermes_view *view);

/* Applies the writes queued from outside; the number applied. */
uint64_t hermes_edge_apply_writes(hermes_view *view);
/* Copies the data for whoever asked for values of one frame. Cheap when nobody did. */
void hermes_edge_serve_snapshot(hermes_view *view);
/* The state everybody sees; waiters of every sort wake when it is ENDED. */
void hermes_edge_set_state(hermes_view *view, uint32_t state);
/* Raises attention: the node looks at queue, snapshot and commands at the next edge. From any thread. */
void hermes_edge_attention(hermes_view *view);
uint32_t hermes_edge_attention_seen(hermes_view *view);
/* Node: sleeps until attention moves on from `seen` (1) or the absolute deadline (0). */
int hermes_edge_sleep(hermes_view *view, uint32_t seen, uint64_t deadline_ns);
/* This thread's timed sleeps end when they should, not up to 50 us later (the default timer slack). */
void hermes_thread_wakes_precisely(void);

#endif
