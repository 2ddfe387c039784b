#include "barrier.h"

#include <fenv.h>
#include <hermes/client.h>
#include <string.h>

/* A module's process delivers by tables that lie in the segment, and others may write over those. An index that leads out of
 * the data is left out and reported; one that leads elsewhere in it is found by the node, which has copies. */
typedef struct {
  const hermes_wire_run *runs;
  const hermes_wire_copy *copies;
  const hermes_wire_convert *converts;
  uint32_t run_count, copy_count, convert_count;
} wires;

static int fits(uint32_t begin, uint32_t count, uint64_t limit) { return begin <= limit && count <= limit - begin; }

static int find_wires(const hermes_view *view, const hermes_delivery *delivery, wires *all) {
  hermes_delivery read = *delivery;
  *all = (wires){view->runs + read.run_begin, view->copies + read.copy_begin, view->converts + read.convert_begin,
                 read.run_count, read.copy_count, read.convert_count};
  return fits(read.run_begin, read.run_count, view->run_limit) && fits(read.copy_begin, read.copy_count, view->copy_limit) &&
         fits(read.convert_begin, read.convert_count, view->convert_limit);
}

static uint64_t converted(const hermes_wire_convert *wire, uint64_t bits) {
  return hermes_convert_bits(bits, wire->source_type, wire->destination_type, wire->gain, wire->offset);
}

/* No destination is read here: every wire goes straight to its place. */
static int deliver_directly(uint64_t *data, uint64_t slots, const wires *all) {
  int is_sound = 1;
  for (uint32_t i = 0; i < all->run_count; i++) {
    hermes_wire_run run = all->runs[i];
    if (fits(run.source, run.count, slots) && fits(run.destination, run.count, slots))
      memmove(data + run.destination, data + run.source, (size_t)run.count * 8);
    else is_sound = 0;
  }
  for (uint32_t i = 0; i < all->copy_count; i++) {
    hermes_wire_copy copy = all->copies[i];
    if (copy.source < slots && copy.destination < slots) data[copy.destination] = data[copy.source];
    else is_sound = 0;
  }
  for (uint32_t i = 0; i < all->convert_count; i++) {
    const hermes_wire_convert *wire = &all->converts[i];
    uint32_t source = wire->source, destination = wire->destination;
    if (source < slots && destination < slots) data[destination] = converted(wire, data[source]);
    else is_sound = 0;
  }
  return is_sound;
}

/* Some destination is also a source: every source is read before any destination is written. */
static int deliver_through_stage(hermes_view *view, const wires *all) {
  uint64_t *data = view->data, *next = view->stage, slots = view->slot_count, room = view->stage_limit;
  for (uint32_t i = 0; i < all->run_count; i++) {
    hermes_wire_run run = all->runs[i];
    if (!fits(run.source, run.count, slots) || run.count > room) return 0;
    memcpy(next, data + run.source, (size_t)run.count * 8);
    next += run.count;
    room -= run.count;
  }
  if ((uint64_t)all->copy_count + all->convert_count > room) return 0;
  for (uint32_t i = 0; i < all->copy_count; i++) {
    uint32_t source = all->copies[i].source;
    if (source >= slots) return 0;
    *next++ = data[source];
  }
  for (uint32_t i = 0; i < all->convert_count; i++) {
    uint32_t source = all->converts[i].source;
    if (source >= slots) return 0;
    *next++ = converted(&all->converts[i], data[source]);
  }

  next = view->stage;
  room = view->stage_limit;
  for (uint32_t i = 0; i < all->run_count; i++) {
    hermes_wire_run run = all->runs[i];
    if (!fits(run.destination, run.count, slots) || run.count > room) return 0;
    memcpy(data + run.destination, next, (size_t)run.count * 8);
    next += run.count;
    room -= run.count;
  }
  if ((uint64_t)all->copy_count + all->convert_count > room) return 0;
  for (uint32_t i = 0; i < all->copy_count; i++) {
    uint32_t destination = all->copies[i].destination;
    if (destination >= slots) return 0;
    data[destination] = *next++;
  }
  for (uint32_t i = 0; i < all->convert_count; i++) {
    uint32_t destination = all->converts[i].destination;
    if (destination >= slots) return 0;
    data[destination] = *next++;
  }
  return 1;
}

int hermes_deliver(hermes_view *view, uint32_t index) {
  const hermes_delivery *delivery = &view->deliveries[index];
  wires all;
  if (!find_wires(view, delivery, &all)) return 0;
  /* Whoever finishes a phase last delivers, under whatever rounding and flushing of small numbers its module has set.
   * The result must not depend on who that is. */
  fenv_t before;
  if (all.convert_count) {
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
  }
  int is_sound = delivery->staged ? deliver_through_stage(view, &all) : deliver_directly(view->data, view->slot_count, &all);
  if (all.convert_count) fesetenv(&before);
  return is_sound;
}

int hermes_gather(hermes_view *view, uint32_t phase) { return hermes_deliver(view, view->phase_count + 1 + phase); }
