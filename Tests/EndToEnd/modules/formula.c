/* formula: a module whose signals and equations come from its configuration file.
 *
 *   # a comment
 *   access storage                        storage (default) | names | handles: how values meet the segment
 *   fail 4                                the step of frame 4 returns 1
 *   reset defaults                        defaults (default) | keep: keep leaves out the reset function
 *   signal speed f64 input = 3            name, type, flags (input,output,writable,hidden or -), value at the start
 *   state total = 0                       a double of the module's own, not a signal
 *   total = total + speed * dt            each step, in file order
 *   noise = mix noise n                   a scrambler on 64-bit integers
 *
 * An expression is read strictly from left to right, like a pocket calculator: `a + b * c` is (a + b) * c. The
 * operators are + - * / min max; each works in double and rounds once. A term is a number, a signal, a state, or
 * one of dt (what step was given), n (steps made since the start or reset), frame, time. The result goes into the
 * target's type: f32 rounds, integers round half to even and saturate (NaN gives 0), bool is "not zero". Names with
 * spaces stand in double quotes, where a backslash keeps the next character.
 *
 * With `access names` every signal is f64 with flags `-`; a simulation's `signals:` gives other types.
 *
 * Compile with -ffp-contract=off, so that a*b+c rounds twice everywhere. Tests/EndToEnd/frame_model.py evaluates the
 * same files to the same bits.
 */
#define _GNU_SOURCE
#include <hermes/module.h>

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum { ACCESS_STORAGE, ACCESS_NAMES, ACCESS_HANDLES } access_style;
typedef enum { TERM_NUMBER, TERM_SIGNAL, TERM_STATE, TERM_DT, TERM_N, TERM_FRAME, TERM_TIME } term_kind;
typedef enum { DO_START, DO_ADD, DO_SUBTRACT, DO_MULTIPLY, DO_DIVIDE, DO_MIN, DO_MAX } operation;

/* A value in its own type. */
typedef union {
  double f64;
  float f32;
  int64_t i64;
  int32_t i32;
  bool truth;
  uint64_t slot;
} value;

typedef struct {
  char *name;
  hermes_type_t type;
  unsigned flags;
  value start, now; /* now: unused with handles */
  hermes_handle_t handle;
} signal_entry;

typedef struct {
  char *name;
  double start, now;
} state_entry;

typedef struct {
  operation operation;
  term_kind kind;
  size_t index;
  double number;
} term;

typedef struct {
  bool target_is_signal, is_mix;
  size_t target;
  size_t term_count;
  term *terms;
} statement;

static access_style style;
static bool keeps_on_reset;
static unsigned long long failing_frame;
static signal_entry *signals;
static state_entry *states;
static statement *statements;
static size_t signal_count, state_count, statement_count;
static const char **names;
static uint64_t steps;

/* ---- Conversion. --------------------------------------------------------------------------------------- */

static int64_t to_i64(double x) {
  if (isnan(x)) return 0;
  x = nearbyint(x);
  if (x >= 9223372036854775808.0) return INT64_MAX;
  if (x < -9223372036854775808.0) return INT64_MIN;
  return (int64_t)x;
}

