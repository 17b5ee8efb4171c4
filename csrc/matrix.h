// Whole products of matrices, threaded and blocked for the caches.
#pragma once

namespace handgrad::HG_ISA {

// B (depth, n) in panels as `product` reads them: PANEL columns each, (depth, width) by itself, widths rounded
// up to the vector with zeros. `packed` holds depth * round_up(n, W) floats.
void pack_panels(long depth, long n, const float* b, float* packed);

// C (m, n) = A (m, depth) @ B + bias + add; rows of A lie `a_row` apart, its columns `a_step`; bias (n,) and
// add (m, n) may be null.
void multiply(long m, long depth, long n, const float* a, long a_row, long a_step, const float* packed,
              const float* bias, const float* add, float* c);

}  // namespace handgrad::HG_ISA
