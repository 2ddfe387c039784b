/* trouble: a module that misbehaves as its configuration file says.
 *
 *   signal NAME            an f64 output; the rest of the line, spaces and all, is its name. Its value is the frame.
 *   signals COUNT          that many outputs, s0, s1, ...
 *   once PATH              only the first step that misbehaves does so; it makes the file PATH
 *   WHEN DO [WHAT]         WHEN: create, init, stage, "step N", reset, terminate
 *
 *   DO: return CODE        with a sentence by hermes_fail
 *       exit CODE          without another word
 *       say TEXT           on standard error
 *       flood LINES BYTES  as many lines of that length there, "FLOOD 1 xxx..." and so on
 *       segfault, abort, hang
 *       sleep MS
 *       babble             rubbish into the reply FIFO
 *       child, loose       a child that sleeps for long; loose: in a session of its own
 *       write PATH         appends "MODULE WHEN FRAME"
 */
#define _GNU_SOURCE
#include <hermes/module.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
  char when[16];
  unsigned long long frame;
  char what[16];
  char *argument;
} misdeed;

static char *once;
static misdeed misdeeds[64];
static size_t misdeed_count;
static double *values;
static size_t value_count;
static char **signal_names;

static void write_line(const char *path, const char *when) {
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return;
  char line[256];
  int length = snprintf(line, sizeof line, "%s %s %llu\n", hermes_module_name(), when, (unsigned long long)hermes_frame());
  if (write(file, line, (size_t)length) < 0) perror(path);
  close(file);
}

static void babble(void) {
  int fifo = open(getenv("HERMES_REPLY_FIFO"), O_WRONLY | O_CLOEXEC);
  unsigned char rubbish[4096];
  for (size_t i = 0; i < sizeof rubbish; i++) rubbish[i] = (unsigned char)(i * 37 + 11);
  if (fifo < 0 || write(fifo, rubbish, sizeof rubbish) < 0) perror("babble");
}

static void flood(const char *size) {
  long lines = 0, width = 0;
  if (sscanf(size, "%ld %ld", &lines, &width) != 2) return;
  static char buffer[1 << 16];
  setvbuf(stderr, buffer, _IOFBF, sizeof buffer);
  for (long i = 1; i <= lines; i++) {
    int length = fprintf(stderr, "FLOOD %ld ", i);
    while (length++ < width) fputc('x', stderr);
    fputc('\n', stderr);
  }
  fflush(stderr);
}

static void bear_child(bool loose) {
  if (fork()) return;
  if (loose) setsid();
  execl("/bin/sleep", "sleep", "1000", (char *)NULL);
  _exit(127);
}

/* Nothing has happened yet, where it is to happen once. */
static bool is_first(const char *when) {
  if (!once || strcmp(when, "step")) return true;
  int file = open(once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file >= 0) close(file);
  return file >= 0;
}

static int misbehave(const char *when, unsigned long long frame) {
  int may = -1;
  for (size_t i = 0; i < misdeed_count; i++) {
    const misdeed *m = &misdeeds[i];
    if (strcmp(m->when, when) || (!strcmp(when, "step") && m->frame != frame)) continue;
    if (may < 0) may = is_first(when);
    if (!may) continue;
    if (!strcmp(m->what, "return")) {
      hermes_fail("told to return %s", m->argument);
      return atoi(m->argument);
    }
    if (!strcmp(m->what, "exit")) _exit(atoi(m->argument));
    if (!strcmp(m->what, "say")) fprintf(stderr, "%s\n", m->argument), fflush(stderr);
    if (!strcmp(m->what, "flood")) flood(m->argument);
    if (!strcmp(m->what, "segfault")) signal(SIGSEGV, SIG_DFL), raise(SIGSEGV);
    if (!strcmp(m->what, "abort")) abort();
    if (!strcmp(m->what, "hang"))
      for (;;) pause();
    if (!strcmp(m->what, "sleep")) usleep((useconds_t)atoi(m->argument) * 1000);
    if (!strcmp(m->what, "babble")) babble();
    if (!strcmp(m->what, "child")) bear_child(false);
    if (!strcmp(m->what, "loose")) bear_child(true);
    if (!strcmp(m->what, "write")) write_line(m->argument, when);
  }
  return 0;
}

static int trouble_init(const char *config_path, const char *shm_name) {
  (void)config_path, (void)shm_name;
  return misbehave("init", 0);
}
static int trouble_stage(void) { return misbehave("stage", 0); }
static int trouble_reset(void) { return misbehave("reset", 0); }
static void trouble_terminate(void) { misbehave("terminate", 0); }

static int trouble_step(double dt) {
  (void)dt;
  for (size_t i = 0; i < value_count; i++) values[i] = (double)hermes_frame();
  return misbehave("step", hermes_frame());
}

static void add_name(char *name) {
  signal_names = realloc(signal_names, (value_count + 1) * sizeof *signal_names);
  if (!signal_names) abort();
  signal_names[value_count++] = name;
}

static void read_line(char *line) {
  unsigned long count;
  misdeed m = {0};
  int used = 0;
  if (!strncmp(line, "signal ", 7)) {
    add_name(strdup(line + 7));
  } else if (!strncmp(line, "once ", 5)) {
    once = strdup(line + 5);
  } else if (sscanf(line, "signals %lu", &count) == 1) {
    for (unsigned long i = 0; i < count; i++) {
      char *name;
      if (asprintf(&name, "s%lu", i) < 0) abort();
      add_name(name);
    }
  } else if (sscanf(line, "step %llu %15s %n", &m.frame, m.what, &used) == 2) {
    strcpy(m.when, "step");
    m.argument = strdup(line + used);
    misdeeds[misdeed_count++] = m;
  } else if (sscanf(line, "%15s %15s %n", m.when, m.what, &used) == 2) {
    m.argument = strdup(line + used);
    misdeeds[misdeed_count++] = m;
  }
}

static hermes_module_t module = {.init = trouble_init, .stage = trouble_stage, .step = trouble_step,
                                 .reset = trouble_reset, .terminate = trouble_terminate};

hermes_module_t *hermes_module_create(void) {
  FILE *file = hermes_config_path() ? fopen(hermes_config_path(), "r") : NULL;
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  while (file && (length = getline(&line, &capacity, file)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = 0;
    read_line(line);
  }
  if (file) fclose(file);
  free(line);
  if (misbehave("create", 0)) return NULL;
  values = calloc(value_count + 1, sizeof *values);
  for (size_t i = 0; i < value_count; i++) {
    hermes_signal_t declared = {.name = signal_names[i], .type = HERMES_F64, .flags = HERMES_OUTPUT, .storage = &values[i]};
    if (hermes_declare(&declared)) fprintf(stderr, "trouble: %s\n", hermes_last_error());
  }
  return &module;
}

void hermes_module_destroy(hermes_module_t *made) { (void)made; }
