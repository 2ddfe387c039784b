/* A network that is slow and nothing else: passes TCP connections on, every byte a fixed time after it came.
 *
 *   delay MICROSECONDS FROM TO FIRST-LAST
 *
 * Listens on ports FIRST to LAST of address FROM (IPv4, 127.0.0.2 say) and passes each connection on to the same port of
 * address TO, both ways. Bytes wait in memory, so the link carries as much as the machine does: a delay costs no
 * throughput, as on a long cable. What ends on one side ends on the other, as late. Prints `listening` when it does, and
 * runs until its standard input ends.
 *
 * One thread. It sleeps to the nanosecond with a timer slack of 1 ns; what it is late beyond the delay is what the
 * scheduler takes to wake it, some 50 us, and the two system calls that pass bytes on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PORTS = 64, MOST_LINKS = 256, READ_SIZE = 1 << 16, MOST_WAITING = 256 << 20 };

/* Bytes that came together and leave together. */
struct piece {
  struct piece *next;
  uint64_t due_ns;
  size_t size, sent; /* size 0: the end of the stream */
  char bytes[];
};

/* One way of a connection: a queue between a socket to read and one to write. */
struct way {
  int from, to;
  struct piece *first, **last;
  size_t waiting; /* bytes in the queue; beyond MOST_WAITING nothing more is read */
  int heard_end, told_end;
};

struct link {
  struct way there, back;
};

static uint64_t delay_ns;
static struct sockaddr_in from_address, to_address;
static int listeners[MOST_PORTS], ports[MOST_PORTS], listener_count;
static struct link *links[MOST_LINKS];
static int link_count;

