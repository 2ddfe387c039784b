/* What outsiders see and do while frames go on: values of one frame, writes that take effect together, waits, ends. */
#include "small_segment.h"

#include "edge.h"

#include <fcntl.h>
#include <hermes/client.h>
#include <hermes/module.h>
#include <pthread.h>

enum { SIGNALS = 40, FRAMES = 20000, SAMPLERS = 2 };

static hermes_view view;
static uint32_t stopping;

static double value_of(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* The node: each frame gives every signal but the last two the frame's number. Those two are only written from outside, always
 * equal; at each edge they must be. */
static void *run_frames(void *unused) {
  (void)unused;
  for (uint64_t frame = 1; frame <= FRAMES || !hermes_load(&stopping); frame++) {
    for (uint32_t s = 0; s < SIGNALS - 2; s++) __atomic_store_n(&view.data[s], bits_of((double)frame), __ATOMIC_RELAXED);
    hermes_edge_publish(&view, frame, (double)frame / 100.0);
    hermes_edge_serve_snapshot(&view);
    hermes_edge_apply_writes(&view);
    CHECK(view.data[SIGNALS - 2] == view.data[SIGNALS - 1]);
  }
  return NULL;
}

/* Samples and writes for as long as frames last. */
static void *look_on(void *argument) {
  uint64_t random = (uint64_t)(uintptr_t)argument;
  hermes_client *client = hermes_client_open(small_name());
  CHECK(client != NULL);
  uint32_t all[SIGNALS];
  uint64_t bits[SIGNALS], frame, last = 0;
  double time;
  for (uint32_t s = 0; s < SIGNALS; s++) all[s] = s;
  for (int i = 0; i < 300; i++) {
    CHECK(hermes_client_sample(client, all, SIGNALS, bits, &frame, &time, 30.0) == 0);
    CHECK(frame >= last && time == (double)frame / 100.0);
    last = frame;
    for (uint32_t s = 0; s < SIGNALS - 2; s++) CHECK(value_of(bits[s]) == (double)frame);
    CHECK(bits[SIGNALS - 2] == bits[SIGNALS - 1]);
    uint32_t pair[2] = {SIGNALS - 2, SIGNALS - 1};
    uint64_t value = next_random(&random), both[2] = {value, value};
    int code = hermes_client_set_bits(client, pair, both, 2);
    CHECK(code == 0 || code == ENOBUFS);
    CHECK(hermes_client_wait_frame(client, frame + 3, 30.0) == 0);
  }
  hermes_client_close(client);
  return NULL;
}

static void check_beside_frames(void) {
  small_segment(&view, (small_shape){.signals = SIGNALS, .modules = 1, .phases = 1, .queue = 64});
  pthread_t node, lookers[SAMPLERS];
  CHECK(pthread_create(&node, NULL, run_frames, NULL) == 0);
  for (uintptr_t i = 0; i < SAMPLERS; i++) CHECK(pthread_create(&lookers[i], NULL, look_on, (void *)(i + 1)) == 0);
  for (int i = 0; i < SAMPLERS; i++) pthread_join(lookers[i], NULL);
  hermes_store(&stopping, 1);
  pthread_join(node, NULL);
  small_segment_remove(&view);
}

static void check_queue(void) {
  small_segment(&view, (small_shape){.signals = 8, .modules = 1, .phases = 1, .queue = 4});
  view.extras[6].bits = HERMES_EXTRA_WIRED;
  view.directory[7].flags = HERMES_SIGNAL_PUBLISHED;
  hermes_client *client = hermes_client_open(small_name());
  uint32_t at[5] = {0, 1, 2, 3, 4};
  uint64_t bits[5] = {10, 11, 12, 13, 14};

  CHECK(hermes_client_set_bits(client, at, bits, 5) == ENOBUFS); /* none of them */
  CHECK(hermes_edge_apply_writes(&view) == 0 && view.data[0] == 0);
  for (int round = 0; round < 10; round++) { /* round the ring */
    bits[0] = (uint64_t)round;
    CHECK(hermes_client_set_bits(client, at, bits, 3) == 0);
    CHECK(hermes_client_set_bits(client, at + 3, bits + 3, 2) == ENOBUFS);
    CHECK(view.data[1] == (round ? 11u : 0u));
    CHECK(hermes_edge_apply_writes(&view) == 3);
    CHECK(view.data[0] == (uint64_t)round && view.data[1] == 11 && view.data[2] == 12 && view.data[3] == 0);
  }
  uint32_t wired[2] = {0, 6}, fixed[1] = {7}, beyond[1] = {8};
  CHECK(hermes_client_set_bits(client, wired, bits, 2) == EPERM && strstr(hermes_last_error(), "m.s6"));
  CHECK(hermes_client_set_bits(client, fixed, bits, 1) == EPERM && strstr(hermes_last_error(), "m.s7"));
  CHECK(hermes_client_set_bits(client, beyond, bits, 1) == EINVAL);
  CHECK(hermes_edge_apply_writes(&view) == 0);

  hermes_shm_set(client, "m.s5", 2.5);
  CHECK(errno == 0 && hermes_shm_get(client, "m.s5") == 0.0); /* not before the edge */
  CHECK(hermes_edge_apply_writes(&view) == 1 && hermes_shm_get(client, "m.s5") == 2.5);
  hermes_shm_set(client, "m.s6", 1.0);
  CHECK(errno == EPERM);
  hermes_shm_set(client, "nobody", 1.0);
  CHECK(errno == ENOENT);

  hermes_edge_set_state(&view, HERMES_STATE_ENDED);
  CHECK(hermes_client_set_bits(client, at, bits, 1) == ESHUTDOWN);
  CHECK(hermes_client_sample(client, at, 1, bits, NULL, NULL, 1.0) == ESHUTDOWN);
  CHECK(hermes_client_wait_frame(client, 5, 1.0) == ESHUTDOWN);
  hermes_client_close(client);
  small_segment_remove(&view);
}

static void *wait_for_frame_nine(void *client) {
  return (void *)(intptr_t)hermes_client_wait_frame(client, 9, 30.0);
}

/* How a wait for frame 9 ends: what the node does meanwhile, and the code. */
static void check_wait(void (*meanwhile)(void), int expected) {
  small_segment(&view, (small_shape){.signals = 2, .modules = 1, .phases = 1, .queue = 4});
  hermes_client *client = hermes_client_open(small_name());
  pthread_t waiter;
  CHECK(pthread_create(&waiter, NULL, wait_for_frame_nine, client) == 0);
  while (__atomic_load_n(&view.control->wait_target, __ATOMIC_SEQ_CST) != 9) sched_yield();
  meanwhile();
  void *code;
  pthread_join(waiter, &code);
  CHECK((int)(intptr_t)code == expected);
  hermes_client_close(client);
  small_segment_remove(&view);
}

static void publish_to_nine(void) {
  for (uint64_t frame = 1; frame <= 9; frame++) hermes_edge_publish(&view, frame, 0.0);
}
static void end(void) { hermes_edge_set_state(&view, HERMES_STATE_ENDED); }
static void begin_epoch(void) { hermes_edge_new_epoch(&view); }

static void check_timeouts(void) {
  small_segment(&view, (small_shape){.signals = 2, .modules = 1, .phases = 1, .queue = 4});
  hermes_client *client = hermes_client_open(small_name());
  uint32_t at = 0;
  uint64_t bits;
  CHECK(hermes_client_wait_frame(client, 1, 0.01) == ETIMEDOUT);
  CHECK(hermes_client_sample(client, &at, 1, &bits, NULL, NULL, 0.01) == ETIMEDOUT);
  CHECK(hermes_client_state(client) == HERMES_STATE_RUNNING);
  hermes_edge_set_state(&view, HERMES_STATE_STAGING);
  CHECK(hermes_client_open(small_name()) == NULL && errno == EAGAIN);
  hermes_view_close(&view); /* the owner is gone without a word */
  CHECK(hermes_client_state(client) == HERMES_STATE_ENDED);
  CHECK(hermes_client_wait_frame(client, 1, 5.0) == ESHUTDOWN);
  CHECK(hermes_client_sample(client, &at, 1, &bits, NULL, NULL, 5.0) == ESHUTDOWN);
  hermes_client_close(client);
  hermes_segment_unlink(small_name());
}

static void *close_it(void *client) {
  hermes_client_close(client);
  return NULL;
}

/* A client is closed once, however often and by however many threads that is asked for, and those that wait come back. */
static void check_close(void) {
  small_segment(&view, (small_shape){.signals = 2, .modules = 1, .phases = 1, .queue = 4});
  hermes_client_close(NULL);
  hermes_shm_detach(NULL);
  hermes_client *client = hermes_client_open(small_name());
  int lowest = open("/dev/null", O_RDONLY); /* takes the place of the client's descriptor when that is closed twice */
  close(lowest);
  hermes_client_close(client);
  int first = open("/dev/null", O_RDONLY), second = open("/dev/null", O_RDONLY);
  hermes_client_close(client);
  CHECK(fcntl(first, F_GETFD) >= 0 && fcntl(second, F_GETFD) >= 0);
  close(first);
  close(second);

  /* The handle of a closed client is never that of one opened soon after. */
  for (int i = 0; i < 50; i++) {
    hermes_client *other = hermes_client_open(small_name());
    CHECK(other != client);
    hermes_client_close(client);
    CHECK(hermes_client_count(other) == 2);
    hermes_shm_detach(other);
    hermes_shm_detach(other);
  }

  client = hermes_client_open(small_name());
  pthread_t waiter, closers[4];
  CHECK(pthread_create(&waiter, NULL, wait_for_frame_nine, client) == 0);
  while (__atomic_load_n(&view.control->wait_target, __ATOMIC_SEQ_CST) != 9) sched_yield();
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&closers[i], NULL, close_it, client) == 0);
  void *code;
  pthread_join(waiter, &code);
  CHECK((int)(intptr_t)code == EBADF);
  for (int i = 0; i < 4; i++) pthread_join(closers[i], NULL);
  hermes_client_close(client);
  small_segment_remove(&view);
}

int main(void) {
  check_close();
  check_queue();
  check_wait(publish_to_nine, 0);
  check_wait(end, ESHUTDOWN);
  check_wait(begin_epoch, ECANCELED);
  check_timeouts();
  check_beside_frames();
  return 0;
}
