// The kernels of bf16 whose products are of pairs (factors.h). All others are those of the set HG_BASE.
#include "chunks.h"
#include "depthwise.h"
#include "kernels.h"
#include "simd.h"

namespace handgrad::HG_BASE {

HG_DIRECT_KERNELS(HG_DECLARE, bf16)
HG_PACKED_KERNELS(HG_DECLARE, bf16)

}  // namespace handgrad::HG_BASE

namespace handgrad::HG_ISA {

HG_DIRECT_KERNELS(HG_DECLARE, bf16)
HG_DIRECT_PRODUCTS(HG_DECLARE, bf16, float)
HG_PACKED_KERNELS(HG_DECLARE, bf16)
HG_DIRECT_PACKED(HG_DECLARE, bf16, float)
HG_DENSE_KERNELS(HG_DECLARE, bf16)
HG_DENSE_PRODUCTS(HG_DECLARE, bf16, float)

void conv2d(const ConvShape& s, const bf16* x, const float* w, const float* b, bf16* y) {
  if (is_depthwise(s)) return HG_BASE::conv2d(s, x, w, b, y);
  each_chunk({s.n, image(s), output(s), filters(s)}, x, nullptr, y,
             [&](long n, const bf16* x, float* y) { direct(some(s, n), x, w, b, y); });
}

void conv2d_backward_input(const ConvShape& s, const bf16* dy, const float* w, const bf16* add, bf16* dx) {
  if (is_depthwise(s)) return HG_BASE::conv2d_backward_input(s, dy, w, add, dx);
  each_chunk({s.n, output(s), image(s), filters(s)}, dy, add, dx,
             [&](long n, const bf16* dy, float* dx) { direct_backward_input(some(s, n), dy, w, nullptr, dx); });
}

void conv2d_backward_weight(const ConvShape& s, const bf16* dy, const bf16* x, float* dw) {
  if (is_depthwise(s)) return HG_BASE::conv2d_backward_weight(s, dy, x, dw);
  direct_backward_weight(s, dy, x, dw);
}

void packed_filters_size(const ConvShape& s, int tile, For<bf16> images, long* size) {
  tile ? HG_BASE::packed_filters_size(s, tile, images, size) : direct_packed_size(s, size);
}

void pack_filters(const ConvShape& s, int tile, For<bf16> images, const float* w, float* packed) {
  tile ? HG_BASE::pack_filters(s, tile, images, w, packed) : direct_pack(s, w, packed);
}

void conv2d_packed(const ConvShape& s, int tile, const bf16* x, const float* packed, const float* b, const bf16* add,
                   bool relu, bf16* y) {
  if (tile) return HG_BASE::conv2d_packed(s, tile, x, packed, b, add, relu, y);
  each_chunk(
      {s.n, image(s), output(s), 0}, x, add, y,
      [&](long n, const bf16* x, float* y) { direct_packed(some(s, n), x, packed, b, y); }, relu);
}

void dense(long m, long c, long k, const bf16* x, const float* w, const float* b, bf16* y) {
  each_chunk({m, c, k, c * k}, x, nullptr, y,
             [&](long m, const bf16* x, float* y) { dense(m, c, k, x, w, b, y); });
}

void dense_backward_input(long m, long c, long k, const bf16* dy, const float* w, bf16* dx) {
  each_chunk({m, k, c, c * k}, dy, nullptr, dx,
             [&](long m, const bf16* dy, float* dx) { dense_backward_input(m, c, k, dy, w, dx); });
}

#define HG_ENTRY(kernel, arguments) kernel,
extern const ProductKernels<bf16> products = {HG_PRODUCT_KERNELS(HG_ENTRY, bf16)};

}  // namespace handgrad::HG_ISA