_Noreturn static void fail(const char *what) {
  fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
  exit(2);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void set_no_delay(int stream) {
  int one = 1;
  setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* ---- Connections. -------------------------------------------------------------------------------------- */

static void begin_way(struct way *way, int from, int to) {
  *way = (struct way){.from = from, .to = to};
  way->last = &way->first;
}

static void accept_link(int index) {
  int near = accept4(listeners[index], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (near < 0) return; /* it is gone again */
  int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = to_address;
  address.sin_port = htons((uint16_t)ports[index]);
  struct link *link = calloc(1, sizeof *link);
  if (far < 0 || link == NULL) fail("a connection");
  if (link_count == MOST_LINKS || connect(far, (struct sockaddr *)&address, sizeof address) != 0) {
    close(near); /* nobody listens there: to the one who dials it looks the same */
    close(far);
    free(link);
    return;
  }
  set_no_delay(near);
  set_no_delay(far);
  begin_way(&link->there, near, far);
  begin_way(&link->back, far, near);
  links[link_count++] = link;
}

static void end_way(struct way *way) {
  while (way->first) {
    struct piece *piece = way->first;
    way->first = piece->next;
    free(piece);
  }
}

static void close_link(int index) {
  struct link *link = links[index];
  close(link->there.from);
  close(link->there.to);
  end_way(&link->there);
  end_way(&link->back);
  free(link);
  links[index] = links[--link_count];
}

/* ---- Bytes. -------------------------------------------------------------------------------------------- */

static void enqueue(struct way *way, const char *bytes, size_t size) {
  struct piece *piece = malloc(sizeof *piece + size);
  if (piece == NULL) fail("malloc");
  *piece = (struct piece){.due_ns = now_ns() + delay_ns, .size = size};
  memcpy(piece->bytes, bytes, size);
  *way->last = piece;
  way->last = &piece->next;
  way->waiting += size;
}

/* 0: the connection is broken. */
static int take_in(struct way *way) {
  static char bytes[READ_SIZE];
  while (!way->heard_end && way->waiting < MOST_WAITING) {
    ssize_t count = recv(way->from, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    enqueue(way, bytes, (size_t)count);
    if (count == 0) way->heard_end = 1;
    if ((size_t)count < sizeof bytes) return 1;
  }
  return 1;
}

/* Sends what is due. 0: the connection is broken. `*blocked` is set when the reader's buffers are full. */
static int let_out(struct way *way, uint64_t now, int *blocked) {
  *blocked = 0;
  while (way->first && way->first->due_ns <= now) {
    struct piece *piece = way->first;
    if (piece->size == 0) {
      shutdown(way->to, SHUT_WR);
      way->told_end = 1;
    }
    while (piece->sent < piece->size) {
      ssize_t count = send(way->to, piece->bytes + piece->sent, piece->size - piece->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno != EAGAIN) return 0;
      if (count < 0) {
        *blocked = 1;
        return 1;
      }
      piece->sent += (size_t)count;
    }
    way->waiting -= piece->size;
    way->first = piece->next;
    if (way->first == NULL) way->last = &way->first;
    free(piece);
  }
  return 1;
}

/* ---- The loop. ----------------------------------------------------------------------------------------- */

static short wanted(const struct way *reads, int blocked) {
  int reading = !reads->heard_end && reads->waiting < MOST_WAITING;
  return (short)((reading ? POLLIN : 0) | (blocked ? POLLOUT : 0));
}

static void sooner(uint64_t *next, const struct way *way, int blocked) {
  if (way->first && !blocked && way->first->due_ns < *next) *next = way->first->due_ns;
}

static void run(void) {
  static struct pollfd polled[1 + MOST_PORTS + 2 * MOST_LINKS];
  for (;;) {
    uint64_t now = now_ns(), next = UINT64_MAX;
    int count = 0;
    polled[count++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    for (int i = 0; i < listener_count; i++) polled[count++] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
    for (int i = 0; i < link_count; i++) {
      struct link *link = links[i];
      int there_blocked, back_blocked;
      if (!take_in(&link->there) || !take_in(&link->back) || !let_out(&link->there, now, &there_blocked) ||
          !let_out(&link->back, now, &back_blocked) || (link->there.told_end && link->back.told_end)) {
        close_link(i--);
        continue;
      }
      polled[count++] = (struct pollfd){.fd = link->there.from, .events = wanted(&link->there, back_blocked)};
      polled[count++] = (struct pollfd){.fd = link->back.from, .events = wanted(&link->back, there_blocked)};
      sooner(&next, &link->there, there_blocked);
      sooner(&next, &link->back, back_blocked);
    }
    /* A side that only waits to be told the end would report it again and again: it is not looked at. */
    for (int i = 0; i < count; i++)
      if (polled[i].events == 0) polled[i].fd = -1;
    struct timespec wait, *most = NULL;
    if (next != UINT64_MAX) {
      now = now_ns();
      uint64_t left = next > now ? next - now : 0;
      wait = (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
      most = &wait;
    }
    if (ppoll(polled, (nfds_t)count, most, NULL) < 0 && errno != EINTR) fail("ppoll");
    if (polled[0].revents) {
      char ignored[64];
      if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0) return;
    }
    for (int i = 0; i < listener_count; i++)
      if (polled[1 + i].revents & POLLIN) accept_link(i);
  }
}

static int parse_address(const char *text, struct sockaddr_in *address) {
  *address = (struct sockaddr_in){.sin_family = AF_INET};
  return inet_pton(AF_INET, text, &address->sin_addr) == 1;
}

static void listen_on(int port) {
  struct sockaddr_in address = from_address;
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  address.sin_port = htons((uint16_t)port);
  if (listener < 0) fail("socket");
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 64) != 0) fail("listen");
  listeners[listener_count] = listener;
  ports[listener_count++] = port;
}

int main(int argc, char **argv) {
  char *end = "", *rest = "";
  long delay_us = argc == 5 ? strtol(argv[1], &end, 10) : -1, first = argc == 5 ? strtol(argv[4], &rest, 10) : 0;
  long last = *rest == '-' ? strtol(rest + 1, &rest, 10) : 0;
  if (delay_us < 0 || delay_us > 60000000 || *end || *rest || first < 1 || last < first || last > 65535 ||
      last - first >= MOST_PORTS || !parse_address(argv[2], &from_address) || !parse_address(argv[3], &to_address)) {
    fprintf(stderr,
            "usage: delay MICROSECONDS FROM TO FIRST-LAST\n"
            "at most 60 s, %d ports, two addresses of IPv4\n",
            MOST_PORTS);
    return 64;
  }
  delay_ns = (uint64_t)delay_us * 1000;
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_TIMERSLACK, 1);
  for (long port = first; port <= last; port++) listen_on((int)port);
  puts("listening");
  fflush(stdout);
  run();
  return 0;
}