static int32_t to_i32(double x) {
  int64_t wide = to_i64(x);
  return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

static value from_double(double x, hermes_type_t type) {
  value result = {.slot = 0};
  switch (type) {
    case HERMES_F64: result.f64 = x; break;
    case HERMES_F32: result.f32 = (float)x; break;
    case HERMES_I64: result.i64 = to_i64(x); break;
    case HERMES_I32: result.i32 = to_i32(x); break;
    case HERMES_BOOL: result.truth = x != 0; break;
  }
  return result;
}

static double to_double(value v, hermes_type_t type) {
  switch (type) {
    case HERMES_F64: return v.f64;
    case HERMES_F32: return v.f32;
    case HERMES_I64: return (double)v.i64;
    case HERMES_I32: return v.i32;
    case HERMES_BOOL: return v.truth;
  }
  return NAN;
}

/* ---- Reading and writing a signal, in the module's access style. ---------------------------------------- */

static double signal_read(const signal_entry *s) {
  if (style != ACCESS_HANDLES) return to_double(s->now, s->type);
  return s->type == HERMES_F64 ? hermes_read_f64(s->handle) : hermes_read(s->handle);
}

static void signal_write(signal_entry *s, double x) {
  if (style != ACCESS_HANDLES)
    s->now = from_double(x, s->type);
  else if (s->type == HERMES_F64)
    hermes_write_f64(s->handle, x);
  else
    hermes_write(s->handle, x);
}

static int64_t signal_read_integer(const signal_entry *s) {
  if (s->type != HERMES_I64) return to_i64(signal_read(s));
  return style == ACCESS_HANDLES ? hermes_read_i64(s->handle) : s->now.i64;
}

static void signal_write_integer(signal_entry *s, int64_t x) {
  switch (s->type) {
    case HERMES_I64:
      if (style == ACCESS_HANDLES)
        hermes_write_i64(s->handle, x);
      else
        s->now.i64 = x;
      break;
    case HERMES_I32: signal_write(s, (int32_t)(uint32_t)(uint64_t)x); break;
    case HERMES_BOOL: signal_write(s, (double)(x & 1)); break;
    default: signal_write(s, (double)x);
  }
}

static void signal_write_value(signal_entry *s, value v) {
  if (s->type == HERMES_I64)
    signal_write_integer(s, v.i64);
  else
    signal_write(s, to_double(v, s->type));
}

/* ---- The equations. ------------------------------------------------------------------------------------- */

static double term_value(const term *t, double dt) {
  switch (t->kind) {
    case TERM_NUMBER: return t->number;
    case TERM_SIGNAL: return signal_read(&signals[t->index]);
    case TERM_STATE: return states[t->index].now;
    case TERM_DT: return dt;
    case TERM_N: return (double)steps;
    case TERM_FRAME: return (double)hermes_frame();
    case TERM_TIME: return hermes_time();
  }
  return NAN;
}

static int64_t term_integer(const term *t, double dt) {
  return t->kind == TERM_SIGNAL ? signal_read_integer(&signals[t->index]) : to_i64(term_value(t, dt));
}

static double apply(operation op, double left, double right) {
  switch (op) {
    case DO_START: return right;
    case DO_ADD: return left + right;
    case DO_SUBTRACT: return left - right;
    case DO_MULTIPLY: return left * right;
    case DO_DIVIDE: return left / right;
    case DO_MIN: return left < right ? left : right;
    case DO_MAX: return left > right ? left : right;
  }
  return NAN;
}

static void run_statement(const statement *s, double dt) {
  if (s->is_mix) {
    uint64_t a = (uint64_t)term_integer(&s->terms[0], dt), b = (uint64_t)term_integer(&s->terms[1], dt);
    uint64_t mixed = (a ^ (a >> 29)) * UINT64_C(6364136223846793005) + b;
    if (s->target_is_signal)
      signal_write_integer(&signals[s->target], (int64_t)mixed);
    else
      states[s->target].now = (double)(int64_t)mixed;
    return;
  }
  double result = 0;
  for (size_t i = 0; i < s->term_count; i++) result = apply(s->terms[i].operation, result, term_value(&s->terms[i], dt));
  if (s->target_is_signal)
    signal_write(&signals[s->target], result);
  else
    states[s->target].now = result;
}

/* ---- The file. ------------------------------------------------------------------------------------------ */

static int complain(const char *path, int line, const char *what, const char *word) {
  fprintf(stderr, "%s:%d: %s: %s\n", path, line, what, word ? word : "(nothing)");
  return -1;
}

static void *grow(void *array, size_t count, size_t size) {
  void *bigger = realloc(array, (count + 1) * size);
  if (!bigger) abort();
  memset((char *)bigger + count * size, 0, size);
  return bigger;
}

/* Cuts a line into words, in place. */
static size_t split(char *line, char **words, size_t capacity) {
  size_t count = 0;
  char *in = line;
  while (count < capacity) {
    while (*in == ' ' || *in == '\t' || *in == '\n' || *in == '\r') in++;
    if (!*in || *in == '#') break;
    if (*in == '"') {
      char *out = ++in;
      words[count++] = out;
      while (*in && *in != '"') {
        if (*in == '\\' && in[1]) in++;
        *out++ = *in++;
      }
      if (*in) in++;
      *out = 0;
    } else {
      words[count++] = in;
      while (*in && *in != ' ' && *in != '\t' && *in != '\n' && *in != '\r') in++;
      if (*in) *in++ = 0;
    }
  }
  return count;
}

static bool is_number(const char *word, double *number) {
  char *end;
  *number = strtod(word, &end);
  return end != word && !*end;
}

static value start_value(const char *word, hermes_type_t type) {
  if (type == HERMES_I64) {
    char *end;
    long long integer = strtoll(word, &end, 10);
    if (end != word && !*end) return (value){.i64 = integer};
  }
  return from_double(strtod(word, NULL), type);
}

static int find_signal(const char *name, size_t *index) {
  for (size_t i = 0; i < signal_count; i++)
    if (!strcmp(signals[i].name, name)) return *index = i, 1;
  return 0;
}

static int find_state(const char *name, size_t *index) {
  for (size_t i = 0; i < state_count; i++)
    if (!strcmp(states[i].name, name)) return *index = i, 1;
  return 0;
}

static int parse_term(const char *word, term *t) {
  static const struct { const char *word; term_kind kind; } built_in[] = {
      {"dt", TERM_DT}, {"n", TERM_N}, {"frame", TERM_FRAME}, {"time", TERM_TIME}};
  for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++)
    if (!strcmp(word, built_in[i].word)) return t->kind = built_in[i].kind, 0;
  if (find_signal(word, &t->index)) return t->kind = TERM_SIGNAL, 0;
  if (find_state(word, &t->index)) return t->kind = TERM_STATE, 0;
  if (is_number(word, &t->number)) return t->kind = TERM_NUMBER, 0;
  return -1;
}

