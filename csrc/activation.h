// Functions of each of n numbers alone, and softmax of rows (m, k). The backward of each takes the input x or,
// where the derivative is a function of it, the output y.
#pragma once

#define HG_RELU_KERNELS(K, T)                 \
  K(relu, (long n, const T* x, T* y))         \
  K(relu_backward, (long n, const T* dy, const T* y, T* dx))

#define HG_ACTIVATION_KERNELS(K)                                                                \
  K(leaky_relu, (long n, const float* x, float slope, float* y))                                \
  K(leaky_relu_backward, (long n, const float* dy, const float* x, float slope, float* dx))     \
  K(elu, (long n, const float* x, float alpha, float* y))                                       \
  K(elu_backward, (long n, const float* dy, const float* x, float alpha, float* dx))            \
  K(selu, (long n, const float* x, float* y))                                                   \
  K(selu_backward, (long n, const float* dy, const float* x, float* dx))                        \
  K(softplus, (long n, const float* x, float* y))                                               \
  K(softplus_backward, (long n, const float* dy, const float* x, float* dx))                    \
  K(sigmoid, (long n, const float* x, float* y))                                                \
  K(sigmoid_backward, (long n, const float* dy, const float* y, float* dx))                     \
  K(tanh, (long n, const float* x, float* y))                                                   \
  K(tanh_backward, (long n, const float* dy, const float* y, float* dx))                        \
  K(gelu, (long n, const float* x, float* y))                                                   \
  K(gelu_backward, (long n, const float* dy, const float* x, float* dx))                        \
  K(gelu_tanh, (long n, const float* x, float* y))                                              \
  K(gelu_tanh_backward, (long n, const float* dy, const float* x, float* dx))                   \
  K(silu, (long n, const float* x, float* y))                                                   \
  K(silu_backward, (long n, const float* dy, const float* x, float* dx))                        \
  K(softmax, (long m, long k, const float* x, float* y))                                        \
  K(softmax_backward, (long m, long k, const float* dy, const float* y, float* dx))
