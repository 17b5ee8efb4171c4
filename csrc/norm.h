// Batch normalization, and sums, of the columns of rows (m, c).
#pragma once

namespace handgrad {

// y = gamma*s*(x - mean) + beta: what a normalization does to each column. gamma and beta may be null: 1 and 0.
struct Normalization {
  const double *mean, *s;
  const float *gamma, *beta;
};

}  // namespace handgrad

// x, y and their gradients are of type T.
// batch_norm: where not null, `residual` is added to y; with `relu` y is what is positive of that.
// batch_norm_backward: of the same function; with `relu` dy passes where y was positive, and where y is null that
// is computed anew, without a residual. The gradient that passed, the residual's, is written where y is not
// null. mean and s are of so many of the rows: `count`, m or fewer, for which dx is right; or, if it is 0, constants.
#define HG_NORM_KERNELS(K, T)                                                                                 \
  K(column_sums, (long m, long c, const T* x, float* sums))                                                   \
  K(batch_norm_statistics, (long m, long c, const T* x, double* mean, double* var))                           \
  K(batch_norm,                                                                                               \
    (long m, long c, const T* x, const Normalization& f, const T* residual, bool relu, T* y))                 \
  K(batch_norm_backward,                                                                                      \
    (long m, long c, const T* dy, const T* x, const T* y, const Normalization& f, bool relu,                  \
     long count, T* dx, float* dgamma, float* dbeta, T* passed))
