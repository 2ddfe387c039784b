#include "platform.h"

#include "fifo.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

static int write_all(int descriptor, const uint8_t *bytes, size_t size) {
  while (size) {
    ssize_t written = write(descriptor, bytes, size);
    if (written < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return errno;
      struct pollfd ready = {.fd = descriptor, .events = POLLOUT};
      poll(&ready, 1, -1);
      continue;
    }
    bytes += written;
    size -= (size_t)written;
  }
  return 0;
}

static int read_all(int descriptor, uint8_t *bytes, size_t size) {
  while (size) {
    ssize_t count = read(descriptor, bytes, size);
    if (count == 0) return EPIPE;
    if (count < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes += count;
    size -= (size_t)count;
  }
  return 0;
}

int hermes_fifo_write(int descriptor, uint32_t type, uint32_t sequence, const void *head, size_t head_size,
                      const void *body, size_t body_size) {
  if (head_size + body_size > HERMES_FIFO_LONGEST) return EMSGSIZE;
  hermes_fifo_header header = {HERMES_FIFO_MAGIC, type, sequence, (uint32_t)(head_size + body_size)};
  int code = write_all(descriptor, (const uint8_t *)&header, sizeof header);
  if (code == 0) code = write_all(descriptor, head, head_size);
  if (code == 0) code = write_all(descriptor, body, body_size);
  return code;
}

int hermes_fifo_read(int descriptor, hermes_fifo_header *header, uint8_t **body) {
  *body = NULL;
  int code = read_all(descriptor, (uint8_t *)header, sizeof *header);
  if (code) return code;
  if (header->magic != HERMES_FIFO_MAGIC || header->length > HERMES_FIFO_LONGEST) return EPROTO;
  *body = malloc((size_t)header->length + 1);
  if (!*body) return ENOMEM;
  code = read_all(descriptor, *body, header->length);
  (*body)[header->length] = 0;
  if (code) {
    free(*body);
    *body = NULL;
  }
  return code;
}
