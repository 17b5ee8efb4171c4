// Convolution of any geometry as products of matrices, without a matrix of columns: `product` reads the pixels
// that a tap meets where they lie in the image, or, where taps reach beyond it, in a copy of a few rows of it
// with zeros around.
//
//     y[p, q]  = sum over taps (i, j) of  x[p*sh + i*dh - top, q*sw + j*dw - left] @ w[i, j]
//     dx[r, u] = the same sum over dy with w[i, j]^T, the taps being those that meet pixel (r, u): with strides
//                every phase (r mod sh, u mod sw) of the image has taps of its own
//     dw[i, j] = sum over places (p, q) of  x[...]^T @ dy[p, q]
#include "conv.h"

#include "depthwise.h"
#include "matrix.h"
#include "memory.h"
#include "product.h"
#include "taps.h"
#include "threads.h"
#include "transpose.h"

namespace handgrad::HG_ISA {

HG_DIRECT_PRODUCTS(HG_DECLARE, Factor, float)

namespace {

struct Images {
  const Factor* data;
  long n, h, w, c;
};

// The rows of pixels that some rows of places meet, of one image or of several.
class Strip {
 public:
  // Numbers of scratch for `images` times `rows` rows of places; 0 where the images themselves will do.
  static long size(const Images& x, const Taps& taps, const Places& at, long images, long rows) {
    const bool inside = taps.first_row() >= 0 && taps.first_column() >= 0 &&
                        (at.rows - 1) * at.sh + taps.last_row() < x.h &&
                        (at.columns - 1) * at.sw + taps.last_column() < x.w;
    return inside ? 0 : images * height(taps, at, rows) * width(taps, at) * x.c;
  }

  Strip(const Images& x, const Taps& taps, const Places& at, long image, long images, long row, long rows,
        Factor* scratch)
      : sh_(at.sh), c_(x.c), first_column_(taps.first_column()) {
    const long first = row * at.sh + taps.first_row();
    if (!scratch) {
      line_ = x.w * x.c, image_ = x.h * line_;
      data_ = x.data + image * image_ + first * line_ + first_column_ * c_;
    } else {
      const long h = height(taps, at, rows), w = width(taps, at);
      line_ = w * x.c, image_ = h * line_;
      data_ = scratch;
      for (long m = 0; m < images; ++m)
        for (long i = 0; i < h; ++i)
          copy_line(first + i >= 0 && first + i < x.h ? x.data + ((image + m) * x.h + first + i) * x.w * x.c : nullptr, x.w,
                    x.c, first_column_, w, x.c, scratch + m * image_ + i * line_);
    }
    first_row_ = taps.first_row();
  }

  // The pixel that the tap (0, 0) would meet from place (m, p, 0) of the strip, seen from data().
  long place(long m, long p) const { return m * image_ + p * sh_ * line_; }
  long tap(const Taps& taps, long i, long j) const {
    return (taps.row[i] - first_row_) * line_ + (taps.column[j] - first_column_) * c_;
  }
  const Factor* data() const { return data_; }

 private:
  static long height(const Taps& taps, const Places& at, long rows) {
    return (rows - 1) * at.sh + taps.last_row() - taps.first_row() + 1;
  }
  static long width(const Taps& taps, const Places& at) {
    return (at.columns - 1) * at.sw + taps.last_column() - taps.first_column() + 1;
  }

