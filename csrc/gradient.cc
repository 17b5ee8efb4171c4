#include "gradient.h"

#include "sums.h"

namespace handgrad::HG_ISA {

HG_GRADIENT_KERNELS(HG_DECLARE)

// 0*g is 0, and NaN where g is NaN or infinite.
void all_finite(long n, const float* g, bool* answer) {
  const double zero = sum_of_blocks(n, BLOCK_NUMBERS, [&](long begin, long end) {
    vec zeros = {};
    for_row(end - begin, [&](Lanes at) { zeros += 0 * load(g + begin, at); });
    return (double)sum(zeros);
  });
  *answer = zero == 0;
}

void sum_of_squares(long n, const float* g, double* answer) {
  *answer = sum_of_blocks(n, BLOCK_NUMBERS, [&](long begin, long end) {
    DoubleSum squares;
    for_row(end - begin, [&](Lanes at) {
      const vec gi = load(g + begin, at);
      squares.add_product(gi, gi);
    });
    return squares.total();
  });
}

}  // namespace handgrad::HG_ISA
