// Samples that are normalized each by itself, and the sums over all of them.
#pragma once

#include "columns.h"
#include "memory.h"
#include "simd.h"

namespace handgrad::HG_ISA {

// The n samples in parts, each of which adds up its gradients of gamma and beta. The sums of all are added in order.
struct Samples {
  long n, size, count;
  Samples(long n, long least) : n(n), size(larger(least, (n + PARTS - 1) / PARTS)), count((n + size - 1) / size) {}
  long begin(long part) const { return part * size; }
  long end(long part) const { return smaller(n, (part + 1) * size); }
};

// The sums of each part of the samples, in double; without beta where there is none.
class Gradients {
 public:
  Gradients(const Samples& samples, long c, bool with_beta = true)
      : parts_(samples.count), c_(c), row_(with_beta ? 2 * c : c), scratch_(2 * parts_ * row_) {
    if (parts_ > 0) memset(scratch_.data(), 0, 8 * parts_ * row_);
  }
  double* gamma(long part) const { return (double*)scratch_.data() + part * row_; }
  double* beta(long part) const { return gamma(part) + c_; }
  void total(float* dgamma, float* dbeta) const {
    for (long begin = 0; begin < row_; begin += LINE) {
      const long k = smaller(LINE, row_ - begin);
      double sums[LINE] = {};
      for (long part = 0; part < parts_; ++part)
        for (long j = 0; j < k; ++j) sums[j] += gamma(part)[begin + j];
      for (long j = begin; j < begin + k; ++j) (j < c_ ? dgamma[j] : dbeta[j - c_]) = (float)sums[j - begin];
    }
  }

 private:
  long parts_, c_, row_;
  Scratch scratch_;
};

// gamma or beta, or what stands for it.
class Given {
 public:
  Given(const float* p, long c, float otherwise) : scratch_(p ? 0 : c), p_(p ? p : scratch_.data()) {
    for (long j = 0; !p && j < c; ++j) scratch_.data()[j] = otherwise;
  }
  operator const float*() const { return p_; }

 private:
  Scratch scratch_;
  const float* p_;
};

}  // namespace handgrad::HG_ISA
