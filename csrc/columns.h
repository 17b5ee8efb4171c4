// Passes over rows (m, c) with two sums, or a factor and a shift, for every column: what normalizations are made of.
// Few additions to a column's sums are made in float, all others in double, in an order that does not depend on the
// number of threads. What is bf16 in memory is float in registers.
#pragma once

#include "affine.h"
#include "memory.h"
#include "moments.h"
#include "range.h"
#include "simd.h"
#include "threads.h"

namespace handgrad::HG_ISA {

constexpr long BLOCK = 64;             // rows whose sums are taken in float
constexpr long TILE = 64 * W;          // columns at a time: their sums and constants stay in the first cache
constexpr long PARTS = 64;             // how many parts the rows are divided into, at most
constexpr long GRAIN = 1 << 16;        // numbers worth a thread
constexpr long AHEAD = 4096;           // how many numbers earlier sums ask for what they will read

// (m, c) as fewer and wider rows: several rows side by side, so that a row is made of whole vectors (very wide
// ones excepted), and of enough of them for sums that do not wait for each other. What is left over is one more,
// shorter row.
struct Rows {
  long c, width, count, rest;
  long part, parts;  // rows in a part; the shorter row is a part of its own
};

inline Rows side_by_side(long m, long c) {
  if (c == 0) return {};
  const long two = c & -c;  // the largest power of 2 that divides c
  long group = two < W ? W / two : 1;
  if (group * c > 4096) group = 1;
  while (group * c < 8 * W) group *= 2;
  const long count = m / group, rest = m % group * c, blocks = (count + BLOCK - 1) / BLOCK;
  const long part = BLOCK * larger(8, (blocks + PARTS - 1) / PARTS);
  return {c, group * c, count, rest, part, (count + part - 1) / part + (rest > 0)};
}

// What a thread works on at a time: some rows, in some columns.
struct Part {
  long number, rows;
  long column, columns;
  long position;  // of the first number
};

HG_INLINE long tiles(const Rows& r) { return (r.width + TILE - 1) / TILE; }
HG_INLINE long items(const Rows& r) { return r.parts * tiles(r); }

// Item `i` of all; of the shorter row there may be no columns.
HG_INLINE Part part_of(const Rows& r, long i) {
  const long number = i / tiles(r), column = i % tiles(r) * TILE, row = smaller(number * r.part, r.count);
  const bool shorter = row == r.count;
  const long rows = shorter ? 1 : smaller(r.part, r.count - row), width = shorter ? r.rest : r.width;
  return {number, rows, column, larger(0, smaller(TILE, width - column)), row * r.width + column};
}

// So many items are worth a thread.
HG_INLINE long grain(const Rows& r) {
  return larger(1, GRAIN / larger(1, smaller(r.part, r.count) * smaller(r.width, TILE)));
}

template <class Work>
void each_part(const Rows& r, const Work& work) {
  parallel_for(items(r), grain(r), [&](long begin, long end, int) {
    for (long i = begin; i < end; ++i) work(part_of(r, i));
  });
}

// f(i, ...) for every W of n numbers, and once for those left.
struct Whole {};
struct Left {
  long n;
};
template <class T>
HG_INLINE vec get(const T* p, Whole) {
  return load(p);
}
template <class T>
HG_INLINE vec get(const T* p, Left left) {
  return load(p, left.n);
}
template <class T>
HG_INLINE void put(T* p, vec v, Whole, bool large) {
  large ? stream(p, v) : store(p, v);
}
template <class T>
HG_INLINE void put(T* p, vec v, Left left, bool) {
  store(p, v, left.n);
}

template <class F>
HG_INLINE void each_vector(long n, const F& f) {
  long i = 0;
  for (; i + W <= n; i += W) f(i, Whole{});
  if (i < n) f(i, Left{n - i});
}

// Whether a result is written past the caches, for which its vectors must be aligned.
template <class T>
bool large(const Rows& r, long m, const T* y, long most = RESULT) {
  return streamed<T>(m * r.c, most) && r.width % W == 0 && aligned(y);
}

// Two numbers in double for each column of each part, in memory of size(r) floats.
class Partial {
 public:
  Partial(const Rows& r, float* memory) : r_(r), memory_((double*)memory) {}
  static long size(const Rows& r) { return 4 * r.parts * r.width; }
  double* first(const Part& part) const { return first(part.number) + part.column; }
  double* second(const Part& part) const { return second(part.number) + part.column; }