  const Factor* data_;
  long line_, image_, sh_, c_, first_row_, first_column_;
};

// How many images or rows make one item of work of about `pixels` places.
struct Share {
  long images, rows, per_image, count;
  Share(long n, const Places& at, long pixels) {
    rows = smaller(at.rows, larger(1, pixels / larger(1, at.columns)));
    images = rows < at.rows ? 1 : larger(1, smaller(n, pixels / larger(1, at.rows * at.columns)));
    per_image = (at.rows + rows - 1) / rows;
    count = rows < at.rows ? n * per_image : (n + images - 1) / images;
  }
};

// Filters as `product` reads them: for each group and panel of columns all taps, (taps*rows, width).
struct Packed {
  const Factor* data;
  long taps, depth, k, groups;  // depth = c/groups, k of all groups
  bool in_place = false;        // or as they are, (taps, depth, k), of one group
  long rows() const { return round_up(depth, STEP); }
  long group_size() const { return taps * rows() * round_up(k / groups, W); }
  const Factor* panel(long group, long column) const {
    return data + (in_place ? column : group * group_size() + column * taps * rows());
  }
  // numbers from one row of a panel to the next
  long row(long column) const { return in_place ? k : smaller(PANEL, round_up(k / groups - column, W)); }
};

// Calls work(tap, group, column, to) for all taps and panels of columns.
template <class Work>
void each_panel(const Packed& f, Factor* to, const Work& work) {
  const long kg = f.k / f.groups, panels = (kg + PANEL - 1) / PANEL, each = f.groups * panels;
  parallel_for(f.taps * each, larger(1, 16384 / (f.depth * PANEL)), [&](long begin, long end, int) {
    for (long item = begin; item < end; ++item) {
      const long t = item / each, g = item % each / panels, column = item % panels * PANEL;
      const long width = smaller(PANEL, round_up(kg - column, W));
      work(t, g, column, to + g * f.group_size() + (column * f.taps + t * width) * f.rows());
    }
  });
}

// From filters (all_taps, depth, k), the taps of a list, or all.
void pack_taps(const float* w, const long* list, const Packed& f, Factor* to) {
  const long kg = f.k / f.groups;
  each_panel(f, to, [&](long t, long g, long column, Factor* panel) {
    pack_panel(f.depth, kg - column, w + tap_of(list, t) * f.depth * f.k + g * kg + column, f.k, panel);
  });
}

// The same from filters whose channels and filters are exchanged, (all_taps, k/groups, groups, depth).
void pack_taps_turned(const float* w, const long* list, const Packed& f, Factor* to) {
  const long kg = f.k / f.groups, row = f.groups * f.depth;
  each_panel(f, to, [&](long t, long g, long column, Factor* panel) {
    pack_panel_turned(f.depth, kg - column, w + (list[t] * kg + column) * row + g * f.depth, row, panel);
  });
}

// Places that are worth asking for, each of so many products: an item of few would be over before the next is found.
long places_of_an_item(long places, long products) {
  const long worth = (1L << 20) / larger(1, products);
  return larger(128, smaller(smaller(worth, 4096), places / (8L * threads())));
}

// So many places at most, in rows shorter than a block, are gathered: together they are rows of one product, and fill
// its blocks.
constexpr long FEW = 32;

// y[place] = bias + add[place] + sum over taps of x[...] @ filter[tap]; with `relu` 0 where that is negative.
void correlate(const Images& x, const Taps& taps, const Places& at, const Packed& f, const Begin& begin, bool relu,
               float* y) {
  const long depth = f.depth, kg = f.k / f.groups, panels = (kg + PANEL - 1) / PANEL;
  const Share share(x.n, at, places_of_an_item(x.n * at.rows * at.columns, taps.rows * taps.columns * depth * f.k));
  // taps side by side on one group's channels, if they end with a step, are one run of products
  const bool joined = f.groups == 1 && taps.side_by_side() && depth % STEP == 0;
  const long runs = joined ? taps.rows : taps.rows * taps.columns;
  const long run = joined ? taps.columns * depth : depth;
  const long at_once = larger(1, smaller(runs, 1024 / larger(1, run)));  // their filters stay in the L2 cache
  const int most = threads();
  const bool gathered = joined && at.columns < block_rows(NV) && x.n * at.rows * at.columns <= FEW &&
                        at.row_step == at.columns * at.column_step && at.image_step == at.rows * at.row_step;
  const long wanted = gathered ? most : 2L * most, parts = share.count >= wanted ? 1 : smaller(panels, wanted);
  const long strip_size = Strip::size(x, taps, at, share.images, share.rows);
  const long line = runs * run + STEP * W, gathered_size = gathered ? x.n * at.rows * at.columns * line : 0;
  ScratchOf<Factor> strips(strip_size * most), gatherings(gathered_size * most);
  ScratchOf<long> offsets(2 * runs * most);
  const bool streams = at_once >= runs && (runs > 1 || run <= LONGEST) && streamed(x.n * at.rows * at.columns * f.k) && kg % W == 0 &&
                       at.column_step % W == 0 && (size_t)y % (4 * W) == 0;
  parallel_items(share.count * parts, most, [&](long item, int thread) {
    const long part = item % parts, index = item / parts;
    const long image = share.rows < at.rows ? index / share.per_image : index * share.images;
    const long row = share.rows < at.rows ? index % share.per_image * share.rows : 0;
    const long images = smaller(share.images, x.n - image), rows = smaller(share.rows, at.rows - row);
    const Strip strip(x, taps, at, image, images, row, rows,
                      strip_size ? strips.data() + thread * strip_size : nullptr);
    long* a_runs = offsets.data() + thread * 2 * runs;
    long* b_runs = a_runs + runs;
    for (long r = 0; r < runs; ++r)
      a_runs[r] = joined ? strip.tap(taps, r, 0) : strip.tap(taps, r / taps.columns, r % taps.columns);
    Factor* gathering = gatherings.data() + thread * gathered_size;
    if (gathered) {
      Factor* to = gathering;
      for (long m = 0; m < images; ++m)
        for (long p = 0; p < rows; ++p)
          for (long q = 0; q < at.columns; ++q, to += line)
            for (long r = 0; r < runs; ++r)
              memcpy(to + r * run, strip.data() + strip.place(m, p) + a_runs[r] + q * at.sw * x.c, sizeof(Factor) * run);
      for (long r = 0; r < runs; ++r) a_runs[r] = r * run;
    }
    for (long g = 0; g < f.groups; ++g)
      for (long panel = panels * part / parts; panel < panels * (part + 1) / parts; ++panel) {
        const long k = panel * PANEL, columns = smaller(PANEL, kg - k), width = f.row(k);
        for (long r = 0; r < runs; ++r) b_runs[r] = r * round_up(run, STEP) * width;
        for (long first = 0; first < runs; first += at_once) {
          Walk walk{run, gathered ? line : at.sw * x.c, STEP, STEP * width, smaller(at_once, runs - first)};
          walk.a_runs = a_runs + first, walk.b_runs = b_runs + first, walk.streams = streams;
          walk.relu = relu && first + at_once >= runs;
          const auto multiply = [&](long m, long p, long places, const Factor* a) {
            const long column = g * kg + k, place = (image + m) * at.image_step + (row + p) * at.row_step;
            const Begin here = first ? Begin::previous : begin.at(place, column);
            float* c = y + place + column;
            gathered ? product_by_parts(walk, places, columns, a, f.panel(g, k), c, at.column_step, here)
                     : product(walk, places, columns, a, f.panel(g, k), c, at.column_step, here);
          };
          if (gathered) {
            multiply(0, 0, images * rows * at.columns, gathering);
          } else {
            for (long m = 0; m < images; ++m)
              for (long p = 0; p < rows; ++p)
                multiply(m, p, at.columns, strip.data() + strip.place(m, p) + g * depth);
          }
        }
      }
    if (streams) stream_end();
  });
}

// All filters, for `sums_of_packed`.
Packed all_taps(const ConvShape& s, const Factor* data) { return {data, s.kh * s.kw, s.c / s.groups, s.k, s.groups}; }
long packed_size(const ConvShape& s) { return s.groups * all_taps(s, nullptr).group_size(); }
void pack(const ConvShape& s, const float* w, Factor* packed) {
  if (pointwise(s)) return pack_panels(s.c, s.k, w, packed);
  pack_taps(w, nullptr, all_taps(s, packed), packed);
}

void sums_of_packed(const ConvShape& s, const Factor* x, const Factor* packed, const float* b, const float* add,
                    bool relu, float* y) {
  if (pointwise(s)) return multiply(s.n * s.h * s.w, s.c, s.k, x, s.c, 1, packed, b, add, y, relu);
  const AllTaps all(s);
  correlate({x, s.n, s.h, s.w, s.c}, all.taps(), places_of(s), all_taps(s, packed), {b, add, false}, relu, y);
}

#if !defined(HG_PAIRS)
// dx^T[c, place] = add + sum over taps of w[tap] @ dy^T, for few places: filters are read once, as they lie, and it is
// the pixels that are transposed.
void gradient_of_few(const Images& dy, const Taps& taps, const long* list, const Places& at, const float* w, long c,
                   const float* add, float* dx) {
  const long places = dy.n * at.rows * at.columns, width = round_up(places, W), number = taps.rows * taps.columns;
  const long run = dy.c, at_once = larger(1, smaller(number, 1024 / run));
  Scratch pixels(places * run), turned(number * run * width), sums(c * width);
  ScratchOf<long> offsets(2 * number);
  long *a_runs = offsets.data(), *b_runs = a_runs + number;
  for (long t = 0; t < number; ++t) {
    float* to = pixels.data();
    for (long m = 0; m < dy.n; ++m)
      for (long p = 0; p < at.rows; ++p) {
        const long r = p * at.sh + taps.row[t / taps.columns];
        copy_line(r >= 0 && r < dy.h ? dy.data + (m * dy.h + r) * dy.w * dy.c : nullptr, dy.w, dy.c,
                  taps.column[t % taps.columns], at.columns, dy.c, to);
        to += at.columns * dy.c;
      }
    a_runs[t] = list[t] * c * run, b_runs[t] = t * run * width;
    if (places < width) memset(turned.data() + b_runs[t], 0, 4 * run * width);  // what memory held may be slow to multiply
    transpose(places, run, pixels.data(), run, turned.data() + b_runs[t], width);
  }
  constexpr long ROWS = 4 * block_rows(1);
  parallel_items((c + ROWS - 1) / ROWS, threads(), [&](long item, int) {
    const long row = item * ROWS, rows = smaller(ROWS, c - row);
    for (long first = 0; first < number; first += at_once) {
      Walk walk{run, run, 1, width, smaller(at_once, number - first)};
      walk.a_runs = a_runs + first, walk.b_runs = b_runs + first;
      for (long v = 0; v < width; v += PANEL)
        product(walk, rows, smaller(PANEL, width - v), w + row * run, turned.data() + v, sums.data() + row * width + v, width,
                first ? Begin::previous : Begin::zero);
    }
  });
  for (long i = 0; i < places; ++i) {
    const long m = i / at.columns / at.rows, p = i / at.columns % at.rows, q = i % at.columns;
    const long to = m * at.image_step + p * at.row_step + q * at.column_step;
    for (long j = 0; j < c; ++j) dx[to + j] = sums.data()[j * width + i] + (add ? add[to + j] : 0);
  }
}
#endif

}  // namespace

void direct(const ConvShape& s, const Factor* x, const float* w, const float* b, float* y) {
#if !defined(HG_PAIRS)
  if (s.n * s.oh * s.ow <= FEW && s.groups == 1 && s.k % W == 0) {  // read once: to pack them takes longer
    const AllTaps all(s);
    const Packed as_they_are{w, s.kh * s.kw, s.c, s.k, 1, /*in_place=*/true};
    return correlate({x, s.n, s.h, s.w, s.c}, all.taps(), places_of(s), as_they_are, {b, nullptr, false}, false, y);
  }
#endif
  ScratchOf<Factor> packed(packed_size(s));
  pack(s, w, packed.data());
  sums_of_packed(s, x, packed.data(), b, nullptr, false, y);
}

void direct_backward_input(const ConvShape& s, const Factor* dy, const float* w, const float* add, float* dx) {
  if (pointwise(s)) {
    ScratchOf<Factor> packed(round_up(s.k, STEP) * round_up(s.c, W));
    pack_panels_turned(s.k, s.c, w, packed.data());
    return multiply(s.n * s.h * s.w, s.k, s.c, dy, s.k, 1, packed.data(), nullptr, add, dx);
  }
  Packed f{nullptr, s.kh * s.kw, s.k / s.groups, s.c, s.groups};
  const long places = s.n * ((s.h + s.sh - 1) / s.sh) * ((s.w + s.sw - 1) / s.sw);  // of the largest phase
  const bool few = STEP == 1 && s.groups == 1 && places <= FEW;
  ScratchOf<Factor> packed(few ? 0 : f.groups * f.group_size());
  f.data = packed.data();
  each_phase(s, [&](const Taps& here, const long* list, const Places& at, long corner) {
    const float* added = add ? add + corner : nullptr;
    f.taps = here.rows * here.columns;
    if (f.taps == 0) return without_taps(s, at, added, dx + corner);
#if !defined(HG_PAIRS)
    if (few) return gradient_of_few({dy, s.n, s.oh, s.ow, s.k}, here, list, at, w, s.c, added, dx + corner);
#endif
    pack_taps_turned(w, list, f, packed.data());
    correlate({dy, s.n, s.oh, s.ow, s.k}, here, at, f, {nullptr, added, false}, false, dx + corner);
  });
}

// In rows of so many numbers at most, panels are read where they lie: the lines of longer ones share places in the cache.
constexpr long NEAR = 4 * PANEL;

void direct_backward_weight(const ConvShape& s, const Factor* dy, const Factor* x, float* dw) {
  if (STEP == 1 && pointwise(s) && s.k < s.c && s.c <= NEAR && s.c % W == 0) {  // dw^T = dy^T @ x copies less: x lies ready
    ConvShape exchanged = s;
    exchanged.c = s.k, exchanged.k = s.c;
    Scratch turned(s.c * s.k);
    direct_backward_weight(exchanged, x, dy, turned.data());
    return parallel_for(s.k, larger(1, 16384 / s.c), [&](long begin, long end, int) {
      transpose(end - begin, s.c, turned.data() + begin * s.c, s.c, dw + begin, s.k);
    });
  }
  const long taps = s.kh * s.kw, cg = s.c / s.groups, kg = s.k / s.groups, size = taps * cg * s.k;
  const AllTaps all(s);
  const Taps grid = all.taps();
  const Images images_x{x, s.n, s.h, s.w, s.c};
  const Places at = places_of(s);
  const Share share(s.n, at, 256);
  const long parts = larger(1, smaller(threads(), share.count));
  const long lines = share.images * share.rows;
  const long strip_size = Strip::size(images_x, grid, at, share.images, share.rows);
  // Numbers of x that lie one behind the other, those of taps side by side included, are a run: as many rows of dw.
  const bool joined = s.groups == 1 && grid.side_by_side();
  const long runs = joined ? s.kh : taps * s.groups, run = joined ? s.kw * cg : cg;
  // Where pixels lie far apart, or are to lie in pairs, the numbers of about a hundred rows are copied together.
  const bool copied = s.sw * s.c > 4 * W || !joined || STEP > 1;
  const long blocks = (run + 95) / 96, together = smaller(run, round_up((run + blocks - 1) / blocks, W));
  const long line_size = round_up(s.ow, STEP);  // places, and zeros
  const long copy_size = copied ? lines * line_size * together + STEP * W : 0;
  // Panels may lie ready in dy, if the last vector does not reach beyond its end; others are copied.
  const bool near = STEP == 1 && s.groups == 1 && kg <= NEAR;
  const long panels = (kg + PANEL - 1) / PANEL, packed_width = smaller(PANEL, round_up(kg, W));
  const long panel_size = near && kg % W == 0 ? 0 : lines * line_size * packed_width + STEP * W;
  ScratchOf<Factor> strips((strip_size + W) * parts), copies(copy_size * parts);
  ScratchOf<Factor> packed(s.groups * panels * panel_size * parts);
  ScratchOf<long> offsets(lines * parts);
  Scratch sums(size * (parts - 1));  // the first thread's are dw itself
  if (s.n == 0) memset(dw, 0, 4 * size);
  parallel_shares(share.count, (int)parts, [&](long first, long last, int thread) {
    float* u = thread ? sums.data() + (thread - 1) * size : dw;
    Factor* a = copies.data() + thread * copy_size;
    Factor* panel = packed.data() + thread * s.groups * panels * panel_size;
    long* a_runs = offsets.data() + thread * lines;
    for (long item = first; item < last; ++item) {
      const long image = share.rows < at.rows ? item / share.per_image : item * share.images;
      const long top = share.rows < at.rows ? item % share.per_image * share.rows : 0;
      const long images = smaller(share.images, s.n - image), rows = smaller(share.rows, at.rows - top);
      Factor* pixels = strips.data() + thread * (strip_size + W);
      const Strip strip(images_x, grid, at, image, images, top, rows, strip_size ? pixels : nullptr);
      const Factor* end = strip_size ? pixels + strip_size + W : x + s.n * s.h * s.w * s.c;
      for (long m = 0; m < images; ++m)
        for (long p = 0; p < rows; ++p) a_runs[m * rows + p] = strip.place(m, p);
      const long corner = image * at.image_step + top * at.row_step;
      const bool ready = near && (kg % W == 0 || corner + images * rows * s.ow * kg + W <= s.n * at.image_step);
      const long width = ready ? kg : packed_width;
      const Factor* b = ready ? dy + corner : panel;
      for (long group = 0; group < s.groups && !ready; ++group) {
        long from = corner + group * kg;
        for (long line = 0; line < images * rows; ++line, from += at.row_step)
          pack_blocks(s.ow, kg, width, dy + from, s.k, s.n * at.image_step - from,
                      panel + group * panels * panel_size + line * line_size * width, panel_size);
      }
      const auto first_number = [&](long t, long c) {
        const long tap = t / s.groups, group = t % s.groups;
        return strip.data() + c +
               (joined ? strip.tap(grid, t, 0) : strip.tap(grid, tap / s.kw, tap % s.kw) + group * cg);
      };
      // rows [c, c + count) of run t, filters from number k on
      const auto multiply = [&](const Walk& walk, const Factor* from, long t, long c, long count, long k) {
        const long tap = joined ? t : t / s.groups, group = joined ? 0 : t % s.groups;
        product(walk, count, smaller(PANEL, kg - k), from, ready ? b + k : b + (group * panels + k / PANEL) * panel_size,
                u + (tap * run + c) * s.k + group * kg + k, s.k, item == first ? Begin::zero : Begin::previous);
      };
      if (copied) {
        for (long t = 0; t < runs; ++t)
          for (long c = 0; c < run; c += together) {
            const long count = smaller(run - c, together);
            for (long line = 0; line < images * rows; ++line) {
              const Factor* pixel = first_number(t, c) + a_runs[line];
              pack_blocks(s.ow, count, together, pixel, s.sw * s.c, end - pixel, a + line * line_size * together, 0);
            }
            const Walk walk{images * rows * line_size, STEP, STEP * together, STEP * width};
            for (long k = 0; k < kg; k += PANEL) multiply(walk, a, t, c, count, k);
          }
      } else {
        Walk walk{s.ow, 1, s.sw * s.c, width, images * rows};
        walk.a_runs = a_runs, walk.b_run = s.ow * width, walk.beside = true;
        for (long k = 0; k < kg; k += PANEL)
          for (long t = 0; t < runs; ++t) multiply(walk, first_number(t, 0), t, 0, run, k);
      }
    }
  });
  for (long part = 1; part < parts; ++part) {
    const float* from = sums.data() + (part - 1) * size;
    parallel_for(size, 65536, [&](long begin, long end, int) {
      for (long i = begin; i < end; ++i) dw[i] += from[i];
    });
  }
}

#if !defined(HG_PAIRS)  // pairs.cc

HG_DIRECT_KERNELS(HG_DECLARE, float)

void conv2d(const ConvShape& s, const float* x, const float* w, const float* b, float* y) {
  is_depthwise(s) ? depthwise(s, x, w, b, y) : direct(s, x, w, b, y);
}

void conv2d_backward_input(const ConvShape& s, const float* dy, const float* w, const float* add, float* dx) {
  is_depthwise(s) ? depthwise_backward_input(s, dy, w, add, dx) : direct_backward_input(s, dy, w, add, dx);
}

void conv2d_backward_weight(const ConvShape& s, const float* dy, const float* x, float* dw) {
  is_depthwise(s) ? depthwise_backward_weight(s, dy, x, dw) : direct_backward_weight(s, dy, x, dw);
}

HG_PACKED_KERNELS(HG_DECLARE, float)
HG_PACKED_WINOGRAD_KERNELS(HG_DECLARE)

void packed_filters_size(const ConvShape& s, int tile, For<float>, long* size) {
  tile ? winograd_packed_size(s, tile, size) : void(*size = packed_size(s));
}

void pack_filters(const ConvShape& s, int tile, For<float>, const float* w, float* packed) {
  tile ? winograd_pack(s, tile, w, packed) : pack(s, w, packed);
}

void conv2d_packed(const ConvShape& s, int tile, const float* x, const float* packed, const float* b, const float* add,
                   bool relu, float* y) {
  tile ? winograd_packed(s, tile, x, packed, b, add, relu, y) : sums_of_packed(s, x, packed, b, add, relu, y);
}

#else

HG_DIRECT_PACKED(HG_DECLARE, bf16, float)

void direct_packed_size(const ConvShape& s, long* size) { *size = packed_size(s) / STEP; }

void direct_pack(const ConvShape& s, const float* w, float* packed) { pack(s, w, (Factor*)packed); }

void direct_packed(const ConvShape& s, const Factor* x, const float* packed, const float* b, float* y) {
  sums_of_packed(s, x, (const Factor*)packed, b, nullptr, false, y);
}

#endif

}  // namespace handgrad::HG_ISA
