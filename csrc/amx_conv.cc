// Convolutions of bf16 and their input gradients as products of matrix registers.
//
// The rows of A are 16 places whose pixels lie one step apart: neighbours in a row of an image or, where rows are
// short, one place of 16 images, of which a copy lays the pixels side by side. A block of C is two registers by two, of
// 32 places and 32 filters, and stays in registers while the whole depth runs by: each of A and B that is loaded is
// multiplied twice. Then bias and what else is added come to it, and it is rounded to bf16.
#include "amx_conv.h"

#include "amx.h"
#include "coming.h"
#include "memory.h"
#include "taps.h"
#include "threads.h"
#include "transpose.h"

namespace handgrad::HG_ISA {

namespace {

constexpr long PANEL = 2 * ROWS;   // filters of a block
constexpr long TOGETHER = 256;     // places of an item, about, in rows
constexpr long COPY = 1L << 19;    // numbers of a copy of images, about

// The most numbers of an even count up to DEPTH that divide a run.
long step_of(long run) {
  long step = DEPTH;
  while (run % step) step -= 2;
  return step;
}

// Channels with as many zeros behind them as make steps of at least 16 of them, or one of all.
long padded(long c) { return c < DEPTH ? round_up(c, 2) : round_up(c, ROWS); }

// Filters of some taps (taps, c, k) in panels of 32, of each all steps of the depth one behind the other: (steps,
// registers, pairs, 16, 2). The depth counts padded channels, tap by tap.
struct Filters {
  long taps, c, k, step;
  long depth() const { return taps * padded(c); }
  long size() const { return depth() * round_up(k, ROWS); }
  long panels() const { return (k + PANEL - 1) / PANEL; }
  // registers across panel p
  long across(long p) const { return k - p * PANEL > ROWS ? 2 : 1; }

  // From filters of all taps (taps, c, k) those of a list, or all.
  void pack(const float* w, const long* list, bf16* to) const {
    each(to, [&](long t, long f, const Rows& rows) {
      const long left = smaller(ROWS, k - f);
      for (long channel = 0; channel < padded(c); channel += 2) {
        const float* from = w + (tap_of(list, t) * c + channel) * k + f;
        for (long v = 0; v < ROWS; v += W) {
          const auto row = [&](long i) { return channel + i < c ? load_some(from + i * k + v, left - v) : vec{}; };
          store((int32_t*)(rows.at(channel) + 2 * v), pairs(row(0), row(1)));
        }
      }
    });
  }

  // From filters whose last two axes are exchanged, (taps, k, c).
  void pack_turned(const float* w, const long* list, bf16* to) const {
    each(to, [&](long t, long f, const Rows& rows) {
      alignas(64) int32_t square[SQUARE];
      for (long channel = 0; channel < padded(c); channel += DEPTH) {
        for (long r = 0; r < ROWS; ++r) {  // a filter's channels are pairs as they are
          const float* from = w + (tap_of(list, t) * k + f + r) * c + channel;
          const long left = f + r < k ? smaller(DEPTH, c - channel) : 0;
          for (long v = 0; v < DEPTH; v += W) store((bf16*)(square + r * SIDE) + v, load_some(from + v, left - v));
        }
        transpose_square((float*)square, SIDE, (float*)square, SIDE);
        for (long pair = 0; pair < smaller(DEPTH, padded(c) - channel) / 2; ++pair)
          memcpy(rows.at(channel + 2 * pair), square + pair * SIDE, 4 * SIDE);
      }
    });
  }

 private:
  static vec load_some(const float* p, long n) { return n >= W ? load(p) : n > 0 ? load(p, n) : vec{}; }
  static ivec pairs(vec first, vec second) { return (ivec)(rounded(first) >> 16 | (rounded(second) & 0xffff0000u)); }

  // Where the pairs of a tap's channels lie, 16 filters of each.
  struct Rows {
    bf16* panel;
    long first, step, apart;  // the first channel's place in the depth; numbers from a step to the next
    bf16* at(long channel) const {
      const long d = first + channel;
      return panel + d / step * apart + d % step * ROWS;
    }
  };

