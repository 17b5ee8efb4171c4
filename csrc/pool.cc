// Pooling:
//
//     y[p, q]  = max or mean over the taps (i, j) of x[p*sh + i*dh - top, q*sw + j*dw - left]
//     dx[r, s] = sum over the taps and the places (p, q) from which they meet (r, s)
//
// Sums are taken in the order of the taps, each in one thread: the same for every number of threads. More than FEW
// terms are added in parts of FEW, and the parts in double precision.
#include "pool.h"

#include "range.h"
#include "windows.h"

namespace handgrad::HG_ISA {

HG_POOL_KERNELS(HG_DECLARE)
HG_TYPED_POOL_KERNELS(HG_DECLARE_TYPED, T)

namespace {

Axis rows_of(const PoolShape& s) { return {s.h, s.oh, s.kh, s.sh, s.dh, s.top}; }
Axis columns_of(const PoolShape& s) { return {s.w, s.ow, s.kw, s.sw, s.dw, s.left}; }

template <bool WHOLE, class T>
HG_INLINE auto get(const T* p, long n) {
  return WHOLE ? load(p) : load(p, n);
}
template <bool WHOLE, class T, class V>
HG_INLINE void put(T* p, V v, long n) {
  WHOLE ? store(p, v) : store(p, v, n);
}

// A result of n numbers, c at a time. One that is larger than the caches is written past them, where vectors
// are aligned; a smaller one is still there when the next kernel reads it.
template <class T>
struct Result {
  T* data;
  bool large;
  Result(T* data, long n, long c)
      : data(data), large(n * (long)sizeof(T) > (32L << 20) && c % W == 0 && aligned(data)) {}
};
template <bool WHOLE, class T>
HG_INLINE void put(const Result<T>& y, long to, vec v, long n) {
  WHOLE && y.large ? stream(y.data + to, v) : put<WHOLE>(y.data + to, v, n);
}

constexpr long FEW = 64;

// The sums of the numbers of V vectors, one term after the other: few of them, or with MANY more.
template <int V, bool MANY>
struct Sums {
  vec part[V] = {};
  dvec parts[MANY ? V : 1] = {};
  long count = 0;

  // Before each term.
  HG_INLINE_MEMBER void next() {
    if (!MANY || count++ < FEW) return;
    count = 1;
    for (int v = 0; v < V; ++v) parts[MANY ? v : 0] += to_double(part[v]), part[v] = vec{};
  }
  HG_INLINE_MEMBER void add(int v, vec a) { part[v] += a; }
  HG_INLINE_MEMBER vec total(int v) const {
    return MANY ? __builtin_convertvector(parts[MANY ? v : 0] + to_double(part[v]), vec) : part[v];
  }
};

// Whether one of V vectors has a number that is infinite or NaN.
template <int V>
HG_INLINE bool any_overflows(const vec (&v)[V]) {
  vec zero = 0 * v[0];
  for (int i = 1; i < V; ++i) zero += 0 * v[i];
  return any(zero != zero);
}

template <class Tap, class T>
struct Max {
  const T* x;
  T* y;
  Tap* tap;
  long kw;

  template <int V, bool WHOLE>
  HG_INLINE_MEMBER void block(long to, const Sources& s, long n) const {
    vec best[V];
    ivec which[V];
    const ivec first = ivec{} + (s.any() ? (int)(s.down->tap * kw + s.across->tap) : 0);  // on the image
    for (int v = 0; v < V; ++v) best[v] = broadcast(-__builtin_inff()), which[v] = first;
    s.each([&](long from, const Term& i, const Term& j) {
      const ivec t = ivec{} + (int)(i.tap * kw + j.tap);
      for (int v = 0; v < V; ++v) {
        const vec a = get<WHOLE>(x + from + v * W, n);
        const ivec larger = ~(a <= best[v]) & (best[v] == best[v]);  // NaN is, and then stays
        best[v] = larger ? a : best[v];
        which[v] = larger ? t : which[v];
      }
    });
    for (int v = 0; v < V; ++v) {
      put<WHOLE>(y + to + v * W, best[v], n);
      put<WHOLE>(tap + to + v * W, which[v], n);
    }
  }
};

// dx = sum of the dy whose maximum was this pixel.
template <class Tap, bool MANY, class T>
struct MaxBackward {
  const T* dy;
  const Tap* tap;
  Result<T> dx;
  long kw;