static int parse_operation(const char *word, operation *op) {
  static const char *const spelled[] = {"", "+", "-", "*", "/", "min", "max"};
  for (int i = DO_ADD; i <= DO_MAX; i++)
    if (!strcmp(word, spelled[i])) return *op = (operation)i, 0;
  return -1;
}

static int parse_signal(const char *path, int line, char **words, size_t count) {
  static const char *const types[] = {"f64", "f32", "i64", "i32", "bool"};
  static const struct { const char *word; unsigned flag; } flags[] = {
      {"writable", HERMES_WRITABLE}, {"hidden", HERMES_HIDDEN}, {"input", HERMES_INPUT}, {"output", HERMES_OUTPUT}, {"-", 0}};
  if (count != 6 || strcmp(words[4], "=")) return complain(path, line, "a signal is `signal NAME TYPE FLAGS = VALUE`", words[0]);
  signals = grow(signals, signal_count, sizeof *signals);
  signal_entry *s = &signals[signal_count++];
  s->name = strdup(words[1]);
  int type = HERMES_F64;
  while (type <= HERMES_BOOL && strcmp(words[2], types[type])) type++;
  if (type > HERMES_BOOL) return complain(path, line, "no such type", words[2]);
  s->type = (hermes_type_t)type;
  for (char *rest = NULL, *word = strtok_r(words[3], ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
    size_t i = 0, n = sizeof flags / sizeof *flags;
    while (i < n && strcmp(word, flags[i].word)) i++;
    if (i == n) return complain(path, line, "no such flag", word);
    s->flags |= flags[i].flag;
  }
  if (style == ACCESS_NAMES && (s->type != HERMES_F64 || s->flags))
    return complain(path, line, "with `access names` a signal is f64 and has no flags", s->name);
  s->start = start_value(words[5], s->type);
  return 0;
}

static int parse_statement(const char *path, int line, char **words, size_t count) {
  statements = grow(statements, statement_count, sizeof *statements);
  statement *s = &statements[statement_count++];
  s->target_is_signal = find_signal(words[0], &s->target);
  if (!s->target_is_signal && !find_state(words[0], &s->target)) return complain(path, line, "no such signal or state", words[0]);
  if (count < 3) return complain(path, line, "an equation is `NAME = TERM OPERATOR TERM ...`", words[0]);
  s->is_mix = !strcmp(words[2], "mix");
  if (s->is_mix && count != 5) return complain(path, line, "mix takes two terms", words[0]);
  for (size_t i = s->is_mix ? 3 : 2; i < count;) {
    s->terms = grow(s->terms, s->term_count, sizeof *s->terms);
    term *t = &s->terms[s->term_count++];
    if (!s->is_mix && s->term_count > 1 && parse_operation(words[i++], &t->operation)) return complain(path, line, "no such operator", words[i - 1]);
    if (i >= count) return complain(path, line, "an operator without a second term", words[count - 1]);
    if (parse_term(words[i], t)) return complain(path, line, "no such term", words[i]);
    i++;
  }
  return 0;
}

static int parse_line(const char *path, int line, char *text) {
  char *words[256];
  size_t count = split(text, words, 256);
  if (!count) return 0;
  bool is_equation = count > 1 && !strcmp(words[1], "=");
  if (is_equation) return parse_statement(path, line, words, count);
  if (!strcmp(words[0], "signal")) return parse_signal(path, line, words, count);
  if (!strcmp(words[0], "state") && count == 4 && !strcmp(words[2], "=")) {
    states = grow(states, state_count, sizeof *states);
    state_entry *s = &states[state_count++];
    s->name = strdup(words[1]);
    return is_number(words[3], &s->start) ? 0 : complain(path, line, "not a number", words[3]);
  }
  if (!strcmp(words[0], "fail") && count == 2) {
    failing_frame = strtoull(words[1], NULL, 10);
    return failing_frame ? 0 : complain(path, line, "not a frame", words[1]);
  }
  if (!strcmp(words[0], "access") && count == 2) {
    if (!strcmp(words[1], "storage")) return style = ACCESS_STORAGE, 0;
    if (!strcmp(words[1], "names")) return style = ACCESS_NAMES, 0;
    if (!strcmp(words[1], "handles")) return style = ACCESS_HANDLES, 0;
  }
  if (!strcmp(words[0], "reset") && count == 2 && (!strcmp(words[1], "defaults") || !strcmp(words[1], "keep")))
    return keeps_on_reset = !strcmp(words[1], "keep"), 0;
  return complain(path, line, "can't be read", words[0]);
}

static int parse_file(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) return complain(path, 0, "can't be opened", strerror(errno));
  char *text = NULL;
  size_t capacity = 0;
  int line = 0, failed = 0;
  while (!failed && getline(&text, &capacity, file) >= 0) failed = parse_line(path, ++line, text);
  free(text);
  fclose(file);
  return failed;
}

