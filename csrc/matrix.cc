// A panel of B, a piece of its rows, stays in the first cache while a strip of rows of A goes by; the strip stays
// in the second while the panels go by; the sums stay in registers.
#include "matrix.h"

#include "memory.h"
#include "product.h"
#include "threads.h"
#include "transpose.h"

namespace handgrad::HG_ISA {

namespace {

constexpr long GRAIN = 1 << 16;  // multiply-adds that are worth a thread
constexpr long STRIP = 96;   // rows of A at a time, a multiple of every block's height

// While a strip is multiplied the next one comes near, if the second cache has room for so many numbers; where rows are as
// short as this, the processor foresees them itself.
constexpr long ROOM = 1 << 16, FORESEEN = 64;

// A strip of A, `rows` x `steps`, copied together where its numbers lie far apart: a power of two apart they would
// meet in a few lines of the cache.
class Strip {
 public:
  Strip(long a_row, long a_step, long n)
      : a_row_(a_row),
        a_step_(a_step),
        turned_(a_row == 1 && (n > PANEL || STEP > 1)),  // pairs lie in columns then
        copied_(turned_ || (n >= 4 * PANEL && a_row % 128 == 0)),
        height_(turned_ ? block_rows((int)smaller(NV, (n + W - 1) / W)) : STRIP) {}

  long size() const { return copied_ ? STRIP * PITCH : 0; }

  // Rows of which `left` are in the matrix from the first one on.
  void read(long rows, long steps, const Factor* a, long left, Factor* copy) {
    rows_ = rows, steps_ = steps, a_ = copied_ ? copy : a;
    if (!copied_) return;
    if (turned_)
      pack_blocks(steps, rows, height_, a, a_step_, (steps - 1) * a_step_ + left, copy, height_ * PITCH);
    else
      for (long r = 0; r < rows; ++r) memcpy(copy + r * PITCH, a + r * a_row_, sizeof(Factor) * steps);
  }

  void multiply(long columns, bool streams, bool relu, Coming<Factor>* coming, const Factor* b, float* c, long c_row,
                Begin begin) const {
    const long width = STEP * round_up(columns, W);
    Walk walk = turned_ ? Walk{steps_, STEP, STEP * height_, width}
                        : Walk{steps_, copied_ ? PITCH : a_row_, STEP * a_step_, width};
    walk.streams = streams, walk.relu = relu, walk.coming = coming;
    for (long r = 0; r < rows_; r += height_)
      product(walk, smaller(height_, rows_ - r), columns, a_ + r * PITCH, b, c + r * c_row, c_row,
              begin.at(r * c_row, 0));
  }

