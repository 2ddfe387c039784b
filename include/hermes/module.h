/* hermes/module.h: how a simulation module meets Hermes.
 *
 * A module is one source file that defines hermes_module_create and hermes_module_destroy. Linked with
 * libhermes it is an executable (`type: process`; libhermes brings a weak main); compiled as a shared object
 * it is the same module for `type: inproc`.
 *
 * Order of calls: create, list_signals, (the segment is made), init, stage, then step for each frame; reset
 * at a frame edge; terminate and destroy at the end. All calls come on one thread, save that terminate may
 * come on another when the module hangs in a call and its simulation ends. A null function pointer means
 * "nothing to do". Functions returning int return 0 for success; any other number ends the run and is reported.
 */
#ifndef HERMES_MODULE_H
#define HERMES_MODULE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The seed ABI: names and signatures never change. -------------------------------------------------- */

typedef struct hermes_module_t {
  /* config_path: the module's `config:` file or NULL. shm_name: the segment's name, as "/hermes_sim". */
  int (*init)(const char *config_path, const char *shm_name);
  int (*stage)(void);
  /* dt: seconds of simulation time this step covers. */
  int (*step)(double dt);
  int (*reset)(void);
  void (*terminate)(void);
  /* The signals named by list_signals, by their local names ("position.x", not "vehicle.position.x"). Before
   * a step set_signal hands over wired and writable signals; after it get_signal reads all that are not wired. */
  double (*get_signal)(const char *name);
  void (*set_signal)(const char *name, double value);
  /* A NULL-terminated array, valid until destroy. These signals are f64 unless the configuration says otherwise. */
  const char **(*list_signals)(void);
} hermes_module_t;

hermes_module_t *hermes_module_create(void);
void hermes_module_destroy(hermes_module_t *module);

/* A segment by name ("/hermes_sim"); NULL with errno set when there is none or it is not a segment. */
void *hermes_shm_attach(const char *name);
void hermes_shm_detach(void *segment);
/* The current value of a signal by qualified name ("vehicle.position.x"), converted to double;
 * NaN with errno ENOENT when there is no such signal. */
double hermes_shm_get(void *segment, const char *qualified_name);
/* From the signal's own module: stored at once. From anyone else: queued, applied at the next frame edge.
 * errno is 0 on success, ENOENT unknown, EPERM wired or read-only, ENOBUFS queue full, ESHUTDOWN simulation over;
 * hermes_last_error() has the sentence. */
void hermes_shm_set(void *segment, const char *qualified_name, double value);

/* ---- Typed signals. ------------------------------------------------------------------------------------ */

typedef enum hermes_type_t { HERMES_F64 = 0, HERMES_F32 = 1, HERMES_I64 = 2, HERMES_I32 = 3, HERMES_BOOL = 4 } hermes_type_t;

enum {
  HERMES_WRITABLE = 1, /* users may set it from outside */
  HERMES_HIDDEN = 2,   /* not published: left out of recordings and digests */
  HERMES_INPUT = 4,    /* the module reads it; implies HERMES_WRITABLE while no wire drives it */
  HERMES_OUTPUT = 8    /* the module computes it; a wire into it is refused */
};

typedef struct hermes_signal_t {
  const char *name;        /* local name, UTF-8, 1 to 4096 bytes, no control characters */
  hermes_type_t type;
  unsigned flags;          /* HERMES_WRITABLE | ... */
  const char *unit;        /* "m", or NULL */
  const char *description; /* one line, or NULL */
  void *storage;           /* double*, float*, int64_t*, int32_t* or bool* in the module, copied before and after each
                              step; NULL: the value lives in the segment only, reach it with hermes_resolve */
} hermes_signal_t;

/* Announces one signal. Call between the start of hermes_module_create and the return of list_signals; the
 * strings are copied. 0, or -1 with hermes_last_error() set (also called too late). Two signals of one name are
 * reported by name when the module announces. */
int hermes_declare(const hermes_signal_t *signal);

/* ---- Resolved handles: a step without name look-ups. --------------------------------------------------- */

typedef struct hermes_handle_t {
  void *slot;    /* 8 bytes in the segment; NULL in a handle that did not resolve */
  uint32_t type; /* hermes_type_t */
  uint32_t flags; /* 1: a wire drives it, writes are ignored */
} hermes_handle_t;

/* A handle to one of the module's own signals, from init on. Its value then lives in the segment: libhermes no
 * longer copies it through storage or get_signal/set_signal. slot is NULL for an unknown name. */
hermes_handle_t hermes_resolve(const char *local_name);

/* Values as double; types convert by the rule of wires (integers round half to even and saturate, NaN to 0). */
double hermes_read(hermes_handle_t handle);
void hermes_write(hermes_handle_t handle, double value);

/* The typed pair for the common case, without a call: the handle must be of that type. */
static inline double hermes_read_f64(hermes_handle_t handle) {
  double value;
  memcpy(&value, handle.slot, sizeof value);
  return value;
}
static inline void hermes_write_f64(hermes_handle_t handle, double value) {
  if (!(handle.flags & 1u)) memcpy(handle.slot, &value, sizeof value);
}
static inline int64_t hermes_read_i64(hermes_handle_t handle) {
  int64_t value;
  memcpy(&value, handle.slot, sizeof value);
  return value;
}
static inline void hermes_write_i64(hermes_handle_t handle, int64_t value) {
  if (!(handle.flags & 1u)) memcpy(handle.slot, &value, sizeof value);
}

/* ---- What a module can ask. ---------------------------------------------------------------------------- */

const char *hermes_module_name(void); /* from create on; "" outside a simulation */
const char *hermes_config_path(void); /* from create on; NULL without `config:` */
uint64_t hermes_frame(void);          /* the frame being stepped (n while step computes frame n); 0 before */
double hermes_time(void);             /* seconds: the simulation time at the end of that frame, n / rate */

/* Says why init, stage, step, reset, save or load is about to return non-zero; shown in the report. In terminate: that the
 * module did not reach its safe state, and why; the run has then failed. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void hermes_fail(const char *format, ...);

/* The last error of this thread in a hermes_ function, or "". */
const char *hermes_last_error(void);

/* ---- State, for checkpoints, restarts and swaps. ------------------------------------------------------- */

/* save: writes at most `capacity` bytes into `buffer` (NULL when capacity is 0) and returns the size the state
 * needs; SIZE_MAX for an error. It is called again with a larger buffer when it needed more.
 * load: restores what save wrote; 0 for success. Call once, from hermes_module_create on. */
void hermes_provide_state(size_t (*save)(void *buffer, size_t capacity), int (*load)(const void *buffer, size_t size));

/* ---- The module's process. ------------------------------------------------------------------------------ */

/* Runs the module under its node until the simulation ends; the weak main of libhermes calls it.
 * Returns the process's exit code: 0 after terminate, 64 when not started by Hermes. */
int hermes_module_main(int argc, char **argv);
/* The same for a program that has these two functions under other names, as a language binding does. */
int hermes_module_run(hermes_module_t *(*create)(void), void (*destroy)(hermes_module_t *));

#ifdef __cplusplus
}
#endif
#endif
