/* UDP for both ends of the protocol: sockets that never wait, and for each datagram the moment the kernel got it.
 *
 * That moment matters after a pause: what then lies in the socket's buffer may be seconds old, and who counted its
 * age from the moment of reading would take it for news. */
#ifndef HIL_LINK_H
#define HIL_LINK_H

#include "protocol.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t hil_clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* CLOCK_MONOTONIC, which nobody sets. */
static inline uint64_t hil_now_ns(void) { return hil_clock_ns(CLOCK_MONOTONIC); }

/* NULL, or why there is no such IPv4 address. */
static inline const char *hil_resolve(const char *host, const char *port, struct sockaddr_in *address) {
  const struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM};
  struct addrinfo *found;
  char *end;
  if (strtoul(port, &end, 10) > 65535 || end == port || *end) return "ports are numbers up to 65535";
  const int code = getaddrinfo(host, port, &wanted, &found);
  if (code) return gai_strerror(code);
  memcpy(address, found->ai_addr, sizeof *address);
  freeaddrinfo(found);
  return NULL;
}

/* A socket, or -1 with errno. It is not connected, so that the way to the other end is looked up for each datagram
 * (cables are pulled and put in elsewhere) and a dead other end is silence, not an error. */
static inline int hil_open(void) {
  const int socket_ = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  if (socket_ < 0) return -1;
  if (setsockopt(socket_, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0) return socket_;
  close(socket_);
  return -1;
}

static inline bool hil_send(int socket_, const struct sockaddr_in *to, hil_message *message) {
  uint8_t bytes[HIL_LONGEST];
  message->sent_ns = hil_now_ns();
  const size_t size = hil_encode(message, bytes);
  return sendto(socket_, bytes, size, 0, (const struct sockaddr *)to, sizeof *to) == (ssize_t)size;
}

/* One datagram, which may be rubbish; false when there is none. */
static inline bool hil_receive(int socket_, struct sockaddr_in *from, hil_message *message) {
  uint8_t bytes[HIL_LONGEST + 1]; /* one more, so that a datagram that is too long shows */
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
  struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
  struct msghdr header = {.msg_name = from, .msg_namelen = sizeof *from, .msg_iov = &part, .msg_iovlen = 1,
                          .msg_control = control, .msg_controllen = sizeof control};
  const ssize_t size = recvmsg(socket_, &header, 0);
  if (size < 0) return false;
  *message = hil_decode(bytes, (size_t)size);

  /* The kernel stamps with the wall clock; only the difference to it is used. */
  message->arrived_ns = hil_now_ns();
  for (struct cmsghdr *each = CMSG_FIRSTHDR(&header); each; each = CMSG_NXTHDR(&header, each)) {
    if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_TIMESTAMPNS) continue;
    struct timespec stamp;
    memcpy(&stamp, CMSG_DATA(each), sizeof stamp);
    const uint64_t stamped = (uint64_t)stamp.tv_sec * 1000000000u + (uint64_t)stamp.tv_nsec;
    const uint64_t wall = hil_clock_ns(CLOCK_REALTIME);
    const uint64_t age = wall > stamped ? wall - stamped : 0;
    message->arrived_ns -= age < message->arrived_ns ? age : message->arrived_ns;
  }
  return true;
}

#endif
