// Dropout: the random numbers, the mask and the product in one pass.
#pragma once

#include <stdint.h>

// mask = u < keep with the numbers u of the stream of this key, and y = x/keep where it is true, else 0*x.
#define HG_DROPOUT_KERNELS(K)                                                                           \
  K(dropout, (long n, const float* x, uint64_t key0, uint64_t key1, double keep, float* y, bool* mask)) \
  K(dropout_backward, (long n, const float* dy, const bool* mask, double keep, float* dx))
