// Batch normalization at the speed of memory: forward one pass over x for the statistics and one for y, backward
// one for the two sums and one for dx.
#include "norm.h"

#include "columns.h"

namespace handgrad::HG_ISA {

HG_NORM_KERNELS(HG_DECLARE_TYPED, T)

namespace {

// A number for each column, in float, repeated for all rows that stand side by side.
class Constants {
 public:
  template <class Of>
  Constants(const Rows& r, const Of& of) : scratch_(round_up(r.width, W)) {
    float* p = scratch_.data();
    for (long j = 0; j < r.c; ++j) p[j] = (float)of(j);
    for (long j = r.c; j < r.width; ++j) p[j] = p[j - r.c];
  }
  const float* operator+(long column) const { return scratch_.data() + column; }

 private:
  Scratch scratch_;
};

// The constants a, h and b of every column.
struct Columns {
  const Affine f;
  const Constants a, h, b;
  Columns(const Rows& r, const Normalization& of)
      : f{of},
        a(r, [&](long j) { return f.a(j); }),
        h(r, [&](long j) { return f.h(j); }),
        b(r, [&](long j) { return f.b(j); }) {}
};

// A column whose numbers, or sums of them, floats do not hold (range.h), in double precision.
template <class T>
class WideColumn {
 public:
  WideColumn(long m, long c, long j, const Normalization& f)
      : m_(m), c_(c), j_(j), mean_(f.mean[j]), s_(f.s[j]), gamma_(f.gamma ? f.gamma[j] : 1), beta_(f.beta ? f.beta[j] : 0) {}

  void normalize(const T* x, const T* residual, bool relu, T* y) const {
    for (long i = 0; i < m_; ++i) {
      const double v = gamma_ * xhat(x, i) + beta_ + (residual ? at(residual, i) : 0);
      y[i * c_ + j_] = of_float<T>((float)(relu && v <= 0 ? 0 : v));
    }
  }

  void differentiate(const T* dy, const T* x, const T* y, bool relu, long count, T* dx, float* dgamma,
                     float* dbeta) const {
    const auto passed = [&](long i) {
      const float yi = !relu ? 1 : y ? at(y, i) : (float)(gamma_ * xhat(x, i) + beta_);
      return yi <= 0 ? 0 : (double)at(dy, i);
    };
    double S1 = 0, S2 = 0;
    for (long i = 0; i < m_; ++i) S1 += passed(i), S2 += passed(i) * xhat(x, i);
    for (long i = 0; i < m_; ++i) {
      const double g = count ? passed(i) - (S1 + xhat(x, i) * S2) / count : passed(i);
      dx[i * c_ + j_] = of_float<T>((float)(gamma_ * s_ * g));
    }
    dgamma[j_] = (float)S2;
    dbeta[j_] = (float)S1;
  }

