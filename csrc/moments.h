// What normalizations are computed from, and how a number is normalized.
#pragma once

#include "norm.h"
#include "simd.h"

namespace handgrad::HG_ISA {

// n numbers with a mean and a sum of squares about it join `before` others (T. F. Chan, G. H. Golub and
// R. J. LeVeque, Am. Stat. 37 (1983), 242-247).
HG_INLINE void join(double before, double n, double mean_n, double M2_n, double& mean, double& M2) {
  const double delta = mean_n - mean;
  mean += delta * (n / (before + n));
  M2 += M2_n + delta * delta * (before * n / (before + n));
}

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
