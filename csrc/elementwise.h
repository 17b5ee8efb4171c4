// Passes over memory: y = f(a, b, ...) number by number, a vector at a time.
#pragma once

#include "simd.h"
#include "threads.h"

namespace handgrad::HG_ISA {

// The numbers of one vector: W of them from `first` on, or fewer where memory begins or ends.
struct Lanes {
  long first, count;
};
template <class T>
HG_INLINE vec load(const T* p, Lanes at) {
  return at.count == W ? load(p + at.first) : load(p + at.first, at.count);
}
template <class T>
HG_INLINE void store(T* p, vec v, Lanes at) {
  at.count == W ? store(p + at.first, v) : store(p + at.first, v, at.count);
}

// Calls work(lanes) for k numbers in order, on this thread.
template <class Work>
HG_INLINE void for_row(long k, const Work& work) {
  long i = 0;
  for (; i + W <= k; i += W) work(Lanes{i, W});
  if (i < k) work(Lanes{i, k - i});
}

// Numbers that are worth a thread of their own.
constexpr long CHEAP = 1 << 16;   // an operation or two, limited by memory
constexpr long COSTLY = 1 << 14;  // an exponential

// Calls work(lanes) for all n numbers of y; all vectors but the first begin where y is aligned. The division into
// vectors does not depend on the number of threads.
template <class T, class Work>
inline void each_vector(long n, long grain, const T* y, const Work& work) {
  const long head = smaller(n, (W - (long)((uintptr_t)y / sizeof(T) % W)) % W), vectors = (n - head + W - 1) / W;
  if (head) work(Lanes{0, head});
  parallel_for(vectors, grain / W, [&](long begin, long end, int) {
    // a copy: what stands behind a reference would be read anew after every store
    const Work body = work;
    long i = head + begin * W;
    const long last = smaller(head + end * W, n);
    for (; i + W <= last; i += W) body(Lanes{i, W});
    if (i < last) body(Lanes{i, last - i});
    stream_end();
  });
}

// Results that are larger than the last cache go past it: nobody would find them there, and they need not be read
// before they are written. One that fits is found there by what comes next, which is worth more.
constexpr long LAST_CACHE = 32L << 20;

// y = f(lanes)
template <class T, class F>
inline void map(long n, long grain, T* y, const F& f) {
  const bool large = (long)sizeof(T) * n > LAST_CACHE;
  each_vector(n, grain, y, [=](Lanes at) {
    const vec v = f(at);
    if (large && at.count == W)
      stream(y + at.first, v);
    else
      store(y, v, at);
  });
}

}  // namespace handgrad::HG_ISA
