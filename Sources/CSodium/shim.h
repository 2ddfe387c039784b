/* libsodium as the system ships it: libzmq encrypts with it, so it is there wherever CURVE is. Its functions import as
 * they are. */
#ifndef HERMES_CSODIUM_SHIM_H
#define HERMES_CSODIUM_SHIM_H

#include <sodium.h>

#endif