  // The sums of every channel: those of its columns and parts, in order.
  void add(double* sums) const {
    for (long j = 0; j < r_.c; ++j) sums[j] = 0;
    each([&](const double* S1, const double*, double, double) {
      for (long j = 0; j < r_.c; ++j) sums[j] += S1[j];
    });
  }
  void add(double* sums1, double* sums2) const {
    for (long j = 0; j < r_.c; ++j) sums1[j] = sums2[j] = 0;
    each([&](const double* S1, const double* S2, double, double) {
      for (long j = 0; j < r_.c; ++j) sums1[j] += S1[j];
      for (long j = 0; j < r_.c; ++j) sums2[j] += S2[j];
    });
  }
  // Of means and sums of squares about them those of every channel.
  void join(double* mean, double* M2) const {
    for (long j = 0; j < r_.c; ++j) mean[j] = M2[j] = 0;
    each([&](const double* mean_n, const double* M2_n, double before, double n) {
      for (long j = 0; j < r_.c; ++j) HG_ISA::join(before, n, mean_n[j], M2_n[j], mean[j], M2[j]);
    });
  }
  // Whether there is one column for each channel, in one part: nothing is to be added up.
  bool single() const { return r_.parts == 1 && r_.width == r_.c; }
  double* first() const { return first(0L); }
  double* second() const { return second(0L); }

