/* The conversion rule: f64(source) * gain, rounded, + offset, rounded, then the destination's type. */
#include "platform.h"

#include <hermes/client.h>
#include <hermes/module.h>
#include <math.h>

double hermes_bits_to_f64(uint64_t bits, uint32_t type) {
  switch (type) {
  case HERMES_F64: {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
  }
  case HERMES_F32: {
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
  }
  case HERMES_I64: return (double)(int64_t)bits;
  case HERMES_I32: return (double)(int32_t)(uint32_t)bits;
  default: return (uint8_t)bits != 0 ? 1.0 : 0.0;
  }
}

/* Round half to even whatever the thread's rounding mode; values from 2^52 up are whole already. */
static double round_half_even(double value) {
  double magnitude = fabs(value);
  if (!(magnitude < 4503599627370496.0)) return value;
  double below = floor(magnitude), rest = magnitude - below;
  double rounded = below + (rest > 0.5 || (rest == 0.5 && fmod(below, 2.0) != 0.0) ? 1.0 : 0.0);
  return copysign(rounded, value);
}

static int64_t to_integer(double value, double low, double high, int64_t minimum, int64_t maximum) {
  if (isnan(value)) return 0;
  double whole = round_half_even(value);
  if (whole <= low) return minimum;
  if (whole >= high) return maximum;
  return (int64_t)whole;
}

uint64_t hermes_f64_to_bits(double value, uint32_t type) {
  uint64_t bits = 0;
  switch (type) {
  case HERMES_F64: memcpy(&bits, &value, sizeof value); break;
  case HERMES_F32: {
    float narrow = (float)value;
    memcpy(&bits, &narrow, sizeof narrow);
    break;
  }
  case HERMES_I64:
    bits = (uint64_t)to_integer(value, -9223372036854775808.0, 9223372036854775808.0, INT64_MIN, INT64_MAX);
    break;
  case HERMES_I32:
    bits = (uint32_t)(int32_t)to_integer(value, -2147483648.0, 2147483647.0, INT32_MIN, INT32_MAX);
    break;
  default: bits = value != 0.0 ? 1 : 0; /* NaN != 0 holds: NaN is true */
  }
  return bits;
}

uint64_t hermes_convert_bits(uint64_t bits, uint32_t source_type, uint32_t destination_type, double gain,
                             double offset) {
  if (source_type == destination_type && gain == 1.0 && offset == 0.0) return bits;
  /* volatile: each operation is rounded on its own; a fused multiply-add would round once. */
  volatile double product = hermes_bits_to_f64(bits, source_type) * gain;
  volatile double sum = product + offset;
  return hermes_f64_to_bits(sum, destination_type);
}
