// The dense layer's three products of matrices.
#include "dense.h"

#include "matrix.h"
#include "memory.h"
#include "simd.h"

namespace handgrad::HG_ISA {

HG_DENSE_KERNELS(HG_DECLARE, float)

void dense(long m, long c, long k, const float* x, const float* w, const float* b, float* y) {
  Scratch packed(c * round_up(k, W));
  pack_panels(c, k, w, packed.data());
  multiply(m, c, k, x, c, 1, packed.data(), b, nullptr, y);
}

void dense_backward_input(long m, long c, long k, const float* dy, const float* w, float* dx) {
  Scratch packed(k * round_up(c, W));
  pack_panels_turned(k, c, w, packed.data());
  multiply(m, k, c, dy, k, 1, packed.data(), nullptr, nullptr, dx);
}

void dense_backward_weight(long m, long c, long k, const float* dy, const float* x, float* dw) {
  Scratch packed(m * round_up(k, W));
  pack_panels(m, k, dy, packed.data());
  multiply(c, m, k, x, 1, c, packed.data(), nullptr, nullptr, dw);
}

}  // namespace handgrad::HG_ISA
