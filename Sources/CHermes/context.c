#include "platform.h"

#include "context.h"

#include <hermes/client.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  char *name, *unit, *description;
  uint32_t type, flags;
  int named; /* carried by get_signal and set_signal */
  void *storage;
  /* After binding. */
  uint64_t *slot;
  uint32_t slot_type;
  int wired, writable, resolved;
} signal_binding;

struct hermes_context {
  hermes_module_t *module;
  void (*destroy)(hermes_module_t *);
  char *name, *config, *shm;
  signal_binding *signals;
  size_t count, capacity;
  int announcing, out_of_memory;
  uint8_t *announcement;
  size_t announcement_size;
  /* Signals copied into the module before a step and out of it after; made once by bind, trimmed by resolve. */
  signal_binding **inputs, **outputs;
  size_t input_count, output_count;
  hermes_view *view;
  uint32_t index;
  double dt;
  size_t (*save)(void *, size_t);
  int (*load)(const void *, size_t);
  uint32_t termination; /* (atomic, futex) 0, TERMINATING, TERMINATED */
  int has_failed;       /* hermes_fail was called since the last callback began */
  char failure[480];
};

enum { TERMINATING = 1, TERMINATED = 2 };

static _Thread_local hermes_context *thread_context;
static hermes_context *process_context;

hermes_context *hermes_context_current(void) { return thread_context ? thread_context : process_context; }
void hermes_context_set_process(hermes_context *context) { process_context = context; }

static char *copy_text(const char *text) {
  if (!text) return NULL;
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  if (copy) memcpy(copy, text, size);
  return copy;
}

static signal_binding *add_signal(hermes_context *context, const char *name) {
  if (context->count == context->capacity) {
    size_t capacity = context->capacity ? context->capacity * 2 : 16;
    signal_binding *grown = realloc(context->signals, capacity * sizeof *grown);
    if (!grown) return NULL;
    context->signals = grown;
    context->capacity = capacity;
  }
  signal_binding *signal = &context->signals[context->count];
  *signal = (signal_binding){.name = copy_text(name)};
  if (!signal->name) return NULL;
  context->count++;
  return signal;
}

int hermes_declare(const hermes_signal_t *signal) {
  hermes_context *context = hermes_context_current();
  if (!context || !context->announcing) {
    hermes_error(EINVAL, "hermes_declare: signals are declared between hermes_module_create and the return of list_signals");
    return -1;
  }
  if (!signal || !signal->name || (unsigned)signal->type > HERMES_BOOL) {
    hermes_error(EINVAL, "hermes_declare: a signal needs a name and a type");
    return -1;
  }
  signal_binding *added = add_signal(context, signal->name);
  if (!added) {
    context->out_of_memory = 1;
    hermes_error(ENOMEM, "hermes_declare: out of memory");
    return -1;
  }
  added->type = (uint32_t)signal->type;
  added->flags = signal->flags;
  added->unit = copy_text(signal->unit);
  added->description = copy_text(signal->description);
  added->storage = signal->storage;
  return 0;
}

void hermes_provide_state(size_t (*save)(void *, size_t), int (*load)(const void *, size_t)) {
  hermes_context *context = hermes_context_current();
  if (!context) return;
  context->save = save;
  context->load = load;
}

/* ---- The announcement: u32 count, then per signal type, flags, 2 zero bytes, three lengths, three texts. ---- */

enum { ANNOUNCED_NAMED = 16 };

static void put_u32(uint8_t **at, uint32_t value) {
  memcpy(*at, &value, sizeof value);
  *at += sizeof value;
}

static void put_text(uint8_t **at, const char *text, size_t length) {
  if (length) memcpy(*at, text, length);
  *at += length;
}

static size_t length_of(const char *text) { return text ? strlen(text) : 0; }

