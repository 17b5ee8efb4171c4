// Products of matrices in C order.
#pragma once

// y = x @ w + b, dx = dy @ w^T, dw = x^T @ dy; of (m, c), (c, k), (k,) or null.
#define HG_DENSE_KERNELS(K)                                                                                \
  K(dense, (long m, long c, long k, const float* x, const float* w, const float* b, float* y))             \
  K(dense_backward_input, (long m, long c, long k, const float* dy, const float* w, float* dx))            \
  K(dense_backward_weight, (long m, long c, long k, const float* dy, const float* x, float* dw))
