// Where floats end. The square of 1.9e19 is more than a float holds, and so are eight times 4.3e37. Kernels compute in
// float all the same, and look at what has come out: a sum that is infinite or NaN, or a scale so small that products
// with it are lost, sends a row, a column or a sample to a plain loop in double precision, which holds them all. Looking
// costs nothing, and ordinary numbers never get there.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {

// Whether a sum is infinite or NaN, which float arithmetic may be to blame for, and not the numbers.
static inline bool overflows(double sum) { return !(__builtin_fabs(sum) <= __DBL_MAX__); }
static inline bool any_overflows(long n, const double* sums) {
  double zero = 0;
  for (long i = 0; i < n; ++i) zero += 0 * sums[i];  // NaN, if one is infinite or NaN
  return zero != 0;
}

// Whether x - mean, or a product with s or its square, may leave what floats hold: of numbers that are about 1/s from the
// mean. No statistics that are NaN.
constexpr double LEAST_SCALE = 0x1p-60, GREATEST_MEAN = 0x1p120;
static inline bool is_wide(double mean, double s) {
  return (s < LEAST_SCALE && s >= 0) || (__builtin_fabs(mean) > GREATEST_MEAN && s == s && mean == mean);
}

// Whether a factor that x - mean is multiplied by has lost digits as a float, where x - mean makes up for its size.
static inline bool is_lost(double factor, double s) {
  return s < 0x1p-10 && factor != 0 && __builtin_fabs(factor) < __FLT_MIN__;
}

// Whether a comparison holds for one of its numbers.
HG_INLINE bool any(ivec holds) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)holds, (__m512i)holds);
#elif defined(__AVX2__) && !defined(HG_EMULATED)
  return !_mm256_testz_si256((__m256i)holds, (__m256i)holds);
#elif defined(__x86_64__) && !defined(HG_EMULATED)
  return _mm_movemask_epi8((__m128i)holds);
#else
  int32_t found = 0;
  for (int i = 0; i < W; ++i) found |= holds[i];
  return found;
#endif
}

}  // namespace handgrad::HG_ISA
