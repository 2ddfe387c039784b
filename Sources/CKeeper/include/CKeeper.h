/* The keeper: a small process between a node and the processes it starts.
 *
 * It is forked from the node before anything else and does four things that a node can't do for itself:
 * it is the parent of every module on a thread that never ends (parent-death signals fire when the *thread* that
 * forked exits), with a guard for each that ends what the module has started; it outlives a node killed with SIGKILL, gives the modules their second to reach a safe state and
 * then ends them with all they started; it removes the files of that run; and it holds the run's lock until then. */
#ifndef CKEEPER_H
#define CKEEPER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct keeper {
  int socket; /* -1 once closed */
  pid_t pid;
} keeper;

/* Forks the keeper. 0 or an errno value. */
int keeper_start(keeper *self);

typedef struct keeper_program {
  const char *const *arguments;   /* NULL-terminated; the first is the file to execute, an absolute path */
  const char *const *environment; /* NULL-terminated NAME=VALUE */
  const char *directory;
  int standard_output, standard_error; /* write ends of pipes */
} keeper_program;
/* Asks for a process, leader of a group of its own; an event tells what came of it. `id` names it from then on, and may be
 * given again once it is GONE. */
int keeper_spawn(keeper *self, uint32_t id, const keeper_program *program);
/* Tells the module of a process to end (SIGTERM): the module itself, wherever wrappers have put it, and the process where
 * nothing of libhermes runs in it yet. */
int keeper_terminate(keeper *self, uint32_t id);
/* SIGKILL for the process and everything it has started. */
int keeper_kill(keeper *self, uint32_t id);

/* Files to unlink should the node die, and folders to remove when empty. */
enum { KEEPER_UNLINK = 10, KEEPER_RMDIR = 11 };
int keeper_register(keeper *self, int what, const char *path);
/* The recording to cut after its last whole row should the node die, in place of one named before. The keeper shares the
 * descriptor, and so the lock on the file: it is not another's before it is cut. */
int keeper_trim(keeper *self, int recording);
/* Before foreign code runs inside this process: whatever that starts inherits the end of a pipe, by which the keeper finds it
 * and ends it should the node die. 0 or an errno value. */
int keeper_mark(keeper *self);
/* The keeper shares this descriptor, and so the lock on it, until it ends. */
int keeper_hold(keeper *self, int descriptor);
/* Has the keeper end this process once `process` (of keeper_process_open) has ended: it is continued, in case it is stopped,
 * has KEEPER_FOLLOW_MS to end by itself, and is then killed. */
int keeper_follow(keeper *self, int process);
enum { KEEPER_FOLLOW_MS = 4500 };

/* A process by descriptor: readable once it has ended, and never another process of the same number. -1 with errno. */
int keeper_process_open(pid_t pid);
/* Sends a signal to it. 0 or an errno value. */
int keeper_process_signal(int process, int signal);

/* A pipe for a process's output: closed on exec, its read end never blocks. 0 or an errno value. */
int keeper_pipe(int32_t ends[2]);

/* EXITED: the process has; GONE: so has everything it had started. A FAILED one is GONE at once. */
enum { KEEPER_STARTED = 1, KEEPER_FAILED = 2, KEEPER_EXITED = 3, KEEPER_GONE = 4 };
typedef struct keeper_event {
  uint32_t kind, id;
  int32_t pid;
  int32_t value; /* FAILED: errno; EXITED: the status of waitpid */
} keeper_event;
/* Reads one event from `socket`, blocking. 1, or 0 when the keeper is gone. */
int keeper_read_event(const keeper *self, keeper_event *event);

/* Ends what is left of the processes (SIGKILL), then the keeper; files stay. Returns when it is gone. */
void keeper_finish(keeper *self);
/* Closes the socket, once nobody reads events from it any more. */
void keeper_close(keeper *self);

/* Opens what `path` names beneath the folder `root` (openat2 RESOLVE_BENEATH): neither `..` nor a link leads out, whoever
 * changes the folder meanwhile. A descriptor, closed on exec, or -1 with errno; EXDEV for a path that leads out. */
int keeper_open_beneath(int root, const char *path, int flags);
/* Opens the folder `path` beneath `root`, "" for the root itself, made step by step (mode 0755) where it is missing; what is
 * there already may be a link as long as it stays beneath. A descriptor to name files by (O_PATH), or -1 with errno. */
int keeper_make_folder_beneath(int root, const char *path);
extern const int keeper_o_path; /* O_PATH, which <fcntl.h> shows to GNU sources only */

/* True for the status of a process that ended by a signal. */
int keeper_status_signal(int32_t status); /* 0 or the signal */
int keeper_status_code(int32_t status);

#endif
