// The formulas are those of src/handgrad/kernels/reference/update.py, in the same letters. Factors such as 1 - rho
// are taken in double precision and then rounded, as there.
#include "update.h"

#include "elementwise.h"
#include "exp.h"
#include "range.h"

namespace handgrad::HG_ISA {

HG_UPDATE_KERNELS(HG_DECLARE)

namespace {

HG_INLINE vec square_root(vec v) {
#if defined(HG_AVX512)
  return (vec)_mm512_maskz_sqrt_ps(0xffff, (__m512)v);
#elif defined(__AVX2__)
  return (vec)_mm256_sqrt_ps((__m256)v);
#elif defined(__x86_64__)
  return (vec)_mm_sqrt_ps((__m128)v);
#else
  for (int i = 0; i < W; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}

// g + weight_decay*p; without decay p is not looked at.
HG_INLINE vec with_decay(vec g, vec p, float weight_decay) { return weight_decay ? g + weight_decay * p : g; }

// g, or +-2^63 where it is finite and larger, so that its square is a float. Steps that are divided by the root of such
// squares are the same for all gradients that are large beside those before and after them.
HG_INLINE vec with_square(vec g) {
  const vec size = absolute(g);
  if (__builtin_expect(!any(size > 0x1p63f), 1)) return g;
  return (size > 0x1p63f) & (size <= __FLT_MAX__) ? with_sign_of(g, broadcast(0x1p63f)) : g;
}

// A running mean: a <- keep*a + take*v
HG_INLINE vec move(float* a, Lanes at, float keep, float take, vec v) {
  v = keep * load(a, at) + take * v;
  store(a, v, at);
  return v;
}

}  // namespace

// b <- momentum*b + damped*g, at first b <- g;  p <- p - lr*b, with nesterov p <- p - lr*(g + momentum*b)
void sgd(long n, float* p, const float* g, float* b, float lr, bool first, float momentum, float damped,
         bool nesterov, float weight_decay) {
  each_vector(n, CHEAP, p, [=](Lanes at) {
    const vec pi = load(p, at), gi = with_decay(load(g, at), pi, weight_decay);
    vec d = gi;
    if (b) {
      if (!first) d = momentum * load(b, at) + damped * gi;
      store(b, d, at);
      if (nesterov) d = gi + momentum * d;
    }
    store(p, pi - lr * d, at);
  });
}

// s <- s + g^2, at most the largest float;  p <- p - lr*g/(sqrt(s) + epsilon)
void adagrad(long n, float* p, const float* g, float* s, float lr, float epsilon, float weight_decay) {
  each_vector(n, CHEAP, p, [=](Lanes at) {
    const vec pi = load(p, at), before = load(s, at);
    const vec gi = with_square(with_decay(load(g, at), pi, weight_decay)), sum = before + gi * gi;
    const vec si = absolute(gi) <= __FLT_MAX__ ? at_most(sum, __FLT_MAX__) : sum;
    store(s, si, at);
    store(p, pi - lr * (gi / (square_root(si) + epsilon)), at);
  });
}

// v <- rho*v + (1 - rho)*g^2;  d = sqrt(u + epsilon)/sqrt(v + epsilon)*g
// u <- rho*u + (1 - rho)*d^2;  p <- p - lr*d
void adadelta(long n, float* p, const float* g, float* v, float* u, float lr, double rho, float epsilon,
              float weight_decay) {
  const float keep = (float)rho, take = (float)(1 - rho);
  each_vector(n, CHEAP, p, [=](Lanes at) {
    const vec pi = load(p, at), gi = with_square(with_decay(load(g, at), pi, weight_decay));
    const vec vi = move(v, at, keep, take, gi * gi);
    const vec d = square_root(load(u, at) + epsilon) / square_root(vi + epsilon) * gi;
    move(u, at, keep, take, d * d);
    store(p, pi - lr * d, at);
  });
}

// v <- rho*v + (1 - rho)*g^2;  m <- rho*m + (1 - rho)*g;  d = g/(sqrt(v - m^2) + epsilon)
// b <- momentum*b + d;  p <- p - lr*b
void rmsprop(long n, float* p, const float* g, float* v, float* m, float* b, float lr, double rho, float epsilon,
             float momentum, float weight_decay) {
  const float keep = (float)rho, take = (float)(1 - rho);
  each_vector(n, CHEAP, p, [=](Lanes at) {
    const vec pi = load(p, at), gi = with_square(with_decay(load(g, at), pi, weight_decay));
    vec variance = move(v, at, keep, take, gi * gi);
    if (m) {
      const vec mi = move(m, at, keep, take, gi);
      variance = relu(variance - mi * mi);  // v >= m^2 holds exactly but not always after rounding
    }
    vec d = gi / (square_root(variance) + epsilon);
    if (b) d = move(b, at, momentum, 1, d);
    store(p, pi - lr * d, at);
  });
}

// m <- beta_1*m + (1 - beta_1)*g;  v <- beta_2*v + (1 - beta_2)*g^2
// p <- keep*p - step*m/(sqrt(v)*correction + epsilon)
void adam(long n, float* p, const float* g, float* m, float* v, float step, double beta_1, double beta_2,
          float correction, float epsilon, float weight_decay, float keep) {
  const float keep_m = (float)beta_1, take_m = (float)(1 - beta_1);
  const float keep_v = (float)beta_2, take_v = (float)(1 - beta_2);
  each_vector(n, CHEAP, p, [=](Lanes at) {
    const vec pi = load(p, at), gi = with_square(with_decay(load(g, at), pi, weight_decay));
    const vec mi = move(m, at, keep_m, take_m, gi), vi = move(v, at, keep_v, take_v, gi * gi);
    store(p, keep * pi - step * (mi / (square_root(vi) * correction + epsilon)), at);
  });
}

}  // namespace handgrad::HG_ISA
