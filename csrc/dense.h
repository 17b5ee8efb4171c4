// Products of matrices in C order.
#pragma once

// y = x @ w + b, dx = dy @ w^T, dw = x^T @ dy; of (m, c), (c, k), (k,) or null; T is float or bf16.
#define HG_DENSE_KERNELS(K, T)                                                                 \
  K(dense, (long m, long c, long k, const T* x, const float* w, const float* b, T* y))         \
  K(dense_backward_input, (long m, long c, long k, const T* dy, const float* w, T* dx))        \
  K(dense_backward_weight, (long m, long c, long k, const T* dy, const T* x, float* dw))
