/* The arguments of this process, noted before any other code of it runs. */
#include "CLinux.h"

#include <stddef.h>

static int noted_count;
static char *const *noted;

/* The C library hands constructors what it hands main. */
__attribute__((constructor)) static void note_arguments(int count, char **arguments, char **environment) {
  (void)environment;
  noted_count = count;
  noted = arguments;
}

char *const *linux_arguments(int *count) {
  *count = noted ? noted_count : 0;
  return noted;
}
