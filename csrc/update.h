// One step of each optimizer on n parameters p with gradient g, in place, in one pass over memory.
#pragma once

// Arrays that may be null: b of sgd; m and b of rmsprop. adam: `step` is lr/(1 - beta_1^t), `correction`
// 1/sqrt(1 - beta_2^t), and `keep` what a decoupled decay leaves of p.
#define HG_UPDATE_KERNELS(K)                                                                                 \
  K(sgd, (long n, float* p, const float* g, float* b, float lr, bool first, float momentum, float damped,    \
          bool nesterov, float weight_decay))                                                                \
  K(adagrad, (long n, float* p, const float* g, float* s, float lr, float epsilon, float weight_decay))      \
  K(adadelta, (long n, float* p, const float* g, float* v, float* u, float lr, double rho, float epsilon,    \
               float weight_decay))                                                                          \
  K(rmsprop, (long n, float* p, const float* g, float* v, float* m, float* b, float lr, double rho,          \
              float epsilon, float momentum, float weight_decay))                                            \
  K(adam, (long n, float* p, const float* g, float* m, float* v, float step, double beta_1, double beta_2,   \
           float correction, float epsilon, float weight_decay, float keep))
