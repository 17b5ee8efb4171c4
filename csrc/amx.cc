// The kernels of bf16 whose products are of matrix registers (amx.h). All others are those of the set HG_BASE.
#include "amx_conv.h"
#include "dense.h"
#include "depthwise.h"
#include "kernels.h"
#include "simd.h"

namespace handgrad::HG_BASE {

HG_DIRECT_KERNELS(HG_DECLARE, bf16)
HG_PACKED_KERNELS(HG_DECLARE, bf16)

}  // namespace handgrad::HG_BASE

namespace handgrad::HG_ISA {

HG_DIRECT_KERNELS(HG_DECLARE, bf16)
HG_PACKED_KERNELS(HG_DECLARE, bf16)
HG_DENSE_KERNELS(HG_DECLARE, bf16)

namespace {

bool of_matrices(const ConvShape& s) { return s.groups == 1 && !is_depthwise(s); }

}  // namespace

void conv2d(const ConvShape& s, const bf16* x, const float* w, const float* b, bf16* y) {
  of_matrices(s) ? amx_conv2d(s, x, w, b, y) : HG_BASE::conv2d(s, x, w, b, y);
}

void conv2d_backward_input(const ConvShape& s, const bf16* dy, const float* w, const bf16* add, bf16* dx) {
  of_matrices(s) ? amx_conv2d_backward_input(s, dy, w, add, dx) : HG_BASE::conv2d_backward_input(s, dy, w, add, dx);
}

void conv2d_backward_weight(const ConvShape& s, const bf16* dy, const bf16* x, float* dw) {
  of_matrices(s) ? amx_conv2d_backward_weight(s, dy, x, dw) : HG_BASE::conv2d_backward_weight(s, dy, x, dw);
}

void packed_filters_size(const ConvShape& s, int tile, For<bf16> images, long* size) {
  tile || !of_matrices(s) ? HG_BASE::packed_filters_size(s, tile, images, size) : void(*size = amx_packed_size(s));
}

void pack_filters(const ConvShape& s, int tile, For<bf16> images, const float* w, float* packed) {
  tile || !of_matrices(s) ? HG_BASE::pack_filters(s, tile, images, w, packed) : amx_pack(s, w, packed);
}

void conv2d_packed(const ConvShape& s, int tile, const bf16* x, const float* packed, const float* b, const bf16* add,
                   bool relu, bf16* y) {
  tile || !of_matrices(s) ? HG_BASE::conv2d_packed(s, tile, x, packed, b, add, relu, y)
                          : amx_conv2d_packed(s, x, packed, b, add, relu, y);
}

// A dense layer is a convolution of images of one pixel.
void dense(long m, long c, long k, const bf16* x, const float* w, const float* b, bf16* y) {
  amx_conv2d({m, 1, 1, c, 1, 1, k, 1, 1, 1, 1, 1, 1, 0, 0, 1}, x, w, b, y);
}

void dense_backward_input(long m, long c, long k, const bf16* dy, const float* w, bf16* dx) {
  amx_conv2d_backward_input({m, 1, 1, c, 1, 1, k, 1, 1, 1, 1, 1, 1, 0, 0, 1}, dy, w, nullptr, dx);
}

void dense_backward_weight(long m, long c, long k, const bf16* dy, const bf16* x, float* dw) {
  amx_conv2d_backward_weight({m, 1, 1, c, 1, 1, k, 1, 1, 1, 1, 1, 1, 0, 0, 1}, dy, x, dw);
}

#define HG_ENTRY(kernel, arguments) kernel,
extern const ProductKernels<bf16> products = {HG_PRODUCT_KERNELS(HG_ENTRY, bf16)};

}  // namespace handgrad::HG_ISA
