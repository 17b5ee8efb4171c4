// Convolution of any geometry as products of matrices, without a matrix of columns: `product` reads the pixels
// that a tap meets where they lie in the image, or, where taps reach beyond it, in a copy of a few rows of it
// with zeros around.
//
//     y[p, q]  = sum over taps (i, j) of  x[p*sh + i*dh - top, q*sw + j*dw - left] @ w[i, j]
//     dx[r, u] = the same sum over dy with w[i, j]^T, the taps being those that meet pixel (r, u): with strides
//                every phase (r mod sh, u mod sw) of the image has taps of its own
#include "conv.h"

#include "depthwise.h"
#include "matrix.h"
#include "memory.h"
#include "product.h"
#include "strips.h"
#include "taps.h"
#include "threads.h"
#include "transpose.h"

namespace handgrad::HG_ISA {

HG_DIRECT_PRODUCTS(HG_DECLARE, Factor, float)

namespace {

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
void correlate(const Batch<Factor>& x, const Taps& taps, const Places& at, const Packed& f, const Begin& begin, bool relu,
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
    const long image = share.image(index), row = share.row(index);
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

// Whether sums for k filters, which would fill a part of a vector, are better summed for all taps at once (`add_taps`): so
// many vectors less are multiplied, for all pixels in place of all places, that to add them up, some operations for each
// tap of a place, is worth it.
bool few_filters(long taps, long depth, long k, long pixels, long places) {
  return k < W && depth * (places * taps * round_up(k, W) - pixels * round_up(taps * k, W)) > 4 * places * taps * W;
}

// Filters of a list of taps, or all, side by side, (depth, taps*k), in panels; from w (all_taps, depth, k), or with `turned`
// (all_taps, k, depth).
long side_by_side_size(long taps, long depth, long k) { return round_up(depth, STEP) * round_up(taps * k, W); }
void pack_side_by_side(const float* w, bool turned, const long* list, long taps, long depth, long k, Factor* to) {
  Scratch matrix(depth * taps * k);
  for (long t = 0; t < taps; ++t) {
    const float* filter = w + tap_of(list, t) * depth * k;
    for (long d = 0; d < depth; ++d)
      for (long f = 0; f < k; ++f) matrix.data()[(d * taps + t) * k + f] = turned ? filter[f * depth + d] : filter[d * k + f];
  }
  pack_panels(depth, taps * k, Plain<float>{matrix.data()}, to);
}

// y[place] = bias + add[place] + sum over taps of z[pixel of the tap][tap], where z[pixel] = x[pixel] @ filters of all taps,
// packed side by side; for few filters and places one pixel apart. The z of some rows of an image stay in the second cache.
void add_taps(const Batch<Factor>& x, const Taps& taps, const Places& at, const Factor* packed, long k, const Begin& begin,
              bool relu, float* y) {
  const long n = taps.rows * taps.columns * k, width = round_up(n, W), line = x.w * width;
  const long above = taps.first_row(), span = taps.last_row() - above;
  const int most = threads();
  const long wanted = (2 * most + x.n - 1) / larger(1, x.n), of_wanted = (at.rows + wanted - 1) / larger(1, wanted);
  const long fit = larger(2 * span + 1, (1L << 17) / larger(1, line) - span), rows = larger(1, smaller(fit, of_wanted));
  const long per_image = (at.rows + rows - 1) / rows;
  const long size = smaller(x.h, rows + span) * line + W;  // what follows is read, too, and does not count
  // columns of places from which all taps meet pixels
  const long left = -taps.first_column(), right = x.w - taps.last_column();
  Scratch scratch(size * most);
  parallel_items(x.n * per_image, most, [&](long item, int thread) {
    const long image = item / per_image, top = item % per_image * rows, bottom = smaller(at.rows, top + rows);
    const long first = smaller(x.h, larger(0, top + above)), end = larger(first, smaller(x.h, bottom + above + span));
    float* z = scratch.data() + thread * size;
    store(z + (end - first) * line, vec{});
    for (long panel = 0; panel < width; panel += PANEL) {
      const long columns = smaller(PANEL, width - panel);
      product({x.c, x.c, STEP, STEP * columns}, (end - first) * x.w, columns, x.data + (image * x.h + first) * x.w * x.c,
              packed + panel * round_up(x.c, STEP), z + panel, width, Begin::zero);
    }
    for (long p = top; p < bottom; ++p)
      for (long q = 0; q < at.columns; ++q) {
        const long place = image * at.image_step + p * at.row_step + q * at.column_step;
        const bool inside = q >= left && q < right;
        vec sum = begin.bias ? load(begin.bias, k) : vec{};
        for (long i = 0; i < taps.rows; ++i) {
          const long r = p + taps.row[i];
          if (r < first || r >= end) continue;
          const float* of_row = z + (r - first) * line + i * taps.columns * k;
          for (long j = 0; j < taps.columns; ++j)
            if (const long u = q + taps.column[j]; inside || (u >= 0 && u < x.w)) sum += load(of_row + u * width + j * k);
        }
        if (begin.add) sum += load(begin.add + place, k);
        store(y + place, relu ? HG_ISA::relu(sum) : sum, k);
      }
  });
}

// All filters, for `sums_of_packed`: in panels for every tap, or side by side if that is better for images of any size; they
// are, where the padding leaves as many places as there are pixels.
Packed all_taps(const ConvShape& s, const Factor* data) { return {data, s.kh * s.kw, s.c / s.groups, s.k, s.groups}; }
bool few_filters(const ConvShape& s) {
  return s.groups == 1 && s.sh == 1 && s.sw == 1 && 2 * s.top >= (s.kh - 1) * s.dh && 2 * s.left >= (s.kw - 1) * s.dw &&
         few_filters(s.kh * s.kw, s.c, s.k, 1, 1);
}
long packed_size(const ConvShape& s) {
  if (few_filters(s)) return side_by_side_size(s.kh * s.kw, s.c, s.k);
  return s.groups * all_taps(s, nullptr).group_size();
}
void pack(const ConvShape& s, const float* w, Factor* packed) {
  if (pointwise(s)) return pack_panels(s.c, s.k, Plain<float>{w}, packed);
  if (few_filters(s)) return pack_side_by_side(w, false, nullptr, s.kh * s.kw, s.c, s.k, packed);
  pack_taps(w, nullptr, all_taps(s, packed), packed);
}

void sums_of_packed(const ConvShape& s, const Factor* x, const Factor* packed, const float* b, const float* add,
                    bool relu, float* y) {
  if (pointwise(s)) return multiply(s.n * s.h * s.w, s.c, s.k, x, s.c, 1, InPanels{packed}, b, add, y, relu);
  const AllTaps all(s);
  const Batch<Factor> images{x, s.n, s.h, s.w, s.c};
  if (few_filters(s)) return add_taps(images, all.taps(), places_of(s), packed, s.k, {b, add, false}, relu, y);
  correlate(images, all.taps(), places_of(s), all_taps(s, packed), {b, add, false}, relu, y);
}

#if !defined(HG_PAIRS)
// dx^T[c, place] = add + sum over taps of w[tap] @ dy^T, for few places: filters are read once, as they lie, and it is
// the pixels that are transposed.
void gradient_of_few(const Batch<Factor>& dy, const Taps& taps, const long* list, const Places& at, const float* w, long c,
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
  if (pointwise(s)) return multiply(s.n * s.h * s.w, s.k, s.c, dy, s.k, 1, Turned{w}, nullptr, add, dx);
  Packed f{nullptr, s.kh * s.kw, s.k / s.groups, s.c, s.groups};
  const long places = s.n * ((s.h + s.sh - 1) / s.sh) * ((s.w + s.sw - 1) / s.sw);  // of the largest phase
  const bool few_places = STEP == 1 && s.groups == 1 && places <= FEW;
  ScratchOf<Factor> packed(few_places ? 0 : f.groups * f.group_size());
  f.data = packed.data();
  const Batch<Factor> images{dy, s.n, s.oh, s.ow, s.k};
  each_phase(s, [&](const Taps& here, const long* list, const Places& at, long corner) {
    const float* added = add ? add + corner : nullptr;
    f.taps = here.rows * here.columns;
    if (f.taps == 0) return without_taps(s, at, added, dx + corner);
#if !defined(HG_PAIRS)
    if (few_places) return gradient_of_few(images, here, list, at, w, s.c, added, dx + corner);
#endif
    if (s.groups == 1 && few_filters(f.taps, s.k, s.c, s.oh * s.ow, at.rows * at.columns)) {
      ScratchOf<Factor> side_by_side(side_by_side_size(f.taps, s.k, s.c));
      pack_side_by_side(w, true, list, f.taps, s.k, s.c, side_by_side.data());
      return add_taps(images, here, at, side_by_side.data(), s.c, {nullptr, added, false}, false, dx + corner);
    }
    pack_taps_turned(w, list, f, packed.data());
    correlate(images, here, at, f, {nullptr, added, false}, false, dx + corner);
  });
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
