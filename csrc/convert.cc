// What computes in float alone takes bf16 through here: some images, or rows, at a time become floats, are computed
// with and become bf16 while they are in the last cache.
#include "bf16.h"
#include "conv.h"
#include "dense.h"
#include "elementwise.h"
#include "memory.h"

namespace handgrad::HG_ISA {

HG_DIRECT_KERNELS(HG_DECLARE, float)
HG_DIRECT_KERNELS(HG_DECLARE, bf16)
HG_DENSE_KERNELS(HG_DECLARE, float)
HG_DENSE_KERNELS(HG_DECLARE, bf16)

namespace {

constexpr long CHUNK = 1L << 20;  // floats at a time

// How n images of x and y, of so many numbers each, are divided. With every chunk all weights are put in the order
// of the products again: chunks are several times as large.
struct Chunks {
  long n, count, x_size, y_size;
  Chunks(long n, long x_size, long y_size, long weights) : n(n), x_size(x_size), y_size(y_size) {
    const long most = larger(1, larger(CHUNK, 4 * weights) / larger(1, x_size + y_size));
    count = (n + most - 1) / most;
  }
  long begin(long chunk) const { return n * chunk / count; }
  long most() const { return count ? (n + count - 1) / count : 0; }
};

void widened(long n, const bf16* x, float* y) {
  map(n, CHEAP, y, [=](Lanes at) { return load(x, at); });
}

// y = of(x) + add, a chunk at a time: of(images, x, y); add may be null.
template <class Of>
void each_chunk(const Chunks& chunks, const bf16* x, const bf16* add, bf16* y, const Of& of) {
  Scratch xs(chunks.most() * chunks.x_size), ys(chunks.most() * chunks.y_size);
  for (long i = 0; i < chunks.count; ++i) {
    const long begin = chunks.begin(i), images = chunks.begin(i + 1) - begin;
    widened(images * chunks.x_size, x + begin * chunks.x_size, xs.data());
    of(images, xs.data(), ys.data());
    const float* sums = ys.data();
    const bf16* added = add ? add + begin * chunks.y_size : nullptr;
    map(images * chunks.y_size, CHEAP, y + begin * chunks.y_size,
        [=](Lanes at) { return added ? load(sums, at) + load(added, at) : load(sums, at); });
  }
}

// dw = sum over chunks of of(images, x, y, dw), which has `size` numbers.
template <class Of>
void sum_of_chunks(const Chunks& chunks, const bf16* x, const bf16* y, long size, float* dw, const Of& of) {
  Scratch xs(chunks.most() * chunks.x_size), ys(chunks.most() * chunks.y_size), sums(chunks.count > 1 ? size : 0);
  if (chunks.count == 0) memset(dw, 0, 4 * size);
  for (long i = 0; i < chunks.count; ++i) {
    const long begin = chunks.begin(i), images = chunks.begin(i + 1) - begin;
    widened(images * chunks.x_size, x + begin * chunks.x_size, xs.data());
    widened(images * chunks.y_size, y + begin * chunks.y_size, ys.data());
    float *part = i ? sums.data() : dw, *total = dw;
    of(images, xs.data(), ys.data(), part);
    if (i) map(size, CHEAP, dw, [=](Lanes at) { return load(total, at) + load(part, at); });
  }
}

ConvShape some(const ConvShape& s, long images) {
  ConvShape part = s;
  part.n = images;
  return part;
}
long image(const ConvShape& s) { return s.h * s.w * s.c; }
long output(const ConvShape& s) { return s.oh * s.ow * s.k; }
long filters(const ConvShape& s) { return s.kh * s.kw * s.c / s.groups * s.k; }

}  // namespace

void conv2d(const ConvShape& s, const bf16* x, const float* w, const float* b, bf16* y) {
  each_chunk({s.n, image(s), output(s), filters(s)}, x, nullptr, y,
             [&](long n, const float* x, float* y) { conv2d(some(s, n), x, w, b, y); });
}

void conv2d_backward_input(const ConvShape& s, const bf16* dy, const float* w, const bf16* add, bf16* dx) {
  each_chunk({s.n, output(s), image(s), filters(s)}, dy, add, dx,
             [&](long n, const float* dy, float* dx) { conv2d_backward_input(some(s, n), dy, w, nullptr, dx); });
}

void conv2d_backward_weight(const ConvShape& s, const bf16* dy, const bf16* x, float* dw) {
  sum_of_chunks({s.n, output(s), image(s), filters(s)}, dy, x, filters(s), dw,
                [&](long n, const float* dy, const float* x, float* dw) {
                  conv2d_backward_weight(some(s, n), dy, x, dw);
                });
}

void dense(long m, long c, long k, const bf16* x, const float* w, const float* b, bf16* y) {
  each_chunk({m, c, k, c * k}, x, nullptr, y,
             [&](long m, const float* x, float* y) { dense(m, c, k, x, w, b, y); });
}

void dense_backward_input(long m, long c, long k, const bf16* dy, const float* w, bf16* dx) {
  each_chunk({m, k, c, c * k}, dy, nullptr, dx,
             [&](long m, const float* dy, float* dx) { dense_backward_input(m, c, k, dy, w, dx); });
}

void dense_backward_weight(long m, long c, long k, const bf16* dy, const bf16* x, float* dw) {
  sum_of_chunks({m, k, c, c * k}, dy, x, c * k, dw,
                [&](long m, const float* dy, const float* x, float* dw) {
                  dense_backward_weight(m, c, k, dy, x, dw);
                });
}

}  // namespace handgrad::HG_ISA
