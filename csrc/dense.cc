// The dense layer's three products of matrices.
#include "dense.h"

#include "matrix.h"
#include "simd.h"

namespace handgrad::HG_ISA {

HG_DENSE_PRODUCTS(HG_DECLARE, Factor, float)

void dense(long m, long c, long k, const Factor* x, const float* w, const float* b, float* y) {
  multiply(m, c, k, x, c, 1, Plain<float>{w}, b, nullptr, y);
}

void dense_backward_input(long m, long c, long k, const Factor* dy, const float* w, float* dx) {
  multiply(m, k, c, dy, k, 1, Turned{w}, nullptr, nullptr, dx);
}

void dense_backward_weight(long m, long c, long k, const Factor* dy, const Factor* x, float* dw) {
  multiply(c, m, k, x, 1, c, Plain<Factor>{dy}, nullptr, nullptr, dw);
}

}  // namespace handgrad::HG_ISA
