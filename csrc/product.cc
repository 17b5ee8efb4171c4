// A block is R rows by V vectors of sums that stay in registers while the depth runs by. Each step loads V vectors of B
// and broadcasts R numbers of A, for R*V multiply-adds.
#include "product.h"

namespace handgrad::HG_ISA {

namespace {

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

// Calls work(r, v) for the sums of a block.
template <int R, int V, class Work>
HG_INLINE void each_sum(const Work& work) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) work(r, v);
}

// Adds `depth` products of one run to the sums, one after another.
template <int R, int V>
HG_INLINE void sum_run(const Walk& walk, long a_row, long depth, const Factor* a, const Factor* b, vec (&sum)[R][V]) {
  const long a_step = walk.a_step, b_step = walk.b_step, ahead = walk.ahead;
  if (ahead)
    for (long d = STEP; d <= depth; d += STEP, a += a_step, b += b_step) {
      for (int v = 0; v < V * STEP * W; v += LINE) prefetch(b + ahead + v);
      step<R, V, false>(a, a_row, b, sum);
    }
  else if (walk.coming) {
    const char *first = walk.coming[0].at, *second = walk.coming[1].at;
    const long first_pace = walk.coming[0].pace, second_pace = walk.coming[1].pace;
    for (long d = STEP; d <= depth; d += STEP, a += a_step, b += b_step) {
      prefetch(first), prefetch(second);
      first += first_pace, second += second_pace;
      step<R, V, false>(a, a_row, b, sum);
    }
    walk.coming[0].at = first, walk.coming[1].at = second;
  } else
    for (long d = STEP; d <= depth; d += STEP, a += a_step, b += b_step) step<R, V, false>(a, a_row, b, sum);
  if (depth % STEP) step<R, V, true>(a, a_row, b, sum);
}

// So many runs at a time keep the processor busy: in a small block each sum waits for itself.
template <int R, int V>
constexpr int side_by_side() {
  constexpr int busy = 8, most = 4;  // sums, runs
  constexpr int runs = (busy + R * V - 1) / (R * V);
  return runs < most ? runs : most;
}

// Those of all runs.
template <int R, int V>
HG_INLINE void sum_runs(const Walk& walk, long a_row, long depth, const Factor* a, const Factor* b, vec (&sum)[R][V]) {
  const auto a_of = [&](long run) HG_INLINE_LAMBDA { return a + (walk.a_runs ? walk.a_runs[run] : run * walk.a_run); };
  const auto b_of = [&](long run) HG_INLINE_LAMBDA { return b + (walk.b_runs ? walk.b_runs[run] : run * walk.b_run); };
  long run = 0;
  if constexpr (constexpr int N = side_by_side<R, V>(); N > 1)
    if (walk.beside && walk.runs >= N) {
      const long a_step = walk.a_step, b_step = walk.b_step;
      vec sums[N][R][V];
      for (int n = 0; n < N; ++n) each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sums[n][r][v] = vec{}; });
      for (; run + N <= walk.runs; run += N) {
        const Factor *p[N], *q[N];
        for (int n = 0; n < N; ++n) p[n] = a_of(run + n), q[n] = b_of(run + n);
        for (long d = STEP; d <= depth; d += STEP)
#pragma GCC unroll 4
          for (int n = 0; n < N; ++n) {
            step<R, V, false>(p[n], a_row, q[n], sums[n]);
            p[n] += a_step, q[n] += b_step;
          }
        if (depth % STEP)
          for (int n = 0; n < N; ++n) step<R, V, true>(p[n], a_row, q[n], sums[n]);
      }
      for (int n = 0; n < N; ++n) each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sum[r][v] += sums[n][r][v]; });
    }
  for (; run < walk.runs; ++run) sum_run(walk, a_row, depth, a_of(run), b_of(run), sum);
}

// Those of one run in parts, whose sums are added to each other.
template <int R, int V>
HG_INLINE void sum_parts(const Walk& walk, long a_row, long depth, const Factor* a, const Factor* b, vec (&sum)[R][V]) {
  alignas(4 * W) float memory[R * V * W];
  float* total = memory;
  asm("" : "+r"(total) : : "memory");  // keeps the compiler from giving it registers, which others need
  const long part = walk.part;
  for (long d = 0; d < depth; d += part) {
    sum_run(walk, a_row, smaller(part, depth - d), a + d / STEP * walk.a_step, b + d / STEP * walk.b_step, sum);
    if (d)
      each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sum[r][v] += load(total + (r * V + v) * W); });
    if (d + part < depth)
      each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA {
        store(total + (r * V + v) * W, sum[r][v]);
        sum[r][v] = vec{};
      });
  }
}

