// A panel of B, a piece of its rows, stays in the first cache while a strip of rows of A goes by; the strip stays
// in the second while the panels go by; the sums stay in registers.
#include "matrix.h"

#include "memory.h"
#include "product.h"
#include "threads.h"
#include "transpose.h"

#include <type_traits>

namespace handgrad::HG_ISA {

namespace {

// So many multiply-adds that to divide them anew is worth more than to find in a thread's cache what it read and wrote the
// last time.
constexpr long SHORT = 1 << 22;

constexpr long STRIP = 96;  // rows of A at a time, or up to twice as many if these are all

// While a strip is multiplied the next one comes near, if the second cache has room for so many numbers; where rows are as
// short as this, the processor foresees them itself. If B has more than half as many numbers, what follows of it comes near,
// too.
constexpr long ROOM = 1 << 17, FORESEEN = 64;

constexpr long FEW_ROWS = 48;  // not worth it to pack what they meet

// Strips of nearly one height, a multiple of most blocks', and enough for all threads if the panels are not.
long strip_height(long m, long panels, int threads) {
  const long least = panels < threads ? (threads + panels - 1) / larger(1, panels) : 1;
  const long strips = larger(least, m <= 2 * STRIP ? 1 : (m + STRIP - 1) / STRIP);
  return larger(1, round_up((m + strips - 1) / strips, 12));
}

// Into how many groups the panels are divided, so that every thread has items, and nearly as many as every other unless
// that leaves few panels for a strip.
long groups_of(long strips, long panels, int threads) {
  const auto unequal = [&](long items) { return 20 * ((threads - items % threads) % threads) > items; };
  const long least = smaller(panels, (4L * threads + strips - 1) / larger(strips, 1));
  for (long groups = larger(1, least); groups <= larger(least, panels / 4); ++groups)
    if (!unequal(strips * groups)) return groups;
  return least;
}

// A strip of A, `rows` x `steps`, copied together where its numbers lie far apart: a power of two apart they would
// meet in a few lines of the cache.
class Strip {
 public:
  Strip(long a_row, long a_step, long n)
      : a_row_(a_row),
        a_step_(a_step),
        turned_(a_row == 1 && (n > 4 * PANEL || STEP > 1)),  // pairs lie in columns then
        copied_(turned_ || (n >= 4 * PANEL && a_row % 128 == 0)),
        height_(block_rows((int)smaller(NV, (n + W - 1) / W))) {}

  long size() const { return copied_ ? 2 * STRIP * PITCH : 0; }

  // Rows of which `left` are in the matrix from the first one on.
  void read(long rows, long steps, const Factor* a, long left, Factor* copy) {
    rows_ = rows, steps_ = steps, a_ = copied_ ? copy : a;
    if (!copied_) return;
    if (turned_)
      pack_blocks(steps, rows, height_, a, a_step_, (steps - 1) * a_step_ + left, copy, height_ * PITCH);
    else
      for (long r = 0; r < rows; ++r) memcpy(copy + r * PITCH, a + r * a_row_, sizeof(Factor) * steps);
  }

