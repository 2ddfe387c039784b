/* The frame barrier and the delivery of wires: what node and modules do to each other once a phase. */
#ifndef HERMES_BARRIER_H
#define HERMES_BARRIER_H

#include "view.h"

/* Node: starts frame `frame`; releases its first phase (phases in which nobody is due pass at once). */
void hermes_barrier_begin(hermes_view *view, uint64_t frame);

enum {
  HERMES_WAIT_COMPLETE = 0,
  HERMES_WAIT_NODE_WORK = 1,
  HERMES_WAIT_FAULT = 2,
  HERMES_WAIT_DEADLINE = 3,
  HERMES_WAIT_EXCHANGE = 4,
  HERMES_WAIT_GUARD = 5,
  HERMES_WAIT_BROKEN = 6 /* what the segment says can't be: something wrote over it */
};
/* Node: sleeps until the frame is complete, a phase waits for the node's own work (its index goes to *phase; the
 * node does it and calls hermes_barrier_finish_work), the modules of a phase are done and values go to or come from
 * other hosts (the node calls hermes_barrier_finish_exchange once they are there), a guarded module has made its step or
 * is gone (once those of a phase are done or dealt with, the node calls hermes_barrier_finish_work for all of them),
 * something failed, or the absolute deadline passed. */
int hermes_barrier_wait(hermes_view *view, uint64_t deadline_ns, uint32_t *phase);
void hermes_barrier_finish_work(hermes_view *view, uint32_t phase);

/* Node: whether a frame that is complete by the segment's words happened as planned; else the index of a module that has not
 * made its step of it, or that something wrote over the barrier's words. Guarded modules are looked at by the node itself. */
enum { HERMES_FRAME_SOUND = -1, HERMES_FRAME_BROKEN = -2 };
int64_t hermes_barrier_verify(hermes_view *view);
/* Node: 1 when a module is due in the frame under way and has not answered; by what the node knows, released or not. */
int hermes_barrier_owes(const hermes_view *view, uint32_t module);
/* Delivers the phase's wires and goes on. */
void hermes_barrier_finish_exchange(hermes_view *view, uint32_t phase);

/* Node: says that a module is gone or failed; whoever waits for it wakes. Callable from any thread. */
void hermes_barrier_fault(hermes_view *view);

/* Node: has hermes_barrier_wait say that guarded modules want a look. Callable from any thread. */
void hermes_barrier_look(hermes_view *view);
/* Node: makes a guarded module's words as they were before its process started; it owes nothing. */
void hermes_barrier_renew(hermes_view *view, uint32_t module);
/* Node: asks a guarded module that owes nothing for the step of the frame under way once more. */
void hermes_barrier_step_again(hermes_view *view, uint32_t module);
/* Node: a guarded module that failed owes nothing any more and is not released from the next frame on. Only between
 * frames or when its phase has been released. */
void hermes_barrier_hold(hermes_view *view, uint32_t module);

/* Module: reports the end of the step of `generation`, and stamps it. The last one of a phase delivers the phase's wires and
 * releases the next phase, so a chain of phases costs one wake-up a phase. A guarded module only says that it is done,
 * whatever its status: at each moment of its life the node can tell whether it has made its step, and do the rest. */
void hermes_barrier_finish_step(hermes_view *view, uint32_t module, uint32_t generation, int status);

/* Node, once: how long whoever waits may spin before it sleeps (hermes_spin_length); 0: not at all. */
void hermes_barrier_permit_spin(hermes_view *view, uint32_t length_ns);

/* Module: before its first wait. */
void hermes_barrier_join(hermes_view *view, uint32_t module);
/* Module: sleeps until there is a step to make (1), whose begin it stamps, or a command to read (2), or *stop is set
 * or the segment is lost (0). */
int hermes_barrier_await(hermes_view *view, uint32_t module, uint32_t commands_seen, const uint32_t *stop);
/* Wakes a module to look again. */
void hermes_barrier_nudge(hermes_view *view, uint32_t module);
/* Node: the same for one that is late, and may sleep where the segment says that nobody does. */
void hermes_barrier_rouse(hermes_view *view, uint32_t module);

/* Node: what it asks of and about a module's words. */
void hermes_add_command(hermes_view *view, uint32_t module); /* a staged module has a command in its FIFO */
int hermes_module_ready(const hermes_view *view, uint32_t module);
void hermes_module_set_ready(hermes_view *view, uint32_t module); /* it has said so itself, in its FIFO */
int hermes_module_owes_step(const hermes_view *view, uint32_t module);
uint32_t hermes_module_asked(const hermes_view *view, uint32_t module); /* the generation it was last released for */

/* Delivers the wires of one phase; index phase_count delivers all wires at once. 0 when the tables lead out of the segment,
 * and what they say there was left out. */
int hermes_deliver(hermes_view *view, uint32_t delivery);
/* Copies what other hosts get of one phase, or at phase_count of all, to where it is sent from. */
int hermes_gather(hermes_view *view, uint32_t phase);

#endif
