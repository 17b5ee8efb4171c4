// Numbers of four bytes, transposed.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {

constexpr long SIDE = 16;  // of a square, as a matrix register holds it
constexpr long SQUARE = SIDE * SIDE;
#if defined(__AVX512F__)
constexpr bool FAST_SQUARES = true;  // whether it is not done number by number
#else
constexpr bool FAST_SQUARES = false;
#endif

// A square, in place or not; its rows lie so many numbers apart.
HG_INLINE void transpose_square(const float* from, long from_row, float* to, long to_row) {
#if defined(__AVX512F__)
  // that what a mask would leave is zero spares compilers the thought that it might be anything
  const auto low32 = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_unpacklo_epi32((__mmask16)-1, a, b); };
  const auto high32 = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_unpackhi_epi32((__mmask16)-1, a, b); };
  const auto low64 = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_unpacklo_epi64((__mmask8)-1, a, b); };
  const auto high64 = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_unpackhi_epi64((__mmask8)-1, a, b); };
  const auto even = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_shuffle_i32x4((__mmask16)-1, a, b, 0x88); };
  const auto odd = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_shuffle_i32x4((__mmask16)-1, a, b, 0xdd); };
  // of four rows columns i, i + 4, i + 8 and i + 12 side by side: rows[i] to rows[i + 12] for all rows
  __m512i rows[16];
  for (int r = 0; r < 16; r += 4) {
    const auto row = [=](int i) HG_INLINE_LAMBDA { return _mm512_loadu_si512(from + (r + i) * from_row); };
    const __m512i a = low32(row(0), row(1)), b = high32(row(0), row(1)), c = low32(row(2), row(3)), d = high32(row(2), row(3));
    rows[r] = low64(a, c), rows[r + 1] = high64(a, c), rows[r + 2] = low64(b, d), rows[r + 3] = high64(b, d);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i a = even(rows[i], rows[i + 4]), b = odd(rows[i], rows[i + 4]);
    const __m512i c = even(rows[i + 8], rows[i + 12]), d = odd(rows[i + 8], rows[i + 12]);
    const auto put = [=](int column, __m512i v) HG_INLINE_LAMBDA { _mm512_storeu_si512(to + column * to_row, v); };
    put(i, even(a, c)), put(i + 4, even(b, d)), put(i + 8, odd(a, c)), put(i + 12, odd(b, d));
  }
#else
  float rows[SIDE][SIDE];
  for (long i = 0; i < SIDE; ++i) memcpy(rows[i], from + i * from_row, 4 * SIDE);
  for (long i = 0; i < SIDE; ++i)
    for (long j = 0; j < SIDE; ++j) memcpy(to + j * to_row + i, &rows[i][j], 4);
#endif
}

// A matrix (rows, columns).
inline void transpose(long rows, long columns, const float* from, long from_row, float* to, long to_row) {
  constexpr long FEW = 8;  // lines a power of two apart share a few places in the cache: more would not stay
  for (long r = 0, lines; r < rows; r += lines) {
    const bool squares = FAST_SQUARES && rows - r >= SIDE;
    lines = squares ? SIDE : smaller(FEW, rows - r);
    long c = 0;
    for (; squares && c + SIDE <= columns; c += SIDE)
      transpose_square(from + r * from_row + c, from_row, to + c * to_row + r, to_row);
    for (; c < columns; ++c)
      for (long l = r; l < r + lines; ++l) to[c * to_row + l] = from[l * from_row + c];
  }
}

}  // namespace handgrad::HG_ISA
