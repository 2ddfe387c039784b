/* What Swift sees of libhermes: the public headers and the parts a node needs. */
#ifndef CHERMES_H
#define CHERMES_H

#include <hermes/client.h>
#include <hermes/module.h>
#include <hermes/segment.h>

/* Swift can't call variadic functions. */
static inline void hermes_fail_text(const char *text) { hermes_fail("%s", text); }

#include "../barrier.h"
#include "../context.h"
#include "../edge.h"
#include "../fifo.h"
#include "../inproc.h"
#include "../realtime.h"
#include "../segment_file.h"
#include "../spin.h"
#include "../view.h"

#endif
