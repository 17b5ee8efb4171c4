// What products are made of: floats or, in a set with dot products of pairs (HG_PAIRS), bf16.
//
// Pairs lie side by side, the number with the even place in the sum first: a row of A as it is, rows of B two by two,
// (depth/2, columns, 2), with zeros after the last of an odd depth.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {

#if defined(HG_PAIRS)

typedef bf16 Factor;
typedef uvec Factors;    // pairs, of which the first is in the lower half
constexpr int STEP = 2;  // products that a sum takes at a time

HG_INLINE Factors load_factors(const bf16* p) {
  Factors v;
  memcpy(&v, p, sizeof v);
  return v;
}
HG_INLINE Factors load_factors(const bf16* p, long n) {  // the first n < STEP*W numbers; the others are 0
  Factors v = {};
  memcpy(&v, p, sizeof(bf16) * n);
  return v;
}
HG_INLINE Factors broadcast_factors(const bf16* p) {
  uint32_t pair;
  memcpy(&pair, p, 4);
  return pair + Factors{};
}
HG_INLINE Factors broadcast_first(const bf16* p) { return (uint32_t)p->bits + Factors{}; }

// sum + a[1]*b[1] + a[0]*b[0] of every pair, in this order. Products of bf16 are exact, each sum is rounded to the
// nearest float, and numbers below the smallest normal one count as 0: that is the instruction's arithmetic.
HG_INLINE vec dot(vec sum, Factors a, Factors b) {
#if defined(__AVX512BF16__)
  return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
  const auto normal = [](uvec u) HG_INLINE_LAMBDA {
    return (vec)((u & 0x7f800000u) == 0 ? u & 0x80000000u : u);
  };
  sum = normal((uvec)(normal((uvec)sum) + normal(a & 0xffff0000u) * normal(b & 0xffff0000u)));
  return normal((uvec)(sum + normal(a << 16) * normal(b << 16)));
#endif
}

// Row d of B, of which a vector's pairs are at p: the first of each, with zeros behind them, or the second.
HG_INLINE void put(bf16* p, long d, vec v) {
  const uvec upper = rounded(v);
  const uvec pairs = d % 2 ? (uvec)load_factors(p) | (upper & 0xffff0000u) : upper >> 16;
  store((int32_t*)p, (ivec)pairs);
}

HG_INLINE bf16 factor(float a) { return {(uint16_t)(rounded(vec{a})[0] >> 16)}; }

#else

typedef float Factor;
typedef vec Factors;
constexpr int STEP = 1;

HG_INLINE Factors load_factors(const float* p) { return load(p); }
HG_INLINE Factors load_factors(const float* p, long n) { return load(p, n); }
HG_INLINE Factors broadcast_factors(const float* p) { return broadcast(*p); }
HG_INLINE Factors broadcast_first(const float* p) { return broadcast(*p); }
HG_INLINE vec dot(vec sum, Factors a, Factors b) { return sum + a * b; }
HG_INLINE void put(float* p, long, vec v) { store(p, v); }
HG_INLINE float factor(float a) { return a; }

#endif

// Numbers of the depth before the step that d belongs to.
HG_INLINE long steps_before(long d) { return d / STEP * STEP; }

}  // namespace handgrad::HG_ISA