/* ---- The module. ---------------------------------------------------------------------------------------- */

static void to_start(void) {
  steps = 0;
  for (size_t i = 0; i < state_count; i++) states[i].now = states[i].start;
  for (size_t i = 0; i < signal_count; i++) signal_write_value(&signals[i], signals[i].start);
}

static int formula_init(const char *config_path, const char *shm_name) {
  (void)config_path, (void)shm_name;
  for (size_t i = 0; style == ACCESS_HANDLES && i < signal_count; i++) {
    signals[i].handle = hermes_resolve(signals[i].name);
    if (!signals[i].handle.slot) return hermes_fail("no handle for %s", signals[i].name), 2;
    if (signals[i].handle.type != (uint32_t)signals[i].type) return hermes_fail("handle of %s has another type", signals[i].name), 3;
  }
  return 0;
}

static int formula_stage(void) {
  to_start();
  return 0;
}

static int formula_step(double dt) {
  steps++;
  for (size_t i = 0; i < statement_count; i++) run_statement(&statements[i], dt);
  if (failing_frame && hermes_frame() == failing_frame) return hermes_fail("told to fail in frame %llu", failing_frame), 1;
  return 0;
}

static int formula_reset(void) {
  to_start();
  return 0;
}

static double formula_get(const char *name) {
  size_t index;
  return find_signal(name, &index) ? signal_read(&signals[index]) : NAN;
}

