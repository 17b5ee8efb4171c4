// Convolution where every channel has filters of its own (groups = c = k): nothing to sum over channels, so
// that vectors run along them and no product of matrices is left.
#pragma once

#include "conv.h"
#include "simd.h"

namespace handgrad::HG_ISA {

HG_INLINE bool is_depthwise(const ConvShape& s) { return s.groups == s.c && s.k == s.c; }

void depthwise(const ConvShape& s, const float* x, const float* w, const float* b, float* y);
void depthwise_backward_input(const ConvShape& s, const float* dy, const float* w, const float* add, float* dx);
void depthwise_backward_weight(const ConvShape& s, const float* dy, const float* x, float* dw);

}  // namespace handgrad::HG_ISA
