/* What Linux gives a process that Swift has no word for. */
#ifndef CLINUX_H
#define CLINUX_H

#include <stdint.h>

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

#endif
