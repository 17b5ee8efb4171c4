// Which pixels the taps of a convolution meet, and from where: forward, and for each phase of the input gradient.
#pragma once

#include "conv.h"
#include "memory.h"
#include "simd.h"
#include "threads.h"

namespace handgrad::HG_ISA {

// n images of h x w pixels.
template <class T>
struct Batch {
  const T* data;
  long n, h, w, c;
};

// Taps on a grid: rows x columns of them, each with its distance from the pixel p*sh, q*sw.
struct Taps {
  long rows, columns;
  const long *row, *column;
  // the extent of what they meet
  long first_row() const { return least(rows, row); }
  long first_column() const { return least(columns, column); }
  long last_row() const { return most(rows, row); }
  long last_column() const { return most(columns, column); }
  bool side_by_side() const {
    for (long j = 1; j < columns; ++j)
      if (column[j] != column[j - 1] + 1) return false;
    return true;
  }

 private:
  static long least(long n, const long* v) {
    long m = v[0];
    for (long i = 1; i < n; ++i) m = smaller(m, v[i]);
    return m;
  }
  static long most(long n, const long* v) {
    long m = v[0];
    for (long i = 1; i < n; ++i) m = larger(m, v[i]);
    return m;
  }
};

// Which tap is number t of a list, or of all.
HG_INLINE long tap_of(const long* list, long t) { return list ? list[t] : t; }

// Places of the window on images: rows x columns of them, `sh` and `sw` pixels apart. Their results lie on a
// grid of their own: place (p, q) of image m at m*image_step + p*row_step + q*column_step.
struct Places {
  long rows, columns, sh, sw;
  long image_step, row_step, column_step;
};

inline Places places_of(const ConvShape& s) {
  return {s.oh, s.ow, s.sh, s.sw, s.oh * s.ow * s.k, s.ow * s.k, s.k};
}

// A pixel's c numbers, with zeros behind them.
template <class T>
HG_INLINE void copy_pixel(const T* from, long c, long pitch, T* to) {
  memcpy(to, from, sizeof(T) * c);
  if (pitch > c) memset(to + c, 0, sizeof(T) * (pitch - c));
}

// Pixels [first, first + width) of a line of `w`, or null where there is no line; those beyond it are zeros. Behind c
// numbers of each pixel come zeros up to `pitch`.
template <class T>
void copy_line(const T* line, long w, long c, long first, long width, long pitch, T* to) {
  if (!line) return void(memset(to, 0, sizeof(T) * width * pitch));
  const long begin = smaller(width, larger(0, -first)), end = larger(begin, smaller(width, w - first));
  memset(to, 0, sizeof(T) * begin * pitch);
  if (pitch == c)
    memcpy(to + begin * c, line + (first + begin) * c, sizeof(T) * (end - begin) * c);
  else
    for (long u = begin; u < end; ++u) copy_pixel(line + (first + u) * c, c, pitch, to + u * pitch);
  memset(to + end * pitch, 0, sizeof(T) * (width - end) * pitch);
}

// All taps of a window, seen from its places.
class AllTaps {
 public:
  explicit AllTaps(const ConvShape& s) : rows_(s.kh), columns_(s.kw), lists_(s.kh + s.kw) {
    for (long i = 0; i < s.kh; ++i) lists_.data()[i] = i * s.dh - s.top;
    for (long j = 0; j < s.kw; ++j) lists_.data()[s.kh + j] = j * s.dw - s.left;
  }
  Taps taps() const { return {rows_, columns_, lists_.data(), lists_.data() + rows_}; }

 private:
  long rows_, columns_;
  ScratchOf<long> lists_;
};

// Calls work(taps, list, at, corner) for each phase (r mod sh, u mod sw) of the image: the pixels of which are `at`,
// from number `corner` on, and meet the taps in the list (of all taps, by rows) from the places that `taps` says. Of
// some phases there may be none.
template <class Work>
void each_phase(const ConvShape& s, const Work& work) {
  ScratchOf<long> lists(s.kh * s.kw + s.kh + s.kw);
  long *list = lists.data(), *row = list + s.kh * s.kw, *column = row + s.kh;
  for (long a = 0; a < smaller(s.sh, s.h); ++a)
    for (long e = 0; e < smaller(s.sw, s.w); ++e) {
      // pixel r = u*sh + a meets tap i from place p = (r + top - i*dh)/sh = u + (a + top - i*dh)/sh
      Taps here{0, 0, row, column};
      for (long i = 0; i < s.kh; ++i)
        if ((a + s.top - i * s.dh) % s.sh == 0) row[here.rows++] = (a + s.top - i * s.dh) / s.sh;
      for (long j = 0; j < s.kw; ++j)
        if ((e + s.left - j * s.dw) % s.sw == 0) column[here.columns++] = (e + s.left - j * s.dw) / s.sw;
      long count = 0;
      for (long i = 0; i < s.kh; ++i)
        for (long j = 0; j < s.kw; ++j)
          if ((a + s.top - i * s.dh) % s.sh == 0 && (e + s.left - j * s.dw) % s.sw == 0) list[count++] = i * s.kw + j;
      const Places at{(s.h - a + s.sh - 1) / s.sh, (s.w - e + s.sw - 1) / s.sw, 1, 1,
                      s.h * s.w * s.c, s.sh * s.w * s.c, s.sw * s.c};
      work(here, list, at, (a * s.w + e) * s.c);
    }
}

// dx = add, or 0, in a phase that no tap meets.
template <class T>
void without_taps(const ConvShape& s, const Places& at, const T* add, T* dx) {
  const bool streams = streamed<T>(s.n * at.rows * at.columns * s.c) && s.c % W == 0 && aligned(dx);
  parallel_for(s.n * at.rows, larger(1, 16384 / (at.columns * s.c)), [&](long begin, long end, int) {
    for (long i = begin; i < end; ++i)
      for (long q = 0; q < at.columns; ++q) {
        const long place = i / at.rows * at.image_step + i % at.rows * at.row_step + q * at.column_step;
        if (streams)
          for (long v = 0; v < s.c; v += W) stream(dx + place + v, add ? load(add + place + v) : vec{});
        else if (add)
          memcpy(dx + place, add + place, sizeof(T) * s.c);
        else
          memset(dx + place, 0, sizeof(T) * s.c);
      }
    if (streams) stream_end();
  });
}

// A plain product of matrices: every place meets one pixel, the one where it is.
inline bool pointwise(const ConvShape& s) {
  return s.kh == 1 && s.kw == 1 && s.sh == 1 && s.sw == 1 && s.oh == s.h && s.ow == s.w && s.groups == 1;
}

}  // namespace handgrad::HG_ISA
