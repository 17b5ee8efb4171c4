// The exponential, and functions made of it, for whole vectors.
//
//     e^x = 2^n * e^r     n = x/ln(2), rounded,  r = x - n*ln(2) in +-ln(2)/2     (Cody and Waite)
//     e^r = 1 + r + r^2*q(r)
//
// ln(2) is subtracted in two parts, of which the first has so few digits that n times it is exact. Coefficients
// are minimax fits, relative to the result. Errors in units of the last place, over all floats, with and without
// fused multiply-adds: exp and expm1 1.2, sigmoid 2.5, tanh 2.6, softplus 2.8, the normal distribution 6. Results
// below the smallest normal number are rounded to denormals, not flushed to 0. NaN passes through.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {


HG_INLINE vec absolute(vec v) { return (vec)((uvec)v & 0x7fffffffu); }
HG_INLINE vec with_sign_of(vec sign, vec v) { return (vec)(((uvec)sign & 0x80000000u) | (uvec)v); }

// What a limit does to NaN: nothing.
HG_INLINE vec at_most(vec v, float limit) { return v > limit ? broadcast(limit) : v; }
HG_INLINE vec at_least(vec v, float limit) { return v < limit ? broadcast(limit) : v; }

// The nearest whole number, of |v| < 2^22: at 1.5*2^23 floats are whole numbers.
HG_INLINE vec nearest(vec v) { return (v + 12582912.f) - 12582912.f; }

// 2^n of whole numbers -126 <= n <= 127; p*2^n of whole numbers -252 <= n <= 254, rounded once.
HG_INLINE vec power_of_two(ivec n) { return (vec)((uvec)(n + 127) << 23); }
HG_INLINE vec scale(vec p, vec n) {
#if defined(HG_AVX512)
  return (vec)_mm512_maskz_scalef_ps(0xffff, (__m512)p, (__m512)n);
#else
  const ivec k = __builtin_convertvector(n, ivec), half = k >> 1;
  return p * power_of_two(half) * power_of_two(k - half);
#endif
}

constexpr float LOG2_E = 1.44269504088896341f;
constexpr float LN2_HIGH = 0.693359375f;  // 355/512
constexpr float LN2_LOW = -2.12194440054690583e-4f;

// q(r), for |r| <= ln(2)/2.
HG_INLINE vec exp_polynomial(vec r) {
  vec q = r * 1.3814219944e-3f + 8.3688985062e-3f;
  q = q * r + 4.1668405732e-2f;
  q = q * r + 1.6666519132e-1f;
  return q * r + 4.9999993347e-1f;
}
HG_INLINE vec exp_reduced(vec r) { return (exp_polynomial(r) * r + 1) * r + 1; }

HG_INLINE vec exp_up_to_89(vec x) {
  x = at_least(x, -104.f);  // e^-104 is 0
  const vec n = nearest(x * LOG2_E);
  return scale(exp_reduced((x - n * LN2_HIGH) - n * LN2_LOW), n);
}

HG_INLINE vec exp(vec x) { return exp_up_to_89(at_most(x, 89.f)); }  // e^89 is infinite

// e^x - 1 = 2^n*(e^r - 1) + (2^n - 1) for x <= 0, as exact near 0 as elsewhere, and e^x.
struct ExpNegative {
  vec expm1, exp;
};
HG_INLINE ExpNegative exp_negative(vec x) {
  x = at_least(x, -20.f);  // below, the first is -1, and less than a unit in the last place of 1 is left of the other
  const vec n = nearest(x * LOG2_E);
  const vec r = (x - n * LN2_HIGH) - n * LN2_LOW;
  const vec two_n = power_of_two(__builtin_convertvector(n, ivec)), p = two_n * (r + r * r * exp_polynomial(r));
  return {p + (two_n - 1), p + two_n};
}
HG_INLINE vec expm1_negative(vec x) { return exp_negative(x).expm1; }

// What is lost when a square is rounded: t*t - t2 for t2 = t*t.
HG_INLINE vec rest_of_square(vec t, vec t2) {
#if defined(HG_AVX512)
  return (vec)_mm512_fmsub_ps((__m512)t, (__m512)t, (__m512)t2);
#elif defined(__AVX2__)
  return (vec)_mm256_fmsub_ps((__m256)t, (__m256)t, (__m256)t2);
#else
  const vec h = (vec)((uvec)t & 0xfffff000u);  // half of the digits, and so an exact square
  return (h * h - t2) + (t - h) * (t + h);
#endif
}