static int encode_announcement(hermes_context *context) {
  size_t size = 4;
  for (size_t i = 0; i < context->count; i++) {
    const signal_binding *signal = &context->signals[i];
    size += 16 + length_of(signal->name) + length_of(signal->unit) + length_of(signal->description);
  }
  uint8_t *bytes = context->announcement = malloc(size);
  if (!bytes) return ENOMEM;
  context->announcement_size = size;
  put_u32(&bytes, (uint32_t)context->count);
  for (size_t i = 0; i < context->count; i++) {
    const signal_binding *signal = &context->signals[i];
    size_t name = length_of(signal->name), unit = length_of(signal->unit), text = length_of(signal->description);
    *bytes++ = (uint8_t)signal->type;
    *bytes++ = (uint8_t)((signal->flags & 15u) | (signal->named ? ANNOUNCED_NAMED : 0u));
    *bytes++ = 0;
    *bytes++ = 0;
    put_u32(&bytes, (uint32_t)name);
    put_u32(&bytes, (uint32_t)unit);
    put_u32(&bytes, (uint32_t)text);
    put_text(&bytes, signal->name, name);
    put_text(&bytes, signal->unit, unit);
    put_text(&bytes, signal->description, text);
  }
  return 0;
}

const uint8_t *hermes_context_announcement(hermes_context *context, size_t *size) {
  *size = context->announcement_size;
  return context->announcement;
}

/* ---- Making and binding. ------------------------------------------------------------------------------- */

/* Marks whose callback runs on this thread. */
static hermes_context *enter(hermes_context *context) {
  hermes_context *before = thread_context;
  thread_context = context;
  context->failure[0] = 0;
  context->has_failed = 0;
  return before;
}

hermes_context *hermes_context_create(const char *name, const char *config, const char *shm,
                                      hermes_module_t *(*create)(void), void (*destroy)(hermes_module_t *)) {
  hermes_context *context = calloc(1, sizeof *context);
  if (!context) {
    hermes_error(ENOMEM, "out of memory");
    return NULL;
  }
  context->name = copy_text(name);
  context->config = copy_text(config);
  context->shm = copy_text(shm);
  context->destroy = destroy;
  context->announcing = 1;
  hermes_context *before = enter(context);
  context->module = create();
  if (context->module && context->module->list_signals) {
    const char **names = context->module->list_signals();
    for (; names && *names; names++) {
      signal_binding *signal = add_signal(context, *names);
      if (signal) signal->named = 1;
      else context->out_of_memory = 1;
    }
  }
  context->announcing = 0;
  thread_context = before;
  if (!context->module)
    hermes_error(EINVAL, "hermes_module_create gave no module%s%s", context->failure[0] ? ": " : "", context->failure);
  else if (context->out_of_memory || encode_announcement(context) != 0)
    hermes_error(ENOMEM, "out of memory while announcing signals");
  else return context;
  hermes_context_destroy(context);
  return NULL;
}

void hermes_context_destroy(hermes_context *context) {
  if (!context) return;
  if (context->module && context->destroy) {
    hermes_context *before = enter(context);
    context->destroy(context->module);
    thread_context = before == context ? NULL : before;
  }
  if (process_context == context) process_context = NULL;
  for (size_t i = 0; i < context->count; i++) {
    free(context->signals[i].name);
    free(context->signals[i].unit);
    free(context->signals[i].description);
  }
  free(context->signals);
  free(context->inputs);
  free(context->outputs);
  free(context->announcement);
  free(context->name);
  free(context->config);
  free(context->shm);
  free(context);
}

static void rebuild_lists(hermes_context *context) {
  context->input_count = context->output_count = 0;
  for (size_t i = 0; i < context->count; i++) {
    signal_binding *signal = &context->signals[i];
    int lives_in_segment = signal->resolved || (!signal->named && !signal->storage);
    if (lives_in_segment) continue;
    if (signal->wired || signal->writable) context->inputs[context->input_count++] = signal;
    if (!signal->wired) context->outputs[context->output_count++] = signal;
  }
}

