/* libzmq 4.3 as the system ships it. Its constants and functions import as they are; only the two below need help. */
#ifndef HERMES_CZEROMQ_SHIM_H
#define HERMES_CZEROMQ_SHIM_H

#include <zmq.h>

/* The descriptor a message came in by, to tell whose connection ended: in the library since 4.1, in its header only
 * as a deprecated number. */
enum { HERMES_ZMQ_SOURCE_DESCRIPTOR = 2 };

#endif
