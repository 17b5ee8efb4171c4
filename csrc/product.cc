#include "product.h"

namespace handgrad::HG_ISA {

namespace {

typedef void (*Block)(const Walk&, const Factor*, const Factor*, float*, long, Begin, long);

// Products that are added one after another. Rounding grows with how long such a sum is; longer ones are sums of these.
constexpr long LONGEST = 128;

template <int R, int V, bool parts>
void block_of(const Walk& walk, const Factor* a, const Factor* b, float* c, long c_row, Begin begin,
              long columns) {
  // rows side by side, as in a transposed product: known offsets need no registers
  if (!parts && walk.a_row == STEP) {
    Walk beside = walk;
    beside.a_row = STEP;
    block<R, V, parts>(beside, a, b, c, c_row, begin, columns);
  } else {
    block<R, V, parts>(walk, a, b, c, c_row, begin, columns);
  }
}

template <int V, bool parts>
Block block_for(long rows) {
  constexpr int most = block_rows(V);
  switch (rows) {
    case 1: return block_of<1, V, parts>;
    case 2: return block_of<2, V, parts>;
    case 3: return block_of<3, V, parts>;
    case 4: return block_of<4, V, parts>;
    case 5: return block_of<5, V, parts>;
    case 6: return block_of<6, V, parts>;
    case 7: return block_of<(most >= 7 ? 7 : 1), V, parts>;
    case 8: return block_of<(most >= 8 ? 8 : 1), V, parts>;
    case 9: return block_of<(most >= 9 ? 9 : 1), V, parts>;
    case 10: return block_of<(most >= 10 ? 10 : 1), V, parts>;
    case 11: return block_of<(most >= 11 ? 11 : 1), V, parts>;
    default: return block_of<(most >= 12 ? 12 : 1), V, parts>;
  }
}

// Calls work(part, a, b, begin) for the parts of a depth that is longer than a sum may be.
template <class Work>
HG_INLINE void each_part(const Walk& walk, const Factor* a, const Factor* b, Begin begin, const Work& work) {
  Walk part = walk;
  for (long d = 0; d < walk.depth; d += LONGEST) {
    part.depth = smaller(LONGEST, walk.depth - d);
    part.relu = walk.relu && d + LONGEST >= walk.depth;
    work(part, a + d / STEP * walk.a_step, b + d / STEP * walk.b_step, d ? Begin::previous : begin);
  }
}

// What goes past the caches cannot be added to.
bool has_parts(const Walk& walk) { return walk.depth > LONGEST && walk.runs == 1 && !walk.streams; }

template <int V>
void panel(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
           Begin begin) {
  constexpr long most = block_rows(V);
  // blocks of nearly one height: 14 rows are 7 + 7, not 12 + 2
  const long blocks = (rows + most - 1) / most;
  const bool parts = has_parts(walk), short_sums = walk.part && smaller(walk.depth, LONGEST) >= 2 * walk.part;
  for (long i = 0, r = 0; i < blocks; ++i) {
    const long height = rows * (i + 1) / blocks - r;
    const Block block = short_sums ? block_for<V, true>(height) : block_for<V, false>(height);
    const Factor* ar = a + r * walk.a_row;
    float* cr = c + r * c_row;
    const Begin first = begin.at(r * c_row, 0);
    if (parts) {
      each_part(walk, ar, b, first, [&](const Walk& part, const Factor* a, const Factor* b, Begin begin) {
        block(part, a, b, cr, c_row, begin, columns);
      });
    } else {
      block(walk, ar, b, cr, c_row, first, columns);
    }
    r += height;
  }
}

}  // namespace

void product(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
             Begin begin) {
  switch ((columns + W - 1) / W) {
    case 0: return;
    case 1: return panel<1>(walk, rows, columns, a, b, c, c_row, begin);
    case 2: return panel<2>(walk, rows, columns, a, b, c, c_row, begin);
    case 3: return panel<(NV >= 3 ? 3 : 1)>(walk, rows, columns, a, b, c, c_row, begin);
    default: return panel<(NV >= 4 ? 4 : 1)>(walk, rows, columns, a, b, c, c_row, begin);
  }
}

void product_by_parts(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
                      Begin begin) {
  if (!has_parts(walk)) return product(walk, rows, columns, a, b, c, c_row, begin);
  Walk ahead = walk;
  ahead.ahead = LONGEST / STEP * walk.b_step;
  each_part(ahead, a, b, begin, [&](const Walk& part, const Factor* a, const Factor* b, Begin begin) {
    product(part, rows, columns, a, b, c, c_row, begin);
  });
}

}  // namespace handgrad::HG_ISA
