// Rows that are normalized each by itself: STRIP of them at a time, so that gamma, beta and the sums of their gradients
// are read and written once for all, and no row's sums wait for those of another. With CENTER false there is no mean and
// no beta.
#pragma once

#include "samples.h"
#include "threads.h"

namespace handgrad::HG_ISA {

constexpr int STRIP = 4;
constexpr long ROW_BLOCK = 1024;    // numbers of a row whose sums are taken in float
constexpr long LONG_ROW = 1 << 14;  // of so many numbers a row is a strip of its own, which stays in the second cache
constexpr long SHORT_ROW = 128;     // of fewer numbers rows are strips wherever they come from

// The sum of the lanes.
HG_INLINE float total(vec v) {
  typedef float four __attribute__((vector_size(16)));
  four fours[W / 4];
  memcpy(fours, &v, sizeof v);
  for (int count = W / 8; count; count /= 2)
    for (int i = 0; i < count; ++i) fours[i] += fours[i + count];
  return (fours[0][0] + fours[0][2]) + (fours[0][1] + fours[0][3]);
}

// The first numbers of a vector, and zeros.
HG_INLINE vec only(vec v, Whole) { return v; }
HG_INLINE vec only(vec v, Left left) {
  ivec lane;
  for (int i = 0; i < W; ++i) lane[i] = i;
  return lane < (int32_t)left.n ? v : vec{};
}

// s1 = sum(d) and s2 = sum(d^2) with d = x - x0, for rows of n numbers, `pitch` apart.
template <int ROWS, class T>
HG_INLINE void sums_about(long n, long pitch, const T* x, const float* x0, float* s1, float* s2) {
  vec s1_r[ROWS] = {}, s2_r[ROWS] = {}, x0_r[ROWS];
  for (int r = 0; r < ROWS; ++r) x0_r[r] = broadcast(x0[r]);
  each_vector(n, [&](long i, auto w) {
    for (int r = 0; r < ROWS; ++r) {
      const vec d = only(get(x + r * pitch + i, w) - x0_r[r], w);
      s1_r[r] += d;
      s2_r[r] += d * d;
    }
  });
  for (int r = 0; r < ROWS; ++r) s1[r] = total(s1_r[r]), s2[r] = total(s2_r[r]);
}

// Mean and M2 of rows. In a block of their numbers d = x - x0 with x0 the mean of those before it, or of its own first.
template <int ROWS, class T>
HG_INLINE void row_moments(long n, long pitch, const T* x, double* mean, double* M2) {
  float x0[ROWS], s1[ROWS], s2[ROWS];
  const long first = smaller(128, n);
  for (int r = 0; r < ROWS; ++r) x0[r] = to_float(x[r * pitch]), mean[r] = M2[r] = 0;
  sums_about<ROWS>(first, pitch, x, x0, s1, s2);
  for (int r = 0; r < ROWS; ++r) x0[r] += s1[r] / first;
  for (long begin = 0; begin < n; begin += ROW_BLOCK) {
    const long k = smaller(ROW_BLOCK, n - begin);
    sums_about<ROWS>(k, pitch, x + begin, x0, s1, s2);
    for (int r = 0; r < ROWS; ++r) {
      const double d = s1[r] / (double)k;
      join(begin, k, x0[r] + d, s2[r] - s1[r] * d, mean[r], M2[r]);
      x0[r] = (float)mean[r];
    }
  }
}

// Of each row the sum of its squares, in place of M2.
template <int ROWS, class T>
HG_INLINE void row_squares(long n, long pitch, const T* x, double* M2) {
  const float x0[ROWS] = {};
  float s1[ROWS], s2[ROWS];
  for (int r = 0; r < ROWS; ++r) M2[r] = 0;
  for (long begin = 0; begin < n; begin += ROW_BLOCK) {
    sums_about<ROWS>(smaller(ROW_BLOCK, n - begin), pitch, x + begin, x0, s1, s2);
    for (int r = 0; r < ROWS; ++r) M2[r] += s2[r];
  }
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

// A row of n numbers in double precision, where floats do not hold its numbers, or sums of them (range.h): M2, and mean
// with CENTER; y; dx, and the row's part of dgamma and dbeta.
template <bool CENTER, class T>
void row_moments_in_double(long n, const T* x, double& mean, double& M2) {
  mean = M2 = 0;
  for (long i = 0; CENTER && i < n; ++i) mean += to_float(x[i]);
  mean /= n;
  for (long i = 0; i < n; ++i) {
    const double d = to_float(x[i]) - mean;
    M2 += d * d;
  }
}
template <bool CENTER, class T>
void normalize_in_double(long n, const T* x, const float* gamma, const float* beta, double mean, double s, T* y) {
  for (long i = 0; i < n; ++i)
    y[i] = of_float<T>((float)(gamma[i] * ((to_float(x[i]) - mean) * s) + (CENTER ? beta[i] : 0)));
}
template <bool CENTER, class T>
void differentiate_in_double(long n, const T* dy, const T* x, double mean, double s, const float* gamma, T* dx,
                             float* dgamma, float* dbeta) {
  const auto xhat = [=](long i) { return (to_float(x[i]) - mean) * s; };
  const auto h = [=](long i) { return (double)gamma[i] * to_float(dy[i]); };
  double A = 0, B = 0;
  for (long i = 0; i < n; ++i) A += CENTER ? h(i) : 0, B += h(i) * xhat(i);
  for (long i = 0; i < n; ++i) {
    dgamma[i] += (float)(to_float(dy[i]) * xhat(i));
    if (CENTER) dbeta[i] += to_float(dy[i]);
    dx[i] = of_float<T>((float)(s * (h(i) - (A + xhat(i) * B) / n)));
  }
}

// y = gamma*xhat + beta. mean and s, of ROWS rows, are `apart`.
template <bool CENTER, int ROWS, class T>
void normalize(long n, long pitch, const T* x, const float* gamma, const float* beta, double epsilon, T* y, double* mean,
               double* s, long apart, bool past) {
  double mean_r[ROWS] = {}, M2[ROWS];
  if (CENTER)
    row_moments<ROWS>(n, pitch, x, mean_r, M2);
  else
    row_squares<ROWS>(n, pitch, x, M2);
  Row rows[ROWS];
  bool wide = false;
  for (int r = 0; r < ROWS; ++r) {
    if (overflows(M2[r])) row_moments_in_double<CENTER>(n, x + r * pitch, mean_r[r], M2[r]);
    const double s_r = 1 / __builtin_sqrt(M2[r] / n + epsilon);
    rows[r] = Row(mean_r[r], s_r);
    if (CENTER) mean[r * apart] = mean_r[r];
    s[r * apart] = s_r;
    wide |= is_wide(mean_r[r], s_r);
  }
  each_vector(n, [&](long i, auto w) {
    const vec gamma_i = get(gamma + i, w), beta_i = CENTER ? get(beta + i, w) : vec{};
    for (int r = 0; r < ROWS; ++r) {
      const vec v = gamma_i * xhat<CENTER>(get(x + r * pitch + i, w), rows[r]);
      put(y + r * pitch + i, CENTER ? v + beta_i : v, w, past);
    }
  });
  for (int r = 0; wide && r < ROWS; ++r)
    if (is_wide(mean_r[r], s[r * apart]))
      normalize_in_double<CENTER>(n, x + r * pitch, gamma, beta, mean_r[r], s[r * apart], y + r * pitch);
}

// A = sum(h) and B = sum(h*xhat) of rows, with h = gamma*dy.
template <bool CENTER, int ROWS, class T>
HG_INLINE void row_gradients(long n, long pitch, const T* dy, const T* x, const float* gamma, const Row* rows, double* A,
                             double* B) {
  for (int r = 0; r < ROWS; ++r) A[r] = B[r] = 0;
  for (long begin = 0; begin < n; begin += ROW_BLOCK) {
    vec a[ROWS] = {}, b[ROWS] = {};
    each_vector(smaller(ROW_BLOCK, n - begin), [&](long i, auto w) {
      const long at = begin + i;
      const vec gamma_i = get(gamma + at, w);
      for (int r = 0; r < ROWS; ++r) {
        const vec h = gamma_i * get(dy + r * pitch + at, w);
        if (CENTER) a[r] += h;
        b[r] += only(h * xhat<CENTER>(get(x + r * pitch + at, w), rows[r]), w);
      }
    });
    for (int r = 0; r < ROWS; ++r) A[r] += total(a[r]), B[r] += total(b[r]);
  }
}

// dx = s*h - (e + xhat*f) with e = s*A/n and f = s*B/n, and the rows' parts of dgamma and dbeta. Asks for the rows after
// these, which the processor does not foresee.
template <bool CENTER, int ROWS, class T>
void differentiate(long n, long pitch, const T* dy, const T* x, const double* mean, const double* s, long apart,
                   const float* gamma, T* dx, float* dgamma, float* dbeta, bool past) {
  Row rows[ROWS];
  for (int r = 0; r < ROWS; ++r) rows[r] = Row(CENTER ? mean[r * apart] : 0, s[r * apart]);
  double A[ROWS], B[ROWS];
  constexpr int AT_ONCE = ROWS < 2 ? 1 : 2;  // more have no place in the registers of AVX2
  for (int r = 0; r < ROWS; r += AT_ONCE)
    row_gradients<CENTER, AT_ONCE>(n, pitch, dy + r * pitch, x + r * pitch, gamma, rows + r, A + r, B + r);
  bool wide = false;
  for (int r = 0; r < ROWS; ++r) wide |= is_wide(CENTER ? mean[r * apart] : 0, s[r * apart]) || overflows(A[r] + B[r]);
  if (wide) {
    for (int r = 0; r < ROWS; ++r)
      differentiate_in_double<CENTER>(n, dy + r * pitch, x + r * pitch, CENTER ? mean[r * apart] : 0, s[r * apart], gamma,
                                      dx + r * pitch, dgamma, dbeta);
    return;
  }
  float e[ROWS], f[ROWS];
  for (int r = 0; r < ROWS; ++r) e[r] = (float)(rows[r].s * A[r] / n), f[r] = (float)(rows[r].s * B[r] / n);
  each_vector(n, [&](long i, auto w) {
    const vec gamma_i = get(gamma + i, w);
    vec dgamma_i = get(dgamma + i, w), dbeta_i = CENTER ? get(dbeta + i, w) : vec{};
    for (int r = 0; r < ROWS; ++r) {
      prefetch(dy + (r + ROWS) * pitch + i);
      prefetch(x + (r + ROWS) * pitch + i);
      const vec dy_i = get(dy + r * pitch + i, w), xhat_i = xhat<CENTER>(get(x + r * pitch + i, w), rows[r]);
      dgamma_i += dy_i * xhat_i;
      if (CENTER) dbeta_i += dy_i;
      const vec h = gamma_i * dy_i * rows[r].s;
      put(dx + r * pitch + i, CENTER ? h - (xhat_i * f[r] + e[r]) : h - xhat_i * f[r], w, past);
    }
    put(dgamma + i, dgamma_i, w, false);
    if (CENTER) put(dbeta + i, dbeta_i, w, false);
  });
}

// Whether results are written past the caches, for which the vectors of every row must be aligned.
template <class T>
bool past_caches(long n, long c, long d, const T* y, long most) {
  return streamed<T>(n * c, most) && d % W == 0 && aligned(y);
}

// How many of n rows (n, c), in groups of d numbers, are normalized at a time. What comes from memory comes in order:
// of several rows at once the processor does not foresee what is next.
template <class T>
long strip_of(long n, long c, long d) {
  return d > LONG_ROW || (d >= SHORT_ROW && streamed<T>(n * c, NORMALIZED)) ? 1 : STRIP;
}

// strip(i, q) or one(i, q) for groups q of rows that begin with row i, for all in begin..end, `step` rows at a time.
template <class Strip, class One>
HG_INLINE void each_strip(long begin, long end, long groups, long step, const Strip& strip, const One& one) {
  for (long i = begin; i < end; i += step)
    for (long q = 0; q < groups; ++q)
      if (step == STRIP && i + STRIP <= end)
        strip(i, q);
      else
        for (long r = i; r < smaller(end, i + step); ++r) one(r, q);
}

// The groups of rows (n, c), of which each is a row.
template <bool CENTER, class T>
void of_rows(long n, long c, long groups, const T* x, const float* gamma, const float* beta, double epsilon, T* y,
             double* mean, double* s) {
  const long d = c / groups;
  const long step = strip_of<T>(n, c, d);
  const bool past = past_caches(n, c, d, y, NORMALIZED);
  const auto run = [=](auto kernel, long i, long q) {
    const long row = i * groups + q, at = i * c + q * d;
    kernel(d, c, x + at, gamma + q * d, CENTER ? beta + q * d : nullptr, epsilon, y + at, CENTER ? mean + row : nullptr,
           s + row, groups, past);
  };
  parallel_for(n, larger(1, GRAIN / larger(1, c)), [&](long begin, long end, int) {
    each_strip(
        begin, end, groups, step, [&](long i, long q) { run(normalize<CENTER, STRIP, T>, i, q); },
        [&](long i, long q) { run(normalize<CENTER, 1, T>, i, q); });
    stream_end();
  });
}

template <bool CENTER, class T>
void of_rows_backward(long n, long c, long groups, const T* dy, const T* x, const double* mean, const double* s,
                      const float* gamma, T* dx, float* dgamma, float* dbeta) {
  const long d = c / groups;
  const long step = strip_of<T>(n, c, d);
  const bool past = past_caches(n, c, d, dx, RESULT);
  const Samples samples(n, n > 32 ? 16 : STRIP);
  const Gradients gradients(samples, c, CENTER);
  parallel_for(samples.count, larger(1, GRAIN / larger(1, c * samples.size)), [&](long begin, long end, int) {
    const Scratch sums((CENTER ? 2 : 1) * c);
    float *dgammas = sums.data(), *dbetas = dgammas + (CENTER ? c : 0);
    const auto run = [=](auto kernel, long i, long q) {
      const long row = i * groups + q, at = i * c + q * d;
      kernel(d, c, dy + at, x + at, CENTER ? mean + row : nullptr, s + row, groups, gamma + q * d, dx + at,
             dgammas + q * d, dbetas + q * d, past);
    };
    for (long part = begin; part < end; ++part)
      for (long block = samples.begin(part); block < samples.end(part); block += BLOCK) {
        memset(sums.data(), 0, (CENTER ? 8 : 4) * c);
        each_strip(
            block, smaller(samples.end(part), block + BLOCK), groups, step,
            [&](long i, long q) { run(differentiate<CENTER, STRIP, T>, i, q); },
            [&](long i, long q) { run(differentiate<CENTER, 1, T>, i, q); });
        double *of_gamma = gradients.gamma(part), *of_beta = gradients.beta(part);
        for (long j = 0; j < c; ++j) of_gamma[j] += dgammas[j];
        for (long j = 0; CENTER && j < c; ++j) of_beta[j] += dbetas[j];
      }
    stream_end();
  });
  gradients.total(dgamma, dbeta);
}

}  // namespace handgrad::HG_ISA
