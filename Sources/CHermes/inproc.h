/* Loading a module's shared object into the node. */
#ifndef HERMES_INPROC_H
#define HERMES_INPROC_H

/* dlopen, but a copy in memory for every module after the first from one file: the dynamic linker loads a file once,
 * and two modules would share their variables. NULL with hermes_last_error(). */
void *hermes_inproc_open(const char *path);

#endif
