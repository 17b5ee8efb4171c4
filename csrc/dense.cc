// The dense layer's three products of matrices.
//
// Rows of a few classes do not fill a vector. Such a layer's outputs are summed along the depth, a vector of sums for
// each, and its gradient of w is computed turned.
#include "dense.h"

#include "matrix.h"
#include "memory.h"
#include "product.h"
#include "threads.h"
#include "transpose.h"

namespace handgrad::HG_ISA {

namespace {

// Classes are few if they do not fill a vector, and the sums of two rows fit in the registers.
constexpr long FEW = W - 1 < block_rows(2) ? W - 1 : block_rows(2);
constexpr long ROWS = 8;  // so many are worth it to turn w

constexpr long LANES = STEP * W;  // numbers of the depth in a vector
constexpr long DEPTH = 1024;      // at a time: of w that stays in the first cache, and no sum becomes long

constexpr long TURNED = 1 << 13;  // numbers that are worth a thread to turn them

// w^T (k, pitch) as factors, with zeros behind the c numbers of a row.
void turn_weights(long c, long k, const float* w, long pitch, float* turned, Factor* to) {
  transpose(c, k, w, k, turned, pitch);
  for (long i = 0; i < k; ++i) memset(turned + i * pitch + c, 0, 4 * (pitch - c));
  if constexpr (STEP > 1)
    for (long v = 0; v < k * pitch; v += W) store(to + v, load(turned + v));
}

// One vector of the depth.
template <int R, int K>
HG_INLINE void step(const Factors (&x)[R], const Factor* w, long pitch, vec (&sum)[R][K]) {
#pragma GCC unroll 12
  for (int k = 0; k < K; ++k) {
    const Factors row = load_factors(w + k * pitch);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) sum[r][k] = dot(sum[r][k], x[r], row);
  }
}

// Of R rows and K classes y = begin + x @ w.
template <int R, int K>
HG_INLINE void block(long depth, const Factor* x, long c, const Factor* w, long pitch, const float* begin, long begin_row,
                     float* y) {
  Factors p[R];
  vec sum[R][K] = {};
  for (; depth >= LANES; depth -= LANES, x += LANES, w += LANES) {
    for (int r = 0; r < R; ++r) p[r] = load_factors(x + r * c);
    step(p, w, pitch, sum);
  }
  if (depth) {
    for (int r = 0; r < R; ++r) p[r] = load_factors(x + r * c, depth);
    step(p, w, pitch, sum);
  }
  for (int r = 0; r < R; ++r) {
    const vec total = sums(sum[r]);
    store(y + r * K, load(begin + r * begin_row, K) + total, K);
  }
}

// The same for any number of rows, and up to K classes.
template <int K>
void blocks(long rows, long k, long depth, const Factor* x, long c, const Factor* w, long pitch, const float* begin,
            long begin_row, float* y) {
  if constexpr (K > 1)
    if (k < K) return blocks<K - 1>(rows, k, depth, x, c, w, pitch, begin, begin_row, y);
  constexpr int R = K > 3 ? 2 : 4;
  long r = 0;
  for (; r + R <= rows; r += R) block<R, K>(depth, x + r * c, c, w, pitch, begin + r * begin_row, begin_row, y + r * K);
  for (; r < rows; ++r) block<1, K>(depth, x + r * c, c, w, pitch, begin + r * begin_row, begin_row, y + r * K);
}

void few_classes(long m, long c, long k, const Factor* x, const float* w, const float* b, float* y) {
  const long pitch = round_up(c, LANES);
  Scratch turned(k * pitch);
  ScratchOf<Factor> factors(STEP > 1 ? k * pitch : 0);
  const Factor* rows_of_w = STEP > 1 ? factors.data() : (const Factor*)turned.data();
  turn_weights(c, k, w, pitch, turned.data(), factors.data());
  float bias[W] = {};  // a whole vector: what a mask hides behind the end of b may be nobody's memory, which takes long
  if (b) memcpy(bias, b, 4 * k);
  parallel_for(m, larger(1, WORTH_A_THREAD / (c * k)), [&](long row, long end, int) {
    for (long d = 0; d < c; d += DEPTH)
      blocks<FEW>(end - row, k, smaller(DEPTH, c - d), x + row * c + d, c, rows_of_w + d, pitch, d ? y + row * k : bias,
                  d ? k : 0, y + row * k);
  });
}

}  // namespace

HG_DENSE_PRODUCTS(HG_DECLARE, Factor, float)

void dense(long m, long c, long k, const Factor* x, const float* w, const float* b, float* y) {
  if (0 < k && k <= FEW && m >= ROWS && c > 0) return few_classes(m, c, k, x, w, b, y);
  multiply(m, c, k, x, c, 1, Plain<float>{w}, b, nullptr, y);
}

void dense_backward_input(long m, long c, long k, const Factor* dy, const float* w, float* dx) {
  multiply(m, k, c, dy, k, 1, Turned{w}, nullptr, nullptr, dx);
}

void dense_backward_weight(long m, long c, long k, const Factor* dy, const Factor* x, float* dw) {
  if (0 < k && k <= FEW) {  // dw^T = dy^T @ x
    Scratch turned(k * c);
    multiply(k, m, c, dy, 1, k, Plain<Factor>{x}, nullptr, nullptr, turned.data());
    return parallel_for(c, TURNED / k, [&](long begin, long end, int) {
      transpose(k, end - begin, turned.data() + begin, c, dw + begin * k, k);
    });
  }
  multiply(c, m, k, x, 1, c, Plain<Factor>{dy}, nullptr, nullptr, dw);
}

}  // namespace handgrad::HG_ISA
