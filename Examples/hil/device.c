/* The hardware of this example: a motor with a flywheel, in a process of its own.
 *
 *   device [--address 127.0.0.1] [--port 7710] [--watchdog-ms 100]
 *
 * It lives by its own clock, a thousand times a second, whether or not anybody listens. It takes commands by UDP
 * (README.md has the protocol) and trusts nobody: when no good command has come for as long as its watchdog lasts, or
 * when it is told so, it takes the voltage off the motor by itself. That is its safe state; the flywheel runs out.
 *
 * Each change of its state is a line on standard output. SIGTERM switches it off.
 */
#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

static const uint64_t tick_ns = 1000000;          /* 1 kHz */
static const uint64_t listener_ns = 1000000000;   /* a host that has been silent for this long gets no more states */
static const double gain = 10.0, lag = 0.4;       /* of the motor: rad/s a volt, seconds */
static const double limit = 12.0;                 /* V */
enum { MOST_AT_ONCE = 64 };                       /* datagrams a tick, so that a flood does not stop the clock */

static struct {
  double speed, drive;
  bool driven;
  hil_cause cause;
  uint32_t boot, session, ended, accepted, refused, sequence;
  uint64_t started_ns, taken_ns, ticked_ns, watchdog_ns;
  struct sockaddr_in host; /* who gets the states: the sender of the last good command or SAFE */
  uint64_t heard_ns;
} device;

static volatile sig_atomic_t switched_off;

static void on_termination(int number) {
  (void)number;
  switched_off = 1;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("%10.4f ", (double)(hil_now_ns() - device.started_ns) / 1e9);
  vprintf(format, arguments);
  putchar('\n');
  va_end(arguments);
}

static const char *text_of(const struct sockaddr_in *address) {
  static char text[INET_ADDRSTRLEN + 8];
  char host[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address->sin_addr, host, sizeof host);
  snprintf(text, sizeof text, "%s:%u", host, ntohs(address->sin_port));
  return text;
}

/* ---- Who commands ----------------------------------------------------------------------------------------- */

static void make_safe(hil_cause cause, uint64_t now) {
  device.drive = 0.0;
  if (!device.driven) return;
  device.driven = false;
  device.cause = cause;
  if (cause == HIL_WATCHDOG)
    say("safe: watchdog, %.1f ms without a good command, at %.1f rad/s", (double)(now - device.taken_ns) / 1e6,
        device.speed);
  else say("safe: told so, at %.1f rad/s", device.speed);
}

static void watch(uint64_t now) {
  if (device.driven && now > device.taken_ns + device.watchdog_ns) make_safe(HIL_WATCHDOG, now);
}

/* Commands of one session at a time, each newer than the one before, none that lay about somewhere. A session that
 * ended with a SAFE is over: a command of it that comes late must not drive the motor again. */
static bool obey(const hil_message *message, const struct sockaddr_in *from, uint64_t now) {
  const bool ours = message->session == device.session;
  if (!isfinite(message->command) || message->session == 0 || message->session == device.ended) return false;
  if (ours ? !hil_newer(message->sequence, device.accepted) : device.driven) return false;
  if (now > message->arrived_ns + device.watchdog_ns) return false;

  device.session = message->session;
  device.accepted = message->sequence;
  device.drive = fmin(fmax(message->command, -limit), limit);
  device.taken_ns = message->arrived_ns;
  if (!device.driven) say("driven: session %08" PRIx32 " from %s", message->session, text_of(from));
  device.driven = true;
  device.cause = HIL_COMMANDED;
  return true;
}

static bool end_session(uint32_t session, uint64_t now) {
  const bool ours = session == 0 || session == device.session;
  device.ended = session ? session : device.session;
  if (ours) make_safe(HIL_TOLD, now);
  return ours;
}

/* ---- What it says ------------------------------------------------------------------------------------------ */

static void tell(int socket_, const struct sockaddr_in *to, uint32_t sequence) {
  hil_message state = {.kind = HIL_STATE, .session = device.session, .sequence = sequence, .boot = device.boot,
                       .driven = device.driven, .cause = device.cause, .accepted = device.accepted,
                       .refused = device.refused, .speed = device.speed, .drive = device.drive};
  hil_send(socket_, to, &state);
}

