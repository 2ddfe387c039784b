/* Why a call of the system failed, with the cure where a limit was reached. */
#ifndef HERMES_REASON_H
#define HERMES_REASON_H

/* For an errno of any call but those that start threads and processes. */
const char *hermes_reason(int code);
/* For an errno of pthread_create and fork, where EAGAIN tells of a limit. */
const char *hermes_start_reason(int code);

#endif
