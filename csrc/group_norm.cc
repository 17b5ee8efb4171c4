// Normalization of each sample by itself. What was measured is read again while it is in the cache: a sample, or a few
// rows. So forward costs little more than a copy of x, and backward than reading dy and x and writing dx.
#include "group_norm.h"

#include "columns.h"
#include "row_norm.h"
#include "samples.h"

namespace handgrad::HG_ISA {

HG_GROUP_NORM_KERNELS(HG_DECLARE_TYPED, T)

namespace {

// Samples of several places: two sums for each column, of these for each channel, and of these for each group.

// What is known of one sample, in memory of size(r) floats.
struct Sample {
  const Partial partial;
  double *first, *second, *third, *fourth;  // of each channel, or group
  float *a, *h, *b, *k, *d;                 // of each column
  bool* wide;                               // whether floats do not hold its numbers, or sums of them (range.h)
  static long size(const Rows& r) {
    return round_up(Partial::size(r), LINE) + round_up(8 * r.c, LINE) + 5 * round_up(r.width, LINE) + LINE;
  }
  Sample(const Rows& r, float* memory) : partial(r, memory) {
    memory += round_up(Partial::size(r), LINE);
    first = (double*)memory, second = first + r.c, third = second + r.c, fourth = third + r.c;
    a = memory + round_up(8 * r.c, LINE);
    const long width = round_up(r.width, LINE);
    h = a + width, b = h + width, k = b + width, d = k + width;
    wide = (bool*)(d + width);
  }
};

// A channel's constant for all rows that stand side by side.
void repeat(const Rows& r, float* p) {
  for (long j = r.c; j < r.width; ++j) p[j] = p[j - r.c];
}

// work(channel, group)
template <class Work>
HG_INLINE void each_channel(const GroupShape& f, const Work& work) {
  const long d = f.c / f.groups;
  if (d == 1)
    for (long j = 0; j < f.c; ++j) work(j, j);
  else
    for (long q = 0; q < f.groups; ++q)
      for (long j = q * d; j < (q + 1) * d; ++j) work(j, q);
}

// The sum of term(j), begin <= j < end, in four parts that do not wait for each other.
template <class Term>
HG_INLINE double sum_of(long begin, long end, const Term& term) {
  double sums[4] = {};
  long j = begin;
  for (; j + 4 <= end; j += 4)
    for (long v = 0; v < 4; ++v) sums[v] += term(j + v);
  for (; j < end; ++j) sums[0] += term(j);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// prepare(i, sample), measure(i, part, sample), combine(i, sample) and apply(i, part, sample) for every sample i: by one
// thread while it is in its cache, or, where there are too few samples for that, part by part. Samples of one part are
// combined in order.
template <class Prepare, class Measure, class Combine, class Apply>
void each_sample(const Rows& r, const Samples& samples, const Prepare& prepare, const Measure& measure,
                 const Combine& combine, const Apply& apply) {
  const long size = Sample::size(r), all = threads(), of_one = items(r), n = samples.n;
  if (of_one == 1 || 4 * round_up(samples.count, all) <= 5 * samples.count) {
    parallel_for(samples.count, larger(1, grain(r) / (of_one * samples.size)), [&](long begin, long end, int) {
      const Scratch memory(size);
      const Sample sample(r, memory.data());
      for (long i = samples.begin(begin); i < samples.end(end - 1); ++i) {
        prepare(i, sample);
        for (long item = 0; item < of_one; ++item) measure(i, part_of(r, item), sample);
        combine(i, sample);
        for (long item = 0; item < of_one; ++item) apply(i, part_of(r, item), sample);
      }
    });
    return;
  }
  const Scratch memory(n * size);
  const auto of = [&](long i) { return Sample(r, memory.data() + i * size); };
  for (long i = 0; i < n; ++i) prepare(i, of(i));
  parallel_for(n * of_one, grain(r), [&](long begin, long end, int) {
    for (long at = begin; at < end; ++at) measure(at / of_one, part_of(r, at % of_one), of(at / of_one));
  });
  for (long i = 0; i < n; ++i) combine(i, of(i));
  parallel_for(n * of_one, grain(r), [&](long begin, long end, int) {
    for (long at = begin; at < end; ++at) apply(at / of_one, part_of(r, at % of_one), of(at / of_one));
  });
}

// Whether results are written past the caches, for which the vectors of every sample must be aligned.
template <class T>
bool past_caches(const Rows& r, const GroupShape& f, const T* y, long most) {
  return large(r, f.n * f.m, y, most) && f.m * f.c % W == 0;
}

// A part of a sample whose numbers, or sums of them, floats do not hold: work(at, channel, group) for every number.
template <class Work>
void each_number(const Rows& r, const GroupShape& f, const Part& part, const Work& work) {
  const long d = f.c / f.groups;
  for (long row = 0, p = part.position; row < part.rows; ++row, p += r.width)
    for (long i = 0; i < part.columns; ++i) {
      const long j = (part.column + i) % f.c;
      work(p + i, j, j / d);
    }
}

// Every group's mean and s of those of its channels, which are all of m numbers.
template <class T>
void of_places(const GroupShape& f, const T* x, const float* gamma, const float* beta, double epsilon, T* y,
               double* means, double* ss) {
  const Rows r = side_by_side(f.m, f.c);
  const long size = f.m * f.c, d = f.c / f.groups;
  const bool past = past_caches(r, f, y, NORMALIZED);
  each_sample(
      r, Samples(f.n, 1), [](long, const Sample&) {},
      [&](long i, const Part& part, const Sample& sample) {
        moments(part, r.width, x + i * size, sample.partial.first(part), sample.partial.second(part));
      },
      [&](long i, const Sample& sample) {
        const bool single = sample.partial.single();
        double *mean = means + i * f.groups, *s = ss + i * f.groups;
        double* mean_j = single ? sample.partial.first() : sample.first;
        double* M2_j = single ? sample.partial.second() : sample.second;
        if (!single) sample.partial.join(mean_j, M2_j);
        for (long q = 0; q < f.groups; ++q) {
          const long begin = q * d, end = begin + d;
          const double mean_q = sum_of(begin, end, [=](long j) { return mean_j[j]; }) / d;
          const double M2 = sum_of(begin, end, [=](long j) {
            const double delta = mean_j[j] - mean_q;
            return M2_j[j] + f.m * (delta * delta);
          });
          mean[q] = mean_q, s[q] = M2;
        }
        *sample.wide = false;
        for (long q = 0; q < f.groups; ++q) {
          s[q] = 1 / __builtin_sqrt(s[q] / (f.m * d) + epsilon);
          *sample.wide |= is_wide(mean[q], s[q]);
        }
        each_channel(f, [&](long j, long q) {
          const float h = (float)mean[q];
          const double a = gamma[j] * s[q];
          sample.h[j] = h;
          sample.a[j] = (float)a;
          sample.b[j] = (float)(beta[j] - a * (mean[q] - h));
        });
        repeat(r, sample.a), repeat(r, sample.h), repeat(r, sample.b);
      },
      [&](long i, const Part& part, const Sample& sample) {
        if (*sample.wide) {
          const double *mean = means + i * f.groups, *s = ss + i * f.groups;
          return each_number(r, f, part, [&](long at, long j, long q) {
            const double xhat = (to_float(x[i * size + at]) - mean[q]) * s[q];
            y[i * size + at] = of_float<T>((float)(gamma[j] * xhat + beta[j]));
          });
        }
        const long j = part.column;
        apply<false, false, T>(part, r.width, sample.a + j, sample.h + j, sample.b + j, x + i * size, nullptr,
                               y + i * size, past);
      });
}

// With S1 = sum(dy) and S2 = sum(dy*(x - h)) of a channel, h the float of the mean and low what it lacks,
//
//     dbeta = S1    dgamma = sum(dy*xhat) = s*(S2 - low*S1)       of this sample
//     dx = s*(gamma*dy - (A + xhat*B)/N) = a*dy + k*(x - h) + d
//
// where A = sum(gamma*dbeta) and B = sum(gamma*dgamma) over the channels of the group, a = gamma*s, k = -s*s*B/N and
// d = -s*A/N - k*low.
template <class T>
void of_places_backward(const GroupShape& f, const T* dy, const T* x, const double* means, const double* ss,
                        const float* gamma, T* dx, float* dgamma, float* dbeta) {
  const Rows r = side_by_side(f.m, f.c);
  const long size = f.m * f.c, of_group = f.c / f.groups;
  const double N = (double)f.m * of_group;
  const bool past = past_caches(r, f, dx, RESULT);
  const Samples samples(f.n, 1);
  const Gradients gradients(samples, f.c);
  each_sample(
      r, samples,
      [&](long i, const Sample& sample) {
        const double* mean = means + i * f.groups;
        each_channel(f, [&](long j, long q) { sample.h[j] = (float)mean[q]; });
        repeat(r, sample.h);
      },
      [&](long i, const Part& part, const Sample& sample) {
        const float* h = sample.h + part.column;  // the only constant that is used
        sums<Pass::all, false, T>(part, r.width, h, h, h, dy + i * size, x + i * size, nullptr, nullptr, nullptr, false,
                                  sample.partial.first(part), sample.partial.second(part));
      },
      [&](long i, const Sample& sample) {
        const bool single = sample.partial.single();
        double* S1 = single ? sample.partial.first() : sample.first;
        double* S2 = single ? sample.partial.second() : sample.second;
        double *A = sample.third, *B = sample.fourth;
        double *dgammas = gradients.gamma(i / samples.size), *dbetas = gradients.beta(i / samples.size);
        const double *mean = means + i * f.groups, *s = ss + i * f.groups;
        if (!single) sample.partial.add(S1, S2);
        each_channel(f, [&](long j, long q) { S2[j] = s[q] * (S2[j] - (mean[q] - (float)mean[q]) * S1[j]); });
        *sample.wide = any_overflows(f.c, S1) || any_overflows(f.c, S2);
        for (long q = 0; q < f.groups; ++q) *sample.wide |= is_wide(mean[q], s[q]);
        if (*sample.wide) {
          for (long j = 0; j < f.c; ++j) S1[j] = S2[j] = 0;
          for (long at = i * size; at < (i + 1) * size; at += f.c)
            each_channel(f, [&](long j, long q) {
              S1[j] += to_float(dy[at + j]);
              S2[j] += to_float(dy[at + j]) * ((to_float(x[at + j]) - mean[q]) * s[q]);
            });
        }
        for (long j = 0; j < f.c; ++j) dgammas[j] += S2[j];
        for (long j = 0; j < f.c; ++j) dbetas[j] += S1[j];
        for (long q = 0; q < f.groups; ++q) {
          const long begin = q * of_group, end = begin + of_group;
          A[q] = sum_of(begin, end, [&](long j) { return gamma[j] * S1[j]; });
          B[q] = sum_of(begin, end, [&](long j) { return gamma[j] * S2[j]; });
        }
        for (long q = 0; q < f.groups; ++q) *sample.wide |= is_lost(s[q] * s[q] * B[q] / N, s[q]);
        each_channel(f, [&](long j, long q) {
          const double k = -s[q] * s[q] * B[q] / N;
          sample.a[j] = (float)(gamma[j] * s[q]);
          sample.k[j] = (float)k;
          sample.d[j] = (float)(-s[q] * A[q] / N - k * (mean[q] - (float)mean[q]));
        });
        repeat(r, sample.a), repeat(r, sample.k), repeat(r, sample.d);
      },
      [&](long i, const Part& part, const Sample& sample) {
        if (*sample.wide) {
          const double *mean = means + i * f.groups, *s = ss + i * f.groups;
          return each_number(r, f, part, [&](long at, long j, long q) {
            const double h = (double)gamma[j] * to_float(dy[i * size + at]);
            const double xhat = (to_float(x[i * size + at]) - mean[q]) * s[q];
            dx[i * size + at] = of_float<T>((float)(s[q] * (h - (sample.third[q] + xhat * sample.fourth[q]) / N)));
          });
        }
        const long j = part.column;
        gradient<Pass::all, T>(part, r.width, sample.a + j, sample.h + j, sample.h + j, sample.k + j, sample.d + j,
                               dy + i * size, x + i * size, dx + i * size, past);
      });
  gradients.total(dgamma, dbeta);
}

}  // namespace

template <class T>
void group_norm(const GroupShape& f, const T* x, const float* gamma_or_null, const float* beta_or_null,
                double epsilon, T* y, double* mean, double* s) {
  const Given gamma(gamma_or_null, f.c, 1), beta(beta_or_null, f.c, 0);
  if (f.m == 1)
    of_rows<true, T>(f.n, f.c, f.groups, x, gamma, beta, epsilon, y, mean, s);
  else
    of_places<T>(f, x, gamma, beta, epsilon, y, mean, s);
}

template <class T>
void group_norm_backward(const GroupShape& f, const T* dy, const T* x, const double* mean, const double* s,
                         const float* gamma_or_null, T* dx, float* dgamma, float* dbeta) {
  const Given gamma(gamma_or_null, f.c, 1);
  if (f.m == 1)
    of_rows_backward<true, T>(f.n, f.c, f.groups, dy, x, mean, s, gamma, dx, dgamma, dbeta);
  else
    of_places_backward<T>(f, dy, x, mean, s, gamma, dx, dgamma, dbeta);
}

template <class T>
void rms_norm(long n, long c, const T* x, const float* gamma, double epsilon, T* y, double* s) {
  of_rows<false, T>(n, c, 1, x, Given(gamma, c, 1), nullptr, epsilon, y, nullptr, s);
}

template <class T>
void rms_norm_backward(long n, long c, const T* dy, const T* x, const double* s, const float* gamma, T* dx,
                       float* dgamma) {
  of_rows_backward<false, T>(n, c, 1, dy, x, nullptr, s, Given(gamma, c, 1), dx, dgamma, nullptr);
}

HG_GROUP_NORM_KERNELS(HG_INSTANTIATE, float)
HG_GROUP_NORM_KERNELS(HG_INSTANTIATE, bf16)

}  // namespace handgrad::HG_ISA
