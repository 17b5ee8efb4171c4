// Normalization of each sample by itself. What was measured is read again while it is in the cache: a sample, or a few
// rows. So forward costs little more than a copy of x, and backward than reading dy and x and writing dx.
#include "group_norm.h"

#include "columns.h"

namespace handgrad::HG_ISA {

HG_GROUP_NORM_KERNELS(HG_DECLARE_TYPED, T)

namespace {

// The n samples in parts, each of which adds up its gradients of gamma and beta. The sums of all are added in order.
struct Samples {
  long n, size, count;
  Samples(long n, long least) : n(n), size(larger(least, (n + PARTS - 1) / PARTS)), count((n + size - 1) / size) {}
  long begin(long part) const { return part * size; }
  long end(long part) const { return smaller(n, (part + 1) * size); }
};

// The sums of each part of the samples, in double; without beta where there is none.
class Gradients {
 public:
  Gradients(const Samples& samples, long c, bool with_beta = true)
      : parts_(samples.count), c_(c), row_(with_beta ? 2 * c : c), scratch_(2 * parts_ * row_) {
    if (parts_ > 0) memset(scratch_.data(), 0, 8 * parts_ * row_);
  }
  double* gamma(long part) const { return (double*)scratch_.data() + part * row_; }
  double* beta(long part) const { return gamma(part) + c_; }
  void total(float* dgamma, float* dbeta) const {
    for (long begin = 0; begin < row_; begin += LINE) {
      const long k = smaller(LINE, row_ - begin);
      double sums[LINE] = {};
      for (long part = 0; part < parts_; ++part)
        for (long j = 0; j < k; ++j) sums[j] += gamma(part)[begin + j];
      for (long j = begin; j < begin + k; ++j) (j < c_ ? dgamma[j] : dbeta[j - c_]) = (float)sums[j - begin];
    }
  }

