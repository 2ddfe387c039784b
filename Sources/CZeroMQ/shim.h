/* libzmq 4.3 as the system ships it. Its constants and functions import as they are; only what stands below needs help. */
#ifndef HERMES_CZEROMQ_SHIM_H
#define HERMES_CZEROMQ_SHIM_H

#include <malloc.h>
#include <sys/epoll.h>
#include <zmq.h>

/* The descriptor a message came in by, to tell whose connection ended: in the library since 4.1, in its header only
 * as a deprecated number. */
enum { HERMES_ZMQ_SOURCE_DESCRIPTOR = 2 };

/* Swift's Glibc leaves sys/epoll.h out: edges of sockets that libzmq reads. */
static inline int hermes_watch_arrivals(int watch, int descriptor, uint64_t tag) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = tag};
  return epoll_ctl(watch, EPOLL_CTL_ADD, descriptor, &event);
}
static inline int hermes_forget_arrivals(int watch, int descriptor) {
  struct epoll_event none = {0};
  return epoll_ctl(watch, EPOLL_CTL_DEL, descriptor, &none);
}
/* The tag of a socket by which something came since it was asked last; 0 for none. */
static inline uint64_t hermes_next_arrival(int watch) {
  struct epoll_event event;
  return epoll_wait(watch, &event, 1, 0) == 1 ? event.data.u64 : 0;
}

/* Gives memory that is free back to the system; Swift's Glibc leaves malloc.h out. */
static inline void hermes_give_memory_back(void) { malloc_trim(0); }

#endif