  template <int V, bool WHOLE>
  HG_INLINE_MEMBER void block(long to, const Sources& s, long n) const {
    Sums<V, MANY> sums;
    s.each([&](long from, const Term& i, const Term& j) {
      const ivec t = ivec{} + (int)(i.tap * kw + j.tap);
      sums.next();
      for (int v = 0; v < V; ++v) {
        const long l = from + v * W;
        sums.add(v, get<WHOLE>(tap + l, n) == t ? get<WHOLE>(dy + l, n) : vec{});
      }
    });
    for (int v = 0; v < V; ++v) put<WHOLE>(dx, to + v * W, sums.total(v), n);
  }
};

// The same, number by number: with few channels and a stride, vectors would be mostly empty. Every dy is
// added where its tap says; a thread adds what falls on its own rows of dx, from the first place to the last.
template <class Tap>
void max_backward_by_number(const PoolShape& s, const float* dy, const Tap* tap, float* dx) {
  const long c = s.c, width = s.w * s.c, taps = s.kh * s.kw;
  const long reach_h = (s.kh - 1) * s.dh, reach_w = (s.kw - 1) * s.dw;
  Scratch scratch(2 * taps);
  long* offset = (long*)scratch.data();  // of a tap's pixel from that of the first
  for (long t = 0; t < taps; ++t) offset[t] = t / s.kw * s.dh * width + t % s.kw * s.dw * c;
  parallel_for(s.n * s.h, larger(1, (1L << 15) / larger(1, width)), [&](long begin, long end, int) {
    for (long row = begin, next; row < end; row = next) {
      const long image = row / s.h, first = row % s.h, last = smaller(s.h, first + end - row);
      next = row + last - first;
      memset(dx + row * width, 0, 4 * (next - row) * width);
      // the windows that end at row `first` or below it, and begin above row `last`
      const long p_begin = larger(0, (first + s.top - reach_h + s.sh - 1) / s.sh);
      const long p_end = smaller(s.oh, (last + s.top + s.sh - 1) / s.sh);
      for (long p = p_begin; p < p_end; ++p)
        for (long q = 0; q < s.ow; ++q) {
          const long r = p * s.sh - s.top, column = q * s.sw - s.left;
          const long from = ((image * s.oh + p) * s.ow + q) * c, to = ((image * s.h + r) * s.w + column) * c;
          if (r >= first && r + reach_h < last && column >= 0 && column + reach_w < s.w)
            for (long ch = 0; ch < c; ++ch) {
              const long t = tap[from + ch];
              if (t >= 0 && t < taps) dx[to + offset[t] + ch] += dy[from + ch];
            }
          else  // partly on the padding, or on rows of another thread
            for (long ch = 0; ch < c; ++ch) {
              const long t = tap[from + ch], i = r + t / s.kw * s.dh, j = column + t % s.kw * s.dw;
              if (t >= 0 && t < taps && i >= first && i < last && j >= 0 && j < s.w)
                dx[to + offset[t] + ch] += dy[from + ch];
            }
        }
    }
  });
}

// How many windows meet a pixel, at most.
long windows_of_a_pixel(const PoolShape& s) {
  return (s.dh == 1 ? (s.kh + s.sh - 1) / s.sh : s.kh) * (s.dw == 1 ? (s.kw + s.sw - 1) / s.sw : s.kw);
}

template <class Tap, class T>
void max_backward(const PoolShape& s, const T* dy, const Tap* tap, T* dx) {
  const bool many = windows_of_a_pixel(s) > FEW;
  if constexpr (sizeof(T) == sizeof(float))  // it adds up in dx itself
    if (s.c < W && s.sw > 1 && !many) return max_backward_by_number(s, dy, tap, dx);
  const Terms down(rows_of(s), Direction::backward, s.ow * s.c);
  const Terms across(columns_of(s), Direction::backward, s.c);
  const Result<T> result(dx, s.n * s.h * s.w * s.c, s.c);
  const auto run = [&](const auto& op) { each_result(s.n, s.oh * s.ow * s.c, s.c, down, across, op); };
  if (many)
    run(MaxBackward<Tap, true, T>{dy, tap, result, s.kw});
  else
    run(MaxBackward<Tap, false, T>{dy, tap, result, s.kw});
}

template <bool MANY>
struct Mean {
  const float* x;
  float* y;

