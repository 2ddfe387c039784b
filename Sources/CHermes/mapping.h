/* Shared files that may be cut off while they are mapped. Anybody who may write such a file may also shorten it, and a load
 * from what is gone is a SIGBUS in whoever makes it. A watched mapping becomes zeroed memory of this process alone
 * at that moment, and says so; what is read from it is checked like anything else that others could have written. */
#ifndef HERMES_MAPPING_H
#define HERMES_MAPPING_H

#include <stddef.h>
#include <stdint.h>

typedef struct hermes_mapping hermes_mapping;

/* Watches `size` bytes at `base`; NULL when this process watches as many as it can, and the mapping stays as it is.
 * The first one installs a handler for SIGBUS, which hands every other fault to the handler it found. */
hermes_mapping *hermes_mapping_watch(void *base, size_t size);
/* Before the memory is unmapped. NULL is nothing. */
void hermes_mapping_forget(hermes_mapping *mapping);
/* 1 once the file was cut off. */
int hermes_mapping_is_lost(const hermes_mapping *mapping);

#endif
