/* The life of a segment's file: made by its node, locked while the node lives, unlinked at the end. */
#ifndef HERMES_SEGMENT_FILE_H
#define HERMES_SEGMENT_FILE_H

#include "view.h"

/* Makes and maps a segment of `size` zero bytes, mode 0600, and locks it as owner. A file whose owner is dead is
 * replaced. 0, EEXIST when a living owner has it, ENOSPC when /dev/shm has no room; hermes_last_error() says more.
 * The view has base, size and descriptor; the caller fills the memory, then calls hermes_view_locate. */
int hermes_segment_create(hermes_view *view, const char *name, size_t size);
int hermes_segment_unlink(const char *name);
/* 1 when the file exists and its owner lives, 0 when it exists without one, -1 when there is none. */
int hermes_segment_owner_state(const char *name);

#endif