  template <int V, bool WHOLE>
  HG_INLINE_MEMBER void block(long to, const Sources& s, long n) const {
    Sums<V, MANY> sums;
    float count = 1;  // of a window wholly on padding: its mean is 0
    s.each([&](long from, const Term& i, const Term& j) {
      sums.next();
      for (int v = 0; v < V; ++v) sums.add(v, get<WHOLE>(x + from + v * W, n));
      count = i.count * j.count;
    });
    vec total[V];
    for (int v = 0; v < V; ++v) total[v] = sums.total(v);
    if (any_overflows(total)) return in_double<V, WHOLE>(total, to, s, n, count);
    for (int v = 0; v < V; ++v) put<WHOLE>(y + to + v * W, total[v] / count, n);
  }

  // The means whose sums in float overflowed; the others keep their bits.
  template <int V, bool WHOLE>
  __attribute__((noinline)) void in_double(const vec (&sums)[V], long to, const Sources& s, long n, double count) const {
    for (int v = 0; v < V; ++v) {
      dvec total = {};
      s.each([&](long from, const Term&, const Term&) { total += to_double(get<WHOLE>(x + from + v * W, n)); });
      const vec mean = __builtin_convertvector(total / count, vec), zero = 0 * sums[v];
      put<WHOLE>(y + to + v * W, zero != zero ? mean : sums[v] / (float)count, n);
    }
  }
};

// dx = sum of dy/count.
template <bool MANY>
struct MeanBackward {
  const float* dy;
  Result<float> dx;

