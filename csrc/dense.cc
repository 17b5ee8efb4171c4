// Products of matrices, in blocks that stay in the caches: a panel of B (some hundred rows, as wide as the
// micro-kernel) in the first, all panels of that depth in the second, C in registers.
#include "dense.h"

#include "filters.h"
#include "memory.h"
#include "product.h"
#include "threads.h"

namespace handgrad::HG_ISA {

HG_DENSE_KERNELS(HG_DECLARE)

namespace {

constexpr long DEPTH = 256;  // rows of B at a time

// B (depth, columns) in panels of PANEL columns, each (depth, width) by itself; missing columns are 0.
void pack(long depth, long columns, const float* b, float* packed) {
  const long panels = (columns + PANEL - 1) / PANEL;
  parallel_for(panels * depth, 4096 / PANEL * 8, [&](long begin, long end, int) {
    for (long i = begin; i < end; ++i) {
      const long panel = i / depth * PANEL, d = i % depth;
      const long width = smaller(PANEL, round_up(columns, W) - panel);
      const float* from = b + d * columns + panel;
      float* to = packed + panel * depth + d * width;
      for (long v = 0; v < width; v += W) {
        const long left = columns - panel - v;
        store(to + v, left >= W ? load(from + v) : load(from + v, left));
      }
    }
  });
}

// C (m, n) = A (m, depth) @ B + bias; B packed, rows of A `a_row` apart and steps `a_step`.
void multiply(long m, long depth, long n, const float* a, long a_row, long a_step, const float* packed,
              const float* bias, float* c) {
  const long panels = (n + PANEL - 1) / PANEL;
  // strips of rows and groups of panels, so that there is an item for every thread at least
  const long strip = smaller(round_up(m, 6), 96);
  const long strips = (m + strip - 1) / strip;
  const long wanted = 4L * threads();
  const long groups = smaller(panels, strips >= wanted ? 1 : (wanted + strips - 1) / strips);
  parallel_items(strips * groups, [&](long item, int) {
    const long row = item / groups * strip, rows = smaller(strip, m - row), group = item % groups;
    for (long d = 0; d == 0 || d < depth; d += DEPTH) {
      const long steps = smaller(DEPTH, depth - d);
      for (long p = panels * group / groups; p < panels * (group + 1) / groups; ++p) {
        const long panel = p * PANEL, width = smaller(PANEL, round_up(n, W) - panel), columns = smaller(PANEL, n - panel);
        float* to = c + row * n + panel;
        if (d == 0 && bias)
          for (long r = 0; r < rows; ++r) memcpy(to + r * n, bias + panel, 4 * columns);
        product({steps, a_row, a_step, width}, rows, columns, a + row * a_row + d * a_step,
                packed + panel * depth + d * width, to, n, d == 0 && !bias ? Begin::zero : Begin::previous);
      }
    }
  });
}

}  // namespace

void dense(long m, long c, long k, const float* x, const float* w, const float* b, float* y) {
  Scratch packed(c * round_up(k, W));
  pack(c, k, w, packed.data());
  multiply(m, c, k, x, c, 1, packed.data(), b, y);
}

void dense_backward_input(long m, long c, long k, const float* dy, const float* w, float* dx) {
  Scratch turned(c * k), packed(k * round_up(c, W));
  transpose_filters(1, c, k, w, false, turned.data());
  pack(k, c, turned.data(), packed.data());
  multiply(m, k, c, dy, k, 1, packed.data(), nullptr, dx);
}

void dense_backward_weight(long m, long c, long k, const float* dy, const float* x, float* dw) {
  Scratch packed(m * round_up(k, W));
  pack(m, k, dy, packed.data());
  multiply(c, m, k, x, 1, c, packed.data(), nullptr, dw);
}

}  // namespace handgrad::HG_ISA
