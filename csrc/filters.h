// Filters in other orders.
#pragma once

#include "simd.h"
#include "threads.h"

namespace handgrad::HG_ISA {

// (taps, c, k) -> (taps, k, c); with `turn` the taps in the opposite order, as the input gradient needs them.
inline void transpose_filters(long taps, long c, long k, const float* w, bool turn, float* out) {
  constexpr long B = 8;  // lines a power of two apart share a few places in the cache: more than 8 would not stay
  const long blocks = (c + B - 1) / B;
  parallel_for(taps * blocks, larger(1, 4096 / k), [&](long begin, long end, int) {
    for (long item = begin; item < end; ++item) {
      const long tap = item / blocks, c0 = item % blocks * B, c1 = smaller(c0 + B, c);
      const float* from = w + tap * c * k;
      float* to = out + (turn ? taps - 1 - tap : tap) * c * k;
      for (long k0 = 0; k0 < k; k0 += B)
        for (long ki = k0; ki < smaller(k0 + B, k); ++ki)
          for (long ci = c0; ci < c1; ++ci) to[ki * c + ci] = from[ci * k + ki];
    }
  });
}

// (taps, c, groups, k) -> (taps, k, groups, c), c and k being those of one group.
inline void transpose_groups(long taps, long c, long groups, long k, const float* w, float* out) {
  if (groups == 1) return transpose_filters(taps, c, k, w, false, out);
  for (long t = 0; t < taps; ++t)
    for (long ci = 0; ci < c; ++ci)
      for (long g = 0; g < groups; ++g)
        for (long ki = 0; ki < k; ++ki)
          out[((t * k + ki) * groups + g) * c + ci] = w[((t * c + ci) * groups + g) * k + ki];
}

}  // namespace handgrad::HG_ISA
