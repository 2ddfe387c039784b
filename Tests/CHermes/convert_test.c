/* The conversion rule of wires against its words: f64(source) * gain, rounded, + offset, rounded, then the type. */
#include "check.h"

#include <fenv.h>
#include <hermes/client.h>
#include <hermes/module.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static uint64_t f64(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static uint64_t f32(float value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  return bits;
}

static void check_table(void) {
  static const struct {
    double value;
    int64_t wide;
    int32_t narrow;
    int truth;
  } rows[] = {
      {0.0, 0, 0, 0},
      {-0.0, 0, 0, 0},
      {0.5, 0, 0, 1},
      {1.5, 2, 2, 1},
      {2.5, 2, 2, 1},
      {-0.5, 0, 0, 1},
      {-1.5, -2, -2, 1},
      {-2.5, -2, -2, 1},
      {0.49999999999999994, 0, 0, 1},
      {4503599627370495.5, 4503599627370496, INT32_MAX, 1},
      {9007199254740993.0, 9007199254740992, INT32_MAX, 1},
      {2147483646.5, 2147483646, 2147483646, 1},
      {2147483647.4, 2147483647, INT32_MAX, 1},
      {2147483647.5, 2147483648, INT32_MAX, 1},
      {-2147483648.5, -2147483648, INT32_MIN, 1},
      {-2147483649.0, -2147483649, INT32_MIN, 1},
      {9223372036854775807.0, INT64_MAX, INT32_MAX, 1},
      {-9223372036854775808.0, INT64_MIN, INT32_MIN, 1},
      {1e300, INT64_MAX, INT32_MAX, 1},
      {-1e300, INT64_MIN, INT32_MIN, 1},
      {INFINITY, INT64_MAX, INT32_MAX, 1},
      {-INFINITY, INT64_MIN, INT32_MIN, 1},
      {NAN, 0, 0, 1},
      {5e-324, 0, 0, 1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint64_t source = f64(rows[i].value);
    CHECK(hermes_convert_bits(source, HERMES_F64, HERMES_I64, 1.0, 0.0) == (uint64_t)rows[i].wide);
    CHECK(hermes_convert_bits(source, HERMES_F64, HERMES_I32, 1.0, 0.0) == (uint32_t)rows[i].narrow);
    CHECK(hermes_convert_bits(source, HERMES_F64, HERMES_BOOL, 1.0, 0.0) == (uint64_t)rows[i].truth);
  }
}

static void check_copies(void) {
  uint64_t signalling = 0x7FF0000000000001u; /* a NaN that arithmetic would quieten */
  CHECK(hermes_convert_bits(signalling, HERMES_F64, HERMES_F64, 1.0, 0.0) == signalling);
  CHECK(hermes_convert_bits((uint64_t)INT64_MAX, HERMES_I64, HERMES_I64, 1.0, 0.0) == (uint64_t)INT64_MAX);
  CHECK(hermes_convert_bits((uint64_t)INT64_MAX, HERMES_I64, HERMES_I64, 1.0, -0.0) == (uint64_t)INT64_MAX);
  /* Through f64 as soon as there is a gain: 2^63 - 1 rounds to 2^63 and saturates back. */
  CHECK(hermes_convert_bits((uint64_t)INT64_MAX, HERMES_I64, HERMES_I64, 1.0, 1.0) == (uint64_t)INT64_MAX);
  CHECK(hermes_convert_bits((uint64_t)9007199254740993, HERMES_I64, HERMES_I64, 1.0, 1.0) == 9007199254740992u);
  CHECK(hermes_convert_bits(f64(-0.0), HERMES_F64, HERMES_F64, 2.0, 0.0) == f64(0.0));
}

/* 1 + 2^-30 squared needs more bits than a double has: only a fused operation would keep them. */
static void check_never_fused(void) {
  double x = 1.0 + 0x1p-30, gain = 1.0 + 0x1p-30;
  volatile double product = x * gain;
  double rounded_twice = product - 1.0, fused = fma(x, gain, -1.0);
  CHECK(rounded_twice != fused);
  CHECK(hermes_convert_bits(f64(x), HERMES_F64, HERMES_F64, gain, -1.0) == f64(rounded_twice));
}

static void check_narrow(void) {
  CHECK(hermes_convert_bits(f64(0.1), HERMES_F64, HERMES_F32, 1.0, 0.0) == f32(0.1f));
  CHECK(hermes_convert_bits(f64(1e300), HERMES_F64, HERMES_F32, 1.0, 0.0) == f32(INFINITY));
  CHECK(hermes_convert_bits(f32(0.1f), HERMES_F32, HERMES_F64, 1.0, 0.0) == f64((double)0.1f));
  CHECK(hermes_convert_bits((uint32_t)-7, HERMES_I32, HERMES_F64, 0.5, 0.0) == f64(-3.5));
  CHECK(hermes_convert_bits((uint32_t)-7, HERMES_I32, HERMES_I64, 1.0, 0.0) == (uint64_t)-7);
  CHECK(hermes_convert_bits((uint64_t)-1, HERMES_I64, HERMES_I32, 1.0, 0.0) == 0xFFFFFFFFu); /* the rest is zero */
  CHECK(hermes_convert_bits(1, HERMES_BOOL, HERMES_F64, -2.0, 1.0) == f64(-1.0));
}

/* The C library's rint in its default mode says the same for random doubles. */
static void check_random(void) {
  uint64_t state = 7;
  fesetround(FE_TONEAREST);
  for (int i = 0; i < 300000; i++) {
    uint64_t bits = next_random(&state);
    double value;
    if (i % 3 == 0) memcpy(&value, &bits, sizeof value);
    else value = (double)(int64_t)bits / (double)(1ull << (next_random(&state) % 64));
    double whole = rint(value);
    int64_t wide = isnan(value) ? 0 : whole >= 0x1p63 ? INT64_MAX : whole < -0x1p63 ? INT64_MIN : (int64_t)whole;
    int64_t narrow = isnan(value) ? 0 : whole > INT32_MAX ? INT32_MAX : whole < INT32_MIN ? INT32_MIN : (int64_t)whole;
    CHECK(hermes_f64_to_bits(value, HERMES_I64) == (uint64_t)wide);
    CHECK(hermes_f64_to_bits(value, HERMES_I32) == (uint32_t)(int32_t)narrow);
  }
}

int main(void) {
  check_table();
  check_copies();
  check_never_fused();
  check_narrow();
  check_random();
  /* A module that changed the rounding mode changes no wire into an integer. */
  fesetround(FE_UPWARD);
  CHECK(hermes_f64_to_bits(2.5, HERMES_I64) == 2 && hermes_f64_to_bits(-1.5, HERMES_I32) == (uint32_t)-2);
  return 0;
}
