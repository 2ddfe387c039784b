#include "platform.h"

#include "barrier.h"

static void wake_node(hermes_view *view) {
  hermes_control *control = view->control;
  hermes_add(&control->node_wake, 1);
  if (hermes_load_ordered(&control->node_sleeping)) hermes_futex_wake(&control->node_wake, 1);
}

static int is_due(const hermes_module_slot *module, uint64_t frame) {
  return module->divisor == 1 || (frame - 1) % module->divisor == 0;
}

/* Processes that step in this frame; one that is held does so in none. */
static int steps(const hermes_module_slot *module, uint64_t frame) {
  return module->kind == HERMES_KIND_PROCESS && is_due(module, frame) &&
         !(module->guard && hermes_load(&module->condition) == HERMES_CONDITION_HELD);
}

/* Lets the due modules of a phase go. 0 when nobody is due. Guarded modules count as one, which is the node. */
static int release(hermes_view *view, uint32_t index) {
  hermes_control *control = view->control;
  hermes_phase *phase = &view->phases[index];
  const uint32_t *members = view->phase_list + phase->module_begin;
  uint64_t frame = control->current_frame;
  uint32_t generation = control->generation, node_work = phase->flags & HERMES_PHASE_NODE_WORK ? 1 : 0;

  uint32_t due = node_work, guards = 0;
  for (uint32_t i = 0; i < phase->module_count; i++) {
    const hermes_module_slot *module = &view->modules[members[i]];
    if (!steps(module, frame)) continue;
    if (module->guard) guards = 1;
    else due++;
  }
  due += guards;
  if (due == 0) return 0;
  hermes_store64(&phase->released_ns, hermes_now());
  hermes_store(&phase->pending, due);

  int broadcast = (phase->flags & HERMES_PHASE_BROADCAST) != 0;
  for (uint32_t i = 0; i < phase->module_count; i++) {
    hermes_module_slot *module = &view->modules[members[i]];
    if (!steps(module, frame)) continue;
    hermes_store(&module->step, generation);
    if (!broadcast) {
      hermes_add(&module->wake, 1);
      if (hermes_load_ordered(&module->sleeping)) hermes_futex_wake(&module->wake, 1);
    }
  }
  if (broadcast) {
    hermes_add(&phase->wake, 1);
    if (hermes_load_ordered(&phase->sleepers)) hermes_futex_wake(&phase->wake, INT_MAX);
  }
  if (node_work) {
    hermes_store(&control->node_turn, index + 1);
    wake_node(view);
  }
  return 1;
}

/* The modules of a phase are done: puts aside what other hosts get of it, then delivers its wires. 0 when the node has to
 * hear other hosts before that. */
static int end_phase(hermes_view *view, uint32_t index) {
  hermes_control *control = view->control;
  if (control->gathers) hermes_gather(view, index);
  if (view->phases[index].flags & HERMES_PHASE_EXCHANGE) {
    hermes_store(&control->node_turn, (index + 1) | HERMES_TURN_EXCHANGE);
    wake_node(view);
    return 0;
  }
  hermes_deliver(view, index);
  return 1;
}

/* Goes on from phase `index` until somebody has to step, the node has to exchange, or the frame is complete. */
static void advance(hermes_view *view, uint32_t index) {
  hermes_control *control = view->control;
  for (; index < control->phase_count; index++)
    if (release(view, index) || !end_phase(view, index)) return;
  hermes_store(&control->completed, control->generation);
  wake_node(view);
}

static void leave_phase(hermes_view *view, uint32_t index) {
  if (__atomic_fetch_sub(&view->phases[index].pending, 1, __ATOMIC_ACQ_REL) != 1) return;
  if (hermes_load(&view->control->fault)) {
    wake_node(view);
    return;
  }
  if (end_phase(view, index)) advance(view, index + 1);
}

void hermes_barrier_begin(hermes_view *view, uint64_t frame) {
  hermes_control *control = view->control;
  hermes_store64(&control->current_frame, frame);
  hermes_store(&control->generation, control->generation + 1);
  advance(view, 0);
}

void hermes_barrier_permit_spin(hermes_view *view, uint32_t length_ns) { hermes_store(&view->control->spin_ns, length_ns); }

/* Looks at a word for a moment before its thread sleeps on it: 1 when it has moved on. */
static int spin(hermes_view *view, const uint32_t *word, uint32_t seen) {
  uint32_t length = hermes_load(&view->control->spin_ns);
  if (!hermes_spin_begin(&view->spin, length)) return 0;
  int looks = hermes_spin_looks(length);
  do {
    for (int i = 0; i < looks; i++) {
      if (hermes_load(word) != seen) {
        hermes_spin_won(&view->spin);
        return 1;
      }
      hermes_spin_relax();
    }
  } while (hermes_spin_on(&view->spin));
  return 0;
}

