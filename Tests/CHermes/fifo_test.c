/* Messages through a pipe, whole, cut and made of rubbish. */
#include "platform.h"

#include "check.h"
#include "fifo.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

static uint8_t large[3 << 20];

static void *write_messages(void *argument) {
  int descriptor = *(int *)argument;
  CHECK(hermes_fifo_write(descriptor, HERMES_REPLY, 1, "ab", 2, "cde", 3) == 0);
  CHECK(hermes_fifo_write(descriptor, HERMES_STAGE, 2, NULL, 0, NULL, 0) == 0);
  CHECK(hermes_fifo_write(descriptor, HERMES_SAVED, 3, "head", 4, large, sizeof large) == 0);
  close(descriptor);
  return NULL;
}

static void check_messages(int flags) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  if (flags) CHECK(fcntl(ends[1], F_SETFL, flags) == 0); /* only the writer: it must wait for room by itself */
  for (size_t i = 0; i < sizeof large; i++) large[i] = (uint8_t)(i * 31);
  pthread_t writer;
  CHECK(pthread_create(&writer, NULL, write_messages, &ends[1]) == 0);
  hermes_fifo_header header;
  uint8_t *body;
  CHECK(hermes_fifo_read(ends[0], &header, &body) == 0 && header.type == HERMES_REPLY && header.sequence == 1);
  CHECK(header.length == 5 && strcmp((char *)body, "abcde") == 0);
  free(body);
  CHECK(hermes_fifo_read(ends[0], &header, &body) == 0 && header.length == 0 && body[0] == 0);
  free(body);
  CHECK(hermes_fifo_read(ends[0], &header, &body) == 0 && header.length == 4 + sizeof large);
  CHECK(memcmp(body + 4, large, sizeof large) == 0);
  free(body);
  CHECK(hermes_fifo_read(ends[0], &header, &body) == EPIPE && body == NULL);
  pthread_join(writer, NULL);
  close(ends[0]);
}

/* What comes after `size` bytes of a pipe nobody writes to any more. */
static int read_bytes(const void *bytes, size_t size) {
  int ends[2];
  hermes_fifo_header header;
  uint8_t *body = NULL;
  CHECK(pipe(ends) == 0 && write(ends[1], bytes, size) == (ssize_t)size);
  close(ends[1]);
  int code = hermes_fifo_read(ends[0], &header, &body);
  CHECK((code == 0) == (body != NULL));
  free(body);
  close(ends[0]);
  return code;
}

static void check_rubbish(void) {
  hermes_fifo_header header = {HERMES_FIFO_MAGIC, HERMES_REPLY, 1, 4};
  uint8_t message[sizeof header + 4] = {0};
  memcpy(message, &header, sizeof header);
  CHECK(read_bytes(message, sizeof message) == 0);
  for (size_t cut = 0; cut < sizeof message; cut++) CHECK(read_bytes(message, cut) == EPIPE);
  header.length = HERMES_FIFO_LONGEST + 1;
  CHECK(read_bytes(&header, sizeof header) == EPROTO);
  header.length = UINT32_MAX;
  CHECK(read_bytes(&header, sizeof header) == EPROTO);
  header = (hermes_fifo_header){HERMES_FIFO_MAGIC + 1, HERMES_REPLY, 1, 0};
  CHECK(read_bytes(&header, sizeof header) == EPROTO);

  uint64_t random = 3;
  for (int i = 0; i < 3000; i++) {
    uint8_t bytes[64];
    for (size_t j = 0; j < sizeof bytes; j++) bytes[j] = (uint8_t)next_random(&random);
    if (i % 2) memcpy(bytes, &(uint32_t){HERMES_FIFO_MAGIC}, 4);
    if (i % 4 == 1) bytes[13] = bytes[14] = bytes[15] = 0; /* a length that may be right */
    read_bytes(bytes, next_random(&random) % sizeof bytes);
  }
  CHECK(hermes_fifo_write(1, HERMES_SAVED, 1, NULL, 0, NULL, (size_t)HERMES_FIFO_LONGEST + 1) == EMSGSIZE);
}

int main(void) {
  check_messages(0);
  check_messages(O_NONBLOCK);
  check_rubbish();
  return 0;
}
