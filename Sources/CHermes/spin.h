/* A short wait that gives its core away: who waits looks, yields to whatever else can run there, and looks again, for a
 * moment before it sleeps. A core that runs out of work for less than that moment does not fall asleep and need not be
 * woken, and threads that wait for each other on one core take turns at the price of a switch.
 *
 * It costs nobody anything who can't win by it: each wait in vain has the next ones left out, twice as many each time,
 * and one in which somebody else kept the core for long leaves out thousands.
 */
#ifndef HERMES_SPIN_H
#define HERMES_SPIN_H

#include <stdint.h>

enum { HERMES_SPIN_LONGEST_NS = 500000 };

/* Of one thread that waits. Zero to begin with. */
typedef struct hermes_spin {
  uint32_t skip, pause; /* waits to come that are left out; how many were after the last in vain */
  uint64_t end_ns, length_ns;
} hermes_spin;

/* How long, in nanoseconds, a wait of one of `threads` may spin where this process may use `cores`: a moment for each of
 * those that take turns on a core; at most half a millisecond. */
uint32_t hermes_spin_length(uint32_t threads, uint32_t cores);

/* 1: look again and again, for at most `length_ns`, with hermes_spin_on between; 0: sleep at once. */
int hermes_spin_begin(hermes_spin *spin, uint32_t length_ns);
/* Yields. 0 when the time is up and nothing has been seen. */
int hermes_spin_on(hermes_spin *spin);
/* What was waited for has come. */
void hermes_spin_won(hermes_spin *spin);

/* Looks before a yield: many where everybody has a core, few where another's turn would be spent on them. */
int hermes_spin_looks(uint32_t length_ns);
/* Between two of them. */
void hermes_spin_relax(void);

#endif
