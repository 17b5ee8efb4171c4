// Whole products of matrices, threaded and blocked for the caches.
#pragma once

#include "factors.h"

namespace handgrad::HG_ISA {

constexpr long WORTH_A_THREAD = 1 << 18;  // multiply-adds

// The right factor B (depth, n) of a product lies in C order; or B^T does, (n, depth); or it lies in panels.
template <class T>
struct Plain {
  const T* data;
};
struct Turned {
  const float* data;
};
struct InPanels {
  const Factor* data;
};

// B in panels as `product` reads them: PANEL columns each, (depth, width) by itself, widths rounded up to the vector
// with zeros. `packed` holds round_up(depth, STEP) * round_up(n, W) numbers.
template <class B>
void pack_panels(long depth, long n, B b, Factor* packed);

// Rows of B, numbers `b_row` apart, into one of these panels, from its row `to` on: `left` is how many columns B
// has from the panel's first on.
template <class T>
void pack_panel(long rows, long left, const T* b, long b_row, Factor* to);
// The same from B^T, whose rows lie `b_row` apart and of which `left` are left.
void pack_panel_turned(long rows, long left, const float* b, long b_row, Factor* to);

// Columns of A as rows of a product: `columns` of them in blocks of `height`, of each block all `rows` one behind the
// other, `block_size` numbers from block to block. Up to STEP*W numbers behind a block are written, too, and of the last
// one as many vectors as it has columns; `readable` is how many may be read from `a` on.
void pack_blocks(long rows, long columns, long height, const Factor* a, long a_row, long readable, Factor* to,
                 long block_size);

// C (m, n) = A (m, depth) @ B + bias + add, with `relu` 0 where that is negative; rows of A lie `a_row` apart, its
// columns `a_step`; bias (n,) and add (m, n) may be null.
template <class B>
void multiply(long m, long depth, long n, const Factor* a, long a_row, long a_step, B b, const float* bias,
              const float* add, float* c, bool relu = false);

}  // namespace handgrad::HG_ISA
