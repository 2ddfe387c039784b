/* What the bare system takes for the frames of `hermes bench`: as many processes, woken and waited for, as many values
 * moved, and nothing that a frame does not need. */
#define _GNU_SOURCE
#include "crew.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bench_times times, lateness;

static uint64_t interval_of(bench_work work) { return work.rate > 0 ? 1000000000u / (uint64_t)work.rate : 0; }

static void report(bench_work work) {
  bench_report_times("times", &times);
  if (work.rate > 0) bench_report_times("lateness", &lateness);
}

/* One host: the modules side by side, each one's outputs to the next one's inputs. */
int bench_local(bench_work work) {
  bench_usage begin = bench_usage_of(getpid()), none = {0, 0};
  bench_crew *crew = bench_crew_start(work);
  size_t own = (size_t)work.signals, count = own * (size_t)work.modules;
  double *outputs = bench_crew_outputs(crew), *inputs = bench_crew_inputs(crew);
  bench_laps laps = {.times = &times, .left = work.warm_up};
  bench_pace pace = {.interval = interval_of(work), .left = work.warm_up, .lateness = &lateness};
  long frames = work.frames + work.warm_up;
  for (long i = 0; i < frames; i++) {
    bench_pace_wait(&pace);
    bench_lap(&laps);
    bench_crew_frame(crew);
    memcpy(inputs + own, outputs, (count - own) * sizeof *inputs);
    memcpy(inputs, outputs + count - own, own * sizeof *inputs);
  }
  bench_report_usage("node", begin, bench_usage_of(getpid()), frames);
  bench_crew_end(crew);
  bench_report_usage("module", none, bench_usage_of_children(), frames);
  report(work);
  return 0;
}

/* ---- Several hosts: a ring of processes over TCP, each with its modules. ------------------------------------------------ */

/* Both ends of a TCP connection over loopback. */
static void connect_pair(int ends[2]) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &size) != 0)
    bench_fail("a TCP port on loopback");
  ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (ends[0] < 0 || connect(ends[0], (struct sockaddr *)&address, sizeof address) != 0) bench_fail("connect");
  ends[1] = accept(listener, NULL, NULL);
  if (ends[1] < 0) bench_fail("accept");
  for (int i = 0; i < 2; i++) setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  close(listener);
}

/* Sends all to `next` and gets as much of `previous`; reads while it writes, so that no size can block both ways. */
static void exchange(int next, int previous, const char *out, char *in, size_t size) {
  size_t sent = 0, received = 0;
  while (sent < size || received < size) {
    if (sent < size) {
      ssize_t count = send(next, out + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count > 0) sent += (size_t)count;
      else if (errno != EAGAIN && errno != EINTR) bench_fail("send");
    }
    if (received < size) {
      ssize_t count = recv(previous, in + received, size - received, sent < size ? MSG_DONTWAIT : 0);
      if (count > 0) received += (size_t)count;
      else if (count == 0) exit(2);
      else if (errno != EAGAIN && errno != EINTR) bench_fail("recv");
    }
    if (sent < size && received < size) {
      struct pollfd both[2] = {{.fd = next, .events = POLLOUT}, {.fd = previous, .events = POLLIN}};
      poll(both, 2, -1);
    }
  }
}

static void serve_host(bench_work work, int next, int previous, int is_first) {
  bench_usage begin = bench_usage_of(getpid()), none = {0, 0};
  bench_crew *crew = bench_crew_start(work);
  size_t size = (size_t)work.signals * (size_t)work.modules * sizeof(double);
  char *outputs = (char *)bench_crew_outputs(crew), *inputs = (char *)bench_crew_inputs(crew);
  bench_laps laps = {.times = &times, .left = work.warm_up};
  bench_pace pace = {.interval = is_first ? interval_of(work) : 0, .left = work.warm_up, .lateness = &lateness};
  long frames = work.frames + work.warm_up;
  for (long i = 0; i < frames; i++) {
    bench_pace_wait(&pace);
    bench_lap(&laps);
    bench_crew_frame(crew);
    exchange(next, previous, outputs, inputs, size);
  }
  bench_report_usage("node", begin, bench_usage_of(getpid()), frames);
  bench_crew_end(crew);
  bench_report_usage("module", none, bench_usage_of_children(), frames);
  if (is_first) report(work);
}

int bench_swap(int hosts, bench_work work) {
  int links[BENCH_MOST_HOSTS][2]; /* from host h to the next */
  int count = hosts == 2 ? 1 : hosts; /* of two each has the other on both sides */
  for (int h = 0; h < count; h++) connect_pair(links[h]);
  pid_t parent = getpid();
  for (int h = 0; h < hosts; h++) {
    pid_t child = fork();
    if (child < 0) bench_fail("fork");
    if (child > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(2);
    int next = hosts == 2 ? links[0][h] : links[h][0], previous = hosts == 2 ? next : links[(h + hosts - 1) % hosts][1];
    for (int other = 0; other < count; other++)
      for (int end = 0; end < 2; end++)
        if (links[other][end] != next && links[other][end] != previous) close(links[other][end]);
    serve_host(work, next, previous, h == 0);
    _exit(0);
  }
  for (int h = 0; h < count; h++) {
    close(links[h][0]);
    close(links[h][1]);
  }
  int status, failed = 0;
  while (wait(&status) > 0) failed |= status;
  return failed ? 2 : 0;
}