/* The clock is read for each datagram, and the watchdog looks first: the device may have been frozen anywhere, also
 * between two of them. */
static void listen_to_all(int socket_) {
  struct sockaddr_in from;
  hil_message message;
  for (int i = 0; i < MOST_AT_ONCE && hil_receive(socket_, &from, &message); i++) {
    const uint64_t now = hil_now_ns();
    watch(now);
    bool taken = false;
    switch (message.kind) {
    case HIL_COMMAND: taken = obey(&message, &from, now); break;
    case HIL_SAFE: taken = end_session(message.session, now); break;
    case HIL_QUERY: tell(socket_, &from, 0); continue;
    case HIL_STATE:
    case HIL_RUBBISH: break;
    }
    if (!taken) {
      device.refused++;
      continue;
    }
    device.host = from;
    device.heard_ns = message.arrived_ns;
  }
}

/* ---- Its clock --------------------------------------------------------------------------------------------- */

/* The watchdog comes first: a device that was itself frozen is safe before it looks at anything else. */
static void tick(int socket_) {
  watch(hil_now_ns());
  listen_to_all(socket_);
  const uint64_t now = hil_now_ns();

  /* The exact way of a first-order lag, right for any length of a tick. */
  const double seconds = (double)(now - device.ticked_ns) / 1e9;
  device.speed += (gain * device.drive - device.speed) * -expm1(-seconds / lag);
  device.ticked_ns = now;

  if (device.heard_ns && now < device.heard_ns + listener_ns) tell(socket_, &device.host, ++device.sequence);
}

static void live(int socket_) {
  uint64_t next = hil_now_ns();
  while (!switched_off) {
    const struct timespec until = {.tv_sec = (time_t)(next / 1000000000u), .tv_nsec = (long)(next % 1000000000u)};
    if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) continue;
    tick(socket_);
    next += tick_ns;
    const uint64_t now = hil_now_ns();
    if (next < now) next = now; /* ticks that were missed are gone */
  }
  device.drive = 0.0;
  say("off, at %.1f rad/s", device.speed);
}

/* ---- Switching on ------------------------------------------------------------------------------------------ */

static _Noreturn void fail(int code, const char *what, const char *why) {
  fprintf(stderr, "device: %s: %s\n", what, why);
  exit(code);
}

static uint64_t milliseconds(const char *text) {
  char *end;
  const unsigned long value = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || value < 1 || value > 60000) fail(64, text, "not 1 to 60000 milliseconds");
  return (uint64_t)value * 1000000u;
}

int main(int argc, char **argv) {
  const char *address = "127.0.0.1", *port = "7710", *watchdog = "100";
  for (int i = 1; i < argc; i += 2) {
    const char **value = strcmp(argv[i], "--address") == 0       ? &address
                         : strcmp(argv[i], "--port") == 0        ? &port
                         : strcmp(argv[i], "--watchdog-ms") == 0 ? &watchdog
                                                                 : NULL;
    if (!value || i + 1 == argc) fail(64, argv[i], "usage: device [--address A] [--port P] [--watchdog-ms N]");
    *value = argv[i + 1];
  }
  device.watchdog_ns = milliseconds(watchdog);

  struct sockaddr_in own;
  socklen_t size = sizeof own;
  const char *wrong = hil_resolve(address, port, &own);
  if (wrong) fail(64, address, wrong);
  const int socket_ = hil_open();
  if (socket_ < 0 || bind(socket_, (struct sockaddr *)&own, sizeof own) != 0) fail(2, text_of(&own), strerror(errno));
  getsockname(socket_, (struct sockaddr *)&own, &size);
  if (getrandom(&device.boot, sizeof device.boot, 0) != sizeof device.boot) fail(2, "getrandom", strerror(errno));

  struct sigaction action = {.sa_handler = on_termination};
  sigaction(SIGTERM, &action, NULL);
  setvbuf(stdout, NULL, _IOLBF, 0);
  device.started_ns = device.ticked_ns = hil_now_ns();
  say("on: %s, watchdog %" PRIu64 " ms", text_of(&own), device.watchdog_ns / 1000000);
  live(socket_);
  return 0;
}
