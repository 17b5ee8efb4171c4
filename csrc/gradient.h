// What is asked of all gradients at once.
#pragma once

#define HG_GRADIENT_KERNELS(K)                                 \
  K(all_finite, (long n, const float* g, bool* answer))        \
  K(sum_of_squares, (long n, const float* g, double* answer))
