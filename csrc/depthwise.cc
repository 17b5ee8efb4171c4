#include "depthwise.h"

#include "memory.h"
#include "threads.h"

namespace handgrad::HG_ISA {

namespace {

HG_INLINE vec load_some(const float* p, long left) { return left >= W ? load(p) : load(p, left); }
HG_INLINE void store_some(float* p, vec v, long left) { left >= W ? store(p, v) : store(p, v, left); }

constexpr long GRAIN = 1 << 16;  // multiply-adds that are worth a thread

}  // namespace

// y[p, q] = b + sum over taps that are on the image of x[p*sh + i*dh - top, q*sw + j*dw - left] * w[i, j]
void depthwise(const ConvShape& s, const float* x, const float* w, const float* b, float* y) {
  parallel_for(s.n * s.oh, larger(1, GRAIN / (s.ow * s.c * s.kh * s.kw)), [&](long begin, long end, int) {
    for (long line = begin; line < end; ++line) {
      const long image = line / s.oh, p = line % s.oh;
      for (long q = 0; q < s.ow; ++q)
        for (long c = 0; c < s.c; c += W) {
          vec sum = b ? load_some(b + c, s.c - c) : vec{};
          for (long i = 0; i < s.kh; ++i) {
            const long r = p * s.sh + i * s.dh - s.top;
            if (r < 0 || r >= s.h) continue;
            for (long j = 0; j < s.kw; ++j) {
              const long u = q * s.sw + j * s.dw - s.left;
              if (u < 0 || u >= s.w) continue;
              sum += load_some(x + ((image * s.h + r) * s.w + u) * s.c + c, s.c - c) *
                     load_some(w + (i * s.kw + j) * s.c + c, s.c - c);
            }
          }
          store_some(y + (line * s.ow + q) * s.c + c, sum, s.c - c);
        }
    }
  });
}

// dx[r, u] = add + sum over taps of dy[p, q] * w[i, j] with p*sh = r + top - i*dh, q*sw = u + left - j*dw
void depthwise_backward_input(const ConvShape& s, const float* dy, const float* w, const float* add, float* dx) {
  parallel_for(s.n * s.h, larger(1, GRAIN / (s.w * s.c * s.kh * s.kw)), [&](long begin, long end, int) {
    for (long line = begin; line < end; ++line) {
      const long image = line / s.h, r = line % s.h;
      for (long u = 0; u < s.w; ++u)
        for (long c = 0; c < s.c; c += W) {
          const long pixel = (line * s.w + u) * s.c + c;
          vec sum = add ? load_some(add + pixel, s.c - c) : vec{};
          for (long i = 0; i < s.kh; ++i) {
            const long p = r + s.top - i * s.dh;
            if (p < 0 || p % s.sh || p / s.sh >= s.oh) continue;
            for (long j = 0; j < s.kw; ++j) {
              const long q = u + s.left - j * s.dw;
              if (q < 0 || q % s.sw || q / s.sw >= s.ow) continue;
              sum += load_some(dy + ((image * s.oh + p / s.sh) * s.ow + q / s.sw) * s.c + c, s.c - c) *
                     load_some(w + (i * s.kw + j) * s.c + c, s.c - c);
            }
          }
          store_some(dx + pixel, sum, s.c - c);
        }
    }
  });
}

// dw[i, j] = sum over places of x[...] * dy[p, q]: first along a line of places, then over lines and threads
void depthwise_backward_weight(const ConvShape& s, const float* dy, const float* x, float* dw) {
  const long taps = s.kh * s.kw, size = taps * s.c, lines = s.n * s.oh;
  const long most = larger(1, smaller(threads(), lines * s.ow * size / GRAIN));
  Scratch sums(size * most);
  memset(sums.data(), 0, 4 * size * most);
  parallel_shares(lines, (int)most, [&](long begin, long end, int thread) {
    for (long line = begin; line < end; ++line) {
      const long image = line / s.oh, p = line % s.oh;
      for (long t = 0; t < taps; ++t) {
        const long r = p * s.sh + t / s.kw * s.dh - s.top, shift = t % s.kw * s.dw - s.left;
        if (r < 0 || r >= s.h) continue;
        for (long c = 0; c < s.c; c += W) {
          vec sum = {};
          for (long q = 0; q < s.ow; ++q) {
            const long u = q * s.sw + shift;
            if (u < 0 || u >= s.w) continue;
            sum += load_some(x + ((image * s.h + r) * s.w + u) * s.c + c, s.c - c) *
                   load_some(dy + (line * s.ow + q) * s.c + c, s.c - c);
          }
          float* to = sums.data() + thread * size + t * s.c + c;
          store_some(to, load_some(to, s.c - c) + sum, s.c - c);
        }
      }
    }
  });
  for (long i = 0; i < size; ++i) {
    dw[i] = 0;
    for (long part = 0; part < most; ++part) dw[i] += sums.data()[part * size + i];
  }
}

}  // namespace handgrad::HG_ISA
