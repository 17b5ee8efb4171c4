#include "depthwise.h"

#include "memory.h"
#include "threads.h"
#include "windows.h"

namespace handgrad::HG_ISA {

namespace {

constexpr long GRAIN = 1 << 16;  // multiply-adds that are worth a thread
constexpr long MOST = 6;         // sums side by side, two vectors each: they stay in the registers
constexpr int SUMS = NV == 4 ? 20 : 12;  // vectors of sums of several rows of a filter

Axis rows_of(const ConvShape& s) { return {s.h, s.oh, s.kh, s.sh, s.dh, s.top}; }
Axis columns_of(const ConvShape& s) { return {s.w, s.ow, s.kw, s.sw, s.dw, s.left}; }

template <int N>
struct Constant {
  static constexpr int value = N;
};

// Calls f(Constant<n>) for n in 1..MOST.
template <class F>
HG_INLINE void with_constant(long n, const F& f) {
  switch (n) {
    case 1: return f(Constant<1>{});
    case 2: return f(Constant<2>{});
    case 3: return f(Constant<3>{});
    case 4: return f(Constant<4>{});
    case 5: return f(Constant<5>{});
    default: return f(Constant<6>{});
  }
}

// Calls f(first, count) for pieces of 0..n of at most MOST, of nearly one length: 8 are 4 + 4, not 6 + 2.
template <class F>
HG_INLINE void each_piece(long n, const F& f) {
  const long pieces = (n + MOST - 1) / MOST;
  for (long i = 0; i < pieces; ++i) f(n * i / pieces, n * (i + 1) / pieces - n * i / pieces);
}

// V vectors of channels, of which the last may be no whole one: `left` channels are left.
template <int V>
struct Channels {
  long left;
  HG_INLINE_MEMBER vec get(const float* p, int v) const {
    return V > 1 || left >= W ? load(p + v * W) : load(p, left);
  }
  HG_INLINE_MEMBER void put(float* p, int v, vec a, bool streams) const {
    if (V == 1 && left < W)
      store(p, a, left);
    else
      streams ? stream(p + v * W, a) : store(p + v * W, a);
  }
};

// Calls f(c, Channels) for all channels.
template <class F>
HG_INLINE void each_channels(long channels, const F& f) {
  long c = 0;
  for (; c + 2 * W <= channels; c += 2 * W) f(c, Channels<2>{channels - c});
  for (; c < channels; c += W) f(c, Channels<1>{channels - c});
}

// y = b + add + sum over terms of x * w: results whose taps are the same load their filters once.
struct Correlation {
  const Terms &down, &across;
  long channels, kw;
  const float *x, *w, *b, *add;
  float* y;
  bool streams;

  template <int R, int V>
  HG_INLINE_MEMBER void block(long to, const Sources& s, long c, Channels<V> at) const {
    const long apart = across.spread * channels, hop = across.hop;
    vec sum[R][V];
    for (int v = 0; v < V; ++v) {
      const vec begin = b ? at.get(b + c, v) : vec{};
      for (int r = 0; r < R; ++r) sum[r][v] = add ? begin + at.get(add + to + r * apart, v) : begin;
    }
    if (s.any())  // what lies below comes near
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V * W; v += LINE) prefetch(x + s.lowest() + down.hop + c + r * hop + v);
    s.each([&](long from, const Term& i, const Term& j) {
      const float* filter = w + (i.tap * kw + j.tap) * channels + c;
      vec g[V];
      for (int v = 0; v < V; ++v) g[v] = at.get(filter, v);
      for (int r = 0; r < R; ++r)
        for (int v = 0; v < V; ++v) sum[r][v] += at.get(x + from + c + r * hop, v) * g[v];
    });
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) at.put(y + to + r * apart, v, sum[r][v], streams);
  }

  void run(long images, long from_image) const {
    const long width = across.results * channels, taps = kw * (down.end(0) - down.begin(0) + 1);
    parallel_for(images * down.results, larger(1, GRAIN / (width * taps)), [&](long begin, long end, int) {
      for (long row = begin; row < end; ++row) {
        const long image = row / down.results, r = row % down.results;
        for (long first = 0; first < smaller(across.spread, across.results); ++first)
          for (long q = first, all; q < across.results; q += all * across.spread) {
            all = across.alike(q);
            each_piece(all, [&](long i, long n) {
              Sources s = {down.begin(r), down.end(r), across.begin(q), across.end(q),
                           image * from_image + i * across.hop};
              const long to = row * width + (q + i * across.spread) * channels;
              with_constant(n, [&](auto count) {
                each_channels(channels, [&](long c, auto at) {
                  block<decltype(count)::value>(to + c, s, c, at);
                });
              });
            });
          }
      }
      if (streams) stream_end();
    });
  }
};

bool can_stream(const ConvShape& s, long floats, const float* y) {
  return streamed(floats) && s.c % W == 0 && (size_t)y % (4 * W) == 0;
}