int hermes_context_bind(hermes_context *context, hermes_view *view, uint32_t index) {
  if (index >= view->module_count) return EINVAL;
  uint32_t first = view->module_plans[index].first_signal, count = view->module_plans[index].signal_count;
  if (count < context->count || (uint64_t)first + count > view->signal_count) return EINVAL;
  /* What only the configuration lists is reached by get_signal and set_signal, as if list_signals had named it. */
  while (context->count < count) {
    uint32_t at = first + (uint32_t)context->count;
    char *qualified = copy_text(hermes_view_text(view, view->directory[at].name_offset));
    const char *dot = qualified ? strchr(qualified, '.') : NULL;
    signal_binding *listed = dot ? add_signal(context, dot + 1) : NULL;
    int code = !qualified || (dot && !listed) ? ENOMEM : dot ? 0 : EINVAL;
    free(qualified);
    if (code) return code;
    listed->named = 1;
  }
  for (size_t i = 0; i < context->count; i++) {
    uint32_t at = first + (uint32_t)i;
    signal_binding *signal = &context->signals[i];
    signal->slot = &view->data[at];
    signal->slot_type = view->directory[at].data_type;
    if (signal->slot_type > HERMES_BOOL) return EINVAL;
    if (!signal->named && signal->slot_type != signal->type) return EINVAL;
    signal->wired = (view->extras[at].bits & HERMES_EXTRA_WIRED) != 0;
    signal->writable = (view->directory[at].flags & HERMES_SIGNAL_WRITABLE) != 0;
  }
  context->inputs = calloc(context->count + 1, sizeof *context->inputs);
  context->outputs = calloc(context->count + 1, sizeof *context->outputs);
  if (!context->inputs || !context->outputs) return ENOMEM;
  context->view = view;
  context->index = index;
  context->dt = view->module_plans[index].dt;
  rebuild_lists(context);
  return 0;
}

hermes_view *hermes_context_view(hermes_context *context, uint32_t *index) {
  *index = context->index;
  return context->view;
}

/* ---- Values in and out. -------------------------------------------------------------------------------- */

static void store_slot(uint64_t *slot, uint64_t bits) { __atomic_store_n(slot, bits, __ATOMIC_RELAXED); }

static void hand_over(hermes_context *context, const signal_binding *signal) {
  uint64_t bits = *signal->slot;
  if (signal->named) {
    if (context->module->set_signal)
      context->module->set_signal(signal->name, hermes_bits_to_f64(bits, signal->slot_type));
    return;
  }
  switch (signal->type) {
  case HERMES_F64:
  case HERMES_I64: memcpy(signal->storage, &bits, 8); break;
  case HERMES_F32:
  case HERMES_I32: memcpy(signal->storage, &bits, 4); break;
  default: *(bool *)signal->storage = (uint8_t)bits != 0;
  }
}

static void read_back(hermes_context *context, const signal_binding *signal) {
  uint64_t bits = 0;
  if (signal->named) {
    if (!context->module->get_signal) return;
    bits = hermes_f64_to_bits(context->module->get_signal(signal->name), signal->slot_type);
  } else {
    switch (signal->type) {
    case HERMES_F64:
    case HERMES_I64: memcpy(&bits, signal->storage, 8); break;
    case HERMES_F32:
    case HERMES_I32: memcpy(&bits, signal->storage, 4); break;
    default: bits = *(const uint8_t *)signal->storage != 0;
    }
  }
  store_slot(signal->slot, bits);
}

/* After stage and reset every signal is read, inputs included. */
static void read_back_all(hermes_context *context) {
  if (!context->view) return;
  for (size_t i = 0; i < context->count; i++) {
    const signal_binding *signal = &context->signals[i];
    if (!signal->resolved && (signal->named || signal->storage)) read_back(context, signal);
  }
}

/* ---- Callbacks. ----------------------------------------------------------------------------------------- */

int hermes_context_init(hermes_context *context) {
  hermes_context *before = enter(context);
  int status = context->module->init ? context->module->init(context->config, context->shm) : 0;
  thread_context = before;
  return status;
}

int hermes_context_stage(hermes_context *context) {
  hermes_context *before = enter(context);
  int status = context->module->stage ? context->module->stage() : 0;
  if (status == 0) read_back_all(context);
  thread_context = before;
  return status;
}

int hermes_context_reset(hermes_context *context) {
  hermes_context *before = enter(context);
  int status = context->module->reset ? context->module->reset() : 0;
  if (status == 0) read_back_all(context);
  thread_context = before;
  return status;
}

int hermes_context_step(hermes_context *context) {
  hermes_context *before = enter(context);
  for (size_t i = 0; i < context->input_count; i++) hand_over(context, context->inputs[i]);
  int status = context->module->step ? context->module->step(context->dt) : 0;
  for (size_t i = 0; i < context->output_count; i++) read_back(context, context->outputs[i]);
  thread_context = before;
  return status;
}

