// The product of two matrices, a register block at a time: what every convolution and dense layer ends in.
//
//     C[r, v] (+)= sum over runs and depth of  A[r*a_row + run*a_run + d*a_step] * B[run*b_run + d*b_step + v]
//
// A block is R rows by V vectors of sums that stay in registers while the depth runs by. Each step loads V
// vectors of B and broadcasts R numbers of A, for R*V multiply-adds. Where factors come in pairs (factors.h), so do
// the numbers of the depth: a step is from one pair to the next, and of an odd depth's last pair only the first counts.
#pragma once

#include "factors.h"
#include "simd.h"

namespace handgrad::HG_ISA {

// Where the numbers of A and B lie, and how many products make one sum.
struct Walk {
  long depth;           // products in a run
  long a_row, a_step;   // from one row of C to the next; from one step to the next
  long b_step;
  long runs = 1;
  long a_run = 0, b_run = 0;
  const long *a_runs = nullptr, *b_runs = nullptr;  // or lists of offsets, where they are not regular
  bool streams = false;  // whether whole vectors of C go past the caches; they lie at multiples of their size
  bool relu = false;     // whether what is negative is written as 0
  long ahead = 0;        // numbers of B that lie so far ahead are brought near while these are multiplied
  long part = 0;         // of one run, so many products are added one after another, and then the sums; 0: all of them
};

// What C holds before the products come to it: nothing, or what it held; or a bias, the same in each row, and what
// lies at `add` where C lies at c; either may be null.
struct Begin {
  const float *bias, *add;
  bool previously;
  static const Begin zero, previous;
  // The same for a part of C.
  Begin at(long row_offset, long column) const {
    return {bias ? bias + column : nullptr, add ? add + row_offset + column : nullptr, previously};
  }
};
inline constexpr Begin Begin::zero{nullptr, nullptr, false}, Begin::previous{nullptr, nullptr, true};

constexpr int UNROLLED = 8;  // products; a part is a multiple of them

// The tallest block whose sums fit in the registers, for blocks of v vectors.
constexpr int block_rows(int v) { return NV == 4 ? (v == 1 || v == 2 ? 12 : v == 3 ? 8 : 6) : (v == 1 ? 12 : 6); }
constexpr int PANEL = NV * W;  // columns of the widest block

// Sums of the parts of a depth, in memory: `data` keeps the compiler from giving them registers, which others need.
template <int R, int V>
class PartSums {
 public:
  HG_INLINE_MEMBER PartSums() : data_(memory_) { asm("" : "+r"(data_) : : "memory"); }
  // Keeps sums, or adds them to those that are kept; they begin anew.
  HG_INLINE_MEMBER void put(bool first, vec (&sum)[R][V]) const {
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        *at(r, v) = first ? sum[r][v] : get(r, v) + sum[r][v];
        sum[r][v] = vec{};
      }
  }
  HG_INLINE_MEMBER void add_to(vec (&sum)[R][V]) const {
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += get(r, v);
  }

 private:
  HG_INLINE_MEMBER vec get(int r, int v) const { return *at(r, v); }
  HG_INLINE_MEMBER vec* at(int r, int v) const { return (vec*)data_ + r * V + v; }
  alignas(4 * W) float memory_[R * V * W];
  float* data_;
};

// One step; `last` of an odd depth in pairs.
template <int R, int V, bool last>
HG_INLINE void step(const Factor* a, long a_row, const Factor* b, vec (&sum)[R][V]) {
  Factors w[V];
  for (int v = 0; v < V; ++v) w[v] = load_factors(b + v * STEP * W);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const Factors p = last ? broadcast_first(a + r * a_row) : broadcast_factors(a + r * a_row);
    for (int v = 0; v < V; ++v) sum[r][v] = dot(sum[r][v], p, w[v]);
  }
}

