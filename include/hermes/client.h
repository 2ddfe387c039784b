/* hermes/client.h: a running simulation seen from outside: scripts, tools, other programs.
 *
 * A client may be used by several threads. Nothing it does, and no way it dies, holds up a frame.
 * Functions returning int return 0, or an errno value with hermes_last_error() saying why.
 */
#ifndef HERMES_CLIENT_H
#define HERMES_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hermes_client hermes_client;

/* What is known of one signal; strings live as long as the client. */
typedef struct hermes_signal_info {
  const char *name; /* qualified */
  const char *unit; /* "" for none */
  const char *description;
  uint32_t type;  /* hermes_type_t */
  uint32_t flags; /* HERMES_SIGNAL_WRITABLE | HERMES_SIGNAL_PUBLISHED */
  uint32_t wired; /* 1: a wire drives it */
  uint32_t module; /* index of its module */
} hermes_signal_info;

/* Opens a segment by name ("/hermes_sim" or "sim"). NULL with hermes_last_error() and errno: ENOENT no such
 * simulation, EAGAIN it is still staging, EINVAL not a segment of this version. */
hermes_client *hermes_client_open(const char *name);
/* Calls of other threads that wait come back first, with EBADF. NULL, or a client that was closed before, is no error. */
void hermes_client_close(hermes_client *client);

uint32_t hermes_client_count(hermes_client *client);
/* The index of a signal, or -1 with hermes_last_error() naming a near one. */
int64_t hermes_client_find(hermes_client *client, const char *qualified_name);
int hermes_client_info(hermes_client *client, uint32_t index, hermes_signal_info *info);

uint64_t hermes_client_frame(hermes_client *client);
double hermes_client_time(hermes_client *client); /* seconds */
double hermes_client_rate(hermes_client *client); /* frames per simulated second */
uint32_t hermes_client_epoch(hermes_client *client);
/* HERMES_STATE_...; ENDED also when its owner is dead. */
uint32_t hermes_client_state(hermes_client *client);

/* The current value, as the 8 bytes of its slot. A value on its own is never torn. */
int hermes_client_get_bits(hermes_client *client, uint32_t index, uint64_t *bits);
/* Values of one frame, never a mix. timeout_s bounds the wait for the next frame edge; ETIMEDOUT, ESHUTDOWN. */
int hermes_client_sample(hermes_client *client, const uint32_t *indices, size_t count, uint64_t *bits,
                         uint64_t *frame, double *time, double timeout_s);
/* Queues values to be applied together at the next frame edge. EPERM wired or read-only, ENOBUFS queue full,
 * ESHUTDOWN simulation over; then none of them is applied. bits: each value in its signal's own type. */
int hermes_client_set_bits(hermes_client *client, const uint32_t *indices, const uint64_t *bits, size_t count);
/* Sleeps until frame `target` of the current epoch is complete; ETIMEDOUT, ESHUTDOWN when the simulation ended
 * first, ECANCELED when a reset began a new epoch meanwhile. */
int hermes_client_wait_frame(hermes_client *client, uint64_t target, double timeout_s);

/* In a script that Hermes launched and that is no lock-step module: tells the node so and sleeps until the simulation
 * has staged. 0 at once anywhere else and on later calls; ETIMEDOUT, ESHUTDOWN. */
int hermes_free_script_begin(double timeout_s);

/* The conversion rule of wires: a slot of one type to one of another, (source * gain) + offset. */
uint64_t hermes_convert_bits(uint64_t bits, uint32_t source_type, uint32_t destination_type, double gain, double offset);
double hermes_bits_to_f64(uint64_t bits, uint32_t type);
uint64_t hermes_f64_to_bits(double value, uint32_t type);

#ifdef __cplusplus
}
#endif
#endif
