// Which pixels the taps of a window meet, one axis at a time.
//
// At place q of an axis, tap j meets pixel q*stride + j*dilation - pad. Going forward a result is a place, and
// its terms are the pixels on the image that its taps meet; going backward a result is a pixel, and its terms
// are the places from which a tap meets it. Either way they come in the order of the taps.
#pragma once

#include "memory.h"
#include "simd.h"
#include "threads.h"

namespace handgrad::HG_ISA {

struct Axis {
  long pixels, places, taps, stride, dilation, pad;
  long pixel(long place, long tap) const { return place * stride + tap * dilation - pad; }
  long taps_on_image(long place) const { return taps_before(place, pixels) - taps_before(place, 0); }
  // How many taps meet pixels before that one, or padding to the left of it.
  long taps_before(long place, long end) const {
    const long reach = end - pixel(place, 0);
    return reach <= 0 ? 0 : smaller(taps, (reach + dilation - 1) / dilation);
  }
};

enum class Direction { forward, backward };

struct Term {
  long tap;
  long from;    // where its numbers are, counted from the image's first
  float count;  // how many taps of the window count in its mean
};

// The terms of every result of an axis.
class Terms {
 public:
  // `step` numbers lie between neighbouring sources; `padding_counts`: taps on the padding count in the mean.
  Terms(const Axis& axis, Direction direction, long step, bool padding_counts = true)
      : results(direction == Direction::forward ? axis.places : axis.pixels),
        spread(direction == Direction::forward ? 1 : axis.stride),
        hop(direction == Direction::forward ? axis.stride * step : step),
        taps_(axis.taps),
        step_(step),
        scratch_((results * taps_ * sizeof(Term) + 2 * results * sizeof(long)) / sizeof(float)),
        terms_((Term*)scratch_.data()),
        number_((long*)(terms_ + results * taps_)),
        alike_(number_ + results) {
    const bool forward = direction == Direction::forward;
    for (long result = 0; result < results; ++result) {
      Term* term = terms_ + result * taps_;
      for (long j = 0; j < axis.taps; ++j) {
        const long place = forward ? result : (result + axis.pad - j * axis.dilation) / axis.stride;
        const long pixel = axis.pixel(place, j);
        const bool meets = forward ? pixel >= 0 && pixel < axis.pixels
                                   : pixel == result && place >= 0 && place < axis.places;
        const long count = padding_counts ? axis.taps : axis.taps_on_image(place);
        if (meets) *term++ = {j, (forward ? pixel : place) * step, (float)count};
      }
      number_[result] = term - begin(result);
    }
    for (long result = results - 1; result >= 0; --result)
      alike_[result] = continues(result) ? alike_[result + spread] + 1 : 1;
  }

  const long results;
  const long spread, hop;  // results so far apart have the same taps, their sources lie so far apart
  const Term* begin(long result) const { return terms_ + result * taps_; }
  const Term* end(long result) const { return begin(result) + number_[result]; }
  // How many results, `spread` apart, have the terms of the first, each a hop further: all but those at the edges.
  long alike(long result) const { return alike_[result]; }
  // The end of those that are neighbours, as are their sources: with stride 1. Their numbers lie one behind the
  // other, however few channels there are.
  long run_end(long result) const { return result + (spread == 1 && hop == step_ ? alike_[result] : 1); }

 private:
  bool continues(long result) const {
    if (result + spread >= results || number_[result] != number_[result + spread]) return false;
    for (const Term *a = begin(result), *b = begin(result + spread); a < end(result); ++a, ++b)
      if (a->tap != b->tap || a->from + hop != b->from || a->count != b->count) return false;
    return true;
  }

  long taps_, step_;
  Scratch scratch_;
  Term* terms_;
  long *number_, *alike_;
};

// Where the terms of some neighbouring results are.
struct Sources {
  const Term *down, *down_end, *across, *across_end;
  long first;  // what is to be added: the image's beginning, and how far they are behind the first results

  bool any() const { return down < down_end && across < across_end; }
  // Where the first term of the lowest row of the image begins, if there are any.
  long lowest() const { return first + larger(down->from, (down_end - 1)->from) + across->from; }

  // Calls f(from, i, j) for each term: its numbers begin at `from`.
  template <class F>
  HG_INLINE_MEMBER void each(const F& f) const {
    for (const Term* i = down; i < down_end; ++i)
      for (const Term* j = across; j < across_end; ++j) f(first + i->from + j->from, *i, *j);
  }
};

// Calls op.block<V, WHOLE>(to, sources, n) for all results, of images whose sources are `from_image` numbers:
// the n results from number `to` on are V whole vectors, or less than one. One thread finishes a row of them.
template <class Op>
void each_result(long images, long from_image, long c, const Terms& down, const Terms& across, const Op& op) {
  const long width = across.results * c;
  if (images * down.results * width == 0) return;
  const long terms = (down.end(0) - down.begin(0) + 1) * (across.end(0) - across.begin(0) + 1);
  const long grain = larger(1, (1L << 18) / (width * terms));
  parallel_for(images * down.results, grain, [&](long begin, long end, int) {
    for (long row = begin; row < end; ++row) {
      const long image = row / down.results, r = row % down.results;
      Sources s = {down.begin(r), down.end(r), nullptr, nullptr, 0};
      for (long q = 0, next; q < across.results; q = next) {
        next = across.run_end(q);
        s.across = across.begin(q), s.across_end = across.end(q);
        const long to = row * width + q * c, n = (next - q) * c;
        long l = 0;
        s.first = image * from_image;
        for (; l + 4 * W <= n; l += 4 * W, s.first += 4 * W) op.template block<4, true>(to + l, s, 4 * W);
        for (; l + 2 * W <= n; l += 2 * W, s.first += 2 * W) op.template block<2, true>(to + l, s, 2 * W);
        if (l + W <= n) op.template block<1, true>(to + l, s, W), l += W, s.first += W;
        if (l < n) op.template block<1, false>(to + l, s, n - l);
      }
    }
    stream_end();
  });
}

}  // namespace handgrad::HG_ISA
