// Losses from logits: the value, in double precision, and its gradient dz, both for the mean.
#pragma once

#include <stdint.h>

// softmax_cross_entropy: rows z (n, k) with either the class of each row or targets t (n, k); the other is null.
#define HG_LOSS_KERNELS(K)                                                                                  \
  K(softmax_cross_entropy, (long n, long k, const float* z, const int64_t* labels, const float* t,          \
                            double smoothing, double* value, float* dz))                                    \
  K(binary_cross_entropy, (long m, const float* z, const float* t, double* value, float* dz))               \
  K(mean_squared_error, (long m, const float* z, const float* t, double* value, float* dz))