// C of a block from its sums. What C held is added last, because it may be a sum of many blocks: the products of this
// one are added to each other first.
template <int R, int V>
HG_INLINE void finish_plainly(vec (&sum)[R][V], float* c, long c_row, bool previously) {
  if (previously) each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sum[r][v] += load(c + r * c_row + v * W); });
  each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { store(c + r * c_row + v * W, sum[r][v]); });
}
template <int R, int V>
HG_INLINE void finish(vec (&sum)[R][V], float* c, long c_row, const Begin& begin, bool relu, bool streams, long columns) {
  const bool whole = columns == V * W;
  const auto some = [&](const float* p, int v) HG_INLINE_LAMBDA {
    return whole || v < V - 1 ? load(p + v * W) : load(p + v * W, columns - v * W);
  };
  if (begin.bias)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const vec bias = some(begin.bias, v);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) sum[r][v] += bias;
    }
  if (const float* add = begin.previously ? c : begin.add)
    each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sum[r][v] += some(add + r * c_row, v); });
  if (relu) each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sum[r][v] = HG_ISA::relu(sum[r][v]); });
  if (whole && streams)
    each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { stream(c + r * c_row + v * W, sum[r][v]); });
  else if (whole)
    each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { store(c + r * c_row + v * W, sum[r][v]); });
  else
    each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA {
      v < V - 1 ? store(c + r * c_row + v * W, sum[r][v]) : store(c + r * c_row + v * W, sum[r][v], columns - v * W);
    });
}

// Rows of C, or blocks of them, one below the other.
struct Rows {
  long count;
  const Factor* a;
  float* c;
  long c_row;
  const Begin& begin;
};

// What surrounds the products of a block counts where these are few, so that the most common case is apart: PLAIN, where
// nothing comes to C but products and what it held. PARTS are such blocks summed in parts, HALVES those of two parts,
// which are summed side by side.
enum Kind { ANY, PLAIN, PARTS, HALVES };

// `at_once` of the depth are summed, and added to C, before the next ones.
template <int R, int V, Kind kind>
HG_INLINE void blocks_one_by_one(const Walk& walk, long a_row, long at_once, const Rows& rows, const Factor* b, long columns) {
  const Factor* a = rows.a;
  float* c = rows.c;
  const long a_block = walk.height ? walk.a_block : R * a_row;
  for (long block = 0; block < rows.count; ++block, a += a_block, c += R * rows.c_row)
    for (long d = 0; d == 0 || d < walk.depth; d += at_once) {
      const bool previously = d || rows.begin.previously;
      if (!walk.streams)  // near by the time that the sums are there
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r)
          for (int v = 0; v < V * W; v += LINE) prefetch(c + r * rows.c_row + v);
      vec sum[R][V];
      each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sum[r][v] = vec{}; });
      const long depth = smaller(at_once, walk.depth - d);
      const Factor *da = a + d / STEP * walk.a_step, *db = b + d / STEP * walk.b_step;
      kind == PARTS ? sum_parts(walk, a_row, depth, da, db, sum) : sum_runs(walk, a_row, depth, da, db, sum);
      if (walk.coming) walk.coming[0].turn(), walk.coming[1].turn();
      if (kind != ANY)
        finish_plainly(sum, c, rows.c_row, previously);
      else
        finish(sum, c, rows.c_row, d ? Begin::previous : rows.begin.at(block * R * rows.c_row, 0),
               walk.relu && d + at_once >= walk.depth, walk.streams, columns);
    }
}

template <int R, int V>
HG_INLINE void blocks_in_halves(const Walk& walk, const Rows& rows, const Factor* b) {
  const long a_row = walk.a_row, a_step = walk.a_step, b_step = walk.b_step, c_row = rows.c_row;
  const long first = ((walk.depth + 1) / 2 + STEP - 1) / STEP, second = walk.depth / STEP - first;  // steps
  const bool odd = walk.depth % STEP, previously = rows.begin.previously;
  const Factor* a = rows.a;
  float* c = rows.c;
  for (long block = 0; block < rows.count; ++block, a += R * a_row, c += R * c_row) {
    const Factor *pa = a, *pb = b, *qa = a + first * a_step, *qb = b + first * b_step;
    vec sum[R][V], other[R][V];
    each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sum[r][v] = other[r][v] = vec{}; });
    for (long i = 0; i < second; ++i, pa += a_step, pb += b_step, qa += a_step, qb += b_step) {
      step<R, V, false>(pa, a_row, pb, sum);
      step<R, V, false>(qa, a_row, qb, other);
    }
    for (long i = second; i < first; ++i, pa += a_step, pb += b_step) step<R, V, false>(pa, a_row, pb, sum);
    if (odd) step<R, V, true>(qa, a_row, qb, other);
    each_sum<R, V>([&](int r, int v) HG_INLINE_LAMBDA { sum[r][v] += other[r][v]; });
    finish_plainly(sum, c, c_row, previously);
  }
}

