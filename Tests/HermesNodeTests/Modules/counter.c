/* Counts its steps, and again in `level`, which lives in the segment alone; `seen` comes over a wire, `gain` from users. COUNTER in its environment says how it misbehaves;
 * with COUNTER_ONCE only as long as there is no file of that name, which it then makes. With COUNTER_STATE it saves its
 * state. */
#include <hermes/module.h>

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t count, seen;
static double gain, product, sum;
static hermes_handle_t level;

static const char *variable(const char *name) { return getenv(name) ? getenv(name) : ""; }

static int is(const char *trouble) { return strcmp(variable("COUNTER"), trouble) == 0; }

/* The trouble comes now, unless it is to come once and has. */
static int has_come(const char *trouble) {
  if (!is(trouble)) return 0;
  const char *once = variable("COUNTER_ONCE");
  if (!*once) return 1;
  int file = open(once, O_CREAT | O_EXCL | O_WRONLY, 0600);
  if (file >= 0) close(file);
  return file >= 0;
}

static int init(const char *config_path, const char *shm_name) {
  (void)config_path, (void)shm_name;
  level = hermes_resolve("level");
  return level.slot == NULL;
}

static int stage(void) {
  hermes_write_f64(level, 0);
  count = seen = 0;
  gain = 0.5;
  product = sum = 0;
  if (is("fail stage")) {
    hermes_fail("no %s today", "stage");
    return 4;
  }
  return 0;
}

static int step(double dt) {
  (void)dt;
  count++;
  product = gain * (double)seen;
  sum += product;
  hermes_write_f64(level, hermes_read_f64(level) + 1);
  if (count != 3) return 0;
  if (has_come("fail step 3")) {
    fprintf(stderr, "tank is empty\n");
    hermes_fail("out of fuel");
    return 7;
  }
  if (has_come("abort")) abort();
  /* Until there is the file. */
  while (is("wait") && access(variable("COUNTER_ONCE"), F_OK) != 0) sched_yield();
  if (has_come("hang")) for (;;) {}
  if (has_come("babble")) {
    int replies = open(variable("HERMES_REPLY_FIFO"), O_WRONLY);
    if (write(replies, "this is no message at all", 25) < 0) perror("babble");
    for (;;) pause();
  }
  return 0;
}

static void terminate(void) {
  fprintf(stderr, "terminated after %lld\n", (long long)count);
}

static void declare(const char *name, hermes_type_t type, unsigned flags, void *storage) {
  hermes_signal_t signal = {.name = name, .type = type, .flags = flags, .storage = storage};
  hermes_declare(&signal);
}

static size_t save(void *buffer, size_t capacity) {
  if (is("die while saving") && count == 3 && has_come("die while saving")) abort();
  if (capacity < 16) return 16;
  memcpy(buffer, &count, 8);
  memcpy((char *)buffer + 8, &sum, 8);
  return 16;
}

static int load(const void *buffer, size_t size) {
  if (size != 16) return 1;
  memcpy(&count, buffer, 8);
  memcpy(&sum, (const char *)buffer + 8, 8);
  return 0;
}

hermes_module_t *hermes_module_create(void) {
  static hermes_module_t module = {.init = init, .stage = stage, .step = step, .reset = stage, .terminate = terminate};
  declare("count", HERMES_I64, HERMES_OUTPUT, &count);
  declare("seen", HERMES_I64, HERMES_INPUT, &seen);
  declare("gain", HERMES_F64, HERMES_INPUT, &gain);
  declare("product", HERMES_F64, HERMES_OUTPUT, &product);
  declare("sum", HERMES_F64, HERMES_OUTPUT, &sum);
  declare("level", HERMES_F64, HERMES_OUTPUT, NULL);
  if (is("announce twice")) declare("count", HERMES_F64, 0, NULL);
  /* The first process is killed by the test; the next one is another program, as it were. */
  if (is("announce more") && access(variable("COUNTER_ONCE"), F_OK) == 0) declare("more", HERMES_F64, 0, NULL);
  if (is("announce more")) close(open(variable("COUNTER_ONCE"), O_CREAT | O_WRONLY, 0600));
  if (*variable("COUNTER_STATE")) hermes_provide_state(save, load);
  return &module;
}

void hermes_module_destroy(hermes_module_t *module) { (void)module; }
