// Rows of k numbers, as softmax takes them.
#pragma once

#include "elementwise.h"
#include "exp.h"
#include "sums.h"

namespace handgrad::HG_ISA {

HG_INLINE long grain_of_rows(long k) { return larger(1, COSTLY / larger(k, W)); }

// Numbers of a row, and `missing` behind its end.
HG_INLINE vec load(const float* p, Lanes at, float missing) {
  if (at.count == W) return load(p + at.first);
  vec v = broadcast(missing);
#if defined(HG_AVX512)
  v = (vec)_mm512_mask_loadu_ps((__m512)v, (__mmask16)((1u << at.count) - 1), p + at.first);
#else
  memcpy(&v, p + at.first, 4 * at.count);
#endif
  return v;
}

constexpr float INFINITE = __builtin_inff();

// The greatest of a row. A NaN may be lost here: in x - max it is still there.
HG_INLINE float greatest(long k, const float* x) {
  vec m = broadcast(-INFINITE);
  for_row(k, [&](Lanes at) {
    const vec v = load(x, at, -INFINITE);
    m = v > m ? v : m;
  });
  float s[W];
  memcpy(s, &m, sizeof m);
  for (int half = W / 2; half; half /= 2)
    for (int i = 0; i < half; ++i) s[i] = s[i + half] > s[i] ? s[i + half] : s[i];
  return s[0];
}

// The same of a row with infinity: where it is there once, all else is nothing beside it, and where it is there again,
// nothing can be said.
inline double exp_row_of_infinity(long k, const float* x, float* y) {
  long infinite = 0, others = 0;
  for (long i = 0; i < k; ++i) infinite += x[i] == INFINITE, others += x[i] < INFINITE;
  const bool known = infinite == 1 && others == k - 1;
  for (long i = 0; i < k; ++i) y[i] = known ? x[i] == INFINITE : __builtin_nanf("");
  return known ? 1 : __builtin_nan("");
}

// y = e^(x - max); returns the sum, taken in double precision.
HG_INLINE double exp_row(long k, const float* x, float max, float* y) {
  if (max == INFINITE) return exp_row_of_infinity(k, x, y);
  DoubleSum s;
  for_row(k, [&](Lanes at) {
    const vec e = exp(load(x, at, -INFINITE) - max);
    store(y, e, at);
    s.add(e);
  });
  return s.total();
}

}  // namespace handgrad::HG_ISA
