/* solo_host: steps one formula module without Hermes, to show that formula.c and frame_model.py agree.
 *
 *   solo_host FILE FRAMES RATE [SAVE_AT]     prints each frame's values as the sixteen hex digits of their slots
 *
 * At frame SAVE_AT it saves the module's state, steps on, resets, loads the state back and goes on from there, so that
 * the lines after it are right only when save and load carry everything.
 */
#include "formula.c"

#include <stdarg.h>

static const char *config;
static uint64_t current_frame;
static double rate;
static struct { hermes_signal_t declared; uint64_t slot; } table[4096];
static size_t table_count;
static size_t (*save_state)(void *, size_t);
static int (*load_state)(const void *, size_t);

const char *hermes_config_path(void) { return config; }
uint64_t hermes_frame(void) { return current_frame; }
double hermes_time(void) { return (double)current_frame / rate; }
const char *hermes_last_error(void) { return ""; }

void hermes_fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
}

int hermes_declare(const hermes_signal_t *signal) {
  table[table_count++].declared = *signal;
  return 0;
}

hermes_handle_t hermes_resolve(const char *name) {
  for (size_t i = 0; i < table_count; i++)
    if (!strcmp(table[i].declared.name, name)) return (hermes_handle_t){.slot = &table[i].slot, .type = table[i].declared.type};
  return (hermes_handle_t){0};
}

double hermes_read(hermes_handle_t handle) {
  value v;
  memcpy(&v, handle.slot, sizeof v);
  return to_double(v, (hermes_type_t)handle.type);
}

void hermes_write(hermes_handle_t handle, double x) {
  value v = from_double(x, (hermes_type_t)handle.type);
  memcpy(handle.slot, &v, sizeof v);
}

void hermes_provide_state(size_t (*save)(void *, size_t), int (*load)(const void *, size_t)) {
  save_state = save;
  load_state = load;
}

static void print_values(const hermes_module_t *m) {
  printf("%llu", (unsigned long long)current_frame);
  for (size_t i = 0; i < signal_count; i++) {
    uint64_t slot = 0;
    if (m->get_signal) {
      double x = m->get_signal(signals[i].name);
      memcpy(&slot, &x, sizeof slot);
    } else {
      static const size_t sizes[] = {8, 4, 8, 4, 1};
      memcpy(&slot, style == ACCESS_HANDLES ? (void *)&table[i].slot : table[i].declared.storage, sizes[signals[i].type]);
    }
    printf(" %016llx", (unsigned long long)slot);
  }
  putchar('\n');
}

static void step_once(const hermes_module_t *m) {
  current_frame++;
  if (m->step(1 / rate)) exit(1);
}

int main(int argc, char **argv) {
  if (argc < 4) return 64;
  config = argv[1];
  uint64_t frames = strtoull(argv[2], NULL, 10), save_at = argc > 4 ? strtoull(argv[4], NULL, 10) : UINT64_MAX;
  rate = strtod(argv[3], NULL);
  hermes_module_t *m = hermes_module_create();
  if (!m || m->init(config, "/hermes_solo") || m->stage()) return 1;
  print_values(m);
  while (current_frame < frames) {
    step_once(m);
    if (current_frame == save_at) {
      size_t size = save_state(NULL, 0);
      void *buffer = malloc(size);
      if (save_state(buffer, size) != size) return 1;
      step_once(m);
      if (m->reset && m->reset()) return 1;
      if (load_state(buffer, size)) return 1;
      current_frame = save_at;
      free(buffer);
    }
    print_values(m);
  }
  hermes_module_destroy(m);
  return 0;
}
