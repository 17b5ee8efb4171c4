// How a number is normalized.
#pragma once

#include "norm.h"
#include "simd.h"

namespace handgrad::HG_ISA {

// y = a*(x - h) + b with a = gamma*s, h the float nearest to the mean, so that the difference is exact near it,
// and what h lacks in b = beta - a*(mean - h). At a mean of 1e6 h alone would be 0.03 off.
HG_INLINE vec normalized(vec x, vec a, vec h, vec b) { return a * (x - h) + b; }

struct Affine {
  const Normalization& f;
  double a(long j) const { return f.gamma ? f.gamma[j] * f.s[j] : f.s[j]; }
  float h(long j) const { return (float)f.mean[j]; }
  double low(long j) const { return f.mean[j] - h(j); }
  double b(long j) const { return (f.beta ? f.beta[j] : 0) - a(j) * low(j); }
};

}  // namespace handgrad::HG_ISA
