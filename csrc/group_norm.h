// Normalization of each sample by itself: of (n, m, c) in groups of channels, and of rows (n, c) by their mean square.
#pragma once

namespace handgrad {

// So many samples, places, channels, and groups of these.
struct GroupShape {
  long n, m, c, groups;
};

}  // namespace handgrad

// x, y and their gradients are of type T; gamma and beta may be null: 1 and 0. mean and s have a number for each group
// of each sample; of rms_norm, whose samples have one place and whose groups are one, there is no mean.
#define HG_GROUP_NORM_KERNELS(K, T)                                                                           \
  K(group_norm, (const GroupShape& shape, const T* x, const float* gamma, const float* beta, double epsilon,  \
                 T* y, double* mean, double* s))                                                              \
  K(group_norm_backward, (const GroupShape& shape, const T* dy, const T* x, const double* mean,               \
                          const double* s, const float* gamma, T* dx, float* dgamma, float* dbeta))           \
  K(rms_norm, (long n, long c, const T* x, const float* gamma, double epsilon, T* y, double* s))              \
  K(rms_norm_backward,                                                                                        \
    (long n, long c, const T* dy, const T* x, const double* s, const float* gamma, T* dx, float* dgamma))