 private:
  // work(first, second, before, n) for the columns of all channels: n rows, after `before` others
  template <class Work>
  HG_INLINE_MEMBER void each(const Work& work) const {
    double before = 0;
    for (long number = 0; number < r_.parts; ++number) {
      const long rows = smaller(r_.part, r_.count - number * r_.part), n = larger(rows, 1);
      for (long at = 0; at < (rows > 0 ? r_.width : r_.rest); at += r_.c, before += n)
        work(first(number) + at, second(number) + at, before, (double)n);
    }
  }
  double* first(long part) const { return memory_ + 2 * part * r_.width; }
  double* second(long part) const { return first(part) + r_.width; }
  const Rows& r_;
  double* memory_;
};

// The passes. Their arrays are arguments, which stay in registers: what is in memory, a store could have changed.

// s1 += d and s2 += d^2 with d = x - x0, over ROWS rows: with two, the sums are read and written half as often.
template <int ROWS, class T>
HG_INLINE void add(long columns, long width, const T* x, const float* x0, float* s1, float* s2) {
  each_vector(columns, [&](long i, auto w) {
    vec s1_i = load(s1 + i), s2_i = load(s2 + i);
    const vec x0_i = load(x0 + i);
    for (int row = 0; row < ROWS; ++row) {
      prefetch(x + row * width + i + AHEAD);
      const vec d = get(x + row * width + i, w) - x0_i;
      s1_i += d;
      s2_i += d * d;
    }
    store(s1 + i, s1_i);
    store(s2 + i, s2_i);
  });
}

template <class T>
void add_rows(long n, long columns, long width, const T* x, const float* x0, float* s1, float* s2) {
  memset(s1, 0, 4 * columns);
  memset(s2, 0, 4 * columns);
  for (long row = 0; row + 1 < n; row += 2) add<2>(columns, width, x + row * width, x0, s1, s2);
  if (n % 2) add<1>(columns, width, x + (n - 1) * width, x0, s1, s2);
}

// Mean and M2 of a part's column i, where their sums in float overflow.
template <class T>
void moments_in_double(Part part, long width, long i, const T* x, double* mean, double* M2) {
  const T* column = x + part.position + i;
  double sum = 0, squares = 0;
  for (long row = 0; row < part.rows; ++row) sum += to_float(column[row * width]);
  mean[i] = sum / part.rows;
  for (long row = 0; row < part.rows; ++row) {
    const double d = to_float(column[row * width]) - mean[i];
    squares += d * d;
  }
  M2[i] = squares;
}

// Mean and M2 = sum((x - mean)^2). In a block of rows d = x - x0 with x0 the mean of the blocks before it, or of
// its own first rows. So sum(d^2) is never much more than what the block adds to M2, and its rounding does not
// matter, wherever the mean is and goes.
template <class T>
void moments(Part part, long width, const T* x, double* mean, double* M2) {
  alignas(64) float x0[TILE], s1[TILE], s2[TILE];
  const long columns = part.columns;
  for (long i = 0; i < columns; ++i) mean[i] = M2[i] = 0;
  for (long begin = 0; begin < part.rows; begin += BLOCK) {
    const T* rows = x + part.position + begin * width;
    const long n = smaller(BLOCK, part.rows - begin);
    const double one_nth = 1.0 / n;
    if (begin == 0) {
      for (long i = 0; i < columns; ++i) x0[i] = to_float(rows[i]);
      add_rows(smaller(8, n), columns, width, rows, x0, s1, s2);
      for (long i = 0; i < columns; ++i) x0[i] += s1[i] / smaller(8, n);
    } else {
      for (long i = 0; i < columns; ++i) x0[i] = (float)mean[i];
    }
    add_rows(n, columns, width, rows, x0, s1, s2);
    for (long i = 0; i < columns; ++i) {
      const double d = s1[i] * one_nth;
      join(begin, n, x0[i] + d, s2[i] - s1[i] * d, mean[i], M2[i]);
    }
  }
  if (any_overflows(columns, M2))
    for (long i = 0; i < columns; ++i)
      if (overflows(M2[i])) moments_in_double(part, width, i, x, mean, M2);
}

template <bool RESIDUAL, bool RELU, class T>
void apply(Part part, long width, const float* a, const float* h, const float* b, const T* x, const T* residual, T* y,
           bool large) {
  for (long row = 0, p = part.position; row < part.rows; ++row, p += width)
    each_vector(part.columns, [&](long i, auto w) {
      vec v = normalized(get(x + p + i, w), load(a + i), load(h + i), load(b + i));
      if (RESIDUAL) v += get(residual + p + i, w);
      if (RELU) v = relu(v);
      put(y + p + i, v, w, large);
    });
  stream_end();
}

// Where dy passes: everywhere, where a*(x - h) + b was positive, or where y was.
enum class Pass { all, by_x, by_y };

template <Pass PASS>
HG_INLINE vec pass(vec dy, vec y) {
  return PASS == Pass::all ? dy : y <= 0 ? vec{} : dy;
}

// S1 = sum(g) and S2 = sum(g*(x - h)) of the g that passes; by y, g is kept. With CONSTANT mean and s,
// dx = a*g is written, too.
template <Pass PASS, bool CONSTANT, class T>
void sums(Part part, long width, const float* a, const float* h, const float* b, const T* dy, const T* x, const T* y,
          T* passed, T* dx, bool large, double* S1, double* S2) {
  alignas(64) float s1[TILE], s2[TILE];
  for (long i = 0; i < part.columns; ++i) S1[i] = S2[i] = 0;
  for (long begin = 0, p = part.position; begin < part.rows; begin += BLOCK) {
    const long n = smaller(BLOCK, part.rows - begin);
    memset(s1, 0, 4 * part.columns);
    memset(s2, 0, 4 * part.columns);
    for (long row = 0; row < n; ++row, p += width)
      each_vector(part.columns, [&](long i, auto w) {
        if (PASS != Pass::by_y) {  // five streams at once are slower with it
          prefetch(dy + p + i + AHEAD);
          prefetch(x + p + i + AHEAD);
        }
        const vec x_i = get(x + p + i, w), h_i = load(h + i);
        vec y_i = {};
        if (PASS == Pass::by_x) y_i = normalized(x_i, load(a + i), h_i, load(b + i));
        if (PASS == Pass::by_y) y_i = get(y + p + i, w);
        const vec g = pass<PASS>(get(dy + p + i, w), y_i);
        if (PASS == Pass::by_y) put(passed + p + i, g, w, large);
        if (CONSTANT) put(dx + p + i, load(a + i) * g, w, large);
        store(s1 + i, load(s1 + i) + g);
        store(s2 + i, load(s2 + i) + g * (x_i - h_i));
      });
    for (long i = 0; i < part.columns; ++i) S1[i] += s1[i];
    for (long i = 0; i < part.columns; ++i) S2[i] += s2[i];
  }
  stream_end();
}

// dx = a*g + k*(x - h) + d, where g is what passes of dy.
template <Pass PASS, class T>
void gradient(Part part, long width, const float* a, const float* h, const float* b, const float* k,
              const float* d, const T* dy, const T* x, T* dx, bool large) {
  for (long row = 0, p = part.position; row < part.rows; ++row, p += width)
    each_vector(part.columns, [&](long i, auto w) {
      const vec x_i = get(x + p + i, w), a_i = load(a + i), h_i = load(h + i);
      vec y_i = {};
      if (PASS == Pass::by_x) y_i = normalized(x_i, a_i, h_i, load(b + i));
      const vec g = pass<PASS>(get(dy + p + i, w), y_i);
      put(dx + p + i, a_i * g + (load(k + i) * (x_i - h_i) + load(d + i)), w, large);
    });
  stream_end();
}

}  // namespace handgrad::HG_ISA
