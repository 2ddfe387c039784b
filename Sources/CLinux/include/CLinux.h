/* What Linux gives a process that Swift has no word for. */
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <sys/types.h>

/* The arguments this process was started with, as the C library got them from the kernel: *count of them, the program's name
 * among them; 0 when there are none. Swift finds its `CommandLine` by going backwards from `environ`, which misses them when
 * a preloaded library has called setenv by then. */
char *const *linux_arguments(int *count);

/* Puts what a process inherits into a known state, whatever started it. For the first line of a program, never for a library:
 * - standard descriptors that are closed lead to /dev/null, so that no file takes their number;
 * - no signal is blocked, and none is ignored but SIGINT, SIGQUIT and SIGHUP, which nohup and shells ignore on purpose;
 * - a file that grows beyond its limit is an error of the call (EFBIG) and not the end by SIGXFSZ;
 * - the umask leaves the owner's own permissions alone. */
void linux_reset_inherited(void);

/* From now on SIGINT, SIGTERM and SIGHUP become bytes (their numbers) in a pipe, whose read end this returns; -1 with errno.
 * SIGINT and SIGHUP stay ignored where they are. A pipe without a reader is an error of the call (EPIPE). */
int linux_signal_pipe(void);

/* The signal does nothing from now on. Not SIG_IGN, which would go on to every program started from here; and a child that
 * was forked and executes nothing has the default again. */
void linux_disregard(int signal);

/* In a child that is about to execute a program: every signal has its default, none is blocked. */
void linux_default_signals(void);

/* Closes what is open beyond the standard descriptors, save `kept`, which it sorts. */
void linux_close_others(int *kept, size_t count);

/* The children of a process, reaped ones aside: calls `each` with every pid. How many there are; -1 when the system does not
 * tell. */
int linux_each_child(pid_t parent, void (*each)(pid_t child, void *argument), void *argument);
/* Sends a signal to everything that descends from this process. */
void linux_signal_descendants(int signal);

/* From now on what descends from this process and loses its parent becomes its child, also from a session of its own. For
 * programs that run foreign code inside. */
void linux_adopt_orphans(void);
/* Ends all children (SIGTERM, then SIGKILL) but those that were there before linux_adopt_orphans; nothing without that. */
void linux_end_children(void);

#endif
