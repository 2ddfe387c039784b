/* What node, keeper and guards say to each other over socket pairs. */
#ifndef KEEPER_WIRE_H
#define KEEPER_WIRE_H

#include "CKeeper.h"

#include <CLinux.h>
#include <time.h>

/* True, after a moment, for an errno of a send or receive that is to be tried again. */
int keeper_may_pass(int code);

enum {
  KEEPER_SPAWN = 1,
  KEEPER_TERMINATE = 2,
  KEEPER_KILL = 3,
  KEEPER_HOLD = 4,
  KEEPER_FINISH = 5,
  KEEPER_TRIM = 6,
  KEEPER_MARK = 8,
  KEEPER_FOLLOW = 7,
  KEEPER_DESCRIPTORS = 2
};

typedef struct keeper_request {
  uint32_t type, id;
  uint32_t argument_count, environment_count;
  uint32_t length; /* zero-ended texts that follow: arguments, environment, directory; or a path */
  uint32_t descriptors;
} keeper_request;

/* How long a module has to reach its safe state when whoever should wait for it is gone: libhermes gives a step 0.3 s to end
 * and terminate a second, and the scheduler needs a little. */
enum { KEEPER_SAFE_STATE_MS = 1500 };

/* The keeper's own life, in the child that process `node` forked. Never returns. */
void keeper_live(int socket, pid_t node) __attribute__((noreturn));

/* A guard's life, in a child of the keeper: it starts one program and is the parent of all that comes of it. Over `socket`
 * (packets) it sends a keeper_event each for STARTED or FAILED and EXITED, and ends when nothing is left of the program; it
 * takes a byte each: KEEPER_TERMINATE, KEEPER_KILL. Of the open descriptors it keeps those `kept`. Never returns. */
typedef struct guard_program {
  char **arguments, **environment;
  const char *directory;
  int output[KEEPER_DESCRIPTORS];
} guard_program;
void guard_live(int socket, const guard_program *program, const int *kept, size_t kept_count) __attribute__((noreturn));

/* ---- What both do. -------------------------------------------------------------------------------------- */

static inline long keeper_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