  void multiply(long columns, bool streams, bool relu, Coming* coming, const Factor* b, long b_step, float* c, long c_row,
                const Begin& begin) const {
    Walk walk = turned_ ? Walk{steps_, STEP, STEP * height_, b_step}
                        : Walk{steps_, copied_ ? PITCH : a_row_, STEP * a_step_, b_step};
    walk.streams = streams, walk.relu = relu, walk.coming = coming;
    if (turned_) walk.height = height_, walk.a_block = height_ * PITCH;
    product(walk, rows_, columns, a_, b, c, c_row, begin);
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

template void pack_panel(long, long, const float*, long, Factor*);

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

namespace {

// Rows of a panel of B as `product` reads them: numbers, and how far it is from one step to the next.
struct Piece {
  const Factor* data;
  long step;
};

// B, a piece of a panel at a time: rows [d, d + count) of the panel whose first column is `panel`; d is a step's first.
template <class B>
class Right {
 public:
  static constexpr bool READY = std::is_same_v<B, InPanels>;

  Right(B b, long depth, long n) : b_(b), depth_(depth), n_(n) {}

  long width(long panel) const { return smaller(PANEL, round_up(n_, W) - panel); }
  long place_in_panels(long panel, long d) const { return panel * round_up(depth_, STEP) + d * width(panel); }

  void pack(long panel, long d, long count, Factor* to) const {
    if constexpr (std::is_same_v<B, Turned>)
      pack_panel_turned(count, n_ - panel, b_.data + panel * depth_ + d, depth_, to);
    else
      pack_panel(count, n_ - panel, b_.data + d * n_ + panel, n_, to);
  }

  // Packed to `to`, unless it lies ready or `few` rows meet it: for those that takes longer than to read it as it is.
  Piece piece(long panel, long d, long count, bool few, Factor* to) const {
    if constexpr (READY) {
      return {b_.data + place_in_panels(panel, d), STEP * width(panel)};
    } else {
      if constexpr (std::is_same_v<B, Plain<Factor>> && STEP == 1)
        if (few && panel + width(panel) <= n_) return {b_.data + d * n_ + panel, n_};
      pack(panel, d, count, to);
      return {to, STEP * width(panel)};
    }
  }

  // The same, near in so many steps.
  Coming coming(long panel, long d, long count, long steps) const {
    if constexpr (READY)
      return {b_.data + place_in_panels(panel, d), count * width(panel), steps};
    else if constexpr (std::is_same_v<B, Turned>)
      return Coming::down_rows(b_.data + panel * depth_ + d, count, depth_, count / STEP);
    else
      return Coming::down_rows(b_.data + d * n_ + panel, smaller(PANEL, n_ - panel), STEP * n_, count / STEP);
  }

 private:
  const B b_;
  const long depth_, n_;
};

}  // namespace

template <class B>
void pack_panels(long depth, long n, B b, Factor* packed) {
  const long panels = (n + PANEL - 1) / PANEL, steps = round_up(depth, STEP) / STEP;
  const Right<B> right(b, depth, n);
  parallel_for(panels * steps, 16384 / larger(W, smaller(PANEL, n)), [&](long first, long last, int) {
    for (long i = first, next; i < last; i = next) {
      const long p = i / steps, panel = p * PANEL, d = i % steps * STEP;
      next = smaller(last, (p + 1) * steps);
      right.pack(panel, d, smaller(depth - d, STEP * (next - i)), packed + right.place_in_panels(panel, d));
    }
  });
}

template <class B>
void multiply(long m, long depth, long n, const Factor* a, long a_row, long a_step, B b, const float* bias,
              const float* add, float* c, bool relu) {
  const Right<B> right(b, depth, n);
  const int most = m * depth * n < WORTH_A_THREAD ? 1 : threads();
  const long panels = (n + PANEL - 1) / PANEL;
  const long height = strip_height(m, panels, most), strips = (m + height - 1) / height;
  if constexpr (!right.READY)
    if (strips > 1) {  // else each piece is packed where it is needed
      ScratchOf<Factor> packed(round_up(depth, STEP) * round_up(n, W));
      pack_panels(depth, n, b, packed.data());
      return multiply(m, depth, n, a, a_row, a_step, InPanels{packed.data()}, bias, add, c, relu);
    }
  const long groups = groups_of(strips, panels, most), at_once = piece_of(depth);
  const bool streams = depth <= LONGEST && streamed(m * n) && n % W == 0 && (size_t)c % (4 * W) == 0;
  const bool a_comes = a_step == 1 && a_row == depth && depth > FORESEEN && height * depth <= ROOM, b_comes = depth * n > ROOM / 2;
  const Strip strip(a_row, a_step, n);
  const long piece_size = right.READY ? 0 : round_up(smaller(at_once, depth), STEP) * right.width(0);
  ScratchOf<Factor> copies(strip.size() * most), pieces(piece_size * most);
  const auto multiply_item = [&](long item, int thread) {
    const long row = item / groups * height, rows = smaller(height, m - row), group = item % groups;
    const long begin = panels * group / groups * PANEL, end = smaller(n, panels * (group + 1) / groups * PANEL);
    // what this thread takes next if the others are as fast, and what it multiplies next
    Coming coming[2];
    if (const long next = smaller(m, (item + most) / groups * height); a_comes && next > row && next < m)
      coming[0] = {a + next * depth, smaller(height, m - next) * depth, steps_of(depth, rows, end - begin)};
    Strip near = strip;
    for (long d = 0; d == 0 || d < depth; d += at_once) {
      const long count = smaller(at_once, depth - d), rest = depth - d - count;
      near.read(rows, count, a + row * a_row + d * a_step, m - row, copies.data() + thread * strip.size());
      for (long panel = begin; panel < end; panel += PANEL) {
        const long columns = smaller(PANEL, n - panel), steps = steps_of(count, rows, columns);
        const Piece b = right.piece(panel, d, count, m <= FEW_ROWS, pieces.data() + thread * piece_size);
        if (b_comes && panel + PANEL < end)
          coming[1] = right.coming(panel + PANEL, d, count, steps);
        else if (b_comes && rest)
          coming[1] = right.coming(begin, d + count, smaller(at_once, rest), steps);
        near.multiply(columns, streams, relu && !rest, a_comes || b_comes ? coming : nullptr, b.data, b.step,
                      c + row * n + panel, n, d ? Begin::previous : Begin{bias, add, false}.at(row * n, panel));
      }
    }
    if (streams) stream_end();
  };
  if (m * depth * n < SHORT)
    parallel_shares(strips * groups, most, [&](long first, long last, int thread) {
      for (long item = first; item < last; ++item) multiply_item(item, thread);
    });
  else
    parallel_items(strips * groups, most, multiply_item);
}

#define HG_MULTIPLY(B) \
  template void multiply(long, long, long, const Factor*, long, long, B, const float*, const float*, float*, bool);
#define HG_PACK_AND_MULTIPLY(B)                      \
  template void pack_panels(long, long, B, Factor*); \
  HG_MULTIPLY(B)
HG_PACK_AND_MULTIPLY(Plain<float>)
HG_PACK_AND_MULTIPLY(Turned)
HG_MULTIPLY(InPanels)
#if defined(HG_PAIRS)
HG_PACK_AND_MULTIPLY(Plain<bf16>)
#endif

}  // namespace handgrad::HG_ISA
