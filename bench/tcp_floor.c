/* What the mirrors of two nodes cost without Hermes: a bare stream between them, nothing else on the network.
 *
 *   tcp_floor SIGNALS FRAMES [MODULES [LINK]]
 *
 * Two node processes, each with MODULES module processes (1) behind one futex. In each frame a node wakes its modules,
 * waits for them, sends the first one's SIGNALS doubles to the other node and receives as many into its modules' memory.
 * LINK is what they travel on:
 *
 *   tcp                one connection over loopback, with TCP_NODELAY (if not said)
 *   unix               one connection of a Unix socket
 *   ADDRESS:PORT       as tcp, but the second node dials this address (IPv4) while the first listens on that port of this
 *                      machine: for something in between, bench/delay.c
 *
 * Sending never waits for the other side to read, so 100 000 signals each way can't deadlock; a few fit into the
 * kernel's buffers, and then a frame is one call to send and one to receive. No coordinator, no step and no done, no
 * header: nothing can be faster and be two processes on two machines. So that it can't be fast by doing less, all values
 * are checked at the end.
 *
 * One line of JSON: the rate, and the processor time a frame of a node and of a module, each the mean of all.
 */
#define _GNU_SOURCE
#define FLOOR_NAME "tcp_floor"
#include "ring.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static int streams[2] = {-1, -1};      /* of a pair that all inherit: a Unix link */
static int listener = -1;              /* else: the first node's */
static struct sockaddr_in dialled;     /* and what the second one dials */
static double *seconds_taken;          /* by the measured frames, shared */

_Noreturn static void fail(const char *what) {
  fprintf(stderr, "tcp_floor: %s: %s\n", what, strerror(errno));
  exit(2);
}

/* ---- The link. ----------------------------------------------------------------------------------------- */

/* Port 0: one that is free, of loopback alone, where the second node dials it. */
static void listen_on(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(port == 0 ? INADDR_LOOPBACK : INADDR_ANY);
  socklen_t size = sizeof address;
  int one = 1;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) fail("socket");
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0) fail("listen");
  if (getsockname(listener, (struct sockaddr *)&address, &size) != 0) fail("getsockname");
  if (port == 0) dialled = address;
}

static int open_stream(int index) {
  if (listener < 0) return streams[index];
  int stream = index == 0 ? accept(listener, NULL, NULL) : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  if (stream < 0) fail(index == 0 ? "accept" : "socket");
  if (index == 1 && connect(stream, (struct sockaddr *)&dialled, sizeof dialled) != 0) fail("connect");
  if (setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) fail("TCP_NODELAY");
  return stream;
}

/* Sends `size` bytes and receives as many. */
static void swap(int stream, const char *outgoing, char *incoming, size_t size) {
  size_t sent = 0, received = 0;
  while (sent < size || received < size) {
    int sending = sent < size;
    if (sending) {
      ssize_t count = send(stream, outgoing + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count < 0 && errno != EAGAIN && errno != EINTR) fail("send");
      if (count > 0) sent += (size_t)count;
      sending = sent < size;
    }
    if (sending) { /* the buffers are full: whichever goes on first */
      struct pollfd either = {.fd = stream, .events = (short)(received < size ? POLLIN | POLLOUT : POLLOUT)};
      if (poll(&either, 1, -1) < 0 && errno != EINTR) fail("poll");
    }
    if (received < size) {
      ssize_t count = recv(stream, incoming + received, size - received, sending ? MSG_DONTWAIT : 0);
      if (count == 0) errno = ECONNRESET;
      if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) fail("recv");
      if (count > 0) received += (size_t)count;
    }
  }
}

/* ---- Nodes. -------------------------------------------------------------------------------------------- */

static void serve_node(int index, int unused) {
  (void)unused;
  struct station *station = &stations[index];
  int stream = open_stream(index);
  char *own = (char *)own_of(index, 0), *inputs = (char *)inputs_of(index, 0);
  size_t size = (size_t)signal_count * sizeof(double);
  double cpu_begin = 0, begin = 0;
  for (long frame = 0; frame < WARM_UP + frame_count; frame++) {
    if (frame == WARM_UP) {
      cpu_begin = cpu_s();
      begin = clock_s(CLOCK_MONOTONIC);
    }
    step_modules(station);
    swap(stream, own, inputs, size);
  }
  if (index == 0) *seconds_taken = clock_s(CLOCK_MONOTONIC) - begin;
  station->cpu_s = cpu_s() - cpu_begin;
}

static void report(const char *link) {
  double node = 0, module = 0, frames = (double)frame_count;
  for (int n = 0; n < node_count; n++) {
    node += stations[n].cpu_s / node_count;
    for (int m = 0; m < module_count; m++) module += stations[n].module_cpu_s[m] / (node_count * module_count);
  }
  printf("{\"link\": \"%s\", \"modules\": %d, \"signals\": %d, \"frames\": %ld, \"seconds\": %.6f, "
         "\"frames_per_s\": %.1f, \"node_cpu_s_per_frame\": %.9f, \"module_cpu_s_per_frame\": %.9f}\n",
         link, module_count, signal_count, frame_count, *seconds_taken, frames / *seconds_taken, node / frames,
         module / frames);
}

/* Makes what the nodes need to meet; 0 when there is no such link. */
static int prepare(const char *link) {
  if (strcmp(link, "unix") == 0) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, streams) != 0) fail("socketpair");
    return 1;
  }
  if (strcmp(link, "tcp") == 0) {
    listen_on(0);
    return 1;
  }
  char address[INET_ADDRSTRLEN] = "", *end = NULL;
  const char *colon = strchr(link, ':');
  if (colon == NULL || (size_t)(colon - link) >= sizeof address) return 0;
  memcpy(address, link, (size_t)(colon - link));
  long port = strtol(colon + 1, &end, 10);
  dialled = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (*end != '\0' || port < 1 || port > 65535 || inet_pton(AF_INET, address, &dialled.sin_addr) != 1) return 0;
  listen_on((uint16_t)port);
  return 1;
}

int main(int argc, char **argv) {
  const char *link = argc > 4 ? argv[4] : "tcp";
  node_count = 2;
  signal_count = (int)argument(argc, argv, 1, 0, MOST_SIGNALS);
  frame_count = argument(argc, argv, 2, 0, 100000000);
  module_count = (int)argument(argc, argv, 3, 1, MOST_MODULES);
  if (argc > 5 || !signal_count || !frame_count || !module_count || !prepare(link)) {
    fprintf(stderr,
            "usage: tcp_floor SIGNALS FRAMES [MODULES [tcp|unix|ADDRESS:PORT]]\n"
            "at most %d signals and %d modules on each node\n",
            MOST_SIGNALS, MOST_MODULES);
    return 64;
  }
  seconds_taken = shared(sizeof *seconds_taken);
  start_all(serve_node);
  signal(SIGCHLD, SIG_DFL);
  await_end();
  check(WARM_UP + frame_count);
  report(link);
  return 0;
}
