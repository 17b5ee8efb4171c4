// The matrix registers of AMX: eight of 16 rows, 64 bytes each, and the product of two of them.
//
//     C[m, n] += sum over d of  A[m, d] * B[d, n]
//
// C is of floats, 16 columns; A of bf16, a row of the depth side by side; B of bf16, whose depth comes in pairs: row t
// holds B[2t, n] and B[2t + 1, n] side by side for each n. How many rows A and C have, and how many pairs the depth, is
// said once for all registers. Where there is no AMX the same is computed number by number, for tests.
#pragma once

#include "simd.h"
#include "transpose.h"

namespace handgrad::HG_ISA {

constexpr long ROWS = SIDE;   // of A and C at most, and columns of B and C
constexpr long DEPTH = 32;    // numbers of a row of A at most
constexpr long COUNT = 8;     // registers

// Compilers must not move what is written for the registers, or read from them, past the instructions that do so:
// loads and stores say that they touch memory.
#if defined(HG_AMX)

// One register at a time: 0 to 3 have the shape of C, 4 and 5 that of A, 6 and 7 that of B.
class SingleRegisters {
 public:
  SingleRegisters(long rows, long pairs) {
    struct alignas(64) {
      uint8_t palette, start, reserved[14];
      uint16_t bytes[16];  // in a row
      uint8_t rows[16];
    } shapes = {};
    shapes.palette = 1;
    for (int i = 0; i < COUNT; ++i) {
      shapes.rows[i] = (uint8_t)(i < 6 ? rows : pairs);
      shapes.bytes[i] = (uint16_t)(i == 4 || i == 5 ? 4 * pairs : 64);
    }
    asm volatile("ldtilecfg %0" : : "m"(shapes));
  }
  // Idle registers need not be saved when threads take turns.
  ~SingleRegisters() { asm volatile("tilerelease"); }
  SingleRegisters(const SingleRegisters&) = delete;
  SingleRegisters& operator=(const SingleRegisters&) = delete;

  template <int c>
  HG_INLINE_MEMBER void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(c));
  }
  // A row follows so many bytes behind the one before.
  template <int t>
  HG_INLINE_MEMBER void load(const void* p, long bytes) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(t), "r"(p), "r"(bytes) : "memory");
  }
  template <int c>
  HG_INLINE_MEMBER void store(float* p, long bytes) {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(c), "r"(p), "r"(bytes) : "memory");
  }
  template <int c, int a, int b>
  HG_INLINE_MEMBER void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }
};

#else

class SingleRegisters {
 public:
  SingleRegisters(long rows, long pairs) : rows_(rows), pairs_(pairs) {}
  SingleRegisters(const SingleRegisters&) = delete;
  SingleRegisters& operator=(const SingleRegisters&) = delete;

  template <int c>
  void zero() {
    memset(memory_[c], 0, sizeof memory_[c]);
  }
  template <int t>
  void load(const void* p, long bytes) {
    const long rows = t < 6 ? rows_ : pairs_, width = t == 4 || t == 5 ? 4 * pairs_ : 64;
    for (long i = 0; i < rows; ++i) memcpy(memory_[t][i], (const char*)p + i * bytes, width);
  }
  template <int c>
  void store(float* p, long bytes) {
    for (long i = 0; i < rows_; ++i) memcpy((char*)p + i * bytes, memory_[c][i], 64);
  }
  // First and second numbers of pairs are summed apart, then together, then added to C; numbers below the smallest
  // normal one count as 0: that is the instruction's arithmetic.
  template <int c, int a, int b>
  void dot() {
    vec sums[ROWS][ROWS / W][2] = {};
    for (long t = 0; t < pairs_; ++t)
      for (long v = 0; v < ROWS / W; ++v) {
        const uvec of_b = pairs(memory_[b][t] + 4 * W * v);
        const vec first = normal((vec)(of_b << 16)), second = normal((vec)(of_b & 0xffff0000u));
        for (long m = 0; m < rows_; ++m) {
          uint32_t of_a;
          memcpy(&of_a, memory_[a][m] + 4 * t, 4);
          vec* sum = sums[m][v];
          sum[0] = normal(sum[0] + normal((vec)(of_a << 16 | uvec{})) * first);
          sum[1] = normal(sum[1] + normal((vec)((of_a & 0xffff0000u) | uvec{})) * second);
        }
      }
    for (long m = 0; m < rows_; ++m)
      for (long v = 0; v < ROWS / W; ++v) {
        float* to = (float*)(memory_[c][m] + 4 * W * v);
        HG_ISA::store(to, normal(normal(HG_ISA::load(to)) + normal(sums[m][v][0] + sums[m][v][1])));
      }
  }

 private:
  static uvec pairs(const char* p) {
    uvec v;
    memcpy(&v, p, sizeof v);
    return v;
  }
  static vec normal(vec v) {
    const uvec u = (uvec)v;
    return (vec)((u & 0x7f800000u) == 0 ? u & 0x80000000u : u);
  }
  long rows_, pairs_;
  alignas(64) char memory_[COUNT][ROWS][64];
};

#endif

// Registers 0 to 3 are a block of C, of R by N of them: 4 and 5 are for its rows of A, 6 and 7 for its columns of B.
// What they hold is lost when this is made.
class Registers : SingleRegisters {
 public:
  using SingleRegisters::SingleRegisters;

  HG_INLINE_MEMBER void zero_block() { zero<0>(), zero<1>(), zero<2>(), zero<3>(); }

  // In memory registers begin so many numbers behind those above and to the left, and a row so many bytes behind the one
  // before.
  template <int R, int N>
  HG_INLINE_MEMBER void load_block(const float* p, long below, long beside, long bytes) {
    load<0>(p, bytes);
    if (N == 2) load<1>(p + beside, bytes);
    if (R == 2) load<2>(p + below, bytes);
    if (R == 2 && N == 2) load<3>(p + below + beside, bytes);
  }
  template <int R, int N>
  HG_INLINE_MEMBER void store_block(float* p, long below, long beside, long bytes) {
    store<0>(p, bytes);
    if (N == 2) store<1>(p + beside, bytes);
    if (R == 2) store<2>(p + below, bytes);
    if (R == 2 && N == 2) store<3>(p + below + beside, bytes);
  }
  // One step of the depth; the second of A and of B are not read where the block has no second.
  template <int R, int N>
  HG_INLINE_MEMBER void multiply_block(const bf16* a, const bf16* second_a, long a_bytes, const bf16* b, const bf16* second_b,
                                       long b_bytes) {
    load<4>(a, a_bytes);
    load<6>(b, b_bytes);
    dot<0, 4, 6>();
    if (R == 2) load<5>(second_a, a_bytes);
    if (R == 2) dot<2, 5, 6>();
    if (N == 2) load<7>(second_b, b_bytes);
    if (N == 2) dot<1, 4, 7>();
    if (R == 2 && N == 2) dot<3, 5, 7>();
  }
};

}  // namespace handgrad::HG_ISA