 private:
  float at(const T* p, long i) const { return to_float(p[i * c_ + j_]); }
  double xhat(const T* x, long i) const { return (at(x, i) - mean_) * s_; }
  long m_, c_, j_;
  double mean_, s_, gamma_, beta_;
};

// The sums of a part's columns, of each block of rows in float.
template <class T>
void add_up(Part part, long width, const T* x, double* S) {
  alignas(64) float s[TILE];
  for (long i = 0; i < part.columns; ++i) S[i] = 0;
  for (long begin = 0, p = part.position; begin < part.rows; begin += BLOCK) {
    memset(s, 0, 4 * part.columns);
    for (long row = 0; row < smaller(BLOCK, part.rows - begin); ++row, p += width)
      each_vector(part.columns, [&](long i, auto w) { store(s + i, load(s + i) + get(x + p + i, w)); });
    for (long i = 0; i < part.columns; ++i) S[i] += s[i];
  }
}

}  // namespace

template <class T>
void column_sums(long m, long c, const T* x, float* sums) {
  const Rows r = side_by_side(m, c);
  const Scratch memory(Partial::size(r));
  const Partial partial(r, memory.data());
  each_part(r, [&](const Part& part) { add_up(part, r.width, x, partial.first(part)); });
  Scratch of_columns(2 * c);
  double* totals = (double*)of_columns.data();
  partial.add(totals);
  if (any_overflows(c, totals))
    for (long j = 0; j < c; ++j)
      if (overflows(totals[j])) {
        totals[j] = 0;
        for (long i = 0; i < m; ++i) totals[j] += to_float(x[i * c + j]);
      }
  for (long j = 0; j < c; ++j) sums[j] = (float)totals[j];
}

template <class T>
void batch_norm_statistics(long m, long c, const T* x, double* mean, double* var) {
  const Rows r = side_by_side(m, c);
  const Scratch memory(Partial::size(r));
  const Partial partial(r, memory.data());
  each_part(r, [&](const Part& part) { moments(part, r.width, x, partial.first(part), partial.second(part)); });
  partial.join(mean, var);
  for (long j = 0; j < c; ++j) var[j] /= m;
}

template <class T>
void batch_norm(long m, long c, const T* x, const Normalization& f, const T* residual, bool relu, T* y) {
  const Rows r = side_by_side(m, c);
  const Columns columns(r, f);
  const bool past = large(r, m, y, NORMALIZED);
  const auto kernel = residual ? (relu ? apply<true, true, T> : apply<true, false, T>)
                               : (relu ? apply<false, true, T> : apply<false, false, T>);
  each_part(r, [&](const Part& part) {
    const long j = part.column;
    kernel(part, r.width, columns.a + j, columns.h + j, columns.b + j, x, residual, y, past);
  });
  for (long j = 0; j < c; ++j)
    if (is_wide(f.mean[j], f.s[j])) WideColumn<T>(m, c, j, f).normalize(x, residual, relu, y);
}

// With xhat = (x - mean)*s and the g that passes:
//
//     dbeta = sum(g)    dgamma = sum(g*xhat) = s*(sum(g*(x - h)) - (mean - h)*sum(g))
//     dx = gamma*s*(g - (dbeta + xhat*dgamma)/count) = a*g + k*(x - h) + d
//
// where a = gamma*s, k = -a*s*dgamma/count and d = -a*dbeta/count - k*(mean - h).
template <class T>
void batch_norm_backward(long m, long c, const T* dy, const T* x, const T* y, const Normalization& f, bool relu,
                         long count, T* dx, float* dgamma, float* dbeta, T* passed) {
  const Rows r = side_by_side(m, c);
  const Columns columns(r, f);
  const Scratch memory(Partial::size(r));
  const Partial partial(r, memory.data());
  const bool constant = count == 0, past = large(r, m, dx) && (!y || large(r, m, passed));
  const auto first = !relu ? (constant ? sums<Pass::all, true, T> : sums<Pass::all, false, T>)
                     : !y  ? (constant ? sums<Pass::by_x, true, T> : sums<Pass::by_x, false, T>)
                           : (constant ? sums<Pass::by_y, true, T> : sums<Pass::by_y, false, T>);
  each_part(r, [&](const Part& part) {
    const long j = part.column;
    first(part, r.width, columns.a + j, columns.h + j, columns.b + j, dy, x, y, passed, dx, past,
          partial.first(part), partial.second(part));
  });

  Scratch of_columns(4 * c);
  double *dbetas = (double*)of_columns.data(), *dgammas = dbetas + c;
  partial.add(dbetas, dgammas);
  for (long j = 0; j < c; ++j) dgammas[j] = f.s[j] * (dgammas[j] - columns.f.low(j) * dbetas[j]);
  for (long j = 0; j < c; ++j) dgamma[j] = (float)dgammas[j];
  for (long j = 0; j < c; ++j) dbeta[j] = (float)dbetas[j];
  const auto wide = [&](long j) {
    const bool sums = overflows(dgammas[j]) || overflows(dbetas[j]);
    return is_wide(f.mean[j], f.s[j]) || (sums && !overflows(f.mean[j]) && !overflows(f.s[j]));
  };
  const auto differentiate_wide = [&](const auto& chosen) {
    for (long j = 0; j < c; ++j)
      if (chosen(j)) WideColumn<T>(m, c, j, f).differentiate(dy, x, y, relu, count, dx, dgamma, dbeta);
  };
  if (constant) return differentiate_wide(wide);

  const auto slope = [&](long j) { return -columns.f.a(j) * f.s[j] * dgammas[j] / count; };
  const auto shift = [&](long j) { return -columns.f.a(j) * dbetas[j] / count - slope(j) * columns.f.low(j); };
  const Constants k(r, slope), d(r, shift);
  const auto second = relu && !y ? gradient<Pass::by_x, T> : gradient<Pass::all, T>;
  const T* g = relu && y ? passed : dy;
  each_part(r, [&](const Part& part) {
    const long j = part.column;
    second(part, r.width, columns.a + j, columns.h + j, columns.b + j, k + j, d + j, g, x, dx, past);
  });
  differentiate_wide([&](long j) { return wide(j) || is_lost(slope(j), f.s[j]); });
}

HG_NORM_KERNELS(HG_INSTANTIATE, float)
HG_NORM_KERNELS(HG_INSTANTIATE, bf16)

}  // namespace handgrad::HG_ISA
