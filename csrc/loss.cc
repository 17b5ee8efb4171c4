// The formulas are those of src/handgrad/kernels/reference/loss.py, in the same letters.
#include "loss.h"

#include <math.h>

#include "range.h"
#include "rows.h"
#include "sums.h"

namespace handgrad::HG_ISA {

HG_LOSS_KERNELS(HG_DECLARE)

namespace {

// What all rows of a cross entropy have in common; e of every target is spread over all classes.
struct CrossEntropy {
  long n, k;
  double e;

  // The sum of z - max, of which `spread` adds up all classes.
  double sum_of_row(const float* z, float max) const {
    DoubleSum s;
    for_row(k, [&](Lanes at) { s.add(load(z, at, max) - max); });
    return s.total();
  }

  // L, of a row whose sum of exponentials is s. Beside a z that is infinite (and s is then 1) all others cost infinitely
  // much.
  template <class Target>
  double in_double(const float* z, double max, double s, const Target& t) const {
    double loss = 0;
    for (long j = 0; j < k; ++j)
      if (t(j) != 0 && z[j] != INFINITE) loss -= t(j) * (z[j] - max - log(s));
    return s == s ? loss : s;
  }

  // L = -sum_k t_k log p_k and dz = (p*sum_k(t) - t)/n, where t_k = (1 - e)*[k = label] + e/k
  double of_label(const float* z, int64_t label, float* dz) const {
    const float max = greatest(k, z);
    const double s = exp_row(k, z, max, dz), log_s = log(s);
    const double right = label >= 0 && label < k ? 1 - e : 0, spread = e / k, sum_t = right + e;
    // the right class's own number in double precision: 1 - p is small where the model is sure
    const double at_label = right ? (dz[label] / s * sum_t - spread - right) / n : 0;
    const float by_s = (float)(sum_t / s), by_n = (float)(1.0 / n), t = (float)spread;
    for_row(k, [&](Lanes at) { store(dz, (load(dz, at) * by_s - t) * by_n, at); });
    double loss = 0;
    if (right) dz[label] = (float)at_label, loss -= right * ((double)(z[label] - max) - log_s);
    if (e) loss -= spread * (sum_of_row(z, max) - k * log_s);
    if (overflows(loss)) return in_double(z, max, s, [&](long j) { return (j == label ? right : 0) + spread; });
    return loss;
  }

  // The same for t_k = (1 - e)*targets_k + e/k. A target of 0 contributes nothing, also where z is -inf.
  double of_targets(const float* z, const float* targets, float* dz) const {
    const float max = greatest(k, z);
    const double s = exp_row(k, z, max, dz), log_s = log(s), spread = e / k;
    DoubleSum ts, tzs;
    for_row(k, [&](Lanes at) {
      const vec t = load(targets, at);
      ts.add(t);
      tzs.add(t == 0 ? vec{} : t * (load(z, at, max) - max));
    });
    const double sum_t = (1 - e) * ts.total() + e;
    const float by_s = (float)(sum_t / s), by_n = (float)(1.0 / n), left = (float)(1 - e), more = (float)spread;
    for_row(k, [&](Lanes at) {
      const vec t = left * load(targets, at) + more;
      store(dz, (load(dz, at) * by_s - t) * by_n, at);
    });
    double loss = sum_t * log_s - (1 - e) * tzs.total();
    if (e) loss -= spread * sum_of_row(z, max);
    if (overflows(loss)) return in_double(z, max, s, [&](long j) { return (1 - e) * targets[j] + spread; });
    return loss;
  }
};

}  // namespace

void softmax_cross_entropy(long n, long k, const float* z, const int64_t* labels, const float* t,
                           double smoothing, double* value, float* dz) {
  const CrossEntropy rows{n, k, smoothing};
  const double sum = sum_of_blocks(n, larger(1, BLOCK_NUMBERS / larger(k, W)), [&](long begin, long end) {
    double loss = 0;
    for (long i = begin; i < end; ++i)
      loss += labels ? rows.of_label(z + i * k, labels[i], dz + i * k)
                     : rows.of_targets(z + i * k, t + i * k, dz + i * k);
    return loss;
  });
  *value = n ? sum / n : 0;
}

namespace {

// The sum of (1 - t)*z where z > 0, else -t*z, and log(1 + e^-|z|): what has no weight costs nothing, where it is
// infinite, too.
double binary_in_double(long m, const float* z, const float* t) {
  double loss = 0;
  for (long i = 0; i < m; ++i) {
    const double weight = z[i] > 0 ? 1 - (double)t[i] : -(double)t[i];
    loss += (weight == 0 ? 0 : weight * z[i]) + ::log1p(::exp(-fabs((double)z[i])));
  }
  return loss;
}

// The sum of d^2, and what d = z - t is in dz where a float does not hold it.
double squares_in_double(long m, const float* z, const float* t, double by_m, float* dz) {
  double loss = 0;
  for (long i = 0; i < m; ++i) {
    const double d = (double)z[i] - t[i];
    loss += d * d;
    if (fabs(d) > __FLT_MAX__) dz[i] = (float)(by_m * d);
  }
  return loss;
}

}  // namespace

// L = mean of max(z, 0) - z*t + log(1 + e^-|z|),  dz = (sigmoid(z) - t)/m
void binary_cross_entropy(long m, const float* z, const float* t, double* value, float* dz) {
  const float by_m = (float)(1.0 / m);
  const double sum = sum_of_blocks(m, BLOCK_NUMBERS, [&](long begin, long end) {
    DoubleSum loss;
    for_row(end - begin, [&](Lanes at) {
      const vec zi = load(z + begin, at, -200);  // behind the end, where a logit of -200 for t = 0 costs nothing
      const vec ti = load(t + begin, at), e = exp_up_to_89(-absolute(zi));
      loss.add(relu(zi) - zi * ti + log1p(e));
      store(dz + begin, ((zi < 0 ? e : broadcast(1)) / (1 + e) - ti) * by_m, at);
    });
    return overflows(loss.total()) ? binary_in_double(end - begin, z + begin, t + begin) : loss.total();
  });
  *value = m ? sum / m : 0;
}

// L = mean of (z - t)^2,  dz = 2*(z - t)/m
void mean_squared_error(long m, const float* z, const float* t, double* value, float* dz) {
  const float two_by_m = (float)(2.0 / m);
  const double sum = sum_of_blocks(m, BLOCK_NUMBERS, [&](long begin, long end) {
    DoubleSum squares;
    for_row(end - begin, [&](Lanes at) {
      const vec d = load(z + begin, at) - load(t + begin, at);
      squares.add_product(d, d);
      store(dz + begin, two_by_m * d, at);
    });
    if (overflows(squares.total()))
      return squares_in_double(end - begin, z + begin, t + begin, 2.0 / m, dz + begin);
    return squares.total();
  });
  *value = m ? sum / m : 0;
}

}  // namespace handgrad::HG_ISA