// The sums of all runs, whose products are added one after another.
template <int R, int V>
HG_INLINE void sum_runs(const Walk& walk, const Factor* a, const Factor* b, vec (&sum)[R][V]) {
  const long a_row = walk.a_row, a_step = walk.a_step, b_step = walk.b_step, ahead = walk.ahead;
  for (long run = 0; run < walk.runs; ++run) {
    const Factor* pa = a + (walk.a_runs ? walk.a_runs[run] : run * walk.a_run);
    const Factor* pb = b + (walk.b_runs ? walk.b_runs[run] : run * walk.b_run);
    if (ahead)
      for (long d = STEP; d <= walk.depth; d += STEP, pa += a_step, pb += b_step) {
        for (int v = 0; v < V * STEP * W; v += LINE) prefetch(pb + ahead + v);
        step<R, V, false>(pa, a_row, pb, sum);
      }
    else
      for (long d = STEP; d <= walk.depth; d += STEP, pa += a_step, pb += b_step) step<R, V, false>(pa, a_row, pb, sum);
    if (walk.depth % STEP) step<R, V, true>(pa, a_row, pb, sum);
  }
}

// The sum of the sums of parts; the last one includes what is left.
template <int R, int V>
HG_INLINE void sum_parts(const Walk& walk, const Factor* a, const Factor* b, vec (&sum)[R][V]) {
  const long a_row = walk.a_row, a_step = walk.a_step, b_step = walk.b_step, ahead = walk.ahead, part = walk.part;
  const PartSums<R, V> sums;
  long d = 0;
  for (; d + part <= walk.depth; d += part) {
    if (d) sums.put(d == part, sum);
    for (long u = 0; u < part; u += UNROLLED) {
      if (ahead)
        for (int i = 0; i < UNROLLED / STEP; ++i)
          for (int v = 0; v < V * STEP * W; v += LINE) prefetch(b + ahead + i * b_step + v);
#pragma GCC unroll 8
      for (int i = 0; i < UNROLLED / STEP; ++i, a += a_step, b += b_step) step<R, V, false>(a, a_row, b, sum);
    }
  }
  long left = walk.depth - d;
  for (; left >= STEP; left -= STEP, a += a_step, b += b_step) step<R, V, false>(a, a_row, b, sum);
  if (left) step<R, V, true>(a, a_row, b, sum);
  if (d > part) sums.add_to(sum);
}

template <int R, int V, bool parts>
HG_INLINE void block(const Walk& walk, const Factor* a, const Factor* b, float* c, long c_row, Begin begin,
                     long columns) {
  vec sum[R][V];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = vec{};
  if (begin.previously)  // near by the time that the products are there
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V * W; v += LINE) prefetch(c + r * c_row + v);
  parts ? sum_parts(walk, a, b, sum) : sum_runs(walk, a, b, sum);
  const bool whole = columns == V * W;
  const auto some = [&](const float* p, int v) HG_INLINE_LAMBDA {
    return whole || v < V - 1 ? load(p + v * W) : load(p + v * W, columns - v * W);
  };
  // Last, because what C held may be a sum of many blocks: the products of this one are added to each other first.
  if (begin.bias)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const vec bias = some(begin.bias, v);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) sum[r][v] += bias;
    }
  if (const float* add = begin.previously ? c : begin.add)
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += some(add + r * c_row, v);
  if (walk.relu)
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = relu(sum[r][v]);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      if (whole || v < V - 1)
        walk.streams ? stream(c + r * c_row + v * W, sum[r][v]) : store(c + r * c_row + v * W, sum[r][v]);
      else
        store(c + r * c_row + v * W, sum[r][v], columns - v * W);
    }
}

// `rows` x `columns` of C, columns <= PANEL; B must be readable up to the next multiple of W columns.
void product(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
             Begin begin);

// The same sums. A part of a long depth is multiplied with all rows before the next part, which lies behind it and comes
// near meanwhile: for few rows, and a B that is read from memory.
void product_by_parts(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
                      Begin begin);

}  // namespace handgrad::HG_ISA