  template <int V, bool WHOLE>
  HG_INLINE_MEMBER void block(long to, const Sources& s, long n) const {
    Sums<V, MANY> sums;
    s.each([&](long from, const Term& i, const Term& j) {
      const float share = 1 / (i.count * j.count);
      sums.next();
      for (int v = 0; v < V; ++v) sums.add(v, share * get<WHOLE>(dy + from + v * W, n));
    });
    for (int v = 0; v < V; ++v) put<WHOLE>(dx, to + v * W, sums.total(v), n);
  }
};

// The sum of ROWS rows, 2, 4 or 8, by halves.
template <int ROWS, class T>
HG_INLINE vec sum_of_rows(const T* x, long c, long n) {
  if constexpr (ROWS == 1)
    return n >= W ? load(x) : load(x, n);
  else
    return sum_of_rows<ROWS / 2>(x, c, n) + sum_of_rows<ROWS / 2>(x + ROWS / 2 * c, c, n);
}

// sums += sum over ROWS rows of x; only what they hold is added in float.
template <int ROWS, class T>
void add_rows(const T* x, long c, double* sums) {
  constexpr long H = W / 2;
  for (long ch = 0; ch < c; ch += W) {
    for (long l = 0; l < ROWS * W; l += 16) prefetch(x + ROWS * (c + ch) + l);  // the next rows, in their order
    alignas(64) float few[W];
    store(few, sum_of_rows<ROWS>(x + ch, c, c - ch));
    if (c - ch >= W)
      for (long h = 0; h < W; h += H) {
        dhalf total;
        memcpy(&total, sums + ch + h, sizeof total);
        total += load_double(few + h);
        memcpy(sums + ch + h, &total, sizeof total);
      }
    else
      for (long i = 0; i < c - ch; ++i) sums[ch + i] += few[i];
  }
}

// sums[c] = sum over rows of x (rows, c), in float64 but for eight rows at a time.
template <class T>
void column_sums(const T* x, long rows, long c, double* sums) {
  if (c < W) {  // W rows together are a row of c vectors
    double lanes[W * W];
    const long wide = rows / W;
    for (long ch = 0; ch < c; ++ch) sums[ch] = 0;
    if (wide > 0) {
      column_sums(x, wide, c * W, lanes);
      for (long l = 0; l < c * W; ++l) sums[l % c] += lanes[l];
    }
    for (long l = wide * W * c; l < rows * c; ++l) sums[l % c] += to_float(x[l]);
    return;
  }
  memset(sums, 0, 8 * c);
  for (; rows >= 8; rows -= 8, x += 8 * c) add_rows<8>(x, c, sums);
  for (; rows > 0; --rows, x += c) add_rows<1>(x, c, sums);
}

// y[c] = sums[c] / count
template <class T>
void divide(const double* sums, double count, long c, T* y) {
  constexpr long H = W / 2;
  long ch = 0;
  for (; ch + W <= c; ch += W) {  // by registers: compilers divide one by one if left alone
    alignas(64) float few[W];
    for (long h = 0; h < W; h += H) {
      dhalf total;
      memcpy(&total, sums + ch + h, sizeof total);
      store_float(few + h, total / count);
    }
    store(y + ch, load(few));
  }
  for (; ch < c; ++ch) y[ch] = of_float<T>((float)(sums[ch] / count));
}

}  // namespace

template <class T>
void max_pool2d(const PoolShape& s, const T* x, T* y, uint8_t* tap, int32_t* wide_tap) {
  const Terms down(rows_of(s), Direction::forward, s.w * s.c), across(columns_of(s), Direction::forward, s.c);
  if (tap)
    each_result(s.n, s.h * s.w * s.c, s.c, down, across, Max<uint8_t, T>{x, y, tap, s.kw});
  else
    each_result(s.n, s.h * s.w * s.c, s.c, down, across, Max<int32_t, T>{x, y, wide_tap, s.kw});
}

template <class T>
void max_pool2d_backward(const PoolShape& s, const T* dy, const uint8_t* tap, const int32_t* wide_tap, T* dx) {
  tap ? max_backward(s, dy, tap, dx) : max_backward(s, dy, wide_tap, dx);
}

void average_pool2d(const PoolShape& s, bool count_padding, const float* x, float* y) {
  const Terms down(rows_of(s), Direction::forward, s.w * s.c, count_padding);
  const Terms across(columns_of(s), Direction::forward, s.c, count_padding);
  const auto run = [&](const auto& op) { each_result(s.n, s.h * s.w * s.c, s.c, down, across, op); };
  if (s.kh * s.kw > FEW)
    run(Mean<true>{x, y});
  else
    run(Mean<false>{x, y});
}

void average_pool2d_backward(const PoolShape& s, bool count_padding, const float* dy, float* dx) {
  const Terms down(rows_of(s), Direction::backward, s.ow * s.c, count_padding);
  const Terms across(columns_of(s), Direction::backward, s.c, count_padding);
  const Result<float> result(dx, s.n * s.h * s.w * s.c, s.c);
  const auto run = [&](const auto& op) { each_result(s.n, s.oh * s.ow * s.c, s.c, down, across, op); };
  if (windows_of_a_pixel(s) > FEW)
    run(MeanBackward<true>{dy, result});
  else
    run(MeanBackward<false>{dy, result});
}

template <class T>
void global_average_pool2d(long n, long pixels, long c, const T* x, T* y) {
  if (c == 0) return;
  // an image in blocks, whose number depends on its size alone: sums are the same for every number of threads
  const long block = larger(256, (1L << 16) / larger(1, c)), blocks = larger(1, (pixels + block - 1) / block);
  Scratch scratch(2 * n * blocks * c);
  double* totals = (double*)scratch.data();
  const long work = smaller(block, pixels) * c;
  const auto finish = [&](long image) {
    double* total = totals + image * blocks * c;
    for (long b = 1; b < blocks; ++b)
      for (long ch = 0; ch < c; ++ch) total[ch] += total[b * c + ch];
    for (long ch = 0; ch < c; ++ch) {
      if (!overflows(total[ch])) continue;
      total[ch] = 0;
      for (long i = 0; i < pixels; ++i) total[ch] += to_float(x[(image * pixels + i) * c + ch]);
    }
    divide(total, (double)pixels, c, y + image * c);
  };
  parallel_for(n * blocks, larger(1, (1L << 17) / larger(1, work)), [&](long begin, long end, int) {
    for (long item = begin; item < end; ++item) {
      const long image = item / blocks, first = item % blocks * block;
      column_sums(x + (image * pixels + first) * c, smaller(block, pixels - first), c, totals + item * c);
      if (blocks == 1) finish(image);  // while it is in the cache
    }
  });
  if (blocks > 1)
    for (long image = 0; image < n; ++image) finish(image);
}

template <class T>
void global_average_pool2d_backward(long n, long pixels, long c, const T* dy, T* dx) {
  if (c == 0) return;
  const float count = (float)pixels;
  parallel_for(n, larger(1, (1L << 17) / larger(1, pixels * c)), [&](long begin, long end, int) {
    for (long image = begin; image < end; ++image) {
      T* first = dx + image * pixels * c;
      if (pixels > 0)
        for (long ch = 0; ch < c; ++ch) first[ch] = of_float<T>(to_float(dy[image * c + ch]) / count);
      // what is there is copied behind itself until it fills the image
      for (long done = 1; done < pixels;) {
        const long more = smaller(smaller(done, larger(1, 2048 / c)), pixels - done);
        memcpy(first + done * c, first, sizeof(T) * more * c);
        done += more;
      }
    }
  });
}

HG_TYPED_POOL_KERNELS(HG_INSTANTIATE, float)
HG_TYPED_POOL_KERNELS(HG_INSTANTIATE, bf16)

}  // namespace handgrad::HG_ISA
