// One vector of floats, as wide as the instruction set this file is compiled for.
//
// Kernels are written once, over `vec`, and compiled once for each instruction set: HG_ISA names the
// namespace, so that no function compiled for one set can be called on a machine that lacks it. For the same
// reason kernels use no templates of the standard library: the linker would keep one copy for all sets.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef HG_ISA
#error "HG_ISA names the instruction set: plain, avx2 or avx512"
#endif

// Declares a kernel of a family's list (see kernels.h).
#define HG_DECLARE(kernel, arguments) void kernel arguments;

namespace handgrad::HG_ISA {

#if defined(__AVX512F__)
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

typedef float vec __attribute__((vector_size(4 * W)));
typedef int32_t ivec __attribute__((vector_size(4 * W)));
typedef double dvec __attribute__((vector_size(8 * W)));
typedef float vec_unaligned __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t ivec_unaligned __attribute__((vector_size(4 * W), aligned(4), may_alias));

#define HG_INLINE static inline __attribute__((always_inline))

HG_INLINE vec load(const float* p) { return *(const vec_unaligned*)p; }
HG_INLINE void store(float* p, vec v) { *(vec_unaligned*)p = v; }

// The first n < W numbers; the others are 0, and are not written.
HG_INLINE vec load(const float* p, long n) {
#if defined(__AVX512F__)
  return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  vec v = {};
  memcpy(&v, p, 4 * n);
  return v;
#endif
}
HG_INLINE void store(float* p, vec v, long n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
  memcpy(p, &v, 4 * n);
#endif
}

// Past the caches, for results larger than they are; p must be a multiple of the vector's size. A thread that
// has streamed calls `stream_end` before another may read.
HG_INLINE void stream(float* p, vec v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__x86_64__)
  _mm_stream_ps(p, (__m128)v);
#else
  store(p, v);
#endif
}
HG_INLINE void stream_end() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

// Whether a result of that many floats is too large to be found in the cache by who reads it next.
HG_INLINE bool streamed(long floats) { return floats > (1L << 20); }

HG_INLINE vec broadcast(float a) { return a - vec{}; }  // a - 0 is a, the sign of a zero included

// max(v, 0) that lets NaN through: what a comparison with NaN selects is NaN itself.
HG_INLINE vec relu(vec v) { return v < 0 ? vec{} : v; }

HG_INLINE float sum(vec v) {
  float s = 0;
  for (int i = 0; i < W; ++i) s += v[i];
  return s;
}
HG_INLINE dvec to_double(vec v) { return __builtin_convertvector(v, dvec); }

constexpr long round_up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }
HG_INLINE long smaller(long a, long b) { return a < b ? a : b; }
HG_INLINE long larger(long a, long b) { return a > b ? a : b; }

}  // namespace handgrad::HG_ISA
