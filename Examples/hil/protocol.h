/* What the device and its host say to each other: a datagram is one message. README.md has the table of its bytes.
 *
 * Both ends include this file. It knows bytes and nothing else: no socket, no clock. Every number is little-endian,
 * whatever the machine. */
#ifndef HIL_PROTOCOL_H
#define HIL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { HIL_VERSION = 1, HIL_HEADER_SIZE = 24, HIL_CHECK_SIZE = 4, HIL_LONGEST = 60 };
static const uint32_t hil_magic = 0x314C4948u; /* "HIL1" */

typedef enum hil_kind { HIL_RUBBISH = 0, HIL_COMMAND = 1, HIL_SAFE = 2, HIL_QUERY = 3, HIL_STATE = 4 } hil_kind;
typedef enum hil_cause { HIL_STARTED = 0, HIL_COMMANDED = 1, HIL_WATCHDOG = 2, HIL_TOLD = 3 } hil_cause;

typedef struct hil_message {
  hil_kind kind;
  uint32_t session;    /* who commands; 0 in a SAFE: whoever it is */
  uint32_t sequence;   /* of its sender, from 1; 0 in the answer to a QUERY */
  uint64_t sent_ns;    /* its sender's own clock, for logs and traces */
  uint64_t arrived_ns; /* the receiver's own clock; not in the datagram */

  double command; /* COMMAND: V */

  /* STATE */
  uint32_t boot;     /* another number each time the device is switched on */
  bool driven;       /* false: safe */
  hil_cause cause;   /* why it is driven or safe */
  uint32_t accepted; /* sequence of the last command it took */
  uint32_t refused;  /* messages it did not take */
  double speed;      /* rad/s */
  double drive;      /* V on the motor now */
} hil_message;

/* CRC-32 as in Ethernet and zlib. */
static inline uint32_t hil_check(const uint8_t *bytes, size_t size) {
  uint32_t check = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; i++) {
    check ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) check = (check >> 1) ^ ((check & 1u) ? 0xEDB88320u : 0u);
  }
  return ~check;
}

/* The whole datagram of a kind, in bytes; 0 for what is no kind. */
static inline size_t hil_size(unsigned kind) {
  switch (kind) {
  case HIL_COMMAND: return HIL_HEADER_SIZE + 8 + HIL_CHECK_SIZE;
  case HIL_SAFE:
  case HIL_QUERY: return HIL_HEADER_SIZE + HIL_CHECK_SIZE;
  case HIL_STATE: return HIL_LONGEST;
  default: return 0;
  }
}

static inline void hil_put(uint8_t **at, uint64_t value, int width) {
  for (int i = 0; i < width; i++) *(*at)++ = (uint8_t)(value >> (8 * i));
}

static inline uint64_t hil_take(const uint8_t **at, int width) {
  uint64_t value = 0;
  for (int i = 0; i < width; i++) value |= (uint64_t)*(*at)++ << (8 * i);
  return value;
}

static inline void hil_put_f64(uint8_t **at, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  hil_put(at, bits, 8);
}

static inline double hil_take_f64(const uint8_t **at) {
  const uint64_t bits = hil_take(at, 8);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Returns the datagram's size. */
static inline size_t hil_encode(const hil_message *message, uint8_t bytes[HIL_LONGEST]) {
  const size_t size = hil_size(message->kind);
  uint8_t *at = bytes;
  hil_put(&at, hil_magic, 4);
  hil_put(&at, HIL_VERSION, 1);
  hil_put(&at, message->kind, 1);
  hil_put(&at, size, 2);
  hil_put(&at, message->session, 4);
  hil_put(&at, message->sequence, 4);
  hil_put(&at, message->sent_ns, 8);
  if (message->kind == HIL_COMMAND) hil_put_f64(&at, message->command);
  if (message->kind == HIL_STATE) {
    hil_put(&at, message->boot, 4);
    hil_put(&at, message->driven, 1);
    hil_put(&at, message->cause, 1);
    hil_put(&at, 0, 2);
    hil_put(&at, message->accepted, 4);
    hil_put(&at, message->refused, 4);
    hil_put_f64(&at, message->speed);
    hil_put_f64(&at, message->drive);
  }
  hil_put(&at, hil_check(bytes, size - HIL_CHECK_SIZE), HIL_CHECK_SIZE);
  return size;
}

/* HIL_RUBBISH for a datagram that is no message of this version, whole and unharmed. */
static inline hil_message hil_decode(const uint8_t *bytes, size_t size) {
  hil_message message = {.kind = HIL_RUBBISH};
  if (size < HIL_HEADER_SIZE) return message;
  const uint8_t *at = bytes;
  if (hil_take(&at, 4) != hil_magic || hil_take(&at, 1) != HIL_VERSION) return message;
  const unsigned kind = (unsigned)hil_take(&at, 1);
  if (size != hil_size(kind) || hil_take(&at, 2) != size) return message;
  const uint8_t *check = bytes + size - HIL_CHECK_SIZE;
  if (hil_take(&check, HIL_CHECK_SIZE) != hil_check(bytes, size - HIL_CHECK_SIZE)) return message;

  message.kind = (hil_kind)kind;
  message.session = (uint32_t)hil_take(&at, 4);
  message.sequence = (uint32_t)hil_take(&at, 4);
  message.sent_ns = hil_take(&at, 8);
  if (kind == HIL_COMMAND) message.command = hil_take_f64(&at);
  if (kind == HIL_STATE) {
    message.boot = (uint32_t)hil_take(&at, 4);
    message.driven = hil_take(&at, 1) != 0;
    message.cause = (hil_cause)hil_take(&at, 1);
    at += 2;
    message.accepted = (uint32_t)hil_take(&at, 4);
    message.refused = (uint32_t)hil_take(&at, 4);
    message.speed = hil_take_f64(&at);
    message.drive = hil_take_f64(&at);
  }
  return message;
}

/* Whether one sequence number comes after another; they may wrap around. */
static inline bool hil_newer(uint32_t sequence, uint32_t than) { return (int32_t)(sequence - than) > 0; }

#endif