static void formula_set(const char *name, double x) {
  size_t index;
  if (find_signal(name, &index)) signal_write(&signals[index], x);
}

static const char **formula_list(void) { return names; }

/* State: steps, then the states, then every signal's eight bytes. */
static size_t formula_save(void *buffer, size_t capacity) {
  size_t needed = (1 + state_count + signal_count) * sizeof(uint64_t);
  if (capacity < needed) return needed;
  uint64_t *out = buffer;
  *out++ = steps;
  for (size_t i = 0; i < state_count; i++) memcpy(out++, &states[i].now, sizeof *out);
  for (size_t i = 0; i < signal_count; i++) {
    value v = {.slot = 0};
    if (style != ACCESS_HANDLES)
      v = signals[i].now;
    else if (signals[i].type == HERMES_I64)
      v.i64 = signal_read_integer(&signals[i]);
    else
      v = from_double(signal_read(&signals[i]), signals[i].type);
    memcpy(out++, &v, sizeof *out);
  }
  return needed;
}

static int formula_load(const void *buffer, size_t size) {
  if (size != (1 + state_count + signal_count) * sizeof(uint64_t)) return hermes_fail("a state of %zu bytes is not mine", size), 4;
  const uint64_t *in = buffer;
  steps = *in++;
  for (size_t i = 0; i < state_count; i++) memcpy(&states[i].now, in++, sizeof *in);
  for (size_t i = 0; i < signal_count; i++) signal_write_value(&signals[i], (value){.slot = *in++});
  return 0;
}

static hermes_module_t module;

hermes_module_t *hermes_module_create(void) {
  const char *path = hermes_config_path();
  if (!path) return fputs("formula: needs a `config:` file\n", stderr), NULL;
  if (parse_file(path)) return NULL;
  module = (hermes_module_t){.init = formula_init, .stage = formula_stage, .step = formula_step};
  if (!keeps_on_reset) module.reset = formula_reset;
  if (style == ACCESS_NAMES) {
    names = calloc(signal_count + 1, sizeof *names);
    if (!names) return NULL;
    for (size_t i = 0; i < signal_count; i++) names[i] = signals[i].name;
    module.get_signal = formula_get;
    module.set_signal = formula_set;
    module.list_signals = formula_list;
  } else {
    for (size_t i = 0; i < signal_count; i++) {
      hermes_signal_t declared = {.name = signals[i].name, .type = signals[i].type, .flags = signals[i].flags,
                                  .storage = style == ACCESS_STORAGE ? (void *)&signals[i].now : NULL};
      if (hermes_declare(&declared)) return fprintf(stderr, "formula: %s\n", hermes_last_error()), NULL;
    }
  }
  hermes_provide_state(formula_save, formula_load);
  return &module;
}

void hermes_module_destroy(hermes_module_t *made) {
  (void)made;
  for (size_t i = 0; i < signal_count; i++) free(signals[i].name);
  for (size_t i = 0; i < state_count; i++) free(states[i].name);
  for (size_t i = 0; i < statement_count; i++) free(statements[i].terms);
  free(signals), free(states), free(statements), free(names);
  signals = NULL, states = NULL, statements = NULL, names = NULL;
  signal_count = state_count = statement_count = 0;
}