  // Calls work(tap, filter, rows) for every 16 filters of a tap.
  template <class Work>
  void each(bf16* to, const Work& work) const {
    const long squares = (k + ROWS - 1) / ROWS;
    parallel_for(taps * squares, larger(1, 16384 / (padded(c) * ROWS)), [&](long begin, long end, int) {
      for (long item = begin; item < end; ++item) {
        const long t = item / squares, f = item % squares * ROWS, p = f / PANEL, n = across(p);
        work(t, f, Rows{to + p * PANEL * depth() + f % PANEL / ROWS * step * ROWS, t * padded(c), step, n * step * ROWS});
      }
    });
  }
};

// Where the factors of a sum begin: in A seen from a place's pixels, in B from the panel's begin.
struct Run {
  long a, b;
};

// Places, one below the other in A and in the result; of some, the first ones, another block writes the results.
struct Block {
  const bf16* a;
  long place, written;
};

// What is added to a result, if not null, and where that goes.
struct Result {
  const float* bias;
  const bf16* add;
  bf16* y;
  bool relu = false;  // whether what is negative is written as 0
};

// The sums of R registers of places by N of filters.
template <int R, int N>
HG_INLINE void multiply(Registers& m, const bf16* first, const bf16* second, long a_row, const Run* runs, long count, long steps,
                        long step, const bf16* panel, Coming& coming, float* sums) {
  m.zero_block();
  for (long r = 0; r < count; ++r) {
    const bf16 *p = first + runs[r].a, *q = second + runs[r].a, *b = panel + runs[r].b;
    for (long i = 0; i < steps; ++i, p += step, q += step, b += N * step * ROWS) {
      coming.step();
      m.multiply_block<R, N>(p, q, 2 * a_row, b, b + step * ROWS, 64);
    }
  }
  m.store_block<R, N>(sums, ROWS * PANEL, ROWS, 4 * PANEL);
}

// The results of a block from its sums, `row` numbers from one to the next: those of filter f and what follows, of k.
void write(const Result& to, const float* sums, const Block& block, long rows, long row, long f, long k) {
  const long columns = smaller(PANEL, k - f);
  for (long r = block.written; r < rows; ++r)
    for (long v = 0; v < columns; v += W) {
      const long place = block.place + r * row;
      const long left = columns - v;
      const auto some = [=](const auto* p) HG_INLINE_LAMBDA { return left >= W ? load(p + v) : load(p + v, left); };
      vec sum = load(sums + r * PANEL + v);
      if (to.bias) sum += some(to.bias + f);
      if (to.add) sum += some(to.add + place + f);
      if (to.relu) sum = relu(sum);
      bf16* y = to.y + place + f + v;
      left >= W ? store(y, sum) : store(y, sum, left);
    }
}

// Some panels of filters with what A is.
class Products {
 public:
  // `height` places in a register; from one to the next `a_row` numbers in A, `y_row` in the result.
  Products(const Filters& f, const bf16* packed, const Result& to, long height, long a_row, long y_row)
      : filters_(f), packed_(packed), to_(to), height_(height), a_row_(a_row), y_row_(y_row), registers_(height, f.step / 2) {}

  Coming coming;  // of what is multiplied later

  // The results of `count` blocks of places and panel p. The depth of the runs is one of `depth` numbers each.
  void operator()(const Block* blocks, long count, const Run* runs, long number, long depth, long p) {
    const bf16* panel = packed_ + p * PANEL * filters_.depth();
    for (long i = 0; i < count; i += 2)
      if (filters_.across(p) == 2)
        i + 1 < count ? pair<2, 2>(blocks + i, runs, number, depth, panel, p) : pair<1, 2>(blocks + i, runs, number, depth, panel, p);
      else
        i + 1 < count ? pair<2, 1>(blocks + i, runs, number, depth, panel, p) : pair<1, 1>(blocks + i, runs, number, depth, panel, p);
  }

