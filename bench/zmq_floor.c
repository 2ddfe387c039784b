/* What a frame over several hosts costs without Hermes: bare ZeroMQ doing the same three legs, over TCP loopback.
 *
 *   zmq_floor NODES SIGNALS FRAMES [GRANT [MODULES]]
 *
 * A coordinator and NODES node processes, each with MODULES module processes (1) behind one futex. In each frame
 *   1. the coordinator sends every node a step message, which grants GRANT frames (1);
 *   2. a node wakes its modules, waits for them, sends the first one's SIGNALS doubles to the next node of the ring and
 *      receives as many from the one before it into its modules' memory (of two nodes each has the other for both);
 *   3. after the last frame of a grant it sends done, and the coordinator waits for the done of every node.
 * No Hermes in here, and nothing that a frame does not need: no run, epoch or phase is looked at, nobody watches for
 * time-outs, no value can come early. So that it can't be fast by doing less, all values are checked at the end.
 *
 * One line of JSON: the rate, and the processor time a frame of the coordinator, of a node (with its ZeroMQ thread) and
 * of a module, each the mean over all of its kind.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { MOST_NODES = 64, MOST_SIGNALS = 100000, MOST_MODULES = 64, WARM_UP = 200, ENDPOINT_SIZE = 64 };

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

/* Between a node and its modules; the words of node and modules on cache lines of their own. */
struct station {
  _Alignas(64) _Atomic uint32_t generation;
  _Alignas(64) _Atomic uint32_t pending;
  _Alignas(64) _Atomic uint32_t finished;
  _Alignas(64) char control_endpoint[ENDPOINT_SIZE], mirror_endpoint[ENDPOINT_SIZE];
  _Atomic uint32_t listening; /* 1 when both endpoints are known */
  double cpu_s;               /* over the measured frames */
  double module_cpu_s[MOST_MODULES];
};

static int node_count, signal_count, module_count = 1;
static long frame_count, grant = 1;
static struct station *stations;
static double *values; /* for each module of each node: its own, then its inputs */
static pid_t coordinator;

static double *own_of(int node, int module) {
  return values + 2 * (size_t)signal_count * (size_t)(node * module_count + module);
}

static double *inputs_of(int node, int module) { return own_of(node, module) + signal_count; }

_Noreturn static void fail(const char *what) {
  fprintf(stderr, "zmq_floor: %s: %s\n", what, zmq_strerror(errno));
  exit(2);
}