int hermes_context_terminate(hermes_context *context) {
  uint32_t none = 0;
  if (!__atomic_compare_exchange_n(&context->termination, &none, TERMINATING, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    /* Another thread is at it: whoever goes on from here may take the module down, so not before it is done. */
    while (hermes_load(&context->termination) == TERMINATING)
      hermes_futex_wait(&context->termination, TERMINATING, HERMES_NEVER);
    return context->has_failed;
  }
  hermes_context *before = enter(context);
  if (context->module->terminate) context->module->terminate();
  thread_context = before;
  hermes_store_ordered(&context->termination, TERMINATED);
  hermes_futex_wake(&context->termination, INT_MAX);
  return context->has_failed;
}

int hermes_context_is_terminating(const hermes_context *context) { return hermes_load(&context->termination) != 0; }

uint8_t *hermes_context_save(hermes_context *context, size_t *size, int *status) {
  *status = -1;
  *size = 0;
  if (!context->save) return NULL;
  hermes_context *before = enter(context);
  uint8_t *bytes = NULL;
  size_t capacity = 0, needed = context->save(NULL, 0);
  while (needed != SIZE_MAX && (needed > capacity || !bytes)) {
    capacity = needed ? needed : 1;
    uint8_t *grown = realloc(bytes, capacity);
    if (!grown) {
      needed = SIZE_MAX;
      break;
    }
    bytes = grown;
    needed = context->save(bytes, capacity);
  }
  thread_context = before;
  if (needed == SIZE_MAX) {
    free(bytes);
    *status = 1;
    return NULL;
  }
  *size = needed;
  *status = 0;
  return bytes;
}

int hermes_context_load(hermes_context *context, const uint8_t *bytes, size_t size) {
  if (!context->load) return -1;
  hermes_context *before = enter(context);
  int status = context->load(bytes, size);
  if (status == 0) read_back_all(context);
  thread_context = before;
  return status;
}

const char *hermes_context_failure(const hermes_context *context) { return context->failure; }

/* ---- What a module can ask. ---------------------------------------------------------------------------- */

void hermes_fail(const char *format, ...) {
  hermes_context *context = hermes_context_current();
  if (!context) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(context->failure, sizeof context->failure, format, arguments);
  va_end(arguments);
  context->has_failed = 1;
}

const char *hermes_module_name(void) {
  hermes_context *context = hermes_context_current();
  return context && context->name ? context->name : "";
}

const char *hermes_config_path(void) {
  hermes_context *context = hermes_context_current();
  return context ? context->config : NULL;
}

uint64_t hermes_frame(void) {
  hermes_context *context = hermes_context_current();
  return context && context->view ? hermes_load64(&context->view->control->current_frame) : 0;
}

double hermes_time(void) {
  hermes_context *context = hermes_context_current();
  return context && context->view ? (double)hermes_frame() / context->view->rate_hz : 0.0;
}

hermes_handle_t hermes_resolve(const char *local_name) {
  hermes_handle_t handle = {NULL, 0, 0};
  hermes_context *context = hermes_context_current();
  if (!context || !context->view) {
    hermes_error(EINVAL, "hermes_resolve: handles exist from init on");
    return handle;
  }
  for (size_t i = 0; i < context->count; i++) {
    signal_binding *signal = &context->signals[i];
    if (strcmp(signal->name, local_name) != 0) continue;
    if (!signal->resolved) {
      signal->resolved = 1;
      rebuild_lists(context);
    }
    handle = (hermes_handle_t){signal->slot, signal->slot_type, signal->wired ? 1u : 0u};
    return handle;
  }
  hermes_error(ENOENT, "module %s has no signal '%s'", hermes_module_name(), local_name);
  return handle;
}

double hermes_read(hermes_handle_t handle) { return hermes_bits_to_f64(*(const uint64_t *)handle.slot, handle.type); }

void hermes_write(hermes_handle_t handle, double value) {
  if (!(handle.flags & 1u)) store_slot(handle.slot, hermes_f64_to_bits(value, handle.type));
}