 private:
  template <int R, int N>
  void pair(const Block* blocks, const Run* runs, long number, long depth, const bf16* panel, long p) {
    alignas(64) float sums[2 * ROWS * PANEL];
    multiply<R, N>(registers_, blocks[0].a, blocks[R - 1].a, a_row_, runs, number, depth / filters_.step, filters_.step, panel,
                   coming, sums);
    for (int r = 0; r < R; ++r) write(to_, sums + r * ROWS * PANEL, blocks[r], height_, y_row_, p * PANEL, filters_.k);
  }
  const Filters& filters_;
  const bf16* packed_;
  const Result& to_;
  const long height_, a_row_, y_row_;
  Registers registers_;
};

// n things in registers of equal height; the last ends with them, and may begin with some of the one before.
struct Heights {
  long n, count, height;
  explicit Heights(long n) : n(n), count((n + ROWS - 1) / ROWS), height((n + count - 1) / count) {}
  long begin(long i) const { return smaller(i * height, n - height); }
  long repeated(long i) const { return i * height - begin(i); }
  // the part of its rows that a register spends on things of its own
  bool fuller_than(const Heights& other) const { return n * other.count > other.n * count; }
};

// Neighbours in rows of an image are the rows of A.
void along_rows(const Batch<bf16>& x, const Taps& taps, const Places& at, const Filters& f, const bf16* packed, const Result& to) {
  const Heights across(at.columns);
  const long pitch = padded(x.c), rows = larger(1, smaller(at.rows, TOGETHER / at.columns));
  const long per_image = (at.rows + rows - 1) / rows, items = x.n * per_image;
  const long first_row = taps.first_row(), first_column = taps.first_column();
  const long width = (at.columns - 1) * at.sw + taps.last_column() - first_column + 1;
  const long height = (rows - 1) * at.sh + taps.last_row() - first_row + 1;
  const bool inside = first_row >= 0 && first_column >= 0 && (at.rows - 1) * at.sh + taps.last_row() < x.h &&
                      first_column + width <= x.w;
  const bool copied = pitch != x.c || !inside;
  const long line = copied ? width * pitch : x.w * x.c, size = copied ? height * line : 0;
  const bool joined = taps.side_by_side();  // those of a row are one run of products
  const long number = joined ? taps.rows : taps.rows * taps.columns, depth = joined ? taps.columns * pitch : pitch;
  const int most = threads();
  const long parts = items >= 2L * most ? 1 : smaller(f.panels(), 2L * most);
  ScratchOf<bf16> copies(size * most);
  ScratchOf<Block> blocks(rows * across.count * most);
  ScratchOf<Run> runs(number * 2);
  for (int n = 1; n <= 2; ++n)  // registers across a panel
    for (long r = 0; r < number; ++r) {
      const long i = joined ? r : r / taps.columns, j = joined ? 0 : r % taps.columns;
      runs.data()[(n - 1) * number + r] = {(taps.row[i] - first_row) * line + (taps.column[j] - first_column) * pitch,
                                           r * depth * n * ROWS};
    }
  parallel_items(items * parts, most, [&](long item, int thread) {
    const long part = item % parts, image = item / parts / per_image, top = item / parts % per_image * rows;
    const long here = smaller(rows, at.rows - top);
    const long first = top * at.sh + first_row;
    const bf16* of_image = x.data + image * x.h * x.w * x.c;
    const bf16* pixels = of_image + (first * x.w + first_column) * x.c;
    if (copied) {
      bf16* copy = copies.data() + thread * size;
      for (long i = 0; i < (here - 1) * at.sh + taps.last_row() - first_row + 1; ++i) {
        const long r = first + i;
        copy_line(r >= 0 && r < x.h ? of_image + r * x.w * x.c : nullptr, x.w, x.c, first_column, width, pitch, copy + i * line);
      }
      pixels = copy;
    }
    Block* list = blocks.data() + thread * rows * across.count;
    long count = 0;
    for (long p = 0; p < here; ++p)
      for (long i = 0; i < across.count; ++i) {
        const long q = across.begin(i);
        list[count++] = {pixels + p * at.sh * line + q * at.sw * pitch,
                         image * at.image_step + (top + p) * at.row_step + q * at.column_step, across.repeated(i)};
      }
    Products products(f, packed, to, across.height, at.sw * pitch, at.column_step);
    const long begin = f.panels() * part / parts, end = f.panels() * (part + 1) / parts;
    if (const long next = item + most; !copied && parts == 1 && next < items)  // this thread's next, if all are as fast
      products.coming = {x.data + (next / per_image * x.h + next % per_image * rows * at.sh) * line, here * at.sh * line,
                         (end - begin) * ((count + 1) / 2) * number * (depth / f.step)};
    for (long p = begin; p < end; ++p)
      products(list, count, runs.data() + (f.across(p) - 1) * number, number, depth, p);
  });
}

// The same place of neighbouring images are the rows of A. All of them meet the same taps: those beyond the image
// are left out.
void across_images(const Batch<bf16>& x, const Taps& taps, const Places& at, const Filters& f, const bf16* packed, const Result& to) {
  const Heights images(x.n);
  const long pitch = padded(x.c), apart = pitch % 512 ? pitch : pitch + DEPTH;  // powers of two would meet in the cache
  const long groups = (images.count + 1) / 2, together = smaller(2, images.count) * images.height;
  const long span = taps.last_row() - taps.first_row();
  const long row_size = x.w * together * apart;
  const long rows = larger(1, smaller(at.rows, (COPY / row_size - span - 1) / at.sh + 1));
  const long row_blocks = (at.rows + rows - 1) / rows, items = groups * row_blocks;
  const long size = smaller(x.h, (rows - 1) * at.sh + span + 1) * row_size;
  const int most = threads();
  const long parts = items >= 2L * most ? 1 : smaller(f.panels(), (2L * most + items - 1) / items);
  ScratchOf<bf16> copies(size * most);
  ScratchOf<Run> lists(taps.rows * taps.columns * most);
  parallel_items(items * parts, most, [&](long item, int thread) {
    const long part = item % parts, group = item / parts / row_blocks, top = item / parts % row_blocks * rows;
    const long end = smaller(at.rows, top + rows), count = smaller(2, images.count - 2 * group);
    const long first = larger(0, top * at.sh + taps.first_row());
    const long last = smaller(x.h, (end - 1) * at.sh + taps.last_row() + 1);
    bf16* copy = copies.data() + thread * size;
    for (long i = 0; i < count; ++i)
      for (long m = 0; m < images.height; ++m) {
        const bf16* from = x.data + ((images.begin(2 * group + i) + m) * x.h + first) * x.w * x.c;
        bf16* pixels = copy + (i * images.height + m) * apart;
        for (long pixel = 0; pixel < (last - first) * x.w; ++pixel)
          copy_pixel(from + pixel * x.c, x.c, pitch, pixels + pixel * together * apart);
      }
    Run* runs = lists.data() + thread * taps.rows * taps.columns;
    Products products(f, packed, to, images.height, apart, at.image_step);
    for (long panel = f.panels() * part / parts; panel < f.panels() * (part + 1) / parts; ++panel)
      for (long p = top; p < end; ++p)
        for (long q = 0; q < at.columns; ++q) {
          long number = 0;
          for (long i = 0; i < taps.rows; ++i)
            for (long j = 0; j < taps.columns; ++j) {
              const long r = p * at.sh + taps.row[i], u = q * at.sw + taps.column[j];
              if (r >= 0 && r < x.h && u >= 0 && u < x.w)
                runs[number++] = {((r - first) * x.w + u) * together * apart,
                                  (i * taps.columns + j) * pitch * f.across(panel) * ROWS};
            }
          Block blocks[2];
          for (long i = 0; i < count; ++i)
            blocks[i] = {copy + i * images.height * apart,
                         images.begin(2 * group + i) * at.image_step + p * at.row_step + q * at.column_step,
                         images.repeated(2 * group + i)};
          products(blocks, count, runs, number, pitch, panel);
        }
  });
}

// Whether registers are fuller with the same place of many images than with neighbours.
bool images_are_fuller(const Batch<bf16>& x, const Places& at) {
  return x.n > 1 && Heights(x.n).fuller_than(Heights(at.columns));
}

// result[place] = bias + add[place] + sum over taps of x[...] @ w[tap], or of @ w[tap]^T if they are turned, of a list of
// taps, or all, and k filters.
void correlate(const Batch<bf16>& x, const Taps& taps, const long* list, const Places& at, const float* w, bool turned, long k,
               const Result& to) {
  const bool images = images_are_fuller(x, at);
  const long run = images || !taps.side_by_side() ? padded(x.c) : taps.columns * padded(x.c);
  const Filters f{taps.rows * taps.columns, x.c, k, step_of(run)};
  ScratchOf<bf16> packed(f.size());
  turned ? f.pack_turned(w, list, packed.data()) : f.pack(w, list, packed.data());
  images ? across_images(x, taps, at, f, packed.data(), to) : along_rows(x, taps, at, f, packed.data(), to);
}

// The same of places that meet one pixel each: m of them, one behind the other.
void multiply_rows(long m, const Filters& f, const bf16* packed, const bf16* x, const Result& to) {
  const long zero = 0, most = threads(), c = f.c, k = f.k;
  const Taps one{1, 1, &zero, &zero};
  // as rows of images, and what is left over as an image of its own
  const long row = smaller(m, smaller(TOGETHER, round_up(larger(1, m / (4 * most)), PANEL))), done = m / row * row;
  const auto rows_of = [&](long begin, long n, long w_x) {
    const long size = w_x * k;
    along_rows({x + begin * c, n, 1, w_x, c}, one, {1, w_x, 1, 1, size, size, k}, f, packed,
               {to.bias, to.add ? to.add + begin * k : nullptr, to.y + begin * k, to.relu});
  };
  rows_of(0, m / row, row);
  if (m > done) rows_of(done, 1, m - done);
}

void multiply_rows(long m, long c, long k, const bf16* x, const float* w, bool turned, const Result& to) {
  const Filters f{1, c, k, step_of(padded(c))};
  ScratchOf<bf16> packed(f.size());
  turned ? f.pack_turned(w, nullptr, packed.data()) : f.pack(w, nullptr, packed.data());
  multiply_rows(m, f, packed.data(), x, to);
}

// Filters of all taps, for images of any number and size: of many channels every tap has steps of its own, so that both
// forms can read them, and of few the taps of a row share them.
Filters all_filters(const ConvShape& s) {
  const bool joined = s.dw == 1 && padded(s.c) < DEPTH;
  return {s.kh * s.kw, s.c, s.k, step_of(joined ? s.kw * padded(s.c) : padded(s.c))};
}

}  // namespace

void amx_conv2d(const ConvShape& s, const bf16* x, const float* w, const float* b, bf16* y) {
  if (s.n == 0) return;
  if (pointwise(s)) return multiply_rows(s.n * s.h * s.w, s.c, s.k, x, w, false, {b, nullptr, y});
  const AllTaps all(s);
  correlate({x, s.n, s.h, s.w, s.c}, all.taps(), nullptr, places_of(s), w, false, s.k, {b, nullptr, y});
}

long amx_packed_size(const ConvShape& s) { return all_filters(s).size() / 2; }

void amx_pack(const ConvShape& s, const float* w, float* packed) { all_filters(s).pack(w, nullptr, (bf16*)packed); }

void amx_conv2d_packed(const ConvShape& s, const bf16* x, const float* packed, const float* b, const bf16* add, bool relu,
                       bf16* y) {
  if (s.n == 0) return;
  const Filters f = all_filters(s);
  const bf16* filters = (const bf16*)packed;
  const Result to{b, add, y, relu};
  if (pointwise(s)) return multiply_rows(s.n * s.h * s.w, f, filters, x, to);
  const AllTaps all(s);
  const Batch<bf16> images{x, s.n, s.h, s.w, s.c};
  const Places at = places_of(s);
  padded(s.c) % f.step == 0 && images_are_fuller(images, at) ? across_images(images, all.taps(), at, f, filters, to)
                                                             : along_rows(images, all.taps(), at, f, filters, to);
}

void amx_conv2d_backward_input(const ConvShape& s, const bf16* dy, const float* w, const bf16* add, bf16* dx) {
  if (s.n == 0) return;
  if (pointwise(s)) return multiply_rows(s.n * s.h * s.w, s.k, s.c, dy, w, true, {nullptr, add, dx});
  each_phase(s, [&](const Taps& here, const long* list, const Places& at, long corner) {
    const bf16* added = add ? add + corner : nullptr;
    if (here.rows * here.columns == 0) return without_taps(s, at, added, dx + corner);
    correlate({dy, s.n, s.oh, s.ow, s.k}, here, list, at, w, true, s.c, {nullptr, added, dx + corner});
  });
}

}  // namespace handgrad::HG_ISA
