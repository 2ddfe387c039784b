/* Frames through the barrier, with threads for modules: order of phases, rates, the node's own work, faults. */
#include "small_segment.h"

#include "barrier.h"

#include <pthread.h>
#include <sched.h>

enum { MOST_MODULES = 40 };

static hermes_view view;
static hermes_view views[MOST_MODULES]; /* of each module, as each process has its own */
static uint32_t stop;
static uint64_t steps[MOST_MODULES];
static uint32_t failing = UINT32_MAX; /* the module whose next step returns 7 */

static void *be_module(void *argument) {
  uint32_t module = (uint32_t)(uintptr_t)argument;
  hermes_view *own = &views[module];
  for (;;) {
    int what = hermes_barrier_await(own, module, 0, &stop);
    if (what == 0) return NULL;
    CHECK(what == 1);
    uint32_t generation = hermes_load(&view.modules[module].step);
    /* Signal m counts module m's steps; modules of a chain also see what the one before them computed in this frame. */
    steps[module]++;
    view.data[module] = steps[module];
    hermes_barrier_finish_step(own, module, generation, hermes_load(&failing) == module ? 7 : 0);
  }
}

static uint64_t soon(void) { return hermes_now() + 60000000000u; }

static pthread_t threads[MOST_MODULES];

static void start(uint32_t modules) {
  hermes_store(&stop, 0);
  memset(steps, 0, sizeof steps);
  for (uintptr_t m = 0; m < modules; m++) {
    if (view.modules[m].kind != HERMES_KIND_PROCESS) continue;
    views[m] = view;
    CHECK(pthread_create(&threads[m], NULL, be_module, (void *)m) == 0);
  }
}

static void finish(uint32_t modules) {
  hermes_store(&stop, 1);
  for (uint32_t m = 0; m < modules; m++) {
    if (view.modules[m].kind != HERMES_KIND_PROCESS) continue;
    hermes_barrier_nudge(&view, m);
    pthread_join(threads[m], NULL);
  }
  small_segment_remove(&view);
}

/* One wire from each module of a chain to the slot behind the modules' own, delivered when its phase is done. */
static void check_frames(uint32_t modules, uint32_t phases, uint32_t flags, uint32_t spin_ns, uint64_t frames) {
  small_segment(&view, (small_shape){.signals = 2 * modules, .modules = modules, .phases = phases, .copies = modules, .queue = 4});
  hermes_barrier_permit_spin(&view, spin_ns);
  for (uint32_t m = 0; m < modules; m++) {
    view.copies[m] = (hermes_wire_copy){m, modules + m};
    hermes_delivery *delivery = &view.deliveries[view.modules[m].phase];
    if (delivery->copy_count++ == 0) delivery->copy_begin = m;
    view.modules[m].divisor = m == 1 ? 3 : 1;
  }
  for (uint32_t p = 0; p < phases; p++) view.phases[p].flags = flags;
  start(modules);
  uint32_t phase;
  for (uint64_t frame = 1; frame <= frames; frame++) {
    hermes_barrier_begin(&view, frame);
    CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_COMPLETE);
    CHECK(hermes_barrier_verify(&view) == HERMES_FRAME_SOUND);
    for (uint32_t m = 0; m < modules; m++) {
      uint64_t due = m == 1 ? (frame + 2) / 3 : frame;
      CHECK(view.data[m] == due && view.data[modules + m] == due);
      /* A module says so once it has handed on, a moment after the frame can be complete. */
      uint64_t deadline = soon();
      while (hermes_module_owes_step(&view, m) && hermes_now() < deadline) sched_yield();
      CHECK(!hermes_module_owes_step(&view, m));
    }
  }
  finish(modules);
}

/* The middle phase belongs to the node; the modules before and after it are processes. */
static void check_node_work(uint64_t frames) {
  small_segment(&view, (small_shape){.signals = 3, .modules = 3, .phases = 3, .queue = 4});
  view.modules[1].kind = HERMES_KIND_INPROC;
  view.phases[1].flags = HERMES_PHASE_NODE_WORK;
  start(3);
  for (uint64_t frame = 1; frame <= frames; frame++) {
    uint32_t phase = 99;
    hermes_barrier_begin(&view, frame);
    CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_NODE_WORK && phase == 1);
    CHECK(view.data[0] == frame && view.data[2] == frame - 1);
    view.data[1] = frame;
    hermes_barrier_finish_work(&view, phase);
    CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_COMPLETE);
    CHECK(view.data[2] == frame);
  }
  finish(3);
}

