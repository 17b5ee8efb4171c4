// The product of two matrices, a register block at a time: what nearly every convolution and dense layer ends in.
//
//     C[r, v] (+)= sum over runs and depth of  A[r*a_row + run*a_run + d*a_step] * B[run*b_run + d*b_step + v]
//
// Where factors come in pairs (factors.h), so do the numbers of the depth: a step is from one pair to the next, and of an
// odd depth's last pair only the first counts.
#pragma once

#include "coming.h"
#include "factors.h"
#include "simd.h"

namespace handgrad::HG_ISA {

// Of one run, LONGEST products at most are added one after another. Rounding grows with how long such a sum is: those of
// more are sums of pieces, which cannot go past the caches.
constexpr long LONGEST = 256, PIECE = 128;
constexpr long piece_of(long depth) { return depth <= LONGEST ? LONGEST : PIECE; }

// The tallest block whose sums fit in the registers, for blocks of v vectors.
constexpr int block_rows(int v) { return NV == 4 ? (v == 1 || v == 2 ? 12 : v == 3 ? 8 : 6) : (v == 1 ? 12 : 6); }
constexpr int PANEL = NV * W;  // columns of the widest block

// How many steps a product takes, of any number of columns.
inline long steps_of(long depth, long rows, long columns) {
  const int most = block_rows((int)smaller(NV, (columns + W - 1) / W));
  return (depth + STEP - 1) / STEP * ((rows + most - 1) / most) * ((columns + PANEL - 1) / PANEL);
}

// Where the numbers of A and B lie, and how many products make one sum.
struct Walk {
  long depth;           // products in a run
  long a_row, a_step;   // from one row of C to the next; from one step to the next
  long b_step;
  long runs = 1;
  long a_run = 0, b_run = 0;
  const long *a_runs = nullptr, *b_runs = nullptr;  // or lists of offsets, where they are not regular
  long height = 0, a_block = 0;  // or rows of A lie in blocks of so many, with so far from one block to the next
  bool streams = false;  // whether whole vectors of C go past the caches; they lie at multiples of their size
  bool beside = false;   // whether small blocks sum several runs side by side; a block's height then decides on the order
  bool relu = false;     // whether what is negative is written as 0
  long ahead = 0;        // numbers of B that lie so far ahead are brought near while these are multiplied
  Coming* coming = nullptr;  // two of what is multiplied later, if not `ahead`; the next product goes on with them.
                             // Runs side by side, halves and parts leave them as they are
  long part = 0;         // of one run, so many products at most make a sum, and then the sums are added; 0: any number.
                         // Only where nothing but products and what it held comes to C, in whole vectors
};

// What C holds before the products come to it: nothing, or what it held; or a bias, the same in each row, and what
// lies at `add` where C lies at c; either may be null. Passed on by reference: to copy what was just written field by field,
// the processor waits until all that was written before is in the cache, as the sums of the last product are.
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

// `rows` x `columns` of C, columns <= PANEL; B must be readable up to the next multiple of W columns.
void product(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
             const Begin& begin);

// The same sums. A part of a long depth is multiplied with all rows before the next part, which lies behind it and comes
// near meanwhile: for few rows, and a B that is read from memory.
void product_by_parts(const Walk& walk, long rows, long columns, const Factor* a, const Factor* b, float* c, long c_row,
                      const Begin& begin);

}  // namespace handgrad::HG_ISA