// u += sum of x * dy over `places` of a line, for T terms of R rows of the filter; sums of a line are short. The lines
// below come near.
template <int R, int T, int V>
void multiply_line(const Term* rows, const Term* terms, long kw, const float* x, long hop, const float* dy, long channels,
                   long places, Channels<V> at, float* u, long line_of_x, long line_of_dy) {
  const float* lines[R];
  for (int r = 0; r < R; ++r) lines[r] = x + rows[r].from;
  long from[T];
  for (int t = 0; t < T; ++t) from[t] = terms[t].from;
  vec sum[R][T][V] = {};
  for (long q = 0; q < places; ++q, dy += channels) {
    vec d[V];
    for (int v = 0; v < V; ++v) d[v] = at.get(dy, v);
    for (int v = 0; v < V * W; v += LINE) prefetch(lines[R - 1] + from[0] + line_of_x + v), prefetch(dy + line_of_dy + v);
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 6
      for (int t = 0; t < T; ++t)
        for (int v = 0; v < V; ++v) sum[r][t][v] += at.get(lines[r] + from[t], v) * d[v];
      lines[r] += hop;
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t)
      for (int v = 0; v < V; ++v) {
        float* to = u + (rows[r].tap * kw + terms[t].tap) * channels;
        at.put(to, v, at.get(to, v) + sum[r][t][v], /*streams=*/false);
      }
}

// The same for `n` rows, as many at a time as their sums stay in the registers.
template <int T, int V>
void multiply_rows(const Term* rows, long n, const Term* terms, long kw, const float* x, long hop, const float* dy,
                   long channels, long places, Channels<V> at, float* u, long line_of_x, long line_of_dy) {
  constexpr int all = T * V * 3 <= SUMS ? 3 : T * V * 2 <= SUMS ? 2 : 1;
  for (; n >= all; n -= all, rows += all)
    multiply_line<all, T>(rows, terms, kw, x, hop, dy, channels, places, at, u, line_of_x, line_of_dy);
  if (n == 2)
    multiply_line<(all > 2 ? 2 : 1), T>(rows, terms, kw, x, hop, dy, channels, places, at, u, line_of_x, line_of_dy);
  else if (n == 1)
    multiply_line<1, T>(rows, terms, kw, x, hop, dy, channels, places, at, u, line_of_x, line_of_dy);
}

}  // namespace

// y[p, q] = b + sum over taps that are on the image of x[p*sh + i*dh - top, q*sw + j*dw - left] * w[i, j]
void depthwise(const ConvShape& s, const float* x, const float* w, const float* b, float* y) {
  const Terms down(rows_of(s), Direction::forward, s.w * s.c), across(columns_of(s), Direction::forward, s.c);
  const bool streams = can_stream(s, s.n * s.oh * s.ow * s.c, y);
  Correlation{down, across, s.c, s.kw, x, w, b, nullptr, y, streams}.run(s.n, s.h * s.w * s.c);
}

// dx[r, u] = add + sum over taps of dy[p, q] * w[i, j] with p*sh = r + top - i*dh, q*sw = u + left - j*dw
void depthwise_backward_input(const ConvShape& s, const float* dy, const float* w, const float* add, float* dx) {
  const Terms down(rows_of(s), Direction::backward, s.ow * s.c), across(columns_of(s), Direction::backward, s.c);
  const bool streams = can_stream(s, s.n * s.h * s.w * s.c, dx);
  Correlation{down, across, s.c, s.kw, dy, w, nullptr, add, dx, streams}.run(s.n, s.oh * s.ow * s.c);
}

// dw[i, j] = sum over places of x[...] * dy[p, q]: first along a line of places, then over lines and threads
void depthwise_backward_weight(const ConvShape& s, const float* dy, const float* x, float* dw) {
  const Terms down(rows_of(s), Direction::forward, s.w * s.c), across(columns_of(s), Direction::forward, s.c);
  const long size = s.kh * s.kw * s.c, lines = s.n * s.oh;
  const long most = larger(1, smaller(threads(), lines * s.ow * size / GRAIN));
  Scratch sums(size * most);
  memset(sums.data(), 0, 4 * size * most);
  parallel_shares(lines, (int)most, [&](long begin, long end, int thread) {
    for (long line = begin; line < end; ++line) {
      const long image = line / s.oh, p = line % s.oh;
      each_channels(s.c, [&](long c, auto at) {
        for (long q = 0, all; q < s.ow; q += all) {
          all = across.alike(q);
          each_piece(across.end(q) - across.begin(q), [&](long j, long n) {
            with_constant(n, [&](auto count) {
              multiply_rows<decltype(count)::value>(
                  down.begin(p), down.end(p) - down.begin(p), across.begin(q) + j, s.kw,
                  x + image * s.h * s.w * s.c + c, across.hop, dy + (line * s.ow + q) * s.c + c, s.c, all, at,
                  sums.data() + thread * size + c, s.w * s.c, s.ow * s.c);
            });
          });
        }
      });
    }
  });
  for (long i = 0; i < size; ++i) {
    dw[i] = 0;
    for (long part = 0; part < most; ++part) dw[i] += sums.data()[part * size + i];
  }
}

}  // namespace handgrad::HG_ISA
