#include "platform.h"

#include "barrier.h"

static void wake_node(hermes_view *view) {
  hermes_control *control = view->control;
  hermes_add(&control->node_wake, 1);
  if (hermes_load_ordered(&control->node_sleeping)) hermes_futex_wake(&control->node_wake, 1);
}

/* A segment that something wrote over may say 0. */
static int is_due(const hermes_module_slot *plan, uint64_t frame) {
  return plan->divisor <= 1 || (frame - 1) % plan->divisor == 0;
}

/* Processes that step in this frame; one that is held does so in none. */
static int steps(const hermes_view *view, uint32_t module, uint64_t frame) {
  const hermes_module_slot *plan = &view->module_plans[module];
  return plan->kind == HERMES_KIND_PROCESS && is_due(plan, frame) &&
         !(plan->guard && hermes_load(&view->modules[module].condition) == HERMES_CONDITION_HELD);
}

/* The modules of a phase. A module's process reads them from the segment: what is wrong there is reported to the node, which
 * has copies, and nothing is followed out of the segment. */
typedef struct {
  const uint32_t *list;
  uint32_t count;
} phase_members;

static phase_members members_of(hermes_view *view, uint32_t phase) {
  uint32_t begin = view->phase_plans[phase].module_begin, count = view->phase_plans[phase].module_count;
  if (begin <= view->module_count && count <= view->module_count - begin)
    return (phase_members){view->phase_list + begin, count};
  hermes_barrier_fault(view);
  return (phase_members){view->phase_list, 0};
}

/* One of them that steps in this frame, or NULL. */
static hermes_module_slot *due_member(hermes_view *view, phase_members all, uint32_t i, uint64_t frame, uint32_t *index) {
  *index = all.list[i];
  if (*index < view->module_count) return steps(view, *index, frame) ? &view->modules[*index] : NULL;
  hermes_barrier_fault(view);
  return NULL;
}

