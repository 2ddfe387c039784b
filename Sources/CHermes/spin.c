#include "platform.h"

#include <sched.h>

#include "spin.h"

/* Two wake-ups: whoever one waits for may itself be waking up. */
enum { ALONE_NS = 50000, LONGEST_NS = HERMES_SPIN_LONGEST_NS };

uint32_t hermes_spin_length(uint32_t threads, uint32_t cores) {
  if (cores == 0) return 0;
  uint32_t in_turn = (threads + cores - 1) / cores;
  return in_turn < LONGEST_NS / ALONE_NS ? in_turn * ALONE_NS : LONGEST_NS;
}

int hermes_spin_begin(hermes_spin *spin, uint32_t length_ns) {
  if (length_ns == 0) return 0;
  if (spin->skip > 0) {
    spin->skip--;
    return 0;
  }
  spin->end_ns = hermes_now() + length_ns;
  spin->length_ns = length_ns;
  return 1;
}

static uint32_t clamped(uint32_t value, uint32_t least, uint32_t most) {
  return value < least ? least : value > most ? most : value;
}

int hermes_spin_on(hermes_spin *spin) {
  sched_yield();
  uint64_t now = hermes_now();
  if (now < spin->end_ns) return 1;
  /* Somebody else kept the core for long: a wait in vain that cost the frame more than a sleep. */
  int crowded = now > spin->end_ns + spin->length_ns;
  spin->pause = crowded ? clamped(spin->pause * 8, 8, 16384) : clamped(spin->pause * 2, 1, 4096);
  spin->skip = spin->pause;
  return 0;
}

void hermes_spin_won(hermes_spin *spin) { spin->pause /= 2; }

int hermes_spin_looks(uint32_t length_ns) { return length_ns <= ALONE_NS ? 64 : 8; }

void hermes_spin_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
