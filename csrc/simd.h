// One vector of floats, as wide as the instruction set this file is compiled for.
//
// Kernels are written once, over `vec`, and compiled once for each instruction set: HG_ISA names the
// namespace, so that no function compiled for one set can be called on a machine that lacks it. For the same
// reason kernels use no templates of the standard library: the linker would keep one copy for all sets.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(HG_EMULATED)
#include "emulation.h"
#elif defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__AVX512F__) || defined(HG_EMULATED)
#define HG_AVX512
#endif

#ifndef HG_ISA
#error "HG_ISA names the instruction set: plain, avx2 or avx512"
#endif

#include "bf16.h"

// Declares a kernel of a family's list (see kernels.h), and one of a list with a type T of numbers, which its
// source instantiates for each.
#define HG_DECLARE(kernel, arguments) void kernel arguments;
#define HG_DECLARE_TYPED(kernel, arguments) \
  template <class T>                        \
  void kernel arguments;
#define HG_INSTANTIATE(kernel, arguments) template void kernel arguments;

namespace handgrad::HG_ISA {

#if defined(HG_AVX512)
constexpr int W = 16;  // floats in a vector
constexpr int NV = 4;  // vectors across a micro-kernel: 32 registers hold 24 sums, 4 weights and a pixel
#elif defined(__AVX2__)
constexpr int W = 8;
constexpr int NV = 2;  // 16 registers: 12 sums, 2 weights, a pixel
#elif defined(__aarch64__)
constexpr int W = 4;
constexpr int NV = 4;
#else
constexpr int W = 4;
constexpr int NV = 2;
#endif

constexpr int LINE = 16;  // floats in a line of the cache

typedef float vec __attribute__((vector_size(4 * W)));
typedef int32_t ivec __attribute__((vector_size(4 * W)));
typedef double dvec __attribute__((vector_size(8 * W)));
typedef float vec_unaligned __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t ivec_unaligned __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef double dhalf __attribute__((vector_size(4 * W)));  // as many doubles as a register holds
typedef float hvec_unaligned __attribute__((vector_size(2 * W), aligned(4), may_alias));
typedef uint8_t bvec __attribute__((vector_size(W)));
typedef uint8_t bvec_unaligned __attribute__((vector_size(W), aligned(1), may_alias));
typedef uint32_t uvec __attribute__((vector_size(4 * W)));
typedef uint16_t svec __attribute__((vector_size(2 * W)));
typedef uint16_t svec_unaligned __attribute__((vector_size(2 * W), aligned(2), may_alias));

#define HG_INLINE static inline __attribute__((always_inline))
#define HG_INLINE_MEMBER inline __attribute__((always_inline))
#define HG_INLINE_LAMBDA __attribute__((always_inline))

HG_INLINE vec load(const float* p) { return *(const vec_unaligned*)p; }
HG_INLINE void store(float* p, vec v) { *(vec_unaligned*)p = v; }

// The first n < W numbers; the others are 0, and are not written.
HG_INLINE vec load(const float* p, long n) {
#if defined(HG_AVX512)
  return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__)
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return (vec)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
#else
  vec v = {};
  for (int i = 0; i < W - 1; ++i)
    if (i < n) v[i] = p[i];
  return v;
#endif
}
HG_INLINE void store(float* p, vec v, long n) {
#if defined(HG_AVX512)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(__AVX2__)  // in pieces: a masked store is slow on some processors
  __m128 rest = _mm256_castps256_ps128((__m256)v);
  if (n & 4) _mm_storeu_ps(p, rest), p += 4, rest = _mm256_extractf128_ps((__m256)v, 1);
  if (n & 2) _mm_storel_pi((__m64*)p, rest), p += 2, rest = _mm_movehl_ps(rest, rest);
  if (n & 1) _mm_store_ss(p, rest);
#else
  for (int i = 0; i < W - 1; ++i)
    if (i < n) p[i] = v[i];
#endif
}

// Integers of four bytes, or of one byte in memory: compilers convert these one by one if left alone.
HG_INLINE ivec load(const int32_t* p) { return *(const ivec_unaligned*)p; }
HG_INLINE void store(int32_t* p, ivec v) { *(ivec_unaligned*)p = v; }
HG_INLINE ivec load(const int32_t* p, long n) { return (ivec)load((const float*)p, n); }
HG_INLINE void store(int32_t* p, ivec v, long n) { store((float*)p, (vec)v, n); }
HG_INLINE ivec widen(bvec v) {
#if defined(HG_AVX512)
  return (ivec)_mm512_maskz_cvtepu8_epi32((__mmask16)-1, (__m128i)v);
#elif defined(__AVX2__)
  return (ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)&v));
#elif defined(__x86_64__)
  int32_t bytes;
  memcpy(&bytes, &v, 4);
  const __m128i zero = _mm_setzero_si128();
  return (ivec)_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero), zero);
