// Numbers of four bytes, transposed.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {

constexpr long SIDE = 16;  // of a square, as a matrix register holds it
constexpr long SQUARE = SIDE * SIDE;

// A square, or so many rows and columns of one, in place or not; its rows lie so many numbers apart.
HG_INLINE void transpose_square(const float* from, long from_row, float* to, long to_row, long rows = SIDE,
                                long columns = SIDE) {
#if defined(__AVX512F__)
  // that what a mask would leave is zero spares compilers the thought that it might be anything
  const auto low32 = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_unpacklo_epi32((__mmask16)-1, a, b); };
  const auto high32 = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_unpackhi_epi32((__mmask16)-1, a, b); };
  const auto low64 = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_unpacklo_epi64((__mmask8)-1, a, b); };
  const auto high64 = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_unpackhi_epi64((__mmask8)-1, a, b); };
  const auto even = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_shuffle_i32x4((__mmask16)-1, a, b, 0x88); };
  const auto odd = [](__m512i a, __m512i b) HG_INLINE_LAMBDA { return _mm512_maskz_shuffle_i32x4((__mmask16)-1, a, b, 0xdd); };
  const __mmask16 across = (__mmask16)((1u << columns) - 1), down = (__mmask16)((1u << rows) - 1);
  // of four rows columns i, i + 4, i + 8 and i + 12 side by side: lines[i] to lines[i + 12] for all rows
  __m512i lines[16];
  for (int r = 0; r < 16; r += 4) {
    const auto row = [=](int i) HG_INLINE_LAMBDA {
      return r + i < rows ? _mm512_maskz_loadu_epi32(across, from + (r + i) * from_row) : _mm512_setzero_si512();
    };
    const __m512i a = low32(row(0), row(1)), b = high32(row(0), row(1)), c = low32(row(2), row(3)), d = high32(row(2), row(3));
    lines[r] = low64(a, c), lines[r + 1] = high64(a, c), lines[r + 2] = low64(b, d), lines[r + 3] = high64(b, d);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i a = even(lines[i], lines[i + 4]), b = odd(lines[i], lines[i + 4]);
    const __m512i c = even(lines[i + 8], lines[i + 12]), d = odd(lines[i + 8], lines[i + 12]);
    const auto put = [=](int column, __m512i v) HG_INLINE_LAMBDA {
      if (column < columns) _mm512_mask_storeu_epi32(to + column * to_row, down, v);
    };
    put(i, even(a, c)), put(i + 4, even(b, d)), put(i + 8, odd(a, c)), put(i + 12, odd(b, d));
  }
#else
  float lines[SIDE][SIDE];
  for (long i = 0; i < rows; ++i) memcpy(lines[i], from + i * from_row, 4 * columns);
  for (long i = 0; i < rows; ++i)
    for (long j = 0; j < columns; ++j) memcpy(to + j * to_row + i, &lines[i][j], 4);
#endif
}

// A matrix (rows, columns).
inline void transpose(long rows, long columns, const float* from, long from_row, float* to, long to_row) {
#if defined(__AVX512F__)
  for (long r = 0; r < rows; r += SIDE)
    for (long c = 0; c < columns; c += SIDE) {
      const float* square = from + r * from_row + c;
      float* turned = to + c * to_row + r;
      if (rows - r >= SIDE && columns - c >= SIDE)
        transpose_square(square, from_row, turned, to_row);
      else
        transpose_square(square, from_row, turned, to_row, smaller(SIDE, rows - r), smaller(SIDE, columns - c));
    }
#else
  constexpr long FEW = 8;  // lines a power of two apart share a few places in the cache: more would not stay
  for (long r = 0; r < rows; r += FEW)
    for (long c = 0; c < columns; ++c)
      for (long l = r; l < smaller(rows, r + FEW); ++l) to[c * to_row + l] = from[l * from_row + c];
#endif
}

}  // namespace handgrad::HG_ISA
