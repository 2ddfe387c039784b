/* One module inside a process: its announced signals, how their values travel, and its callbacks.
 * The same in a module's own process and in a node that runs it inproc. */
#ifndef HERMES_CONTEXT_H
#define HERMES_CONTEXT_H

#include "view.h"

#include <hermes/module.h>

typedef struct hermes_context hermes_context;

/* Makes a module: calls `create`, then list_signals. Strings are copied; config may be NULL.
 * NULL with hermes_last_error() when create gave no module. */
hermes_context *hermes_context_create(const char *name, const char *config, const char *shm,
                                      hermes_module_t *(*create)(void), void (*destroy)(hermes_module_t *));
void hermes_context_destroy(hermes_context *context);

/* The announcement's bytes (docs/processes.md); they live as long as the context. */
const uint8_t *hermes_context_announcement(hermes_context *context, size_t *size);

/* Ties the announced signals to the slots of module `index` in the segment. The view must outlive the context.
 * 0, or EINVAL when segment and announcement do not fit together. */
int hermes_context_bind(hermes_context *context, hermes_view *view, uint32_t index);

/* The module's callbacks with what belongs to them; each returns the module's own code. */
int hermes_context_init(hermes_context *context);
int hermes_context_stage(hermes_context *context); /* then every signal's value goes to its slot */
int hermes_context_step(hermes_context *context);  /* values in, step, values out */
int hermes_context_reset(hermes_context *context); /* as stage */
/* At most once, whoever calls; a second caller returns when the first is done. 0, or 1 when the module said by hermes_fail
 * that it did not reach its safe state. */
int hermes_context_terminate(hermes_context *context);
int hermes_context_is_terminating(const hermes_context *context);
/* The module's state; NULL with *status set when it can't: -1 the module saves nothing. Freed by the caller. */
uint8_t *hermes_context_save(hermes_context *context, size_t *size, int *status);
int hermes_context_load(hermes_context *context, const uint8_t *bytes, size_t size);

/* What hermes_fail said since the last callback began, or "". */
const char *hermes_context_failure(const hermes_context *context);
/* The context that functions without one mean: this thread's, else the process's. */
hermes_context *hermes_context_current(void);
void hermes_context_set_process(hermes_context *context);
/* The module's index and segment once bound; NULL before. */
hermes_view *hermes_context_view(hermes_context *context, uint32_t *index);

#endif
