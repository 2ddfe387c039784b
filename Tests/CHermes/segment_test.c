/* The life of a segment's file, and segments whose bytes are wrong. */
#include "small_segment.h"

#include <fcntl.h>
#include <hermes/client.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const small_shape shape = {.signals = 12, .modules = 3, .phases = 2, .runs = 2, .copies = 2, .converts = 2, .queue = 16};

static void check_life(void) {
  hermes_view view, second;
  CHECK(hermes_segment_owner_state(small_name()) == -1);
  small_segment(&view, shape);
  struct stat status;
  CHECK(fstat(view.descriptor, &status) == 0 && (status.st_mode & 0777) == 0600);
  CHECK(hermes_segment_owner_state(small_name()) == 1);
  CHECK(hermes_segment_create(&second, small_name(), 4096) == EEXIST);
  CHECK(strstr(hermes_last_error(), small_name()) != NULL);

  hermes_view_close(&view); /* as when the owner dies: the file stays, its lock goes */
  CHECK(hermes_segment_owner_state(small_name()) == 0);
  CHECK(hermes_segment_create(&view, small_name(), 4096) == 0);
  for (size_t i = 0; i < view.size; i++) CHECK(view.base[i] == 0);
  hermes_view_close(&view);
  CHECK(hermes_segment_unlink(small_name()) == 0);
  CHECK(hermes_segment_unlink(small_name()) == ENOENT);
  CHECK(hermes_client_open(small_name()) == NULL && errno == ENOENT);
}

static void check_killed_owner(void) {
  int ready[2];
  CHECK(pipe(ready) == 0);
  const char *name = small_name(); /* before the fork: the child has another pid */
  pid_t child = fork();
  if (child == 0) {
    hermes_view view;
    if (hermes_segment_create(&view, name, 4096) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  CHECK(read(ready[0], &byte, 1) == 1);
  CHECK(hermes_segment_owner_state(name) == 1);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  CHECK(hermes_segment_owner_state(name) == 0);
  CHECK(hermes_segment_unlink(name) == 0);
  close(ready[0]);
  close(ready[1]);
}

/* The segment's first bytes as the documentation promises them to readers that know nothing else. */
static void check_bytes(void) {
  hermes_view view;
  small_segment(&view, shape);
  view.data[3] = 0x3FF8000000000000u; /* 1.5 */
  uint32_t magic, version, count, name_at, data_at;
  memcpy(&magic, view.base, 4);
  memcpy(&version, view.base + 4, 4);
  memcpy(&count, view.base + 24, 4);
  CHECK(magic == 0x4845524Du && version == 1 && count == 12);
  memcpy(&name_at, view.base + 64 + 3 * 12, 4);
  memcpy(&data_at, view.base + 64 + 3 * 12 + 4, 4);
  CHECK(strcmp((char *)view.base + name_at, "m.s3") == 0 && view.base[64 + 3 * 12 + 8] == 0);
  double value;
  memcpy(&value, view.base + data_at, 8);
  CHECK(value == 1.5);

  hermes_client *client = hermes_client_open(small_name());
  CHECK(client && hermes_client_count(client) == 12 && hermes_client_find(client, "m.s3") == 3);
  CHECK(hermes_client_find(client, "m.s33x") == -1 && strstr(hermes_last_error(), "m.s3"));
  CHECK(hermes_shm_get(client, "m.s3") == 1.5);
  hermes_client_close(client);
  small_segment_remove(&view);
}

/* Headers and control blocks with wrong numbers are refused or lead to tables inside the segment; never further. */
static void check_wrong_bytes(void) {
  hermes_view view;
  small_segment(&view, shape);
  uint64_t random = 5;
  size_t size = view.size;
  uint8_t *copy = malloc(size);
  int refused = 0;
  for (int i = 0; i < 20000; i++) {
    memcpy(copy, view.base, size);
    for (int j = 0; j < 3; j++) {
      size_t at = next_random(&random) % 2 ? next_random(&random) % 64 : (size_t)view.header->control_offset + next_random(&random) % 128;
      copy[at] = (uint8_t)next_random(&random);
    }
    hermes_view wrong = {.base = copy, .size = next_random(&random) % 4 ? size : next_random(&random) % size, .descriptor = -1};
    if (hermes_view_locate(&wrong) != 0) {
      refused++;
      continue;
    }
    const uint8_t *end = copy + wrong.size;
    CHECK((const uint8_t *)(wrong.data + wrong.header->signal_count) <= end);
    CHECK((const uint8_t *)(wrong.modules + wrong.control->module_count) <= end);
    CHECK((const uint8_t *)(wrong.deliveries + wrong.control->phase_count + 1) <= end);
    CHECK((const uint8_t *)(wrong.queue + wrong.control->queue_capacity) <= end);
  }
  CHECK(refused > 1000);
  free(copy);
  small_segment_remove(&view);
}

static void check_not_a_segment(void) {
  static const char *const contents[] = {"", "x", "MREH"};
  for (size_t i = 0; i < 3; i++) {
    char path[128];
    snprintf(path, sizeof path, "/dev/shm%s", small_name());
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(contents[i], file);
    if (i == 2) for (int j = 0; j < 5000; j++) fputc(0xFF, file);
    fclose(file);
    CHECK(hermes_client_open(small_name()) == NULL && errno == EINVAL);
    CHECK(hermes_shm_attach(small_name()) == NULL);
    CHECK(hermes_segment_unlink(small_name()) == 0);
  }
}

int main(void) {
  check_life();
  check_killed_owner();
  check_bytes();
  check_wrong_bytes();
  check_not_a_segment();
  return 0;
}
