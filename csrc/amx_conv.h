// Products of bf16 by the matrix registers of AMX (amx.h), of one group of channels.
#pragma once

#include "bf16.h"
#include "conv.h"
#include "simd.h"

namespace handgrad::HG_ISA {

void amx_conv2d(const ConvShape& s, const bf16* x, const float* w, const float* b, bf16* y);
long amx_packed_size(const ConvShape& s);
void amx_pack(const ConvShape& s, const float* w, float* packed);
void amx_conv2d_packed(const ConvShape& s, const bf16* x, const float* packed, const float* b, const bf16* add, bool relu,
                       bf16* y);
void amx_conv2d_backward_input(const ConvShape& s, const bf16* dy, const float* w, const bf16* add, bf16* dx);
void amx_conv2d_backward_weight(const ConvShape& s, const bf16* dy, const bf16* x, float* dw);

}  // namespace handgrad::HG_ISA
