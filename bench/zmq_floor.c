/* What a frame over several hosts costs without Hermes: bare ZeroMQ doing the same three legs, over TCP loopback.
 *
 *   zmq_floor NODES SIGNALS FRAMES [GRANT [MODULES [RATE]]]
 *
 * A coordinator and NODES node processes, each with MODULES module processes (1) behind one futex. In each frame
 *   1. the coordinator sends every node a step message, which grants GRANT frames (1);
 *   2. a node wakes its modules, waits for them, sends the first one's SIGNALS doubles to the next node of the ring and
 *      receives as many from the one before it into its modules' memory (of two nodes each has the other for both);
 *   3. after the last frame of a grant it sends done, and the coordinator waits for the done of every node.
 * With a RATE the coordinator sleeps until the time of each grant, RATE of them a second; without, it makes haste.
 * No Hermes in here, and nothing that a frame does not need: no run, epoch or phase is looked at, nobody watches for
 * time-outs, no value can come early. So that it can't be fast by doing less, all values are checked at the end.
 *
 * One line of JSON: the rate, and the processor time a frame of the coordinator, of a node (with its ZeroMQ thread) and
 * of a module, each the mean over all of its kind.
 */
#define _GNU_SOURCE
#define FLOOR_NAME "zmq_floor"
#include "ring.h"

#include <zmq.h>

/* A step and a done: as many bytes as say run, epoch, frame and phase. Only `frame` and `count` are looked at. */
struct message {
  uint32_t magic, version;
  uint64_t run;
  uint32_t epoch, phase;
  uint64_t frame; /* the first one granted */
  uint64_t count; /* of frames granted; 0: the end */
  uint64_t sent_ns;
};
_Static_assert(sizeof(struct message) == 48, "a step message has 48 bytes");

static long grant = 1, rate;

_Noreturn static void fail(const char *what) {
  fprintf(stderr, "zmq_floor: %s: %s\n", what, zmq_strerror(errno));
  exit(2);
}

/* ---- Links: a pair of sockets each, which is ZeroMQ's plainest. ---------------------------------------- */

static void *new_socket(void *context) {
  void *socket = zmq_socket(context, ZMQ_PAIR);
  if (socket == NULL) fail("zmq_socket");
  int zero = 0, one = 1;
  zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
  zmq_setsockopt(socket, ZMQ_IMMEDIATE, &one, sizeof one);
  zmq_setsockopt(socket, ZMQ_SNDHWM, &zero, sizeof zero); /* lock-step bounds the queues: no need to count credit */
  zmq_setsockopt(socket, ZMQ_RCVHWM, &zero, sizeof zero);
  return socket;
}

static void *listen_at(void *context, char *endpoint) {
  void *socket = new_socket(context);
  size_t size = ENDPOINT_SIZE;
  if (zmq_bind(socket, "tcp://127.0.0.1:*") != 0) fail("zmq_bind");
  if (zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0) fail("ZMQ_LAST_ENDPOINT");
  return socket;
}

static void await_listening(struct station *station) {
  while (atomic_load(&station->listening) == 0) futex_wait(&station->listening, 0);
}

static void *dial(void *context, const char *endpoint) {
  void *socket = new_socket(context);
  if (zmq_connect(socket, endpoint) != 0) fail("zmq_connect");
  return socket;
}

static void send_all(void *socket, const void *bytes, size_t size) {
  while (zmq_send(socket, bytes, size, 0) < 0)
    if (errno != EINTR) fail("zmq_send");
}

static void receive_all(void *socket, void *bytes, size_t size) {
  int received;
  while ((received = zmq_recv(socket, bytes, size, 0)) < 0)
    if (errno != EINTR) fail("zmq_recv");
  if ((size_t)received != size) {
    errno = EPROTO;
    fail("a message of another size");
  }
}

static void *new_context(void) {
  void *context = zmq_ctx_new();
  if (context == NULL || zmq_ctx_set(context, ZMQ_IO_THREADS, 1) != 0) fail("zmq_ctx_new");
  return context;
}

/* ---- Nodes. -------------------------------------------------------------------------------------------- */

static void serve_node(int index) {
  struct station *station = &stations[index];
  void *context = new_context();
  void *control = listen_at(context, station->control_endpoint), *previous = NULL, *next = NULL;
  int pair = node_count == 2; /* has one link for both ways, and the second node dials the first */
  if (node_count > 2 || (pair && index == 0)) previous = listen_at(context, station->mirror_endpoint);
  atomic_store(&station->listening, 1);
  futex_wake(&station->listening, INT_MAX);
  if (node_count > 2 || (pair && index == 1)) {
    struct station *neighbour = &stations[(index + 1) % node_count];
    await_listening(neighbour);
    next = dial(context, neighbour->mirror_endpoint);
  }
  if (pair && index == 0) next = previous;
  if (pair && index == 1) previous = next;

  size_t size = (size_t)signal_count * sizeof(double);
  double *own = own_of(index, 0), *inputs = inputs_of(index, 0), begin = 0;
  struct message step;
  for (;;) {
    receive_all(control, &step, sizeof step);
    if (step.count == 0) break;
    if (step.frame == WARM_UP + 1) begin = cpu_s();
    for (uint64_t i = 0; i < step.count; i++) {
      step_modules(station);
      if (node_count == 1) {
        memcpy(inputs, own, size);
      } else {
        send_all(next, own, size);
        receive_all(previous, inputs, size);
      }
    }
    send_all(control, &step, sizeof step);
  }
  station->cpu_s = cpu_s() - begin;
  send_all(control, &step, sizeof step);
  receive_all(control, &step, sizeof step); /* leaves only when the coordinator has everybody's last word */
}

