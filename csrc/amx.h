// The matrix registers of AMX: eight of 16 rows, 64 bytes each, and the product of two of them.
//
//     C[m, n] += sum over d of  A[m, d] * B[d, n]
//
// C is of floats, 16 columns; A of bf16, a row of the depth side by side; B of bf16, whose depth comes in pairs: row t
// holds B[2t, n] and B[2t + 1, n] side by side for each n. How many rows A and C have, and how many pairs the depth, is
// said once for all registers. Where there is no AMX the same is computed number by number, for tests.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {

constexpr long ROWS = 16;     // of A and C at most, and columns of B and C
constexpr long DEPTH = 32;    // numbers of a row of A at most
constexpr long COUNT = 8;     // registers

// Compilers must not move what is written for the registers, or read from them, past the instructions that do so:
// loads and stores say that they touch memory.
#if defined(HG_AMX)

class Registers {
 public:
  // Registers 0 to 3 are for C, 4 and 5 for A, 6 and 7 for B; what they hold is lost.
  Registers(long rows, long pairs) {
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
  ~Registers() { asm volatile("tilerelease"); }
  Registers(const Registers&) = delete;
  Registers& operator=(const Registers&) = delete;

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

class Registers {
 public:
  Registers(long rows, long pairs) : rows_(rows), pairs_(pairs) {}
  Registers(const Registers&) = delete;
  Registers& operator=(const Registers&) = delete;

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
    for (long m = 0; m < rows_; ++m)
      for (long n = 0; n < ROWS; ++n) {
        float sum[2] = {0, 0};
        for (long t = 0; t < pairs_; ++t)
          for (int half = 0; half < 2; ++half)
            sum[half] = normal(sum[half] + number(memory_[a][m], 2 * t + half) * number(memory_[b][t], 2 * n + half));
        float total;
        memcpy(&total, memory_[c][m] + 4 * n, 4);
        total = normal(normal(total) + normal(sum[0] + sum[1]));
        memcpy(memory_[c][m] + 4 * n, &total, 4);
      }
  }

 private:
  static float normal(float a) { return a > -0x1p-126f && a < 0x1p-126f ? a * 0 : a; }
  static float number(const char* row, long i) {
    uint16_t bits;
    memcpy(&bits, row + 2 * i, 2);
    const uint32_t upper = (uint32_t)bits << 16;
    float a;
    memcpy(&a, &upper, 4);
    return normal(a);
  }
  long rows_, pairs_;
  char memory_[COUNT][ROWS][64];
};

#endif

}  // namespace handgrad::HG_ISA
