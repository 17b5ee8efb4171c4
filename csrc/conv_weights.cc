// The gradient of a convolution's filters as products of matrices: the rows of A are pixels' numbers, the depth are places.
//
//     dw[i, j] = sum over places (p, q) of  x[p*sh + i*dh - top, q*sw + j*dw - left]^T @ dy[p, q]
#include "conv.h"
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

// In rows of so many numbers at most, panels are read where they lie: the lines of longer ones share places in the cache.
constexpr long NEAR = 4 * PANEL;

// Whether dw^T, with images and gradients in each other's place, is computed instead: for 1x1 filters it copies less, as x
// lies ready; for few filters it fills vectors, unless there are many more pixels than places.
bool exchanged_is_cheaper(const ConvShape& s) {
  if (s.groups > 1 || s.sh > 1 || s.sw > 1 || s.k >= s.c) return false;
  if (pointwise(s)) return STEP == 1 && s.c <= NEAR && s.c % W == 0;
  const long exchanged = s.h * s.w * s.k * round_up(s.c, W), plain = s.oh * s.ow * s.c * round_up(s.k, W);
  return 3 * exchanged <= 2 * plain && s.top <= (s.kh - 1) * s.dh && s.left <= (s.kw - 1) * s.dw;
}

// dw[i, j] from (dw^T)[kh-1-i, kw-1-j]: what pixel u gives to tap i is the gradient of place u - i*dh + top.
void exchanged_backward_weight(const ConvShape& s, const Factor* dy, const Factor* x, float* dw) {
  ConvShape exchanged = s;
  exchanged.h = s.oh, exchanged.w = s.ow, exchanged.c = s.k;
  exchanged.oh = s.h, exchanged.ow = s.w, exchanged.k = s.c;
  exchanged.top = (s.kh - 1) * s.dh - s.top, exchanged.left = (s.kw - 1) * s.dw - s.left;
  const long taps = s.kh * s.kw, size = s.c * s.k;
  Scratch turned(taps * size);
  direct_backward_weight(exchanged, x, dy, turned.data());
  parallel_for(taps * s.k, larger(1, 16384 / s.c), [&](long begin, long end, int) {
    for (long i = begin, next; i < end; i = next) {
      const long t = i / s.k, k = i % s.k;
      next = smaller(end, (t + 1) * s.k);
      transpose(next - i, s.c, turned.data() + i * s.c, s.c, dw + (taps - 1 - t) * size + k, s.k);
    }
  });
}

}  // namespace

void direct_backward_weight(const ConvShape& s, const Factor* dy, const Factor* x, float* dw) {
  if (exchanged_is_cheaper(s)) return exchanged_backward_weight(s, dy, x, dw);
  const long taps = s.kh * s.kw, cg = s.c / s.groups, kg = s.k / s.groups, size = taps * cg * s.k;
  const AllTaps all(s);
  const Taps grid = all.taps();
  const Batch<Factor> images_x{x, s.n, s.h, s.w, s.c};
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
      const long image = share.image(item), top = share.row(item);
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
      // of the next item, as many numbers as of this
      const long next_image = share.image(item + 1), next_row = share.row(item + 1);
      const long steps = runs * (copied ? (run + together - 1) / together * steps_of(images * rows * line_size, together, kg)
                                        : steps_of(images * rows * s.ow, run, kg));
      Coming following[] = {
          {x + (next_image * s.h + next_row * s.sh) * s.w * s.c, images * rows * s.sh * s.w * s.c, steps},
          {dy + next_image * at.image_step + next_row * at.row_step, images * rows * at.row_step, steps}};
      Coming* const coming = item + 1 < last ? following : nullptr;
      if (copied) {
        for (long t = 0; t < runs; ++t)
          for (long c = 0; c < run; c += together) {
            const long count = smaller(run - c, together);
            for (long line = 0; line < images * rows; ++line) {
              const Factor* pixel = first_number(t, c) + a_runs[line];
              pack_blocks(s.ow, count, together, pixel, s.sw * s.c, end - pixel, a + line * line_size * together, 0);
            }
            Walk walk{images * rows * line_size, STEP, STEP * together, STEP * width};
            walk.coming = coming;
            for (long k = 0; k < kg; k += PANEL) multiply(walk, a, t, c, count, k);
          }
      } else {
        Walk walk{s.ow, 1, s.sw * s.c, width, images * rows};
        walk.a_runs = a_runs, walk.b_run = s.ow * width, walk.beside = true, walk.coming = coming;
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

}  // namespace handgrad::HG_ISA