static double clock_s(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Of the whole process with all its threads: that of ZeroMQ, too. */
static double cpu_s(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* ---- What the modules compute. bench/modules/neighbour.c does the same. -------------------------------- */

/* A prime below 2^52: sums below it are exact and their bits never settle, so a value that is a frame old shows. */
static const double LIMIT = 4503599627370449.0;

static double initial(int node, int signal) { return 1.0 + 1000.0 * node + signal; }

static void compute(double *own, const double *input, int count) {
  for (int i = 0; i < count; i++) {
    double next = own[i] + input[i];
    own[i] = next >= LIMIT ? next - LIMIT : next;
  }
}

/* The same simulation as a plain loop. */
static void check(long frames) {
  double *own = malloc((size_t)node_count * sizeof *own), *input = malloc((size_t)node_count * sizeof *input);
  if (own == NULL || input == NULL) fail("malloc");
  for (int s = 0; s < signal_count; s++) {
    for (int n = 0; n < node_count; n++) own[n] = initial(n, s);
    for (long frame = 0; frame < frames; frame++) {
      for (int n = 0; n < node_count; n++) input[n] = own[(n + node_count - 1) % node_count];
      compute(own, input, node_count);
    }
    for (int n = 0; n < node_count; n++) {
      if (own_of(n, 0)[s] == own[n] && inputs_of(n, 0)[s] == own[(n + node_count - 1) % node_count]) continue;
      fprintf(stderr, "zmq_floor: signal %d of node %d is %.0f after frame %ld and should be %.0f\n", s, n,
              own_of(n, 0)[s], frames, own[n]);
      exit(2);
    }
  }
  free(own);
  free(input);
}

/* ---- Modules. ------------------------------------------------------------------------------------------ */

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int most) { syscall(SYS_futex, word, FUTEX_WAKE, most, NULL, NULL, 0); }

static void serve_module(int node, int module, long frames) {
  struct station *station = &stations[node];
  double *own = own_of(node, module), *input = inputs_of(node, module), begin = 0;
  for (uint32_t seen = 0; seen < (uint32_t)frames; seen++) {
    while (atomic_load(&station->generation) == seen) futex_wait(&station->generation, seen);
    if (seen == WARM_UP) begin = cpu_s();
    compute(own, input, signal_count);
    if (seen + 1 == (uint32_t)frames) station->module_cpu_s[module] = cpu_s() - begin;
    if (atomic_fetch_sub(&station->pending, 1) == 1) {
      atomic_fetch_add(&station->finished, 1);
      futex_wake(&station->finished, 1);
    }
  }
}

static void step_modules(struct station *station) {
  uint32_t finished = atomic_load(&station->finished);
  atomic_store(&station->pending, (uint32_t)module_count);
  atomic_fetch_add(&station->generation, 1);
  futex_wake(&station->generation, INT_MAX);
  while (atomic_load(&station->finished) == finished) futex_wait(&station->finished, finished);
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
  for (long frame = first; frame < first + count; frame += (long)each) {
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

static const char lost[] = "zmq_floor: a node or module ended before its time\n";

/* Modules leave of their own accord after the last frame; anybody who leaves with a failure ends the measurement, and
 * with this process everybody else. */
static void child_ended(int number) {
  (void)number;
  int status, saved = errno;
  while (waitpid(-1, &status, WNOHANG) > 0)
    if (status != 0) _exit(write(2, lost, sizeof lost - 1) > 0 ? 2 : 3);
  errno = saved;
}

static void end_nodes(void **nodes) {
  struct message end = {.count = 0};
  for (int n = 0; n < node_count; n++) send_all(nodes[n], &end, sizeof end);
  for (int n = 0; n < node_count; n++) receive_all(nodes[n], &end, sizeof end);
  signal(SIGCHLD, SIG_DFL);
  for (int n = 0; n < node_count; n++) send_all(nodes[n], &end, sizeof end);
  int status;
  while (wait(&status) > 0)
    if (status != 0) {
      fputs(lost, stderr);
      exit(2);
    }
}

static void start(void (*serve)(int, int), int node, int module) {
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return;
  signal(SIGCHLD, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != coordinator) _exit(2);
  serve(node, module);
  _exit(0);
}

static void as_node(int node, int module) {
  (void)module;
  serve_node(node);
}

static void as_module(int node, int module) { serve_module(node, module, WARM_UP + frame_count); }

static void *shared(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}

static void start_all(void) {
  coordinator = getpid();
  stations = shared((size_t)node_count * sizeof *stations);
  values = shared(2 * (size_t)signal_count * (size_t)node_count * (size_t)module_count * sizeof *values);
  for (int n = 0; n < node_count; n++)
    for (int s = 0; s < signal_count; s++) {
      for (int m = 0; m < module_count; m++) own_of(n, m)[s] = initial(n, s);
      inputs_of(n, 0)[s] = initial((n + node_count - 1) % node_count, s); /* as the start of a simulation delivers it */
    }
  struct sigaction action = {.sa_handler = child_ended, .sa_flags = SA_RESTART};
  sigaction(SIGCHLD, &action, NULL);
  for (int n = 0; n < node_count; n++) {
    for (int m = 0; m < module_count; m++) start(as_module, n, m);
    start(as_node, n, 0);
  }
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

/* A number between 1 and `most`, or the usage. */
static long argument(int argc, char **argv, int index, long otherwise, long most) {
  if (index >= argc) return otherwise;
  char *end;
  long value = strtol(argv[index], &end, 10);
  return *end == '\0' && value >= 1 && value <= most ? value : 0;
}

int main(int argc, char **argv) {
  node_count = (int)argument(argc, argv, 1, 0, MOST_NODES);
  signal_count = (int)argument(argc, argv, 2, 0, MOST_SIGNALS);
  frame_count = argument(argc, argv, 3, 0, 100000000);
  grant = argument(argc, argv, 4, 1, 1000000);
  module_count = (int)argument(argc, argv, 5, 1, MOST_MODULES);
  if (argc > 6 || !node_count || !signal_count || !frame_count || !grant || !module_count) {
    fprintf(stderr,
            "usage: zmq_floor NODES SIGNALS FRAMES [GRANT [MODULES]]\n"
            "at most %d nodes, %d signals and %d modules on each node\n",
            MOST_NODES, MOST_SIGNALS, MOST_MODULES);
    return 64;
  }
  start_all();
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
