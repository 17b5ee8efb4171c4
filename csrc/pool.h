// Pooling of images (n, h, w, c), in C order.
#pragma once

#include <stdint.h>

namespace handgrad {

struct PoolShape {
  long n, h, w, c;      // images
  long oh, ow;          // places of the window
  long kh, kw;          // taps
  long sh, sw, dh, dw;  // strides and dilation
  long top, left;       // padding; below and to the right it is what the number of places says
};

}  // namespace handgrad

// The taps of a maximum are of one byte, or of four where that is too small; the other pointer is null. T is float
// or bf16.
#define HG_TYPED_POOL_KERNELS(K, T)                                                                          \
  K(max_pool2d, (const PoolShape& s, const T* x, T* y, uint8_t* tap, int32_t* wide_tap))                     \
  K(max_pool2d_backward,                                                                                     \
    (const PoolShape& s, const T* dy, const uint8_t* tap, const int32_t* wide_tap, T* dx))                   \
  K(global_average_pool2d, (long n, long pixels, long c, const T* x, T* y))                                  \
  K(global_average_pool2d_backward, (long n, long pixels, long c, const T* dy, T* dx))
#define HG_POOL_KERNELS(K)                                                                                   \
  K(average_pool2d, (const PoolShape& s, bool count_padding, const float* x, float* y))                      \
  K(average_pool2d_backward, (const PoolShape& s, bool count_padding, const float* dy, float* dx))
