/* libyaml as the system ships it. Swift needs nothing of its own here: the parser's structs and events import as they are. */
#ifndef HERMES_CYAML_SHIM_H
#define HERMES_CYAML_SHIM_H

#include <yaml.h>

#endif