 private:
  long parts_, c_, row_;
  Scratch scratch_;
};

// --- samples of several places: two sums for each column, of these for each channel, and of these for each group ---

// What is known of one sample, in memory of size(r) floats.
struct Sample {
  const Partial partial;
  double *first, *second, *third, *fourth;  // of each channel, or group
  float *a, *h, *b, *k, *d;                 // of each column
  static long size(const Rows& r) {
    return round_up(Partial::size(r), LINE) + round_up(8 * r.c, LINE) + 5 * round_up(r.width, LINE);
  }
  Sample(const Rows& r, float* memory) : partial(r, memory) {
    memory += round_up(Partial::size(r), LINE);
    first = (double*)memory, second = first + r.c, third = second + r.c, fourth = third + r.c;
    a = memory + round_up(8 * r.c, LINE);
    const long width = round_up(r.width, LINE);
    h = a + width, b = h + width, k = b + width, d = k + width;
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
bool past_caches(const Rows& r, const GroupShape& f, const T* y) {
  return large(r, f.n * f.m, y) && f.m * f.c % W == 0;
}

// Every group's mean and s of those of its channels, which are all of m numbers.
template <class T>
void of_places(const GroupShape& f, const T* x, const float* gamma, const float* beta, double epsilon, T* y,
               double* means, double* ss) {
  const Rows r = side_by_side(f.m, f.c);
  const long size = f.m * f.c, d = f.c / f.groups;
  const bool past = past_caches(r, f, y);
  each_sample(
      r, Samples(f.n, 1), [](long, const Sample&) {},
      [&](long i, const Part& part, const Sample& sample) {
        moments(part, r.width, x + i * size, sample.partial.first(part), sample.partial.second(part));
      },
      [&](long i, const Sample& sample) {
        const double *mean_j = sample.first, *M2_j = sample.second;
        double *mean = means + i * f.groups, *s = ss + i * f.groups;
        sample.partial.join(sample.first, sample.second);
        for (long q = 0; q < f.groups; ++q) {
          double sum = 0, M2 = 0;
          for (long j = q * d; j < (q + 1) * d; ++j) sum += mean_j[j];
          mean[q] = sum / d;
          for (long j = q * d; j < (q + 1) * d; ++j)
            M2 += M2_j[j] + f.m * ((mean_j[j] - mean[q]) * (mean_j[j] - mean[q]));
          s[q] = M2;
        }
        for (long q = 0; q < f.groups; ++q) s[q] = 1 / __builtin_sqrt(s[q] / (f.m * d) + epsilon);
        each_channel(f, [&](long j, long q) {
          const float h = (float)mean[q];
          const double a = gamma ? gamma[j] * s[q] : s[q];
          sample.h[j] = h;
          sample.a[j] = (float)a;
          sample.b[j] = (float)((beta ? beta[j] : 0) - a * (mean[q] - h));
        });
        repeat(r, sample.a), repeat(r, sample.h), repeat(r, sample.b);
      },
      [&](long i, const Part& part, const Sample& sample) {
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
  const long size = f.m * f.c;
  const double N = (double)f.m * (f.c / f.groups);
  const bool past = past_caches(r, f, dx);
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
        double *S1 = sample.first, *S2 = sample.second, *A = sample.third, *B = sample.fourth;
        double *dgammas = gradients.gamma(i / samples.size), *dbetas = gradients.beta(i / samples.size);
        const double *mean = means + i * f.groups, *s = ss + i * f.groups;
        sample.partial.add(S1, S2);
        each_channel(f, [&](long j, long q) { S2[j] = s[q] * (S2[j] - (mean[q] - (float)mean[q]) * S1[j]); });
        for (long j = 0; j < f.c; ++j) dgammas[j] += S2[j];
        for (long j = 0; j < f.c; ++j) dbetas[j] += S1[j];
        for (long q = 0; q < f.groups; ++q) A[q] = B[q] = 0;
        each_channel(f, [&](long j, long q) { A[q] += gamma ? gamma[j] * S1[j] : S1[j]; });
        each_channel(f, [&](long j, long q) { B[q] += gamma ? gamma[j] * S2[j] : S2[j]; });
        each_channel(f, [&](long j, long q) {
          const double k = -s[q] * s[q] * B[q] / N;
          sample.a[j] = (float)(gamma ? gamma[j] * s[q] : s[q]);
          sample.k[j] = (float)k;
          sample.d[j] = (float)(-s[q] * A[q] / N - k * (mean[q] - (float)mean[q]));
        });
        repeat(r, sample.a), repeat(r, sample.k), repeat(r, sample.d);
      },
      [&](long i, const Part& part, const Sample& sample) {
        const long j = part.column;
        gradient<Pass::all, T>(part, r.width, sample.a + j, sample.h + j, sample.h + j, sample.k + j, sample.d + j,
                               dy + i * size, x + i * size, dx + i * size, past);
      });
  gradients.total(dgamma, dbeta);
}

// --- samples of one place, whose groups are rows --------------------------------------------------------------------

constexpr long ROW_BLOCK = 1024;  // numbers of a row whose sums are taken in float
constexpr int STRIP = 4;          // rows at a time: gamma, beta and their gradients are read once for all

// Halves are added until one number is left.
template <int N>
HG_INLINE float total(const float* lanes) {
  if constexpr (N == 1) return lanes[0];
  else {
    typedef float half __attribute__((vector_size(2 * N), aligned(4), may_alias));
    float sums[N / 2];
    *(half*)sums = *(const half*)lanes + *(const half*)(lanes + N / 2);
    return total<N / 2>(sums);
  }
}
HG_INLINE float total(vec v) {
  float lanes[W];
  store(lanes, v);
  return total<W>(lanes);
}

// The first numbers of a vector, and zeros.
HG_INLINE vec only(vec v, Whole) { return v; }
HG_INLINE vec only(vec v, Left left) {
  ivec lane;
  for (int i = 0; i < W; ++i) lane[i] = i;
  return lane < (int32_t)left.n ? v : vec{};
}

// sum(d) and sum(d^2) with d = x - x0
struct RowSums {
  float s1, s2;
};
template <class T>
HG_INLINE RowSums sums_about(long n, const T* x, float about) {
  const vec x0 = broadcast(about);
  vec s1[2] = {}, s2[2] = {};
  long i = 0;
  for (; i + 2 * W <= n; i += 2 * W)
    for (int v = 0; v < 2; ++v) {
      const vec d = load(x + i + v * W) - x0;
      s1[v] += d, s2[v] += d * d;
    }
  each_vector(n - i, [&](long v, auto w) {
    const vec d = only(get(x + i + v, w) - x0, w);
    s1[0] += d, s2[0] += d * d;
  });
  return {total(s1[0] + s1[1]), total(s2[0] + s2[1])};
}

// Mean and M2 of a row. In a block of its numbers d = x - x0 with x0 the mean of those before it, or of its own first.
template <class T>
HG_INLINE void row_moments(long n, const T* x, double& mean, double& M2) {
  constexpr long FIRST = 128;
  float x0 = to_float(x[0]);
  x0 += sums_about(smaller(FIRST, n), x, x0).s1 / smaller(FIRST, n);
  mean = M2 = 0;
  for (long begin = 0; begin < n; begin += ROW_BLOCK) {
    const long k = smaller(ROW_BLOCK, n - begin);
    const RowSums of = sums_about(k, x + begin, x0);
    const double d = of.s1 / (double)k;
    join(begin, k, x0 + d, of.s2 - of.s1 * d, mean, M2);
    x0 = (float)mean;
  }
}

template <class T>
HG_INLINE double row_squares(long n, const T* x) {
  double sum = 0;
  for (long begin = 0; begin < n; begin += ROW_BLOCK)
    sum += sums_about(smaller(ROW_BLOCK, n - begin), x + begin, 0).s2;
  return sum;
}

// xhat = (x - h)*s + t, with h the float of the mean and t what it lacks.
struct Row {
  float h, s, t;
  Row() = default;
  Row(double mean, double s) : h((float)mean), s((float)s), t((float)((h - mean) * s)) {}
};
template <bool CENTER>
HG_INLINE vec xhat(vec x, const Row& row) {
  return CENTER ? (x - row.h) * row.s + row.t : x * row.s;
}

// Rows of n numbers, `pitch` apart. y = gamma*xhat + beta, with CENTER false gamma*x*s.
template <bool CENTER, int ROWS, class T>
HG_INLINE void normalize(long n, long pitch, const T* x, const float* gamma, const float* beta, const Row* rows, T* y,
                         bool past) {
  Row of[ROWS];
  memcpy(of, rows, sizeof of);
  each_vector(n, [&](long i, auto w) {
    const vec gamma_i = get(gamma + i, w), beta_i = CENTER ? get(beta + i, w) : vec{};
    for (int r = 0; r < ROWS; ++r) {
      const vec v = gamma_i * xhat<CENTER>(get(x + r * pitch + i, w), of[r]);
      put(y + r * pitch + i, CENTER ? v + beta_i : v, w, past);
    }
  });
}

// sum(h) and sum(h*xhat) of a row, with h = gamma*dy.
template <bool CENTER, class T>
HG_INLINE void row_gradients(long n, const T* dy, const T* x, const float* gamma, const Row& row, double& A, double& B) {
  A = B = 0;
  for (long begin = 0; begin < n; begin += ROW_BLOCK) {
    vec a[2] = {}, b[2] = {};
    const long end = smaller(n, begin + ROW_BLOCK);
    long i = begin;
    for (; i + 2 * W <= end; i += 2 * W)
      for (int v = 0; v < 2; ++v) {
        const vec h = load(gamma + i + v * W) * load(dy + i + v * W);
        if (CENTER) a[v] += h;
        b[v] += h * xhat<CENTER>(load(x + i + v * W), row);
      }
    each_vector(end - i, [&](long v, auto w) {
      const vec h = get(gamma + i + v, w) * get(dy + i + v, w);
      if (CENTER) a[0] += h;
      b[0] += only(h * xhat<CENTER>(get(x + i + v, w), row), w);
    });
    if (CENTER) A += total(a[0] + a[1]);
    B += total(b[0] + b[1]);
  }
}

// dx = s*h - (e + xhat*f) with e = s*A/n and f = s*B/n, and the rows' parts of dgamma and dbeta.
template <bool CENTER, int ROWS, class T>
void differentiate(long n, long pitch, const T* dy, const T* x, const float* gamma, const Row* rows, T* dx,
                             float* dgamma, float* dbeta, bool past) {
  Row of[ROWS];
  float e[ROWS], f[ROWS];
  memcpy(of, rows, sizeof of);
  for (int r = 0; r < ROWS; ++r) {
    double A, B;
    row_gradients<CENTER>(n, dy + r * pitch, x + r * pitch, gamma, of[r], A, B);
    e[r] = (float)(of[r].s * A / n), f[r] = (float)(of[r].s * B / n);
  }
  each_vector(n, [&](long i, auto w) {
    const vec gamma_i = get(gamma + i, w);
    vec dgamma_i = get(dgamma + i, w), dbeta_i = CENTER ? get(dbeta + i, w) : vec{};
    for (int r = 0; r < ROWS; ++r) {
      const vec dy_i = get(dy + r * pitch + i, w), xhat_i = xhat<CENTER>(get(x + r * pitch + i, w), of[r]);
      dgamma_i += dy_i * xhat_i;
      if (CENTER) dbeta_i += dy_i;
      const vec h = gamma_i * dy_i * of[r].s;
      put(dx + r * pitch + i, CENTER ? h - (xhat_i * f[r] + e[r]) : h - xhat_i * f[r], w, past);
    }
    put(dgamma + i, dgamma_i, w, false);
    if (CENTER) put(dbeta + i, dbeta_i, w, false);
  });
}

// So many rows at a time: as many as stay in the second cache.
long at_once(long d) { return d > 16384 ? 1 : STRIP; }

template <class T>
bool past_caches(long n, long c, long d, const T* y) {
  return streamed<T>(n * c) && d % W == 0 && aligned(y);
}

// gamma or beta, or what stands for it.
class Given {
 public:
  Given(const float* p, long c, float otherwise) : scratch_(p ? 0 : c), p_(p ? p : scratch_.data()) {
    if (!p)
      for (long j = 0; j < c; ++j) scratch_.data()[j] = otherwise;
  }
  const float* operator+(long j) const { return p_ + j; }

 private:
  Scratch scratch_;
  const float* p_;
};

template <bool CENTER, class T>
void of_rows(long n, long c, long groups, const T* x, const float* gamma_or_null, const float* beta_or_null,
             double epsilon, T* y, double* mean, double* s) {
  const long d = c / groups, step = at_once(d);
  const Given gamma(gamma_or_null, c, 1), beta(beta_or_null, CENTER ? c : 0, 0);
  const bool past = past_caches(n, c, d, y);
  parallel_for(n, larger(1, GRAIN / larger(1, c)), [&](long begin, long end, int) {
    Row rows[STRIP];
    for (long i = begin; i < end; i += step)
      for (long q = 0; q < groups; ++q) {
        const long count = smaller(step, end - i), column = q * d, at = i * c + column;
        for (long r = 0; r < count; ++r) {
          const T* x_r = x + at + r * c;
          double mean_r = 0, M2;
          if (CENTER)
            row_moments(d, x_r, mean_r, M2);
          else
            M2 = row_squares(d, x_r);
          const double s_r = 1 / __builtin_sqrt(M2 / d + epsilon);
          rows[r] = Row(mean_r, s_r);
          if (CENTER) mean[(i + r) * groups + q] = mean_r;
          s[(i + r) * groups + q] = s_r;
        }
        if (count == STRIP)
          normalize<CENTER, STRIP>(d, c, x + at, gamma + column, beta + column, rows, y + at, past);
        else
          for (long r = 0; r < count; ++r)
            normalize<CENTER, 1>(d, c, x + at + r * c, gamma + column, beta + column, rows + r, y + at + r * c, past);
      }
    stream_end();
  });
}

template <bool CENTER, class T>
void of_rows_backward(long n, long c, long groups, const T* dy, const T* x, const double* mean, const double* s,
                      const float* gamma_or_null, T* dx, float* dgamma, float* dbeta) {
  const long d = c / groups, step = at_once(d);
  const Given gamma(gamma_or_null, c, 1);
  const bool past = past_caches(n, c, d, dx);
  const Samples samples(n, n > 32 ? 16 : STRIP);
  const Gradients gradients(samples, c, CENTER);
  parallel_for(samples.count, larger(1, GRAIN / larger(1, c * samples.size)), [&](long begin, long end, int) {
    const Scratch sums((CENTER ? 2 : 1) * c);
    float *dgammas = sums.data(), *dbetas = dgammas + (CENTER ? c : 0);
    Row rows[STRIP];
    for (long part = begin; part < end; ++part)
      for (long block = samples.begin(part); block < samples.end(part); block += BLOCK) {
        const long block_end = smaller(samples.end(part), block + BLOCK);
        memset(sums.data(), 0, (CENTER ? 8 : 4) * c);
        for (long i = block; i < block_end; i += step)
          for (long q = 0; q < groups; ++q) {
            const long count = smaller(step, block_end - i), column = q * d;
            for (long r = 0; r < count; ++r) {
              const long row = (i + r) * groups + q;
              rows[r] = Row(CENTER ? mean[row] : 0, s[row]);
            }
            const auto some = [&](auto differentiate_some, long r) {
              const long at = (i + r) * c + column;
              differentiate_some(d, c, dy + at, x + at, gamma + column, rows + r, dx + at, dgammas + column,
                                 dbetas + column, past);
            };
            if (count == STRIP)
              some(differentiate<CENTER, STRIP, T>, 0);
            else
              for (long r = 0; r < count; ++r) some(differentiate<CENTER, 1, T>, r);
          }
        double *of_gamma = gradients.gamma(part), *of_beta = gradients.beta(part);
        for (long j = 0; j < c; ++j) of_gamma[j] += dgammas[j];
        if (CENTER)
          for (long j = 0; j < c; ++j) of_beta[j] += dbetas[j];
      }
    stream_end();
  });
  gradients.total(dgamma, dbeta);
}

}  // namespace

template <class T>
void group_norm(const GroupShape& f, const T* x, const float* gamma, const float* beta, double epsilon, T* y,
                double* mean, double* s) {
  if (f.m == 1)
    of_rows<true>(f.n, f.c, f.groups, x, gamma, beta, epsilon, y, mean, s);
  else
    of_places(f, x, gamma, beta, epsilon, y, mean, s);
}

template <class T>
void group_norm_backward(const GroupShape& f, const T* dy, const T* x, const double* mean, const double* s,
                         const float* gamma, T* dx, float* dgamma, float* dbeta) {
  if (f.m == 1)
    of_rows_backward<true>(f.n, f.c, f.groups, dy, x, mean, s, gamma, dx, dgamma, dbeta);
  else
    of_places_backward(f, dy, x, mean, s, gamma, dx, dgamma, dbeta);
}

template <class T>
void rms_norm(long n, long c, const T* x, const float* gamma, double epsilon, T* y, double* s) {
  of_rows<false>(n, c, 1, x, gamma, nullptr, epsilon, y, nullptr, s);
}

template <class T>
void rms_norm_backward(long n, long c, const T* dy, const T* x, const double* s, const float* gamma, T* dx,
                       float* dgamma) {
  of_rows_backward<false>(n, c, 1, dy, x, nullptr, s, gamma, dx, dgamma, nullptr);
}

HG_GROUP_NORM_KERNELS(HG_INSTANTIATE, float)
HG_GROUP_NORM_KERNELS(HG_INSTANTIATE, bf16)

}  // namespace handgrad::HG_ISA
