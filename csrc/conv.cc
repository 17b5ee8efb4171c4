#include "conv.h"

#include "simd.h"

namespace handgrad::HG_ISA {

HG_CONV_KERNELS(HG_DECLARE)

void conv2d(const ConvShape&, const float*, const float*, const float*, float*) {}
void conv2d_backward_input(const ConvShape&, const float*, const float*, const float*, float*) {}
void conv2d_backward_weight(const ConvShape&, const float*, const float*, float*) {}

}  // namespace handgrad::HG_ISA
