// Padding and upsampling: rows of images copied, repeated and added up, each by one thread.
#include "resize.h"

#include "simd.h"
#include "threads.h"

namespace handgrad::HG_ISA {

HG_RESIZE_KERNELS(HG_DECLARE)

namespace {

// Rows of `width` numbers for a thread, so that waking it pays.
long rows_at_least(long width) { return larger(1, (1L << 16) / larger(1, width)); }

constexpr long FEW = 64;  // numbers that are added in float

void fill(float* p, long n, float value) {
  for (long i = 0; i < n; ++i) p[i] = value;
}

void copy(const float* from, long n, float* to) {
  long l = 0;
  for (; l + W <= n; l += W) store(to + l, load(from + l));
  if (l < n) store(to + l, load(from + l, n - l), n - l);
}

}  // namespace

void pad2d(const FrameShape& s, const float* x, float value, float* y) {
  const long height = s.top + s.h + s.bottom, width = (s.left + s.w + s.right) * s.c;
  const long left = s.left * s.c, middle = s.w * s.c, right = s.right * s.c;
  parallel_for(s.n * height, rows_at_least(width), [&](long begin, long end, int) {
    for (long row = begin; row < end; ++row) {
      const long image = row / height, r = row % height - s.top;
      float* to = y + row * width;
      if (r < 0 || r >= s.h) {
        fill(to, width, value);
      } else {
        fill(to, left, value);
        memcpy(to + left, x + (image * s.h + r) * middle, 4 * middle);
        fill(to + left + middle, right, value);
      }
    }
  });
}

void pad2d_backward(const FrameShape& s, const float* dy, float* dx) {
  const long height = s.top + s.h + s.bottom, width = (s.left + s.w + s.right) * s.c, middle = s.w * s.c;
  parallel_for(s.n * s.h, rows_at_least(middle), [&](long begin, long end, int) {
    for (long row = begin; row < end; ++row) {
      const long image = row / s.h, r = row % s.h + s.top;
      memcpy(dx + row * middle, dy + (image * height + r) * width + s.left * s.c, 4 * middle);
    }
  });
}

// y[r*rows + i, q*columns + j] = x[r, q]
void upsample2d(const BlockShape& s, const float* x, float* y) {
  const long width = s.w * s.columns * s.c;
  parallel_for(s.n * s.h, rows_at_least(width * s.rows), [&](long begin, long end, int) {
    for (long row = begin; row < end; ++row) {
      float* first = y + row * s.rows * width;
      for (long q = 0; q < s.w; ++q)
        for (long j = 0; j < s.columns; ++j)
          copy(x + (row * s.w + q) * s.c, s.c, first + (q * s.columns + j) * s.c);
      for (long i = 1; i < s.rows; ++i) memcpy(first + i * width, first, 4 * width);
    }
  });
}

namespace {

// The sum of a block of more than FEW elements, in parts of FEW.
__attribute__((noinline)) vec sum_of_many(const BlockShape& s, const float* from, long width, long left) {
  dvec total = {};
  vec part = {};
  for (long k = 0; k < s.rows * s.columns; ++k) {
    const float* p = from + k / s.columns * width + k % s.columns * s.c;
    part += left >= W ? load(p) : load(p, left);
    if (k % FEW == FEW - 1) total += to_double(part), part = vec{};
  }
  return __builtin_convertvector(total + to_double(part), vec);
}

}  // namespace

// dx[r, q] = sum over i and j of dy[r*rows + i, q*columns + j]
void upsample2d_backward(const BlockShape& s, const float* dy, float* dx) {
  const long width = s.w * s.columns * s.c;
  const bool many = s.rows * s.columns > FEW;
  parallel_for(s.n * s.h, rows_at_least(width * s.rows), [&](long begin, long end, int) {
    for (long row = begin; row < end; ++row) {
      const float* from = dy + row * s.rows * width;
      for (long q = 0; q < s.w; ++q, from += s.columns * s.c)
        for (long l = 0; l < s.c; l += W) {
          const long left = s.c - l;
          vec total = {};
          for (long i = 0; i < s.rows && !many; ++i)
            for (long j = 0; j < s.columns; ++j) {
              const float* p = from + i * width + j * s.c + l;
              total += left >= W ? load(p) : load(p, left);
            }
          if (many) total = sum_of_many(s, from + l, width, left);
          float* to = dx + (row * s.w + q) * s.c + l;
          left >= W ? store(to, total) : store(to, total, left);
        }
    }
  });
}

}  // namespace handgrad::HG_ISA
