// The instructions of AVX-512 that kernels use, number by number: to test these kernels on machines without them.
//
// As Intel's manual defines them, by their intrinsics' names. Memory that a mask leaves out is not touched, and
// what must be aligned traps where it is not.
#pragma once

#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

namespace handgrad {

typedef float __m512 __attribute__((vector_size(64), may_alias));
typedef int32_t __m512i __attribute__((vector_size(64), may_alias));
typedef int16_t __m256i __attribute__((vector_size(32), may_alias));
typedef uint16_t __mmask16;

#define HG_EACH for (int i = 0; i < 16; ++i)
#define HG_EACH_OF(mask) HG_EACH if (mask >> i & 1)
#define HG_EMULATED_FUNCTION static inline __attribute__((always_inline))

// Loads and stores of some numbers.
template <class Vector, class Number>
HG_EMULATED_FUNCTION Vector emulated_load(Vector v, __mmask16 mask, const void* p) {
  Number numbers[16];
  memcpy(numbers, &v, sizeof v);
  HG_EACH_OF(mask) numbers[i] = ((const Number*)p)[i];
  memcpy(&v, numbers, sizeof v);
  return v;
}
template <class Number, class Vector>
HG_EMULATED_FUNCTION void emulated_store(void* p, __mmask16 mask, Vector v) {
  Number numbers[16];
  memcpy(numbers, &v, sizeof v);
  HG_EACH_OF(mask) ((Number*)p)[i] = numbers[i];
}
HG_EMULATED_FUNCTION __m512 _mm512_mask_loadu_ps(__m512 v, __mmask16 mask, const void* p) {
  return emulated_load<__m512, float>(v, mask, p);
}
HG_EMULATED_FUNCTION __m512 _mm512_maskz_loadu_ps(__mmask16 mask, const void* p) {
  return emulated_load<__m512, float>(__m512{}, mask, p);
}
HG_EMULATED_FUNCTION __m256i _mm256_maskz_loadu_epi16(__mmask16 mask, const void* p) {
  return emulated_load<__m256i, int16_t>(__m256i{}, mask, p);
}
HG_EMULATED_FUNCTION __m128i _mm_maskz_loadu_epi8(__mmask16 mask, const void* p) {
  return emulated_load<__m128i, int8_t>(__m128i{}, mask, p);
}
HG_EMULATED_FUNCTION void _mm512_mask_storeu_ps(void* p, __mmask16 mask, __m512 v) { emulated_store<float>(p, mask, v); }
HG_EMULATED_FUNCTION void _mm256_mask_storeu_epi16(void* p, __mmask16 mask, __m256i v) {
  emulated_store<int16_t>(p, mask, v);
}
HG_EMULATED_FUNCTION void _mm_mask_storeu_epi8(void* p, __mmask16 mask, __m128i v) {
  emulated_store<int8_t>(p, mask, v);
}

// Stores past the caches.
template <class Vector>
HG_EMULATED_FUNCTION void emulated_stream(void* p, Vector v) {
  if ((uintptr_t)p % sizeof v) __builtin_trap();
  memcpy(p, &v, sizeof v);
}
HG_EMULATED_FUNCTION void _mm512_stream_ps(void* p, __m512 v) { emulated_stream(p, v); }
HG_EMULATED_FUNCTION void _mm256_stream_si256(void* p, __m256i v) { emulated_stream(p, v); }

// Conversions of integers: those to fewer bits cut off the upper ones.
template <class To, class ToNumber, class Number, class From>
HG_EMULATED_FUNCTION To emulated_convert(__mmask16 mask, From from) {
  Number numbers[16];
  ToNumber converted[16] = {};
  memcpy(numbers, &from, sizeof from);
  HG_EACH_OF(mask) converted[i] = (ToNumber)numbers[i];
  To to;
  memcpy(&to, converted, sizeof to);
  return to;
}
HG_EMULATED_FUNCTION __m512i _mm512_maskz_cvtepu8_epi32(__mmask16 mask, __m128i v) {
  return emulated_convert<__m512i, int32_t, uint8_t>(mask, v);
}
HG_EMULATED_FUNCTION __m512i _mm512_maskz_cvtepu16_epi32(__mmask16 mask, __m256i v) {
  return emulated_convert<__m512i, int32_t, uint16_t>(mask, v);
}
HG_EMULATED_FUNCTION __m128i _mm512_maskz_cvtepi32_epi8(__mmask16 mask, __m512i v) {
  return emulated_convert<__m128i, uint8_t, uint32_t>(mask, v);
}
HG_EMULATED_FUNCTION __m256i _mm512_maskz_cvtepi32_epi16(__mmask16 mask, __m512i v) {
  return emulated_convert<__m256i, uint16_t, uint32_t>(mask, v);
}

// Arithmetic.
HG_EMULATED_FUNCTION __m512 _mm512_fmsub_ps(__m512 a, __m512 b, __m512 c) {
  HG_EACH a[i] = __builtin_fmaf(a[i], b[i], -c[i]);
  return a;
}
HG_EMULATED_FUNCTION __m512 _mm512_maskz_sqrt_ps(__mmask16 mask, __m512 a) {
  HG_EACH a[i] = mask >> i & 1 ? __builtin_sqrtf(a[i]) : 0;
  return a;
}
// a*2^n with the whole number n <= b, rounded once
HG_EMULATED_FUNCTION __m512 _mm512_maskz_scalef_ps(__mmask16 mask, __m512 a, __m512 b) {
  HG_EACH {
    const float n = b[i] > 1000 ? 1000 : b[i] < -1000 ? -1000 : __builtin_floorf(b[i]);
    a[i] = !(mask >> i & 1) ? 0 : n == n ? __builtin_scalbnf(a[i], (int)n) : n;
  }
  return a;
}
// 1/a, of which 14 bits of the fraction are right
HG_EMULATED_FUNCTION __m512 _mm512_maskz_rcp14_ps(__mmask16 mask, __m512 a) {
  HG_EACH {
    const float r = mask >> i & 1 ? 1 / a[i] : 0;
    uint32_t bits;
    memcpy(&bits, &r, 4);
    bits &= 0xfffffe00u;
    float cut;
    memcpy(&cut, &bits, 4);
    a[i] = r == r ? cut : r;
  }
  return a;
}

#undef HG_EACH
#undef HG_EACH_OF
#undef HG_EMULATED_FUNCTION

}  // namespace handgrad
