/* odd_words: a module that counts its steps in `count`, and besides writes bytes of its own into its reply FIFO. Its config file says
 * which, one line "KEY VALUE" each; the bytes are in a file beside it, with ".bytes" behind its name:
 *
 *   at CALL       create, init, stage, step (the third), save or terminate; or
 *   at announce   in place of libhermes: it answers every command with status 0, and exits when it has staged or is told to terminate
 *   times N       how often (1)
 *   pad N         so many more bytes each time (0)
 *   then DO       go on (as ever), hang, or exit
 */
#define _GNU_SOURCE
#include <hermes/module.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char at[16], then[16];
static size_t times = 1, pad, size;
static char *bytes;
static int64_t count;

/* False when the node reads no more. */
static int send_all(int replies, const char *from, size_t length) {
  while (length) {
    ssize_t written = write(replies, from, length);
    if (written <= 0) return 0;
    from += written;
    length -= (size_t)written;
  }
  return 1;
}

static void speak(const char *call) {
  static char padding[1 << 16];
  if (strcmp(at, call) != 0) return;
  int replies = open(getenv("HERMES_REPLY_FIFO"), O_WRONLY | O_CLOEXEC);
  memset(padding, 'x', sizeof padding);
  for (size_t i = 0; i < times; i++) {
    int goes = send_all(replies, bytes, size);
    for (size_t left = pad; goes && left;) {
      size_t part = left < sizeof padding ? left : sizeof padding;
      goes = send_all(replies, padding, part);
      left -= part;
    }
    if (!goes) break;
  }
  close(replies);
  if (strcmp(then, "exit") == 0) _exit(0);
  while (strcmp(then, "hang") == 0) pause();
}

static void read_words(const char *path) {
  char name[4096], key[16], value[32];
  FILE *file = fopen(path, "r");
  if (!file) exit(1);
  while (fscanf(file, "%15s %31s", key, value) == 2) {
    if (strcmp(key, "at") == 0) snprintf(at, sizeof at, "%.15s", value);
    if (strcmp(key, "then") == 0) snprintf(then, sizeof then, "%.15s", value);
    if (strcmp(key, "times") == 0) times = strtoull(value, NULL, 10);
    if (strcmp(key, "pad") == 0) pad = strtoull(value, NULL, 10);
  }
  fclose(file);
  snprintf(name, sizeof name, "%.4000s.bytes", path);
  file = fopen(name, "rb");
  if (!file) exit(1);
  bytes = malloc(1 << 20);
  size = fread(bytes, 1, 1 << 20, file);
  fclose(file);
}

/* The other half of the protocol, for what was announced by `bytes`. */
static void be_a_module(void) {
  int commands = open(getenv("HERMES_COMMAND_FIFO"), O_RDONLY | O_CLOEXEC);
  int replies = open(getenv("HERMES_REPLY_FIFO"), O_WRONLY | O_CLOEXEC);
  uint32_t header[4]; /* magic, type, sequence, length */
  char body[4096];
  while (read(commands, header, sizeof header) == (ssize_t)sizeof header) {
    if (header[3] > sizeof body || read(commands, body, header[3]) != (ssize_t)header[3]) break;
    uint32_t answer[5] = {header[0], 2, header[2], 4, 0};
    if (!send_all(replies, (char *)answer, sizeof answer) || header[1] == 17 || header[1] == 19) break;
  }
  _exit(0);
}

static int init(const char *config, const char *segment) { return (void)config, (void)segment, speak("init"), 0; }
static int stage(void) { return speak("stage"), 0; }
static int step(double dt) {
  (void)dt;
  if (++count == 3) speak("step");
  return 0;
}
static void terminate(void) { speak("terminate"); }
static size_t save(void *buffer, size_t capacity) {
  if (capacity >= sizeof count) memcpy(buffer, &count, sizeof count);
  else speak("save");
  return sizeof count;
}
static int load(const void *buffer, size_t length) {
  if (length == sizeof count) memcpy(&count, buffer, sizeof count);
  return length != sizeof count;
}

hermes_module_t *hermes_module_create(void) {
  static hermes_module_t module = {.init = init, .stage = stage, .step = step, .terminate = terminate};
  hermes_signal_t signal = {.name = "count", .type = HERMES_I64, .flags = HERMES_OUTPUT, .storage = &count};
  hermes_declare(&signal);
  hermes_provide_state(save, load);
  read_words(hermes_config_path());
  unsetenv("HERMES_REALTIME"); /* so that libhermes says nothing of it */
  speak("create");
  if (strcmp(at, "announce") == 0) {
    speak("announce");
    be_a_module();
  }
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
