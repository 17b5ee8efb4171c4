// Products of matrices in C order.
#pragma once

// y = x @ w + b, dx = dy @ w^T, dw = x^T @ dy; of (m, c), (c, k), (k,) or null; what comes is of type X, what goes of
// type Y: both float or both bf16, or bf16 and float.
#define HG_DENSE_PRODUCTS(K, X, Y)                                                             \
  K(dense, (long m, long c, long k, const X* x, const float* w, const float* b, Y* y))         \
  K(dense_backward_input, (long m, long c, long k, const X* dy, const float* w, Y* dx))        \
  K(dense_backward_weight, (long m, long c, long k, const X* dy, const X* x, float* dw))
#define HG_DENSE_KERNELS(K, T) HG_DENSE_PRODUCTS(K, T, T)
