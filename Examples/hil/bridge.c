/* Between a simulation and a device that speaks the protocol of README.md: it runs on the host beside the device.
 *
 * Each step takes the newest state that has come and sends the newest command; nothing in it ever waits. While no fresh
 * state comes, `stale` is true and the measured values are held. terminate() tells the device to be safe; should none
 * of that arrive, the device's own watchdog does the same.
 *
 * config: two lines, `device ADDRESS PORT` and `stale_ms NUMBER`.
 */
#define _GNU_SOURCE
#include "link.h"

#include <hermes/module.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
  MOST_AT_ONCE = 4096,  /* datagrams a step, so that a flood does not hold up the frame */
  FAREWELLS = 5,        /* SAFE messages at the end */
  FAREWELL_GAP_NS = 2000000,
};

static int socket_ = -1;
static struct sockaddr_in device;
static double stale_s;

/* This run, in what it says to the device. After a SAFE the device takes no command of this session any more, so that
 * one that is still under way can't undo it. */
static uint32_t session, sequence;

/* The last fresh state, and the device's life it is from. */
static hil_message newest;
static bool heard;
static uint64_t newest_ns; /* when it arrived; before there was one, when the socket was opened */

/* Signals. */
static double command, speed, drive, age_s;
static bool stale, driven;
static int64_t sent, unsent, received, lost, ignored, refused;

/* ---- The device's side ------------------------------------------------------------------------------------- */

static bool is_stale(uint64_t now) { return !heard || (double)(now - newest_ns) / 1e9 > stale_s; }

/* A state counts when it is newer than the last one. A device that was switched on again counts from 1: it is believed
 * once the one before has fallen silent. */
static bool take(const hil_message *state, uint64_t now) {
  const bool same = heard && state->boot == newest.boot;
  if (state->kind != HIL_STATE || state->sequence == 0) return false;
  if (same ? !hil_newer(state->sequence, newest.sequence) : !is_stale(now)) return false;
  if (same) lost += (int64_t)(uint32_t)(state->sequence - newest.sequence - 1);
  received++;
  newest = *state;
  if (!heard || state->arrived_ns > newest_ns) newest_ns = state->arrived_ns;
  heard = true;
  return true;
}

static void receive(uint64_t now) {
  struct sockaddr_in from;
  hil_message message;
  for (int i = 0; i < MOST_AT_ONCE && hil_receive(socket_, &from, &message); i++) {
    const bool ours = from.sin_addr.s_addr == device.sin_addr.s_addr && from.sin_port == device.sin_port;
    if (!ours || !take(&message, now)) ignored++;
  }
}

static void send_command(void) {
  hil_message message = {.kind = HIL_COMMAND, .session = session, .sequence = ++sequence, .command = command};
  if (hil_send(socket_, &device, &message)) sent++;
  else unsent++; /* no way to the device now: it goes out again with the next step */
}

/* ---- The simulation's side --------------------------------------------------------------------------------- */

static void publish(void) {
  const uint64_t now = hil_now_ns();
  speed = newest.speed;
  drive = newest.drive;
  driven = newest.driven;
  refused = newest.refused;
  stale = is_stale(now);
  age_s = (double)(now > newest_ns ? now - newest_ns : 0) / 1e9;
}

static int read_settings(const char *path) {
  char line[512], host[256], port[32], more[2];
  const char *wrong = "no `device ADDRESS PORT`";
  double milliseconds = 0.0;
  if (!path) return hermes_fail("it needs a `config:` file that says where the device is"), 1;
  FILE *file = fopen(path, "re");
  if (!file) return hermes_fail("%s: %s", path, strerror(errno)), 1;
  for (int number = 1; fgets(line, sizeof line, file); number++) {
    line[strcspn(line, "#\n")] = '\0';
    if (line[strspn(line, " \t")] == '\0') continue;
    if (sscanf(line, " device %255s %31s %1s", host, port, more) == 2) {
      wrong = hil_resolve(host, port, &device);
    } else if (sscanf(line, " stale_ms %lf %1s", &milliseconds, more) != 1 || !(milliseconds > 0.0)) {
      fclose(file);
      return hermes_fail("%s:%d: neither `device ADDRESS PORT` nor `stale_ms NUMBER`", path, number), 1;
    }
  }
  fclose(file);
  stale_s = milliseconds / 1e3;
  if (!wrong && milliseconds == 0.0) wrong = "no `stale_ms NUMBER`";
  if (wrong) return hermes_fail("%s: %s", path, wrong), 1;
  return 0;
}

static int init(const char *config_path, const char *shm_name) {
  (void)shm_name;
  if (read_settings(config_path) != 0) return 1;
  do {
    if (getrandom(&session, sizeof session, 0) != sizeof session) return hermes_fail("%s", strerror(errno)), 1;
  } while (session == 0); /* which stands for everybody */
  socket_ = hil_open();
  if (socket_ < 0) return hermes_fail("no UDP socket: %s", strerror(errno)), 1;
  newest_ns = hil_now_ns();
  return 0;
}

/* Also after a reset of the simulation: the counters begin anew, the talk with the device goes on. */
static int stage(void) {
  command = 0.0;
  sent = unsent = received = lost = ignored = 0;
  publish();
  return 0;
}

static int step(double dt) {
  (void)dt;
  receive(hil_now_ns());
  send_command();
  publish();
  return 0;
}

/* May come on another thread while a step hangs, so it touches only what no step changes. Several, for one may get
 * lost; a few milliseconds apart, for what gets lost gets lost together. */
static void terminate(void) {
  if (socket_ < 0) return;
  for (int i = 0; i < FAREWELLS; i++) {
    if (i > 0) nanosleep(&(struct timespec){.tv_nsec = FAREWELL_GAP_NS}, NULL);
    hil_message message = {.kind = HIL_SAFE, .session = session};
    hil_send(socket_, &device, &message);
  }
}

hermes_module_t *hermes_module_create(void) {
  static const hermes_signal_t signals[] = {
      {"command", HERMES_F64, HERMES_INPUT, "V", "what the device is told", &command},
      {"speed", HERMES_F64, HERMES_OUTPUT, "rad/s", "measured; held while stale", &speed},
      {"drive", HERMES_F64, HERMES_OUTPUT, "V", "what the device has on its motor; held while stale", &drive},
      {"driven", HERMES_BOOL, HERMES_OUTPUT, NULL, "the device obeys; false: it is safe. Held while stale", &driven},
      {"stale", HERMES_BOOL, HERMES_OUTPUT, NULL, "no fresh state for stale_ms", &stale},
      {"age_s", HERMES_F64, HERMES_OUTPUT, "s", "of the newest state", &age_s},
      {"sent", HERMES_I64, HERMES_OUTPUT, NULL, "commands that left this host", &sent},
      {"unsent", HERMES_I64, HERMES_OUTPUT, NULL, "commands that found no way out", &unsent},
      {"received", HERMES_I64, HERMES_OUTPUT, NULL, "states", &received},
      {"lost", HERMES_I64, HERMES_OUTPUT, NULL, "states missing between received ones", &lost},
      {"ignored", HERMES_I64, HERMES_OUTPUT, NULL, "other datagrams: harmed, old, from elsewhere", &ignored},
      {"refused", HERMES_I64, HERMES_OUTPUT, NULL, "datagrams the device did not take", &refused},
  };
  static hermes_module_t module = {.init = init, .stage = stage, .step = step, .reset = stage, .terminate = terminate};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    if (hermes_declare(&signals[i]) != 0) return NULL;
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) {
  (void)module;
  if (socket_ >= 0) close(socket_);
}
