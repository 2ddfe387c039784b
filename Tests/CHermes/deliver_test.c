/* Deliveries against a plain model: every source is read before any destination is written. */
#include "small_segment.h"

#include "barrier.h"

#include <hermes/client.h>

enum { SIGNALS = 60, CASES = 2000 };

static void deliver_at_random(hermes_view *view, uint64_t *random) {
  uint64_t before[SIGNALS], expected[SIGNALS];
  int is_destination[SIGNALS] = {0}, is_source[SIGNALS] = {0};
  for (uint32_t s = 0; s < SIGNALS; s++) before[s] = expected[s] = view->data[s] = next_random(random);

  hermes_delivery delivery = {0};
  while (delivery.run_count < 4) {
    uint32_t count = 1 + (uint32_t)(next_random(random) % 6);
    uint32_t source = (uint32_t)(next_random(random) % (SIGNALS - count)), destination = (uint32_t)(next_random(random) % (SIGNALS - count));
    int taken = 0;
    for (uint32_t i = 0; i < count; i++) taken |= is_destination[destination + i] || source + i == destination + i;
    if (taken) continue;
    for (uint32_t i = 0; i < count; i++) {
      is_destination[destination + i] = is_source[source + i] = 1;
      expected[destination + i] = before[source + i];
    }
    view->runs[delivery.run_count++] = (hermes_wire_run){source, destination, count};
  }
  for (int wire = 0; wire < 12; wire++) {
    uint32_t source = (uint32_t)(next_random(random) % SIGNALS), destination = (uint32_t)(next_random(random) % SIGNALS);
    if (is_destination[destination] || source == destination) continue;
    is_destination[destination] = is_source[source] = 1;
    if (wire % 2) {
      view->copies[delivery.copy_count++] = (hermes_wire_copy){source, destination};
      expected[destination] = before[source];
    } else {
      uint8_t from = (uint8_t)(next_random(random) % 5), to = (uint8_t)(next_random(random) % 5);
      view->converts[delivery.convert_count++] =
          (hermes_wire_convert){.source = source, .destination = destination, .source_type = from, .destination_type = to, .gain = 2.0, .offset = -1.0};
      expected[destination] = hermes_convert_bits(before[source], from, to, 2.0, -1.0);
    }
  }
  for (uint32_t s = 0; s < SIGNALS; s++) delivery.staged |= (uint32_t)(is_destination[s] && is_source[s]);
  view->deliveries[0] = delivery;
  hermes_deliver(view, 0);
  CHECK(memcmp(expected, view->data, sizeof expected) == 0);
  if (!delivery.staged) { /* through the stage it is the same */
    memcpy(view->data, before, sizeof before);
    view->deliveries[0].staged = 1;
    hermes_deliver(view, 0);
    CHECK(memcmp(expected, view->data, sizeof expected) == 0);
  }
}

int main(void) {
  hermes_view view;
  small_segment(&view, (small_shape){.signals = SIGNALS, .modules = 1, .phases = 1, .runs = 4, .copies = 12, .converts = 12, .queue = 8});
  uint64_t random = 11;
  for (int i = 0; i < CASES; i++) deliver_at_random(&view, &random);
  small_segment_remove(&view);
  return 0;
}
