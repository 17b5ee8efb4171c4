// Gradients of filters of bf16 as products of matrix registers.
//
//     dw[i, j]^T = sum over places (p, q) of  dy[p, q]^T @ x[p*sh + i*dh - top, q*sw + j*dw - left]
//
// The depth are places, some images or rows at a time. The filters are the rows: dy is transposed once for all taps. The
// pixels that a tap meets, some channels of them, are laid in pairs of places; where no row is left out, those of the
// taps of one column of the window are laid so once, and the taps meet them so many rows later. Sums of all taps stay in
// memory meanwhile, transposed as they are, and are turned at the end.
#include "amx.h"
#include "amx_conv.h"
#include "memory.h"
#include "taps.h"
#include "threads.h"
#include "transpose.h"

namespace handgrad::HG_ISA {

namespace {

constexpr long CHANNELS = 2 * ROWS;     // of a block
constexpr long PLACES = 2048;           // of an item at most, about
constexpr long GRADIENT = 1L << 19;     // numbers of dy that are transposed at a time, about: half of the second cache
constexpr long OF_A = ROWS * DEPTH;     // of A
constexpr long AHEAD = 32;              // pixels
constexpr long SUMS = 1L << 18;         // numbers of dw from which on threads divide the filters, not the places

// How a vector's numbers of bf16, and those of another one, become pairs: 16 channels.
HG_INLINE void store_pairs(const bf16* first, const bf16* second, long n, bf16* to) {
  for (long v = 0; v < ROWS; v += W) {
    const long left = smaller(W, n - v);
    const auto half = [=](const bf16* p) HG_INLINE_LAMBDA {
      return (uvec)(!p || left <= 0 ? vec{} : left == W ? load(p + v) : load(p + v, left));
    };
    store((int32_t*)(to + 2 * v), (ivec)(half(first) >> 16 | half(second)));
  }
}

// How places are divided into items: whole images, or rows of one.
struct Items {
  long images, rows;  // of one item
  long per_image, count;
  Items(const ConvShape& s, long places)
      : images(larger(1, smaller(s.n, places / (s.oh * s.ow)))),
        rows(larger(1, smaller(s.oh, places / s.ow))),
        per_image((s.oh + rows - 1) / rows),
        count((s.n + images - 1) / images * per_image) {}
};

// The places of an item: rows [top, top + rows) of images [image, image + images).
struct Item {
  long image, images, top, rows;
  Item(const ConvShape& s, const Items& items, long i)
      : image(i / items.per_image * items.images),
        images(smaller(items.images, s.n - image)),
        top(i % items.per_image * items.rows),
        rows(smaller(items.rows, s.oh - top)) {}
};

// dy^T of some filters, (depth/32, registers, 16, 32), of `places` that lie one behind the other.
void transpose_gradient(const bf16* dy, long places, long k, long filters, bf16* to) {
  const long width = round_up(filters, ROWS);
  for (long d = 0; d < places; d += DEPTH, to += DEPTH * width) {
    // first as pairs of places, (registers, 16 pairs, 16), reading whole rows
    for (long t = 0; t < DEPTH / 2; ++t) {
      const bf16 *first = dy + (d + 2 * t) * k, *second = first + k;
      for (long f = 0; f < filters; f += ROWS)
        store_pairs(d + 2 * t < places ? first + f : nullptr, d + 2 * t + 1 < places ? second + f : nullptr, filters - f,
                    to + f * DEPTH + 2 * t * ROWS);
    }
    for (long f = 0; f < width; f += ROWS) transpose_square((float*)(to + f * DEPTH), ROWS, (float*)(to + f * DEPTH), ROWS);
  }
}

// Lays the numbers of places in pairs, 32 channels of each at most: (pairs, 32, 2).
class Pairs {
 public:
  Pairs(long channels, bf16* to) : channels_(channels), to_(to), before_(nullptr), second_(false) {}
  // The next place; null: zeros.
  HG_INLINE_MEMBER void put(const bf16* pixel) {
    if (second_) store(before_, pixel);
    before_ = pixel, second_ = !second_;
  }
  // The next `n` places, whose pixels lie `step` numbers apart.
  void put(const bf16* pixel, long step, long n) {
    if (n > 0 && second_) put(pixel), pixel += step, --n;
    for (; n > 1; n -= 2, pixel += 2 * step) {
      prefetch(pixel + AHEAD * step), prefetch(pixel + (AHEAD + 1) * step);
      store(pixel, pixel + step);
    }
    if (n > 0) put(pixel);
  }
  void put_zeros(long n) {
    for (; n > 0; --n) put(nullptr);
  }

