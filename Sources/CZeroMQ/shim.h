/* libzmq 4.3 as the system ships it. Its constants and functions import as they are; only what stands below needs help. */
#ifndef HERMES_CZEROMQ_SHIM_H
#define HERMES_CZEROMQ_SHIM_H

#include <malloc.h>
#include <zmq.h>

/* The descriptor a message came in by, to tell whose connection ended: in the library since 4.1, in its header only
 * as a deprecated number. */
enum { HERMES_ZMQ_SOURCE_DESCRIPTOR = 2 };

/* Gives memory that is free back to the system; Swift's Glibc leaves malloc.h out. */
static inline void hermes_give_memory_back(void) { malloc_trim(0); }

#endif