/* Lets the due modules of a phase go. 0 when nobody is due. Guarded modules count as one, which is the node. */
static int release(hermes_view *view, uint32_t index) {
  hermes_control *control = view->control;
  hermes_phase *phase = &view->phases[index];
  phase_members members = members_of(view, index);
  uint64_t frame = hermes_load64(&control->current_frame);
  uint32_t generation = hermes_load(&control->generation), flags = view->phase_plans[index].flags, at;
  uint32_t node_work = flags & HERMES_PHASE_NODE_WORK ? 1 : 0;

  uint32_t due = node_work, guards = 0;
  for (uint32_t i = 0; i < members.count; i++) {
    if (!due_member(view, members, i, frame, &at)) continue;
    if (view->module_plans[at].guard) guards = 1;
    else due++;
  }
  due += guards;
  if (due == 0) return 0;
  hermes_store64(&phase->released_ns, hermes_now());
  hermes_store(&phase->pending, due);

  int broadcast = (flags & HERMES_PHASE_BROADCAST) != 0;
  for (uint32_t i = 0; i < members.count; i++) {
    hermes_module_slot *module = due_member(view, members, i, frame, &at);
    if (!module) continue;
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
  if (view->gathers && !hermes_gather(view, index)) hermes_barrier_fault(view);
  if (view->phase_plans[index].flags & HERMES_PHASE_EXCHANGE) {
    hermes_store(&view->control->node_turn, (index + 1) | HERMES_TURN_EXCHANGE);
    wake_node(view);
    return 0;
  }
  if (!hermes_deliver(view, index)) hermes_barrier_fault(view);
  return 1;
}

/* Goes on from phase `index` until somebody has to step, the node has to exchange, or the frame is complete. */
static void advance(hermes_view *view, uint32_t index) {
  hermes_control *control = view->control;
  for (; index < view->phase_count; index++)
    if (release(view, index) || !end_phase(view, index)) return;
  hermes_store(&control->completed, hermes_load(&control->generation));
  wake_node(view);
}

static void leave_phase(hermes_view *view, uint32_t index) {
  if (index >= view->phase_count) {
    hermes_barrier_fault(view);
    return;
  }
  if (__atomic_fetch_sub(&view->phases[index].pending, 1, __ATOMIC_ACQ_REL) != 1) return;
  if (hermes_load(&view->control->fault)) {
    wake_node(view);
    return;
  }
  if (end_phase(view, index)) advance(view, index + 1);
}

void hermes_barrier_begin(hermes_view *view, uint64_t frame) {
  hermes_control *control = view->control;
  view->own.current_frame = frame;
  view->own.generation++;
  view->own.turns = view->own.next_turn = 0;
  hermes_store64(&control->current_frame, frame);
  hermes_store(&control->generation, view->own.generation);
  advance(view, 0);
}

void hermes_barrier_permit_spin(hermes_view *view, uint32_t length_ns) { hermes_store(&view->control->spin_ns, length_ns); }

/* Looks at a word for a moment before its thread sleeps on it: 1 when it has moved on. */
static int spin(hermes_view *view, const uint32_t *word, uint32_t seen) {
  uint32_t length = hermes_load(&view->control->spin_ns);
  if (length > HERMES_SPIN_LONGEST_NS) length = HERMES_SPIN_LONGEST_NS;
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

/* The node's turns of a frame come in order: of each phase first its work, then its exchange. 0 for one that can't be. */
static int take_turn(hermes_view *view, uint32_t turn, uint32_t *phase) {
  uint32_t exchange = turn & HERMES_TURN_EXCHANGE ? 1 : 0;
  *phase = (turn & ~(uint32_t)HERMES_TURN_EXCHANGE) - 1;
  if (*phase >= view->phase_count || 2 * *phase + exchange < view->own.next_turn ||
      !(view->phase_plans[*phase].flags & (exchange ? HERMES_PHASE_EXCHANGE : HERMES_PHASE_NODE_WORK)))
    return 0;
  view->own.next_turn = 2 * *phase + exchange + 1;
  view->own.turns++;
  return 1;
}

int hermes_barrier_wait(hermes_view *view, uint64_t deadline_ns, uint32_t *phase) {
  hermes_control *control = view->control;
  for (;;) {
    uint32_t seen = hermes_load_ordered(&control->node_wake);
    if (hermes_load(&view->own.fault) || hermes_load(&control->fault)) return HERMES_WAIT_FAULT;
    if (hermes_load(&control->completed) == view->own.generation) return HERMES_WAIT_COMPLETE;
    if (hermes_load(&control->guard_look)) {
      __atomic_exchange_n(&control->guard_look, 0, __ATOMIC_ACQ_REL);
      return HERMES_WAIT_GUARD;
    }
    uint32_t turn = hermes_load(&control->node_turn);
    if (turn) {
      hermes_store(&control->node_turn, 0);
      if (!take_turn(view, turn, phase)) return HERMES_WAIT_BROKEN;
      return turn & HERMES_TURN_EXCHANGE ? HERMES_WAIT_EXCHANGE : HERMES_WAIT_NODE_WORK;
    }
    if (hermes_view_is_lost(view)) return HERMES_WAIT_BROKEN;
    if (spin(view, &control->node_wake, seen)) continue;
    hermes_store_ordered(&control->node_sleeping, 1);
    int result = hermes_futex_wait(&control->node_wake, seen, deadline_ns);
    hermes_store(&control->node_sleeping, 0);
    if (result == ETIMEDOUT) return HERMES_WAIT_DEADLINE;
  }
}

int64_t hermes_barrier_verify(hermes_view *view) {
  uint32_t turns = 0;
  for (uint32_t p = 0; p < view->phase_count; p++) {
    const hermes_phase *plan = &view->phase_plans[p];
    turns += (plan->flags & HERMES_PHASE_NODE_WORK ? 1 : 0) + (plan->flags & HERMES_PHASE_EXCHANGE ? 1 : 0);
    for (uint32_t i = 0; i < plan->module_count; i++) {
      uint32_t index = view->phase_list[plan->module_begin + i];
      const hermes_module_slot *module = &view->modules[index], *fixed = &view->module_plans[index];
      if (fixed->kind != HERMES_KIND_PROCESS || fixed->guard || !is_due(fixed, view->own.current_frame)) continue;
      if (hermes_load(&module->stepped) != view->own.generation || __atomic_load_n(&module->status, __ATOMIC_ACQUIRE) != 0)
        return index;
    }
    if (hermes_load(&view->phases[p].pending) != 0) return HERMES_FRAME_BROKEN;
  }
  if (turns != view->own.turns || hermes_load(&view->control->generation) != view->own.generation ||
      hermes_load64(&view->control->current_frame) != view->own.current_frame || !hermes_view_next_is_sound(view) ||
      hermes_view_is_lost(view))
    return HERMES_FRAME_BROKEN;
  return HERMES_FRAME_SOUND;
}

int hermes_barrier_owes(const hermes_view *view, uint32_t module) {
  const hermes_module_slot *plan = &view->module_plans[module];
  return plan->kind == HERMES_KIND_PROCESS && is_due(plan, view->own.current_frame) &&
         hermes_load(&view->modules[module].done) != view->own.generation;
}

void hermes_barrier_finish_work(hermes_view *view, uint32_t phase) { leave_phase(view, phase); }

void hermes_barrier_finish_exchange(hermes_view *view, uint32_t phase) {
  if (!hermes_deliver(view, phase)) hermes_barrier_fault(view);
  advance(view, phase + 1);
}

void hermes_barrier_fault(hermes_view *view) {
  hermes_store(&view->own.fault, 1);
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
  view->module_plans[module].command = view->module_plans[module].ready = 0;
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
  const hermes_module_slot *plan = &view->module_plans[module];
  hermes_store64(&slot->end_ns, hermes_now());
  __atomic_store_n(&slot->status, status, __ATOMIC_RELEASE);
  hermes_store(&slot->stepped, generation);
  if (plan->guard) {
    hermes_store(&slot->done, generation);
    hermes_barrier_look(view);
    return;
  }
  if (status != 0) hermes_barrier_fault(view);
  leave_phase(view, plan->phase);
  /* Not before: a module that is stopped while it delivers or releases still owes something, and is named for it. */
  hermes_store(&slot->done, generation);
}

/* The word that a module sleeps on, and where it says that it does. */
static uint32_t *wake_word(hermes_view *view, uint32_t module, uint32_t **sleepers) {
  hermes_module_slot *slot = &view->modules[module];
  uint32_t phase = view->module_plans[module].phase;
  if (phase < view->phase_count && view->phase_plans[phase].flags & HERMES_PHASE_BROADCAST) {
    *sleepers = &view->phases[phase].sleepers;
    return &view->phases[phase].wake;
  }
  *sleepers = &slot->sleeping;
  return &slot->wake;
}

void hermes_barrier_join(hermes_view *view, uint32_t module) { view->answered = hermes_load(&view->modules[module].done); }

/* 1: there is a step to make, of the generation *step; 0: there is none; -1: what is asked for can't be meant. A word that
 * something wrote over must not have a module step twice. */
static int is_asked(const hermes_view *view, const hermes_module_slot *slot, uint32_t *step) {
  *step = hermes_load(&slot->step);
  int again = hermes_load(&slot->done) == *step - 1;
  if (*step == view->answered && !again) return 0;
  int follows = *step == view->answered || (int32_t)(*step - view->answered) > 0;
  return follows && *step == hermes_load(&view->control->generation) ? 1 : -1;
}

int hermes_barrier_await(hermes_view *view, uint32_t module, uint32_t commands_seen, const uint32_t *stop) {
  hermes_module_slot *slot = &view->modules[module];
  uint32_t *sleepers, *wake = wake_word(view, module, &sleepers);
  for (;;) {
    uint32_t step, seen = hermes_load_ordered(wake);
    if (hermes_load(stop)) return 0;
    int asked = is_asked(view, slot, &step);
    if (hermes_view_is_lost(view)) return 0;
    if (asked > 0) {
      view->answered = step;
      hermes_store64(&slot->begin_ns, hermes_now());
      return 1;
    }
    if (asked < 0) hermes_barrier_fault(view);
    if (hermes_load(&slot->command) != commands_seen) return 2;
    if (spin(view, wake, seen)) continue;
    /* Its own word it stores, so that a wrong one is right again; that of a phase is a count. */
    int is_own = sleepers == &slot->sleeping;
    if (is_own) hermes_store_ordered(sleepers, 1);
    else hermes_add(sleepers, 1);
    hermes_futex_wait(wake, seen, HERMES_NEVER);
    if (is_own) hermes_store(sleepers, 0);
    else __atomic_fetch_sub(sleepers, 1, __ATOMIC_RELAXED);
  }
}

void hermes_barrier_nudge(hermes_view *view, uint32_t module) {
  uint32_t *sleepers, *wake = wake_word(view, module, &sleepers);
  hermes_add(wake, 1);
  hermes_futex_wake(wake, INT_MAX);
}

void hermes_barrier_rouse(hermes_view *view, uint32_t module) {
  uint32_t *sleepers;
  wake_word(view, module, &sleepers);
  /* A count that is wrong stays so: from here on somebody always sleeps. */
  if (sleepers != &view->modules[module].sleeping) hermes_store_ordered(sleepers, 1u << 30);
  hermes_barrier_nudge(view, module);
}

void hermes_add_command(hermes_view *view, uint32_t module) {
  hermes_module_slot *slot = &view->modules[module], *known = &view->module_plans[module];
  uint32_t before = hermes_add(&slot->command, 1);
  if (known != slot && before != known->command++) view->own.broken_words = 1;
  hermes_barrier_nudge(view, module);
}

void hermes_module_set_ready(hermes_view *view, uint32_t module) { view->module_plans[module].ready = 1; }
int hermes_module_ready(const hermes_view *view, uint32_t module) {
  return view->module_plans[module].ready || hermes_load(&view->modules[module].ready);
}

int hermes_module_owes_step(const hermes_view *view, uint32_t module) {
  const hermes_module_slot *slot = &view->modules[module];
  return hermes_load(&slot->step) != hermes_load(&slot->done);
}

uint32_t hermes_module_asked(const hermes_view *view, uint32_t module) { return hermes_load(&view->modules[module].step); }