#else
  return __builtin_convertvector(v, ivec);
#endif
}
HG_INLINE bvec narrow(ivec v) {
  bvec bytes;
#if defined(HG_AVX512)
  bytes = (bvec)_mm512_maskz_cvtepi32_epi8((__mmask16)-1, (__m512i)v);
#elif defined(__AVX2__)
  const __m256i all = (__m256i)v;
  const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  _mm_storel_epi64((__m128i*)&bytes, _mm_packus_epi16(shorts, shorts));
#elif defined(__x86_64__)
  const __m128i shorts = _mm_packs_epi32((__m128i)v, (__m128i)v);
  const int32_t four = _mm_cvtsi128_si32(_mm_packus_epi16(shorts, shorts));
  memcpy(&bytes, &four, 4);
#else
  bytes = __builtin_convertvector(v, bvec);
#endif
  return bytes;
}

// bf16 is the upper half of a float: widening moves it there.
HG_INLINE vec widen(svec v) {
#if defined(HG_AVX512)
  return (vec)((uvec)_mm512_maskz_cvtepu16_epi32((__mmask16)-1, (__m256i)v) << 16);
#elif defined(__AVX2__)
  return (vec)((uvec)_mm256_cvtepu16_epi32((__m128i)v) << 16);
#elif defined(__x86_64__)
  int64_t four;
  memcpy(&four, &v, 8);
  return (vec)_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_cvtsi64_si128(four));
#else
  return (vec)(__builtin_convertvector(v, uvec) << 16);
#endif
}
// Narrowing rounds to the nearest, and of two as near to the even one: adding half a unit of what stays, less one
// bit where that is even, carries just where it has to. A NaN would carry into infinity: its highest bit is set
// instead, so that what is cut off does not matter.
HG_INLINE uvec rounded(vec v) {  // to what the upper halves say
  const uvec u = (uvec)v;
  return v == v ? u + 0x7fffu + ((u >> 16) & 1u) : u | 0x400000u;
}
HG_INLINE svec narrow(vec v) {
  const uvec upper = rounded(v);
  svec shorts;
#if defined(HG_AVX512)
  shorts = (svec)_mm512_maskz_cvtepi32_epi16((__mmask16)-1, (__m512i)(upper >> 16));
#elif defined(__AVX2__)
  const __m256i all = _mm256_srai_epi32((__m256i)upper, 16);  // signed: packing then saturates nothing
  shorts = (svec)_mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
#elif defined(__x86_64__)
  const __m128i all = _mm_srai_epi32((__m128i)upper, 16);
  const int64_t four = _mm_cvtsi128_si64(_mm_packs_epi32(all, all));
  memcpy(&shorts, &four, 8);
#else
  shorts = __builtin_convertvector(upper >> 16, svec);
#endif
  return shorts;
}
HG_INLINE vec load(const bf16* p) { return widen(*(const svec_unaligned*)p); }
HG_INLINE void store(bf16* p, vec v) { *(svec_unaligned*)p = narrow(v); }
HG_INLINE vec load(const bf16* p, long n) {
#if defined(HG_AVX512)
  return widen((svec)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p));
#else
  svec v = {};
  memcpy(&v, p, 2 * n);
  return widen(v);
#endif
}
HG_INLINE void store(bf16* p, vec v, long n) {
  const svec shorts = narrow(v);
#if defined(HG_AVX512)
  _mm256_mask_storeu_epi16(p, (__mmask16)((1u << n) - 1), (__m256i)shorts);
#else
  memcpy(p, &shorts, 2 * n);
#endif
}
HG_INLINE float to_float(float a) { return a; }
HG_INLINE float to_float(bf16 a) { return load(&a, 1)[0]; }
template <class T>
HG_INLINE T of_float(float a) {
  T to;
  store(&to, vec{a}, 1);
  return to;
}

HG_INLINE ivec load(const uint8_t* p) { return widen(*(const bvec_unaligned*)p); }
HG_INLINE void store(uint8_t* p, ivec v) { *(bvec_unaligned*)p = narrow(v); }
HG_INLINE ivec load(const uint8_t* p, long n) {
#if defined(HG_AVX512)
  return widen((bvec)_mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), p));
#else
  bvec v = {};
  memcpy(&v, p, n);
  return widen(v);
#endif
}
HG_INLINE void store(uint8_t* p, ivec v, long n) {
  const bvec bytes = narrow(v);
#if defined(HG_AVX512)
  _mm_mask_storeu_epi8(p, (__mmask16)((1u << n) - 1), (__m128i)bytes);
#else
  memcpy(p, &bytes, n);
#endif
}