int hermes_barrier_wait(hermes_view *view, uint64_t deadline_ns, uint32_t *phase) {
  hermes_control *control = view->control;
  for (;;) {
    uint32_t seen = hermes_load_ordered(&control->node_wake);
    if (hermes_load(&control->fault)) return HERMES_WAIT_FAULT;
    if (hermes_load(&control->completed) == control->generation) return HERMES_WAIT_COMPLETE;
    if (hermes_load(&control->guard_look)) {
      __atomic_exchange_n(&control->guard_look, 0, __ATOMIC_ACQ_REL);
      return HERMES_WAIT_GUARD;
    }
    uint32_t turn = hermes_load(&control->node_turn);
    if (turn) {
      hermes_store(&control->node_turn, 0);
      *phase = (turn & ~(uint32_t)HERMES_TURN_EXCHANGE) - 1;
      return turn & HERMES_TURN_EXCHANGE ? HERMES_WAIT_EXCHANGE : HERMES_WAIT_NODE_WORK;
    }
    if (spin(view, &control->node_wake, seen)) continue;
    hermes_store_ordered(&control->node_sleeping, 1);
    int result = hermes_futex_wait(&control->node_wake, seen, deadline_ns);
    hermes_store(&control->node_sleeping, 0);
    if (result == ETIMEDOUT) return HERMES_WAIT_DEADLINE;
  }
}

void hermes_barrier_finish_work(hermes_view *view, uint32_t phase) { leave_phase(view, phase); }

void hermes_barrier_finish_exchange(hermes_view *view, uint32_t phase) {
  hermes_deliver(view, phase);
  advance(view, phase + 1);
}

void hermes_barrier_fault(hermes_view *view) {
  hermes_store(&view->control->fault, 1);
  wake_node(view);
}

void hermes_barrier_look(hermes_view *view) {
  hermes_store(&view->control->guard_look, 1);
  wake_node(view);
}

void hermes_barrier_renew(hermes_view *view, uint32_t module) {
  hermes_module_slot *slot = &view->modules[module];
  hermes_store(&slot->done, hermes_load(&slot->step));
  hermes_store(&slot->command, 0);
  hermes_store(&slot->ready, 0);
  hermes_store(&slot->sleeping, 0);
  __atomic_store_n(&slot->status, 0, __ATOMIC_RELEASE);
}

void hermes_barrier_step_again(hermes_view *view, uint32_t module) {
  hermes_module_slot *slot = &view->modules[module];
  __atomic_store_n(&slot->status, 0, __ATOMIC_RELEASE);
  hermes_store(&slot->done, hermes_load(&slot->step) - 1);
  hermes_barrier_nudge(view, module);
}

void hermes_barrier_hold(hermes_view *view, uint32_t module) {
  hermes_module_slot *slot = &view->modules[module];
  hermes_store(&slot->done, hermes_load(&slot->step));
  hermes_store(&slot->condition, HERMES_CONDITION_HELD);
}

void hermes_barrier_finish_step(hermes_view *view, uint32_t module, uint32_t generation, int status) {
  hermes_module_slot *slot = &view->modules[module];
  hermes_store64(&slot->end_ns, hermes_now());
  __atomic_store_n(&slot->status, status, __ATOMIC_RELEASE);
  if (slot->guard) {
    hermes_store(&slot->done, generation);
    hermes_barrier_look(view);
    return;
  }
  if (status != 0) hermes_barrier_fault(view);
  leave_phase(view, slot->phase);
  /* Not before: a module that is stopped while it delivers or releases still owes something, and is named for it. */
  hermes_store(&slot->done, generation);
}

int hermes_barrier_await(hermes_view *view, uint32_t module, uint32_t commands_seen, const uint32_t *stop) {
  hermes_module_slot *slot = &view->modules[module];
  hermes_phase *phase = &view->phases[slot->phase];
  int broadcast = (phase->flags & HERMES_PHASE_BROADCAST) != 0;
  uint32_t *wake = broadcast ? &phase->wake : &slot->wake;
  uint32_t *sleepers = broadcast ? &phase->sleepers : &slot->sleeping;
  for (;;) {
    uint32_t seen = hermes_load_ordered(wake);
    if (hermes_load(stop)) return 0;
    if (hermes_load(&slot->step) != hermes_load(&slot->done)) {
      hermes_store64(&slot->begin_ns, hermes_now());
      return 1;
    }
    if (hermes_load(&slot->command) != commands_seen) return 2;
    if (spin(view, wake, seen)) continue;
    hermes_add(sleepers, 1);
    hermes_futex_wait(wake, seen, HERMES_NEVER);
    __atomic_fetch_sub(sleepers, 1, __ATOMIC_RELAXED);
  }
}

void hermes_barrier_nudge(hermes_view *view, uint32_t module) {
  hermes_module_slot *slot = &view->modules[module];
  hermes_phase *phase = &view->phases[slot->phase];
  int broadcast = (phase->flags & HERMES_PHASE_BROADCAST) != 0;
  uint32_t *wake = broadcast ? &phase->wake : &slot->wake;
  hermes_add(wake, 1);
  hermes_futex_wake(wake, INT_MAX);
}

void hermes_add_command(hermes_view *view, uint32_t module) {
  hermes_add(&view->modules[module].command, 1);
  hermes_barrier_nudge(view, module);
}

int hermes_module_ready(const hermes_view *view, uint32_t module) {
  return hermes_load(&view->modules[module].ready) != 0;
}

int hermes_module_owes_step(const hermes_view *view, uint32_t module) {
  const hermes_module_slot *slot = &view->modules[module];
  return hermes_load(&slot->step) != hermes_load(&slot->done);
}

uint32_t hermes_module_asked(const hermes_view *view, uint32_t module) { return hermes_load(&view->modules[module].step); }