template <int R, int V, Kind kind>
void blocks_of(const Walk& walk, long at_once, const Rows& rows, const Factor* b, long columns) {
  if constexpr (kind == HALVES)
    blocks_in_halves<R, V>(walk, rows, b);
  else if (walk.a_row == STEP)  // rows side by side, as in a transposed product: known offsets need no registers
    blocks_one_by_one<R, V, kind>(walk, STEP, at_once, rows, b, columns);
  else
    blocks_one_by_one<R, V, kind>(walk, walk.a_row, at_once, rows, b, columns);
}

typedef void (*Blocks)(const Walk&, long, const Rows&, const Factor*, long);

// The tallest block of a kind.
template <int V>
constexpr int tallest(Kind kind) {
  return kind == HALVES ? block_rows(V) / 2 : block_rows(V);
}

template <int V, Kind kind>
Blocks blocks_for(unsigned rows) {
  constexpr int most = tallest<V>(kind);
  switch (rows) {
    case 1: return blocks_of<1, V, kind>;
    case 2: return blocks_of<2, V, kind>;
    case 3: return blocks_of<3, V, kind>;
    case 4: return blocks_of<(most >= 4 ? 4 : 1), V, kind>;
    case 5: return blocks_of<(most >= 5 ? 5 : 1), V, kind>;
    case 6: return blocks_of<(most >= 6 ? 6 : 1), V, kind>;
    case 7: return blocks_of<(most >= 7 ? 7 : 1), V, kind>;
    case 8: return blocks_of<(most >= 8 ? 8 : 1), V, kind>;
    case 9: return blocks_of<(most >= 9 ? 9 : 1), V, kind>;
    case 10: return blocks_of<(most >= 10 ? 10 : 1), V, kind>;
    case 11: return blocks_of<(most >= 11 ? 11 : 1), V, kind>;
    default: return blocks_of<(most >= 12 ? 12 : 1), V, kind>;
  }
}

template <int V, Kind kind>
void panel_of(const Walk& walk, long at_once, const Rows& rows, const Factor* b, long columns) {
  constexpr unsigned most = tallest<V>(kind);
  const unsigned count = (unsigned)rows.count, blocks = (count + most - 1) / most;
  if (!blocks) return;
  // blocks of nearly one height, so that 14 rows are 7 + 7, not 12 + 2; or as they lie, and what is left
  const unsigned height = walk.height ? (unsigned)walk.height : count / blocks + (count % blocks > 0);
  const unsigned first = walk.height ? count / height : count % blocks ? count % blocks : blocks;
  blocks_for<V, kind>(height)(walk, at_once, {first, rows.a, rows.c, rows.c_row, rows.begin}, b, columns);
  const unsigned others = walk.height ? count % height > 0 : blocks - first;
  if (!others) return;
  const long done = (long)first * height;
  const Begin begin = rows.begin.at(done * rows.c_row, 0);
  const Factor* a = rows.a + (walk.height ? first * walk.a_block : done * walk.a_row);
  blocks_for<V, kind>((count - (unsigned)done) / others)(
      walk, at_once, {others, a, rows.c + done * rows.c_row, rows.c_row, begin}, b, columns);
}

template <int V>
void panel(const Walk& walk, const Rows& rows, const Factor* b, long columns) {
  const bool products_only = !rows.begin.bias && !rows.begin.add && !walk.relu && !walk.streams && columns == V * W;
  const bool divides = walk.runs == 1 && !walk.streams;  // what goes past the caches cannot be added to
  const long at_once = divides ? piece_of(walk.depth) : larger(walk.depth, 1);
  if (!products_only) return panel_of<V, ANY>(walk, at_once, rows, b, columns);
  if (!walk.part || walk.depth <= walk.part) return panel_of<V, PLAIN>(walk, at_once, rows, b, columns);
  if (walk.depth > 2 * walk.part) return panel_of<V, PARTS>(walk, at_once, rows, b, columns);
  panel_of<V, HALVES>(walk, walk.depth, rows, b, columns);
}

}  // namespace

void product(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
             const Begin& begin) {
  const Rows all{rows, a, c, c_row, begin};
  switch ((columns + W - 1) / W) {
    case 0: return;
    case 1: return panel<1>(walk, all, b, columns);
    case 2: return panel<2>(walk, all, b, columns);
    case 3: return panel<(NV >= 3 ? 3 : 1)>(walk, all, b, columns);
    default: return panel<(NV >= 4 ? 4 : 1)>(walk, all, b, columns);
  }
}

void product_by_parts(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
                      const Begin& begin) {
  if (walk.runs > 1 || walk.streams) return product(walk, rows, columns, a, b, c, c_row, begin);
  Walk part = walk;
  const long piece = piece_of(walk.depth);
  part.ahead = piece / STEP * walk.b_step;
  for (long d = 0; d == 0 || d < walk.depth; d += piece) {
    part.depth = smaller(piece, walk.depth - d);
    part.relu = walk.relu && d + piece >= walk.depth;
    product(part, rows, columns, a + d / STEP * walk.a_step, b + d / STEP * walk.b_step, c, c_row,
            d ? Begin::previous : begin);
  }
}

}  // namespace handgrad::HG_ISA
