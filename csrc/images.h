// What a convolution reads: images in memory, or such that are computed as they are read.
#pragma once

#include "affine.h"
#include "memory.h"
#include "range.h"

namespace handgrad::HG_ISA {

// The images as they are.
template <class T>
struct Images {
  const T* data;
  struct Channels {
    HG_INLINE_MEMBER vec operator()(vec x) const { return x; }
  };
  Channels channels(long) const { return {}; }
};

// The images max(a*(x - h) + b, 0), computed as they are read.
template <class T>
struct NormalizedImages {
  const T* data;
  const float *a, *h, *b;
  struct Channels {
    vec a, h, b;
    HG_INLINE_MEMBER vec operator()(vec x) const { return relu(normalized(x, a, h, b)); }
  };
  Channels channels(long c) const { return {load(a + c), load(h + c), load(b + c)}; }
};

// The numbers a, h and b of every channel.
class Affines {
 public:
  Affines(long c, const Normalization& f) : size_(round_up(c, W)), scratch_(3 * size_) {
    const Affine affine{f};
    float *a = scratch_.data(), *h = a + size_, *b = h + size_;
    for (long j = 0; j < size_; ++j) a[j] = h[j] = b[j] = 0;
    for (long j = 0; j < c; ++j) a[j] = (float)affine.a(j), h[j] = affine.h(j), b[j] = (float)affine.b(j);
  }
  template <class T>
  NormalizedImages<T> of(const T* x) const {
    const float* a = scratch_.data();
    return {x, a, a + size_, a + 2 * size_};
  }

 private:
  long size_;
  Scratch scratch_;
};

HG_NORM_KERNELS(HG_DECLARE_TYPED, T)

// Calls work(images) with x, or with what a normalization and ReLU make of it: of m pixels, which are computed before
// where floats do not hold their differences from the mean.
template <class T, class Work>
void with_images(long m, long c, const T* x, const Normalization* f, const Work& work) {
  if (!f) return work(Images<T>{x});
  bool wide = false;
  for (long j = 0; j < c; ++j) wide |= is_wide(f->mean[j], f->s[j]);
  if (wide) {
    Scratch scratch(m * c);
    T* z = (T*)scratch.data();
    batch_norm(m, c, x, *f, (const T*)nullptr, true, z);
    return work(Images<T>{z});
  }
  const Affines affines(c, *f);
  work(affines.of(x));
}

}  // namespace handgrad::HG_ISA