/* ---- The coordinator. ---------------------------------------------------------------------------------- */

static void run_frames(void **nodes, long first, long count, uint64_t each) {
  struct timespec due;
  clock_gettime(CLOCK_MONOTONIC, &due);
  for (long frame = first; frame < first + count; frame += (long)each) {
    if (rate > 0) {
      due.tv_nsec += 1000000000 / rate;
      if (due.tv_nsec >= 1000000000) due.tv_nsec -= 1000000000, due.tv_sec++;
      while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) continue;
    }
    struct message step = {.magic = 1, .version = 1, .run = 1, .epoch = 1, .frame = (uint64_t)frame, .count = each};
    if (frame + (long)each > first + count) step.count = (uint64_t)(first + count - frame);
    for (int n = 0; n < node_count; n++) send_all(nodes[n], &step, sizeof step);
    for (int n = 0; n < node_count; n++) {
      struct message done;
      receive_all(nodes[n], &done, sizeof done);
      if (done.frame != step.frame) {
        errno = EPROTO;
        fail("done of another frame");
      }
    }
  }
}

static void end_nodes(void **nodes) {
  struct message end = {.count = 0};
  for (int n = 0; n < node_count; n++) send_all(nodes[n], &end, sizeof end);
  for (int n = 0; n < node_count; n++) receive_all(nodes[n], &end, sizeof end);
  signal(SIGCHLD, SIG_DFL);
  for (int n = 0; n < node_count; n++) send_all(nodes[n], &end, sizeof end);
  await_end();
}

static void as_node(int node, int module) {
  (void)module;
  serve_node(node);
}

static void report(double seconds, double coordinator_cpu_s) {
  double node = 0, module = 0, frames = (double)frame_count;
  for (int n = 0; n < node_count; n++) {
    node += stations[n].cpu_s / node_count;
    for (int m = 0; m < module_count; m++) module += stations[n].module_cpu_s[m] / (node_count * module_count);
  }
  printf("{\"nodes\": %d, \"modules\": %d, \"signals\": %d, \"grant\": %ld, \"frames\": %ld, \"seconds\": %.6f, "
         "\"frames_per_s\": %.1f, \"coordinator_cpu_s_per_frame\": %.9f, \"node_cpu_s_per_frame\": %.9f, "
         "\"module_cpu_s_per_frame\": %.9f}\n",
         node_count, module_count, signal_count, grant, frame_count, seconds, frames / seconds,
         coordinator_cpu_s / frames, node / frames, module / frames);
}

int main(int argc, char **argv) {
  node_count = (int)argument(argc, argv, 1, 0, MOST_NODES);
  signal_count = (int)argument(argc, argv, 2, 0, MOST_SIGNALS);
  frame_count = argument(argc, argv, 3, 0, 100000000);
  grant = argument(argc, argv, 4, 1, 1000000);
  module_count = (int)argument(argc, argv, 5, 1, MOST_MODULES);
  rate = argument(argc, argv, 6, 0, 100000);
  if (argc > 7 || (argc == 7 && !rate) || !node_count || !signal_count || !frame_count || !grant || !module_count) {
    fprintf(stderr,
            "usage: zmq_floor NODES SIGNALS FRAMES [GRANT [MODULES [RATE]]]\n"
            "at most %d nodes, %d signals and %d modules on each node\n",
            MOST_NODES, MOST_SIGNALS, MOST_MODULES);
    return 64;
  }
  start_all(as_node);
  void *context = new_context(), *nodes[MOST_NODES];
  for (int n = 0; n < node_count; n++) {
    await_listening(&stations[n]);
    nodes[n] = dial(context, stations[n].control_endpoint);
  }
  run_frames(nodes, 1, WARM_UP, (uint64_t)grant);
  double cpu_begin = cpu_s(), begin = clock_s(CLOCK_MONOTONIC);
  run_frames(nodes, WARM_UP + 1, frame_count, (uint64_t)grant);
  double seconds = clock_s(CLOCK_MONOTONIC) - begin, coordinator_cpu_s = cpu_s() - cpu_begin;
  end_nodes(nodes);
  check(WARM_UP + frame_count);
  report(seconds, coordinator_cpu_s);
  return 0;
}
