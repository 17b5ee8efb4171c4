// Statistics, of which there are some for each part of the numbers, and which are joined.
#pragma once

#include "conv.h"
#include "memory.h"
#include "simd.h"
#include "threads.h"

namespace handgrad::HG_ISA {

// n numbers with a mean and a sum of squares about it join `before` others (T. F. Chan, G. H. Golub and
// R. J. LeVeque, Am. Stat. 37 (1983), 242-247).
HG_INLINE void join(double before, double n, double mean_n, double M2_n, double& mean, double& M2) {
  const double delta = mean_n - mean;
  mean += delta * (n / (before + n));
  M2 += M2_n + delta * delta * (before * n / (before + n));
}

// The sums of one chunk, in the order of its tiles: of d = y - y0 and d^2 with y0 the mean of its first tile, so that
// the second is not much more than the chunk's own part. Few enough numbers are added up in float.
struct ChunkSums {
  float *y0, *s1, *s2;
  long count;
  ChunkSums(float* scratch, long filters)
      : y0(scratch), s1(y0 + round_up(filters, W)), s2(s1 + round_up(filters, W)), count(0) {}

  template <int M>
  HG_INLINE_MEMBER void add(const vec (*o)[M], long rows, long columns, long k) {
    vec y0_k, s1_k = {}, s2_k = {};
    if (count == 0) {
      y0_k = vec{};
      for (long i = 0; i < rows; ++i)
        for (long j = 0; j < columns; ++j) y0_k += o[i][j];
      y0_k = y0_k / broadcast((float)(rows * columns));
      store(y0 + k, y0_k);
    } else {
      y0_k = load(y0 + k), s1_k = load(s1 + k), s2_k = load(s2 + k);
    }
    for (long i = 0; i < rows; ++i)
      for (long j = 0; j < columns; ++j) {
        const vec d = o[i][j] - y0_k;
        s1_k += d;
        s2_k += d * d;
      }
    store(s1 + k, s1_k);
    store(s2 + k, s2_k);
  }
};

// Mean and variance of the columns, or channels, of all chunks from those of each. Chunks do not depend on the number
// of threads, and are joined in order.
class ChunkStatistics {
 public:
  ChunkStatistics(long count, long filters)
      : filters_(round_up(filters, W)), scratch_(4 * filters_ * count), counts_(2 * count) {}

  // Filters [k_begin, k_end) of a chunk; the sums begin at k_begin.
  void put(long chunk, const ChunkSums& sums, long k_begin, long k_end) {
    double *mean = at(chunk) + k_begin, *M2 = mean + filters_;
    const double n = (double)sums.count;
    if (k_begin == 0) ((double*)counts_.data())[chunk] = n;
    for (long k = 0; k < k_end - k_begin; ++k) {
      const double s1 = sums.s1[k];
      mean[k] = sums.y0[k] + s1 / n;
      M2[k] = sums.s2[k] - s1 * s1 / n;
    }
  }

  void total(long chunks, long filters, const Statistics& to) const {
    parallel_for(filters, larger(1, 16384 / larger(1, chunks)), [&](long begin, long end, int) {
      for (long k = begin; k < end; ++k) to.mean[k] = to.var[k] = 0;
      double before = 0;
      for (long chunk = 0; chunk < chunks; ++chunk) {
        const double n = ((const double*)counts_.data())[chunk], *mean = at(chunk), *M2 = mean + filters_;
        for (long k = begin; k < end; ++k) join(before, n, mean[k], M2[k], to.mean[k], to.var[k]);
        before += n;
      }
      for (long k = begin; k < end; ++k) to.var[k] /= before;
    });
  }

 private:
  double* at(long chunk) const { return (double*)scratch_.data() + 2 * filters_ * chunk; }
  long filters_;
  Scratch scratch_, counts_;
};

}  // namespace handgrad::HG_ISA