 private:
  HG_INLINE_MEMBER void store(const bf16* first, const bf16* second) {
    for (long c = 0; c < CHANNELS; c += ROWS)
      store_pairs(first ? first + c : nullptr, second ? second + c : nullptr, channels_ - c, to_ + 2 * c);
    to_ += 2 * CHANNELS;
  }
  const long channels_;
  bf16* to_;
  const bf16* before_;
  bool second_;
};

// What tap (i, j) meets from rows [first, end) of places of the images of an item; then zeros up to `depth` places. Of
// the channels x begins with the first; pixels lie `pitch` numbers apart.
void lay_pixels(const ConvShape& s, const bf16* x, long pitch, const Item& item, long first, long end, long i, long j, long channels,
                long depth, bf16* to) {
  const long shift = j * s.dw - s.left;
  const long left = smaller(s.ow, (larger(0, -shift) + s.sw - 1) / s.sw);
  const long right = larger(left, smaller(s.ow, (larger(0, s.w - shift) + s.sw - 1) / s.sw));
  Pairs pairs(channels, to);
  for (long m = item.image; m < item.image + item.images; ++m)
    for (long p = first; p < end; ++p) {
      const long r = p * s.sh + i * s.dh - s.top;
      if (r < 0 || r >= s.h) {
        pairs.put_zeros(s.ow);
      } else {
        pairs.put_zeros(left);
        pairs.put(x + ((m * s.h + r) * s.w + left * s.sw + shift) * pitch, s.sw * pitch, right - left);
        pairs.put_zeros(s.ow - right);
      }
    }
  pairs.put_zeros(depth - item.images * (end - first) * s.ow);
}

// What a block of sums is made of: so many steps of the depth of each image, or of all that is laid.
struct Depth {
  long images, steps;
  long a_step;   // numbers of A from one step to the next
  long b_image;  // of B from one image to the next
};

// Sums of R registers of filters by N of channels, `of_channels` numbers apart; of zero, or of what they are.
template <int R, int N>
HG_INLINE void add_products(Registers& m, const Depth& depth, const bf16* a, const bf16* b, bool zero, float* sums,
                            long of_channels) {
  zero ? m.zero_block() : m.load_block<R, N>(sums, SQUARE, of_channels, 4 * ROWS);
  for (long image = 0; image < depth.images; ++image, b += depth.b_image) {
    const bf16* p = b;
    for (long i = 0; i < depth.steps; ++i, a += depth.a_step, p += DEPTH * CHANNELS)
      m.multiply_block<R, N>(a, a + OF_A, 2 * DEPTH, p, p + 2 * ROWS, 4 * CHANNELS);
  }
  m.store_block<R, N>(sums, SQUARE, of_channels, 4 * ROWS);
}

// Rows [c, c + 16) of tap `tap` of dw (taps, c, k), filters [16*begin, 16*end), from sums (parts, channels/16, taps,
// filters/16, 16 filters, 16 channels) of several parts.
void turn(const ConvShape& s, const float* sums, long parts, long c, long tap, long begin, long end, float* dw) {
  const long taps = s.kh * s.kw, f16 = (s.k + ROWS - 1) / ROWS, size = (s.c + ROWS - 1) / ROWS * taps * f16 * SQUARE;
  for (long f = begin; f < end; ++f) {
    alignas(64) float total[SQUARE];
    const float* part = sums + ((c / ROWS * taps + tap) * f16 + f) * SQUARE;
    for (long v = 0; v < SQUARE; v += W) {
      vec sum = load(part + v);
      for (long n = 1; n < parts; ++n) sum += load(part + n * size + v);
      store(total + v, sum);
    }
    transpose_square(total, ROWS, dw + (tap * s.c + c) * s.k + f * ROWS, s.k, smaller(ROWS, s.k - f * ROWS),
                     smaller(ROWS, s.c - c));
  }
}

void backward_weight(const ConvShape& s, const bf16* dy, const bf16* x, long pitch, float* dw) {
  const long taps = s.kh * s.kw, f16 = (s.k + ROWS - 1) / ROWS, c16 = (s.c + ROWS - 1) / ROWS;
  const int most = threads();
  const long divided = taps * s.c * s.k < SUMS ? 1 : larger(1, smaller(most, f16 / 4));
  const long registers = (f16 + divided - 1) / divided, filters = registers * ROWS;
  const long each = round_up((s.n * s.oh * s.ow * divided + most - 1) / most, DEPTH);
  const Items items(s, smaller(each, larger(DEPTH, smaller(PLACES, GRADIENT / filters))));
  const long parts = larger(1, smaller(items.count, most / divided));
  // Taps of a column of the window, no row of which is left out, meet the same pixels: a whole step of them at a time.
  const bool shared = s.kh > 1 && s.sh == 1 && s.dh == 1 && s.ow % 2 == 0 && s.oh % items.rows == 0 && items.rows * s.ow % DEPTH == 0;
  const long lines = items.rows + (shared ? s.kh - 1 : 0);
  const long gradient_size = round_up(items.images * items.rows * s.ow, DEPTH) * filters;
  const long pixels_size = round_up(items.images * lines * s.ow, DEPTH) * CHANNELS;
  ScratchOf<bf16> gradients(gradient_size * parts * divided), pixels(pixels_size * parts * divided);
  Scratch sums(parts * c16 * taps * f16 * SQUARE);
  parallel_shares(parts * divided, (int)(parts * divided), [&](long first, long last, int) {
    for (long share = first; share < last; ++share) {
      const long part = share % parts, f_begin = f16 * (share / parts) / divided, f_end = f16 * (share / parts + 1) / divided;
      const long f_count = f_end - f_begin, of_channels = taps * f16 * SQUARE;
      bf16 *a = gradients.data() + share * gradient_size, *b = pixels.data() + share * pixels_size;
      float* mine = sums.data() + (part * c16 * taps * f16 + f_begin) * SQUARE;
      Registers m(ROWS, DEPTH / 2);
      const long begin = items.count * part / parts, end = items.count * (part + 1) / parts;
      for (long i = begin; i < end; ++i) {
        const Item item(s, items, i);
        const long places = item.images * item.rows * s.ow, depth = round_up(places, DEPTH);
        transpose_gradient(dy + (item.image * s.oh + item.top) * s.ow * s.k + f_begin * ROWS, places, s.k,
                           smaller(s.k - f_begin * ROWS, f_count * ROWS), a);
        // the blocks of a tap and of channels from number c on, whose pixels are laid from p on
        const auto multiply = [&](long c, long tap, const Depth& depth, const bf16* p) {
          float* to = mine + (c / ROWS * taps + tap) * f16 * SQUARE;
          const bool wide = s.c - c > ROWS;
          for (long f = 0; f < f_count; f += 2) {
            const auto add = wide ? (f + 1 < f_count ? add_products<2, 2> : add_products<1, 2>)
                                  : (f + 1 < f_count ? add_products<2, 1> : add_products<1, 1>);
            add(m, depth, a + f * OF_A, p, i == begin, to + f * SQUARE, of_channels);
          }
          if (parts == 1 && i + 1 == end)  // these sums are whole, and near
            for (long v = c; v < smaller(s.c, c + CHANNELS); v += ROWS)
              turn(s, sums.data(), 1, v, tap, f_begin, f_begin + f_count, dw);
        };
        for (long c = 0; c < s.c; c += CHANNELS) {
          const long channels = smaller(CHANNELS, s.c - c);
          for (long j = 0; j < s.kw; ++j)
            if (shared) {
              const long laid = lines * s.ow;
              lay_pixels(s, x + c, pitch, item, item.top, item.top + lines, 0, j, channels, 0, b);
              for (long row = 0; row < s.kh; ++row)
                multiply(c, row * s.kw + j, {item.images, item.rows * s.ow / DEPTH, f_count * OF_A, laid * CHANNELS},
                         b + row * s.ow * CHANNELS);
            } else {
              for (long row = 0; row < s.kh; ++row) {
                lay_pixels(s, x + c, pitch, item, item.top, item.top + item.rows, row, j, channels, depth, b);
                multiply(c, row * s.kw + j, {1, depth / DEPTH, f_count * OF_A, 0}, b);
              }
            }
        }
      }
    }
  });
  if (parts > 1)
    parallel_for(c16 * taps, larger(1, 256 / f16), [&](long begin, long end, int) {
      for (long i = begin; i < end; ++i) turn(s, sums.data(), parts, i / taps * ROWS, i % taps, 0, f16, dw);
    });
}

// Images with what the taps meet beyond their sides as zeros, (n, h, w, c), w being as many pixels as a row of places
// needs.
void with_sides(const ConvShape& s, long w, const bf16* x, bf16* to) {
  parallel_for(s.n * s.h, larger(1, 65536 / (w * s.c)), [&](long first, long last, int) {
    for (long line = first; line < last; ++line)
      copy_line(x + line * s.w * s.c, s.w, s.c, -s.left, w, s.c, to + line * w * s.c);
  });
}

}  // namespace

void amx_conv2d_backward_weight(const ConvShape& s, const bf16* dy, const bf16* x, float* dw) {
  if (s.n == 0) return void(memset(dw, 0, 4 * s.kh * s.kw * s.c * s.k));
  if (s.c >= ROWS || s.kw == 1 || s.dw > 1) return backward_weight(s, dy, x, s.c, dw);
  // few channels fill no register: those of taps side by side are channels of one tap
  ConvShape joined = s;
  joined.w = (s.ow - 1) * s.sw + s.kw, joined.c = s.kw * s.c, joined.kw = 1, joined.left = 0;
  ScratchOf<bf16> wide(s.n * s.h * joined.w * s.c);
  with_sides(s, joined.w, x, wide.data());
  backward_weight(joined, dy, wide.data(), s.c, dw);
}

}  // namespace handgrad::HG_ISA
