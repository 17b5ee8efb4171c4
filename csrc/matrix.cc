// A panel of B, DEPTH rows of it, stays in the first cache while a strip of rows of A goes by; the strip stays
// in the second while the panels go by; the sums stay in registers.
#include "matrix.h"

#include "product.h"
#include "threads.h"

namespace handgrad::HG_ISA {

namespace {

constexpr long DEPTH = 256;  // rows of B at a time
constexpr long STRIP = 96;   // rows of A at a time, a multiple of every block's height

}  // namespace

void pack_panels(long depth, long n, const float* b, float* packed) {
  const long panels = (n + PANEL - 1) / PANEL;
  parallel_for(panels * depth, 16384 / PANEL, [&](long begin, long end, int) {
    for (long i = begin; i < end; ++i) {
      const long panel = i / depth * PANEL, d = i % depth;
      const long width = smaller(PANEL, round_up(n, W) - panel);
      const float* from = b + d * n + panel;
      float* to = packed + panel * depth + d * width;
      for (long v = 0; v < width; v += W) {
        const long left = n - panel - v;
        store(to + v, left >= W ? load(from + v) : load(from + v, left));
      }
    }
  });
}

void multiply(long m, long depth, long n, const float* a, long a_row, long a_step, const float* packed,
              const float* bias, const float* add, float* c) {
  const long panels = (n + PANEL - 1) / PANEL;
  const long strips = (m + STRIP - 1) / STRIP;
  // with few strips the panels are divided, too, so that every thread has an item
  const long wanted = 4L * threads();
  const long groups = strips >= wanted ? 1 : smaller(panels, (wanted + strips - 1) / larger(strips, 1));
  const bool streams = depth <= DEPTH && !bias && !add && streamed(m * n) && n % W == 0 && (size_t)c % (4 * W) == 0;
  parallel_items(strips * groups, threads(), [&](long item, int) {
    const long row = item / groups * STRIP, rows = smaller(STRIP, m - row), group = item % groups;
    for (long d = 0; d == 0 || d < depth; d += DEPTH) {
      const long steps = smaller(DEPTH, depth - d);
      for (long p = panels * group / groups; p < panels * (group + 1) / groups; ++p) {
        const long panel = p * PANEL, columns = smaller(PANEL, n - panel), width = round_up(columns, W);
        float* to = c + row * n + panel;
        Begin begin = d ? Begin::previous : Begin::zero;
        if (d == 0 && (bias || add)) {
          begin = Begin::previous;
          for (long r = 0; r < rows; ++r)
            for (long j = 0; j < columns; ++j)
              to[r * n + j] = (bias ? bias[panel + j] : 0) + (add ? add[(row + r) * n + panel + j] : 0);
        }
        Walk walk{steps, a_row, a_step, width};
        walk.streams = streams;
        product(walk, rows, columns, a + row * a_row + d * a_step, packed + panel * depth + d * width, to, n,
                begin);
      }
    }
    if (streams) stream_end();
  });
}

}  // namespace handgrad::HG_ISA
