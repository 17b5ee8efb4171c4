// The dense layer's three products of matrices.
#include "dense.h"

#include "matrix.h"
#include "memory.h"
#include "simd.h"

namespace handgrad::HG_ISA {

HG_DENSE_PRODUCTS(HG_DECLARE, Factor, float)

void dense(long m, long c, long k, const Factor* x, const float* w, const float* b, float* y) {
  ScratchOf<Factor> packed(round_up(c, STEP) * round_up(k, W));
  pack_panels(c, k, w, packed.data());
  multiply(m, c, k, x, c, 1, packed.data(), b, nullptr, y);
}

void dense_backward_input(long m, long c, long k, const Factor* dy, const float* w, float* dx) {
  ScratchOf<Factor> packed(round_up(k, STEP) * round_up(c, W));
  pack_panels_turned(k, c, w, packed.data());
  multiply(m, k, c, dy, k, 1, packed.data(), nullptr, nullptr, dx);
}

void dense_backward_weight(long m, long c, long k, const Factor* dy, const Factor* x, float* dw) {
  ScratchOf<Factor> packed(round_up(m, STEP) * round_up(k, W));
  pack_panels(m, k, dy, packed.data());
  multiply(c, m, k, x, 1, c, packed.data(), nullptr, nullptr, dw);
}

}  // namespace handgrad::HG_ISA
