// What computes in float alone takes bf16 through here: some images, or rows, at a time become floats.
#include "chunks.h"
#include "conv.h"
#include "dense.h"

namespace handgrad::HG_ISA {

HG_DIRECT_KERNELS(HG_DECLARE, float)
HG_DIRECT_KERNELS(HG_DECLARE, bf16)
HG_PACKED_KERNELS(HG_DECLARE, float)
HG_PACKED_KERNELS(HG_DECLARE, bf16)
HG_DENSE_KERNELS(HG_DECLARE, float)
HG_DENSE_KERNELS(HG_DECLARE, bf16)

namespace {

// A chunk of numbers as floats, until the next one.
class Wide {
 public:
  Wide(const Chunks& chunks, long size) : floats_(chunks.most() * size), size_(size) {}
  const float* operator()(long images, const bf16* x) const {
    map(images * size_, CHEAP, floats_.data(), [=](Lanes at) { return load(x, at); });
    return floats_.data();
  }

 private:
  Scratch floats_;
  long size_;
};

// dw = sum over chunks of of(images, x, y, dw), which has `size` numbers.
template <class Of>
void sum_of_chunks(const Chunks& chunks, const bf16* x, const bf16* y, long size, float* dw, const Of& of) {
  const Wide wide_x(chunks, chunks.x_size), wide_y(chunks, chunks.y_size);
  Scratch sums(chunks.count > 1 ? size : 0);
  if (chunks.count == 0) memset(dw, 0, 4 * size);
  for (long i = 0; i < chunks.count; ++i) {
    const long begin = chunks.begin(i), images = chunks.begin(i + 1) - begin;
    float *part = i ? sums.data() : dw, *total = dw;
    of(images, wide_x(images, x + begin * chunks.x_size), wide_y(images, y + begin * chunks.y_size), part);
    if (i) map(size, CHEAP, dw, [=](Lanes at) { return load(total, at) + load(part, at); });
  }
}

}  // namespace

void conv2d(const ConvShape& s, const bf16* x, const float* w, const float* b, bf16* y) {
  const Chunks chunks(s.n, image(s), output(s), filters(s));
  const Wide wide(chunks, image(s));
  each_chunk(chunks, x, nullptr, y, [&](long n, const bf16* x, float* y) { conv2d(some(s, n), wide(n, x), w, b, y); });
}

void conv2d_backward_input(const ConvShape& s, const bf16* dy, const float* w, const bf16* add, bf16* dx) {
  const Chunks chunks(s.n, output(s), image(s), filters(s));
  const Wide wide(chunks, output(s));
  each_chunk(chunks, dy, add, dx, [&](long n, const bf16* dy, float* dx) {
    conv2d_backward_input(some(s, n), wide(n, dy), w, nullptr, dx);
  });
}

void conv2d_backward_weight(const ConvShape& s, const bf16* dy, const bf16* x, float* dw) {
  sum_of_chunks({s.n, output(s), image(s), filters(s)}, dy, x, filters(s), dw,
                [&](long n, const float* dy, const float* x, float* dw) {
                  conv2d_backward_weight(some(s, n), dy, x, dw);
                });
}

void packed_filters_size(const ConvShape& s, int tile, For<bf16>, long* size) {
  packed_filters_size(s, tile, For<float>{}, size);
}

void pack_filters(const ConvShape& s, int tile, For<bf16>, const float* w, float* packed) {
  pack_filters(s, tile, For<float>{}, w, packed);
}

void conv2d_packed(const ConvShape& s, int tile, const bf16* x, const float* packed, const float* b, const bf16* add,
                   bool relu, bf16* y) {
  const Chunks chunks(s.n, image(s), output(s), 0);
  const Wide wide(chunks, image(s));
  each_chunk(
      chunks, x, add, y,
      [&](long n, const bf16* x, float* y) {
        conv2d_packed(some(s, n), tile, wide(n, x), packed, b, nullptr, false, y);
      },
      relu);
}

void dense(long m, long c, long k, const bf16* x, const float* w, const float* b, bf16* y) {
  const Chunks chunks(m, c, k, c * k);
  const Wide wide(chunks, c);
  each_chunk(chunks, x, nullptr, y, [&](long m, const bf16* x, float* y) { dense(m, c, k, wide(m, x), w, b, y); });
}

void dense_backward_input(long m, long c, long k, const bf16* dy, const float* w, bf16* dx) {
  const Chunks chunks(m, k, c, c * k);
  const Wide wide(chunks, k);
  each_chunk(chunks, dy, nullptr, dx,
             [&](long m, const bf16* dy, float* dx) { dense_backward_input(m, c, k, wide(m, dy), w, dx); });
}

void dense_backward_weight(long m, long c, long k, const bf16* dy, const bf16* x, float* dw) {
  sum_of_chunks({m, k, c, c * k}, dy, x, c * k, dw,
                [&](long m, const float* dy, const float* x, float* dw) {
                  dense_backward_weight(m, c, k, dy, x, dw);
                });
}

}  // namespace handgrad::HG_ISA
