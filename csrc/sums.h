// Sums over memory in double precision, the same for every number of threads.
#pragma once

#include "elementwise.h"
#include "memory.h"

namespace handgrad::HG_ISA {

// A sum in double precision for each lane, in two registers: one vector of all would be kept in memory.
class DoubleSum {
 public:
  void add(vec v) {
    const Halves d = doubles(v);
    low_ += d.low, high_ += d.high;
  }
  void add_product(vec x, vec y) {
    const Halves dx = doubles(x), dy = doubles(y);
    low_ += dx.low * dy.low, high_ += dx.high * dy.high;
  }
  double total() const {
    double s[W / 2];
    const half lanes = low_ + high_;
    memcpy(s, &lanes, sizeof lanes);
    for (int count = W / 4; count; count /= 2)  // halves are added until one number is left
      for (int i = 0; i < count; ++i) s[i] += s[i + count];
    return s[0];
  }

 private:
  typedef double half __attribute__((vector_size(4 * W)));
  struct Halves {
    half low, high;
  };
  static Halves doubles(vec v) {
    const dvec d = to_double(v);
    Halves h;
    memcpy(&h, &d, sizeof h);
    return h;
  }
  half low_ = {}, high_ = {};
};

constexpr long BLOCK_NUMBERS = 8192;

// The sum of work(begin, end) over blocks of `size` of 0..n. The blocks are fixed, each sum is kept, and they are
// added in order.
template <class Work>
inline double sum_of_blocks(long n, long size, const Work& work) {
  const long blocks = (n + size - 1) / size;
  Scratch kept(2 * blocks);
  double* sums = (double*)kept.data();
  parallel_for(blocks, 4, [&](long begin, long end, int) {
    for (long i = begin; i < end; ++i) sums[i] = work(i * size, smaller(n, (i + 1) * size));
  });
  double total = 0;
  for (long i = 0; i < blocks; ++i) total += sums[i];
  return total;
}

}  // namespace handgrad::HG_ISA