static void check_faults(void) {
  uint32_t phase;
  small_segment(&view, (small_shape){.signals = 4, .modules = 4, .phases = 2, .queue = 4});
  start(4);
  hermes_store(&failing, 1);
  hermes_barrier_begin(&view, 1);
  CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_FAULT);
  CHECK(__atomic_load_n(&view.modules[1].status, __ATOMIC_ACQUIRE) == 7);
  hermes_store(&failing, UINT32_MAX);
  hermes_store(&stop, 1);
  for (uint32_t m = 0; m < 4; m++) {
    hermes_barrier_nudge(&view, m);
    pthread_join(threads[m], NULL);
  }
  CHECK(steps[2] == 0 && steps[3] == 0); /* nothing more was released */
  small_segment_remove(&view);

  small_segment(&view, (small_shape){.signals = 1, .modules = 1, .phases = 1, .queue = 4}); /* nobody steps */
  hermes_barrier_begin(&view, 1);
  CHECK(hermes_barrier_wait(&view, hermes_now() + 1000000, &phase) == HERMES_WAIT_DEADLINE);
  CHECK(hermes_module_owes_step(&view, 0));
  hermes_barrier_fault(&view);
  CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_FAULT);
  small_segment_remove(&view);
}

/* What the node does when it is to look: the guarded modules of phase `phase` that are due have answered, so it goes on. */
static int guarded_are_done(uint32_t phase) {
  for (uint32_t m = 0; m < view.control->module_count; m++)
    if (view.modules[m].guard && view.modules[m].phase == phase && hermes_module_owes_step(&view, m)) return 0;
  return 1;
}

/* Modules 1 and 2 are guarded, beside 0 in the first phase, which has no other process when `alone`; 3 follows and sees
 * what they computed. */
static void check_guards(uint32_t flags, int alone, uint64_t frames) {
  small_segment(&view, (small_shape){.signals = 8, .modules = 4, .phases = 4, .copies = 1, .queue = 4});
  for (uint32_t m = 0; m < 3; m++) view.modules[m].phase = 0;
  view.modules[3].phase = 1;
  view.phases[0] = (hermes_phase){.module_begin = 0, .module_count = 3, .flags = flags};
  view.phases[1] = (hermes_phase){.module_begin = 3, .module_count = 1};
  view.phases[2] = view.phases[3] = (hermes_phase){0};
  view.copies[0] = (hermes_wire_copy){1, 5};
  view.deliveries[0].copy_count = 1;
  view.modules[1].guard = HERMES_GUARD_HOLD;
  view.modules[2].guard = HERMES_GUARD_RESTART;
  view.modules[2].divisor = 2;
  if (alone) view.modules[0].kind = HERMES_KIND_INPROC; /* nobody runs it here: the phase has no node work */
  start(4);
  for (uint64_t frame = 1; frame <= frames; frame++) {
    uint32_t phase = 99;
    hermes_barrier_begin(&view, frame);
    int what, finished = 0;
    while ((what = hermes_barrier_wait(&view, soon(), &phase)) == HERMES_WAIT_GUARD)
      if (!finished && guarded_are_done(0)) {
        CHECK(view.data[5] == frame - 1); /* nothing is delivered before the node says so */
        hermes_barrier_finish_work(&view, 0);
        finished = 1;
      }
    CHECK(what == HERMES_WAIT_COMPLETE && finished);
    CHECK(view.data[1] == frame && view.data[5] == frame && view.data[2] == (frame + 1) / 2 && view.data[3] == frame);
  }
  finish(4);
}

/* Waits until a guarded module has answered. */
static void await_answer(uint32_t module) {
  uint32_t phase;
  do CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_GUARD);
  while (hermes_module_owes_step(&view, module));
}