 private:
  static constexpr long PITCH = LONGEST + W;  // from row to row of the copy, no power of two
  const long a_row_, a_step_;
  const bool turned_, copied_;
  const long height_;
  long rows_, steps_;
  const Factor* a_;
};

}  // namespace

template <class T>
void pack_panel(long rows, long left, const T* b, long b_row, Factor* to) {
  const long width = smaller(PANEL, round_up(left, W));
  for (long d = 0; d < rows; ++d, b += b_row) {
    Factor* row = to + steps_before(d) * width;
    for (long v = 0; v < width; v += W) put(row + STEP * v, d, left - v >= W ? load(b + v) : load(b + v, left - v));
  }
}

void pack_blocks(long rows, long columns, long height, const Factor* a, long a_row, long readable, Factor* to,
                 long block_size) {
  for (long d = 0; d < rows; ++d, a += a_row, readable -= a_row) {
    Factor* block = to + steps_before(d) * height;
    for (long c = 0; c < columns; c += height, block += block_size)
      for (long v = 0; v < smaller(height, columns - c); v += W) {
        const long left = readable - c - v;
        put(block + STEP * v, d, left >= W ? load(a + c + v) : load(a + c + v, larger(0, left)));
      }
  }
}

namespace {

// Calls work(panel, begin, end, to) for rows [begin, end) of the panels from column `panel` on; begin is a step's
// first.
template <class Work>
void each_panel(long depth, long n, Factor* packed, const Work& work) {
  const long panels = (n + PANEL - 1) / PANEL, steps = round_up(depth, STEP) / STEP;
  parallel_for(panels * steps, 16384 / larger(W, smaller(PANEL, n)), [&](long first, long last, int) {
    for (long i = first, next; i < last; i = next) {
      const long p = i / steps, panel = p * PANEL, d = i % steps * STEP, width = smaller(PANEL, round_up(n, W) - panel);
      next = smaller(last, (p + 1) * steps);
      work(panel, d, smaller(depth, d + STEP * (next - i)), packed + panel * steps * STEP + d * width);
    }
  });
}

}  // namespace

template <class T>
void pack_panels(long depth, long n, const T* b, Factor* packed) {
  each_panel(depth, n, packed, [&](long panel, long begin, long end, Factor* to) {
    pack_panel(end - begin, n - panel, b + begin * n + panel, n, to);
  });
}

void pack_panel_turned(long rows, long left, const float* b, long b_row, Factor* to) {
  const long width = smaller(PANEL, round_up(left, W)), lines = smaller(width, left);
#if defined(HG_PAIRS)
  for (long v = 0; v < width; v += smaller(W, 8))
    for (long d = 0; d < round_up(rows, STEP); ++d)
      for (long l = v; l < v + smaller(W, 8); ++l)
        to[steps_before(d) * width + l * STEP + d % STEP] = factor(l < lines && d < rows ? b[l * b_row + d] : 0);
#else
  transpose(lines, rows, b, b_row, to, width);
  for (long d = 0; lines < width && d < rows; ++d) memset(to + d * width + lines, 0, sizeof(Factor) * (width - lines));
#endif
}

void pack_panels_turned(long depth, long n, const float* b, Factor* packed) {
  each_panel(depth, n, packed, [&](long panel, long begin, long end, Factor* to) {
    pack_panel_turned(end - begin, n - panel, b + panel * depth + begin, depth, to);
  });
}

template void pack_panel(long, long, const float*, long, Factor*);
template void pack_panels(long, long, const float*, Factor*);
#if defined(HG_PAIRS)
template void pack_panels(long, long, const bf16*, Factor*);
#endif

void multiply(long m, long depth, long n, const Factor* a, long a_row, long a_step, const Factor* packed,
              const float* bias, const float* add, float* c, bool relu) {
  const long panels = (n + PANEL - 1) / PANEL;
  const long strips = (m + STRIP - 1) / STRIP;
  const int most = m * depth * n < GRAIN ? 1 : threads();
  // with few strips the panels are divided, too, so that every thread has an item
  const long wanted = 4L * most;
  const long groups = strips >= wanted ? 1 : smaller(panels, (wanted + strips - 1) / larger(strips, 1));
  const bool streams = depth <= LONGEST && streamed(m * n) && n % W == 0 && (size_t)c % (4 * W) == 0;
  const long piece = piece_of(depth);
  const bool comes = a_step == 1 && a_row == depth && depth > FORESEEN && STRIP * depth <= ROOM;
  Strip strip(a_row, a_step, n);
  ScratchOf<Factor> copies(strip.size() * most);
  parallel_items(strips * groups, most, [&](long item, int thread) {
    const long row = item / groups * STRIP, rows = smaller(STRIP, m - row), group = item % groups;
    const long begin = panels * group / groups, end = panels * (group + 1) / groups;
    // what this thread takes next if the others are as fast, in two halves
    const long next = smaller(m, (item + most) / groups * STRIP), half = smaller(STRIP, m - next) * depth / 2;
    const long all_steps = steps_of(depth, rows, smaller(n, end * PANEL) - begin * PANEL);
    Coming<Factor> halves[] = {{a + next * a_row, half, all_steps}, {a + next * a_row + half, half, all_steps}};
    Coming<Factor>* const coming = comes && half > 0 ? halves : nullptr;
    Strip near = strip;
    for (long d = 0; d == 0 || d < depth; d += piece) {
      const long steps = smaller(piece, depth - d);
      const bool last = d + piece >= depth;
      near.read(rows, steps, a + row * a_row + d * a_step, m - row, copies.data() + thread * strip.size());
      for (long p = begin; p < end; ++p) {
        const long panel = p * PANEL, columns = smaller(PANEL, n - panel), width = round_up(columns, W);
        near.multiply(columns, streams, relu && last, coming, packed + panel * round_up(depth, STEP) + d * width,
                      c + row * n + panel, n, d ? Begin::previous : Begin{bias, add, false}.at(row * n, panel));
      }
    }
    if (streams) stream_end();
  });
}

}  // namespace handgrad::HG_ISA
