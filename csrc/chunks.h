// Results that are computed as float and stored as bf16: those of some images, or rows, at a time become bf16 while they
// are in the last cache.
#pragma once

#include "conv.h"
#include "elementwise.h"
#include "memory.h"

namespace handgrad::HG_ISA {

constexpr long FLOATS = 1L << 20;  // at a time

// How n images of x and y, of so many numbers each, are divided. With every chunk so many weights are put in the order
// of the products again: chunks are several times as large.
struct Chunks {
  long n, count, x_size, y_size;
  Chunks(long n, long x_size, long y_size, long weights) : n(n), x_size(x_size), y_size(y_size) {
    const long most = larger(1, larger(FLOATS, 4 * weights) / larger(1, x_size + y_size));
    count = (n + most - 1) / most;
  }
  long begin(long chunk) const { return n * chunk / count; }
  long most() const { return count ? (n + count - 1) / count : 0; }
};

// y = of(x) + add, a chunk at a time: of(images, x, floats); add may be null, and with `relu` y is 0 where it were
// negative.
template <class Of>
void each_chunk(const Chunks& chunks, const bf16* x, const bf16* add, bf16* y, const Of& of, bool relu = false) {
  Scratch floats(chunks.most() * chunks.y_size);
  for (long i = 0; i < chunks.count; ++i) {
    const long begin = chunks.begin(i), images = chunks.begin(i + 1) - begin;
    of(images, x + begin * chunks.x_size, floats.data());
    const float* sums = floats.data();
    const bf16* added = add ? add + begin * chunks.y_size : nullptr;
    map(images * chunks.y_size, CHEAP, y + begin * chunks.y_size, [=](Lanes at) {
      const vec sum = added ? load(sums, at) + load(added, at) : load(sums, at);
      return relu ? HG_ISA::relu(sum) : sum;
    });
  }
}

inline ConvShape some(const ConvShape& s, long images) {
  ConvShape part = s;
  part.n = images;
  return part;
}
inline long image(const ConvShape& s) { return s.h * s.w * s.c; }
inline long output(const ConvShape& s) { return s.oh * s.ow * s.k; }
inline long filters(const ConvShape& s) { return s.kh * s.kw * s.c / s.groups * s.k; }

}  // namespace handgrad::HG_ISA