static void check_guarded_failures(void) {
  uint32_t phase;
  small_segment(&view, (small_shape){.signals = 2, .modules = 2, .phases = 2, .queue = 4});
  view.modules[0].guard = HERMES_GUARD_RESTART;
  start(2);
  hermes_store(&failing, 0);
  hermes_barrier_begin(&view, 1);
  await_answer(0);
  CHECK(view.modules[0].status == 7 && view.control->fault == 0);
  hermes_store(&failing, UINT32_MAX);
  hermes_barrier_step_again(&view, 0);
  await_answer(0);
  CHECK(view.modules[0].status == 0 && view.data[0] == 2 && view.data[1] == 0);
  hermes_barrier_finish_work(&view, 0);
  CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_COMPLETE && view.data[1] == 1);
  hermes_barrier_hold(&view, 0);
  for (uint64_t frame = 2; frame < 10; frame++) {
    hermes_barrier_begin(&view, frame);
    CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_COMPLETE);
    CHECK(view.data[0] == 2 && view.data[1] == frame);
  }
  finish(2);

  small_segment(&view, (small_shape){.signals = 1, .modules = 1, .phases = 1, .queue = 4}); /* nobody steps */
  view.modules[0].guard = HERMES_GUARD_HOLD;
  hermes_barrier_begin(&view, 1);
  CHECK(hermes_barrier_wait(&view, hermes_now() + 1000000, &phase) == HERMES_WAIT_DEADLINE);
  hermes_barrier_look(&view);
  CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_GUARD && hermes_module_owes_step(&view, 0));
  hermes_barrier_hold(&view, 0);
  hermes_barrier_finish_work(&view, 0);
  CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_COMPLETE);
  view.modules[0].command = 5;
  hermes_barrier_renew(&view, 0);
  CHECK(!hermes_module_owes_step(&view, 0) && view.modules[0].command == 0 && !hermes_module_ready(&view, 0));
  small_segment_remove(&view);
}

/* A frame that is complete by the segment's words and did not happen; steps that nobody can have asked for. */
static void check_words_written_over(void) {
  uint32_t phase, no = 0;
  small_segment(&view, (small_shape){.signals = 3, .modules = 3, .phases = 3, .queue = 4});
  start(3);
  hermes_barrier_begin(&view, 1);
  CHECK(hermes_barrier_wait(&view, soon(), &phase) == HERMES_WAIT_COMPLETE && hermes_barrier_verify(&view) == HERMES_FRAME_SOUND);
  uint32_t *const words[] = {&view.modules[1].stepped, (uint32_t *)&view.modules[2].status, &view.phases[1].pending,
                             &view.control->generation, (uint32_t *)&view.control->current_frame};
  const int64_t verdicts[] = {1, 2, HERMES_FRAME_BROKEN, HERMES_FRAME_BROKEN, HERMES_FRAME_BROKEN};
  for (int i = 0; i < 5; i++) {
    *words[i] ^= 4;
    CHECK(hermes_barrier_verify(&view) == verdicts[i]);
    *words[i] ^= 4;
  }
  hermes_store(&view.control->node_turn, 2); /* the node has no work in any phase */
  hermes_barrier_begin(&view, 2);
  CHECK(hermes_barrier_wait(&view, soon(), &phase) != HERMES_WAIT_NODE_WORK);
  finish(3);

  const uint32_t asked[] = {UINT32_MAX, 7, 0x80000000};
  for (int i = 0; i < 3; i++) {
    small_segment(&view, (small_shape){.signals = 1, .modules = 1, .phases = 1, .queue = 4});
    hermes_view own = view;
    hermes_store(&view.modules[0].step, asked[i]);
    hermes_store(&view.modules[0].command, 1); /* so that the wait ends */
    CHECK(hermes_barrier_await(&own, 0, 0, &no) == 2 && hermes_load(&view.control->fault));
    small_segment_remove(&view);
  }
}

static void check_commands(void) {
  uint32_t no = 0;
  small_segment(&view, (small_shape){.signals = 1, .modules = 1, .phases = 1, .queue = 4});
  hermes_add_command(&view, 0);
  CHECK(hermes_barrier_await(&view, 0, 0, &no) == 2);
  hermes_barrier_begin(&view, 1);
  CHECK(hermes_barrier_await(&view, 0, 1, &no) == 1);
  small_segment_remove(&view);
}

int main(void) {
  check_commands();
  check_words_written_over();
  static const uint32_t spins[] = {0, 1, 50000, 500000};
  for (int i = 0; i < 4; i++) {
    check_frames(1, 1, 0, spins[i], 3000);
    check_frames(2, 1, 0, spins[i], 3000);
    check_frames(8, 1, HERMES_PHASE_BROADCAST, spins[i], 1500);
    check_frames(8, 8, 0, spins[i], 1500);
    check_frames(12, 5, 0, spins[i], 1000);
    check_frames(32, 1, HERMES_PHASE_BROADCAST, spins[i], 500);
  }
  check_node_work(2000);
  check_faults();
  check_guards(0, 0, 1500);
  check_guards(0, 1, 500);
  check_guards(HERMES_PHASE_BROADCAST, 0, 500);
  check_guarded_failures();
  return 0;
}
