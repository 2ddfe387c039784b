/* What node and keeper say to each other over their socket pair. */
#ifndef KEEPER_WIRE_H
#define KEEPER_WIRE_H

#include "CKeeper.h"

enum { KEEPER_SPAWN = 1, KEEPER_SIGNAL = 2, KEEPER_HOLD = 3, KEEPER_FINISH = 4, KEEPER_TRIM = 5, KEEPER_DESCRIPTORS = 2 };

typedef struct keeper_request {
  uint32_t type, id;
  int32_t value, flag;
  uint32_t argument_count, environment_count;
  uint32_t length; /* zero-ended texts that follow: arguments, environment, directory; or a path */
  uint32_t descriptors;
} keeper_request;

/* The keeper's own life, in the forked child. Never returns. */
void keeper_live(int socket) __attribute__((noreturn));

#endif
