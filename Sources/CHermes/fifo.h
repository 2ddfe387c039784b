/* The messages between a node and a module's process, as docs/processes.md describes them. */
#ifndef HERMES_FIFO_H
#define HERMES_FIFO_H

#include <stddef.h>
#include <stdint.h>

#define HERMES_FIFO_MAGIC 0x46464D48u /* "HMFF" */
#define HERMES_FIFO_LONGEST (256u << 20)

/* Every message begins with this; `length` bytes follow. */
typedef struct hermes_fifo_header {
  uint32_t magic, type, sequence, length;
} hermes_fifo_header;

enum {
  /* From the module. */
  HERMES_ANNOUNCE = 1, /* the announcement */
  HERMES_REPLY = 2,    /* i32 status, then text */
  HERMES_SAVED = 3,    /* i32 status, then the state */
  HERMES_FREE = 4,     /* "this process is a free script" */
  HERMES_REALTIME = 5, /* a hermes_realtime_found */
  /* From the node. */
  HERMES_INIT = 16, /* u32 module index, then the segment's name */
  HERMES_STAGE = 17,
  HERMES_RESET = 18,
  HERMES_TERMINATE = 19,
  HERMES_SAVE = 20,
  HERMES_LOAD = 21 /* the state */
};

/* The sequence of a reply that tells what came of terminate when no command has asked for it. */
#define HERMES_FIFO_UNASKED UINT32_MAX

/* Writes a message whole; two parts spare a copy. 0 or an errno value. */
int hermes_fifo_write(int descriptor, uint32_t type, uint32_t sequence, const void *head, size_t head_size,
                      const void *body, size_t body_size);
/* Reads a message, blocking; *body is malloc'ed, one zero byte behind it. 0, EPIPE when nobody writes any more,
 * EPROTO for what is not a message. */
int hermes_fifo_read(int descriptor, hermes_fifo_header *header, uint8_t **body);

#endif