// e^(-t^2/2) for 0 <= t <= 14.6. The rounding of a square of 200 would be an error of some ten units in the result.
HG_INLINE vec exp_half_square(vec t) {
  const vec t2 = t * t, rest = rest_of_square(t, t2), n = nearest(t2 * (-0.5f * LOG2_E));
  return scale(exp_reduced((-0.5f * t2 - n * LN2_HIGH) - n * LN2_LOW - 0.5f * rest), n);
}

// 1/v to a unit in the last place, for v far from 0 and infinity.
HG_INLINE vec reciprocal(vec v) {
#if defined(HG_AVX512)
  const vec r = (vec)_mm512_maskz_rcp14_ps(0xffff, (__m512)v);
  return r + r * (1 - v * r);  // Newton's step doubles the 14 bits
#else
  return 1 / v;
#endif
}

// tanh(x) with the sign of x: (1 - E)/(1 + E) with E = e^(-2|x|), as -e/(2 + e) with e = E - 1 where that is less
// than 1/2, and as 1 - 2*E/(1 + E) above, where e has lost what E still has.
HG_INLINE vec tanh(vec x) {
  const vec t = absolute(x);
  const ExpNegative of = exp_negative(-2 * t);
  const ivec large = t > 0.549306144f;
  const vec q = (large ? 2 * of.exp : absolute(of.expm1)) / (large ? 1 + of.exp : 2 + of.expm1);
  return with_sign_of(x, large ? 1 - q : q);
}

// s = 1/(1 + e^-x) and its derivative s*(1 - s), from e = e^-|x|, which does not overflow.
struct Sigmoid {
  vec s, derivative;
};
HG_INLINE Sigmoid sigmoid_and_derivative(vec x) {
  const vec e = exp_up_to_89(-absolute(x)), r = 1 / (1 + e);
  return {x < 0 ? e * r : r, e * r * r};
}
HG_INLINE vec sigmoid(vec x) {
  const vec e = exp_up_to_89(-absolute(x));
  return (x < 0 ? e : broadcast(1)) / (1 + e);
}

// log(1 + e) for 0 <= e <= 1: twice the inverse hyperbolic tangent of s = e/(2 + e), which is
// 2*s + 2*s^3*h(s^2).
HG_INLINE vec log1p(vec e) {
  const vec s = e / (2 + e), z = s * s;
  vec h = z * 1.4012213460e-1f + 1.3999574223e-1f;
  h = h * z + 2.0010849265e-1f;
  h = h * z + 3.3333206572e-1f;
  return 2 * s + 2 * s * z * h;
}

// log(1 + e^x)
HG_INLINE vec softplus(vec x) { return relu(x) + log1p(exp_up_to_89(-absolute(x))); }

// The normal distribution: Phi(x), and e^(-x^2/2), of which its density is a multiple.
struct Normal {
  vec cdf, e;
};
// Phi(-t) = e^(-t^2/2)*w*P(q) with w = 1/(t + 4), q = (t - 4)*w, so that the tail has all its digits.
HG_INLINE Normal normal(vec x) {
  const vec t = at_most(absolute(x), 14.6f);  // Phi(-14.6) is less than the smallest float
  const vec e = exp_half_square(t), w = reciprocal(t + 4), q = (t - 4) * w;
  vec p = q * -1.3243376988782054e-4f + 1.783710606161252e-4f;
  p = p * q + 1.5695900411573803e-3f;
  p = p * q - 3.5120776038780168e-3f;
  p = p * q - 7.5250038023749665e-3f;
  p = p * q + 6.0403764631739354e-2f;
  p = p * q - 1.8652348598588459e-1f;
  p = p * q + 3.8713690390144223e-1f;
  p = p * q - 6.078965865545927e-1f;
  p = p * q + 7.552851353618875e-1f;
  const vec tail = e * (w * p);
  return {x < 0 ? tail : 1 - tail, e};
}

}  // namespace handgrad::HG_ISA
