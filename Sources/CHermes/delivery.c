#include "barrier.h"

#include <fenv.h>
#include <hermes/client.h>
#include <string.h>

static uint64_t converted(const hermes_wire_convert *wire, const uint64_t *data) {
  return hermes_convert_bits(data[wire->source], wire->source_type, wire->destination_type, wire->gain, wire->offset);
}

/* No destination is read here: every wire goes straight to its place. */
static void deliver_directly(hermes_view *view, const hermes_delivery *delivery) {
  uint64_t *restrict data = view->data;
  const hermes_wire_run *run = view->runs + delivery->run_begin;
  for (uint32_t i = 0; i < delivery->run_count; i++)
    memcpy(data + run[i].destination, data + run[i].source, (size_t)run[i].count * 8);
  const hermes_wire_copy *copy = view->copies + delivery->copy_begin;
  for (uint32_t i = 0; i < delivery->copy_count; i++) data[copy[i].destination] = data[copy[i].source];
  const hermes_wire_convert *convert = view->converts + delivery->convert_begin;
  for (uint32_t i = 0; i < delivery->convert_count; i++)
    data[convert[i].destination] = converted(&convert[i], data);
}

/* Some destination is also a source: every source is read before any destination is written. */
static void deliver_through_stage(hermes_view *view, const hermes_delivery *delivery) {
  uint64_t *data = view->data, *next = view->stage;
  const hermes_wire_run *run = view->runs + delivery->run_begin;
  const hermes_wire_copy *copy = view->copies + delivery->copy_begin;
  const hermes_wire_convert *convert = view->converts + delivery->convert_begin;
  for (uint32_t i = 0; i < delivery->run_count; next += run[i].count, i++)
    memcpy(next, data + run[i].source, (size_t)run[i].count * 8);
  for (uint32_t i = 0; i < delivery->copy_count; i++) *next++ = data[copy[i].source];
  for (uint32_t i = 0; i < delivery->convert_count; i++) *next++ = converted(&convert[i], data);

  next = view->stage;
  for (uint32_t i = 0; i < delivery->run_count; next += run[i].count, i++)
    memcpy(data + run[i].destination, next, (size_t)run[i].count * 8);
  for (uint32_t i = 0; i < delivery->copy_count; i++) data[copy[i].destination] = *next++;
  for (uint32_t i = 0; i < delivery->convert_count; i++) data[convert[i].destination] = *next++;
}

void hermes_deliver(hermes_view *view, uint32_t index) {
  const hermes_delivery *delivery = &view->deliveries[index];
  /* Whoever finishes a phase last delivers, under whatever rounding and flushing of small numbers its module has set.
   * The result must not depend on who that is. */
  fenv_t before;
  if (delivery->convert_count) {
    fegetenv(&before);
    fesetenv(FE_DFL_ENV);
  }
  if (delivery->staged) deliver_through_stage(view, delivery);
  else deliver_directly(view, delivery);
  if (delivery->convert_count) fesetenv(&before);
}

void hermes_gather(hermes_view *view, uint32_t phase) { hermes_deliver(view, view->control->phase_count + 1 + phase); }