// Past the caches, for results larger than they are; p must be a multiple of the vector's size in memory. A
// thread that has streamed calls `stream_end` before another may read.
HG_INLINE void stream(float* p, vec v) {
#if defined(HG_AVX512)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__x86_64__)
  _mm_stream_ps(p, (__m128)v);
#else
  store(p, v);
#endif
}
HG_INLINE void stream(bf16* p, vec v) {
  const svec shorts = narrow(v);
#if defined(HG_AVX512)
  _mm256_stream_si256((__m256i*)p, (__m256i)shorts);
#elif defined(__AVX2__)
  _mm_stream_si128((__m128i*)p, (__m128i)shorts);
#elif defined(__x86_64__)
  long long four;
  memcpy(&four, &shorts, 8);
  _mm_stream_si64((long long*)p, four);
#else
  *(svec_unaligned*)p = shorts;
#endif
}
HG_INLINE void stream_end() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// Asks for what lies at p to come into the second cache. Nothing happens where p is nobody's memory.
HG_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }

// Whether a result of that many floats, or numbers of type T, is too large to be found in the cache by who reads
// it next, and whether whole vectors of it lie at multiples of their size if the first does. In a training step
// that is so long before the last cache is full: with 8 MB in place of 4 a step of a ResNet-20 took 13 % longer,
// although a single batch normalization of 8 MB, called again and again, is faster through the caches. What a
// normalization returns is read at once: of it 8 MB cost no step anything, alone are 30 % faster so, and 16 MB are not.
constexpr long RESULT = 4L << 20, NORMALIZED = 8L << 20;
template <class T = float>
HG_INLINE bool streamed(long numbers, long most = RESULT) {
  return numbers * (long)sizeof(T) > most;
}
template <class T>
HG_INLINE bool aligned(const T* p) {
  return (uintptr_t)p % (sizeof(T) * W) == 0;
}

HG_INLINE vec broadcast(float a) { return a - vec{}; }  // a - 0 is a, the sign of a zero included

// max(v, 0) that lets NaN through: what a comparison with NaN selects is NaN itself.
HG_INLINE vec relu(vec v) { return v <= 0 ? vec{} : v; }

HG_INLINE float sum(vec v) {
  float s = 0;
  for (int i = 0; i < W; ++i) s += v[i];
  return s;
}

// The sums of K vectors, side by side.
template <int K>
HG_INLINE vec sums(const vec (&v)[K]) {
  static_assert(K <= W);
#if defined(__AVX512F__)
  // two vectors at a time become one, in which numbers of the first and of the second, two lanes apart, are added; then
  // two of those, and so on
  const auto ones = [](vec a, vec b) HG_INLINE_LAMBDA {
    return (vec)_mm512_maskz_unpacklo_ps((__mmask16)-1, (__m512)a, (__m512)b) +
           (vec)_mm512_maskz_unpackhi_ps((__mmask16)-1, (__m512)a, (__m512)b);
  };
  const auto twos = [](vec a, vec b) HG_INLINE_LAMBDA {
    return (vec)_mm512_maskz_unpacklo_pd((__mmask8)-1, (__m512d)a, (__m512d)b) +
           (vec)_mm512_maskz_unpackhi_pd((__mmask8)-1, (__m512d)a, (__m512d)b);
  };
  const auto fours = [](vec a, vec b) HG_INLINE_LAMBDA {
    return (vec)_mm512_maskz_shuffle_f32x4((__mmask16)-1, (__m512)a, (__m512)b, 0x88) +
           (vec)_mm512_maskz_shuffle_f32x4((__mmask16)-1, (__m512)a, (__m512)b, 0xdd);
  };
  const auto of = [&](int k) HG_INLINE_LAMBDA { return k < K ? v[k < K ? k : 0] : vec{}; };
  const auto four = [&](int k) HG_INLINE_LAMBDA {
    return k < K ? twos(ones(of(k), of(k + 1)), ones(of(k + 2), of(k + 3))) : vec{};
  };
  return fours(fours(four(0), four(4)), fours(four(8), four(12)));
#else
  vec s = {};
  for (int k = 0; k < K; ++k) s[k] = sum(v[k]);
  return s;
#endif
}

// W/2 floats in memory as one register of doubles: a whole vector GCC 12 would convert number by number.
HG_INLINE dhalf load_double(const float* p) {
  return __builtin_convertvector(*(const hvec_unaligned*)p, dhalf);
}
HG_INLINE dhalf load_double(const bf16* p) {
  float half[W / 2];
  const vec v = load(p, W / 2);
  memcpy(half, &v, sizeof half);
  return load_double(half);
}
HG_INLINE void store_float(float* p, dhalf v) { *(hvec_unaligned*)p = __builtin_convertvector(v, hvec_unaligned); }
HG_INLINE dvec to_double(vec v) { return __builtin_convertvector(v, dvec); }

constexpr long round_up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }
HG_INLINE long smaller(long a, long b) { return a < b ? a : b; }
HG_INLINE long larger(long a, long b) { return a > b ? a : b; }

}  // namespace handgrad::HG_ISA
