// The one-dimensional transforms of Winograd's convolution, M outputs of R taps from D = M + R - 1 pixels, by P = D
// products:
//
//     y = A^T [ (G g) . (B^T d) ]
//
// They follow from the P points at which the two polynomials are multiplied (docs/kernels.md derives them); at stride 2
// D and P are what is said there. Each
// function reads and writes every `step`-th vector, so that one code does rows and columns of a tile. Filters, of which
// there are few, are transformed in double precision.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {

// M outputs of R taps from D pixels, at P of `ALL` points: a short tile lacks some that a whole one has.
template <int outputs, int taps, int all = outputs + taps - 1>
struct Sizes {
  static constexpr int M = outputs, R = taps, D = M + R - 1, P = D, ALL = all;
  // Which of all points the i-th is. Infinity is the last one.
  static constexpr int point(int i) { return i < P - 1 ? i : ALL - 1; }
  // The first of the pixels for outputs from this one on, without padding.
  static constexpr long pixel(long output) { return output; }
};

// Points 0, 1, -1, infinity: nothing but additions and halves.
struct F2x3 : Sizes<2, 3> {
  // v = B^T d
  HG_INLINE void input(const vec* d, int s, vec* v, int t) {
    v[0 * t] = d[0 * s] - d[2 * s];
    v[1 * t] = d[1 * s] + d[2 * s];
    v[2 * t] = d[2 * s] - d[1 * s];
    v[3 * t] = d[3 * s] - d[1 * s];
  }
  // u = G g
  HG_INLINE void filter(const dvec* g, int s, dvec* u, int t) {
    const dvec even = 0.5 * (g[0] + g[2 * s]), odd = 0.5 * g[s];
    u[0 * t] = g[0];
    u[1 * t] = even + odd;
    u[2 * t] = even - odd;
    u[3 * t] = g[2 * s];
  }
  // y = A^T m
  HG_INLINE void output(const vec* m, int s, vec* y, int t) {
    y[0 * t] = m[0 * s] + m[1 * s] + m[2 * s];
    y[1 * t] = m[1 * s] - m[2 * s] + m[3 * s];
  }
  // v = A dy
  HG_INLINE void output_transposed(const vec* dy, int s, vec* v, int t) {
    v[0 * t] = dy[0 * s];
    v[1 * t] = dy[0 * s] + dy[1 * s];
    v[2 * t] = dy[0 * s] - dy[1 * s];
    v[3 * t] = dy[1 * s];
  }
  // dg = G^T u
  HG_INLINE void filter_transposed(const vec* u, int s, vec* g, int t) {
    const vec even = 0.5f * (u[1 * s] + u[2 * s]);
    g[0 * t] = u[0 * s] + even;
    g[1 * t] = 0.5f * (u[1 * s] - u[2 * s]);
    g[2 * t] = even + u[3 * s];
  }
};

// Points +-a, +-b, infinity with a = 2/3, b = 3/2: their powers stay near 1, which keeps rounding small; the points +-1,
// +-2 of the textbooks cost twice as much.
struct FivePoints {
  static constexpr double A = 2.0 / 3, B = 3.0 / 2, A2 = A * A, B2 = B * B;  // AB = 1
  static constexpr float a = A, b = B, a2 = A2, b2 = B2, a3 = A * A2, b3 = B * B2, both = A2 + B2;

 protected:
  // Five pixels at the points, the same for all filters: it depends on the points only.
  HG_INLINE void five_pixels(const vec* d, int s, vec* v, int t) {
    const vec d0 = d[0], d1 = d[1 * s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
    const vec even_a = d3 - b2 * d1, odd_a = a * d2 - b * d0;
    const vec even_b = d3 - a2 * d1, odd_b = b * d2 - a * d0;
    v[0 * t] = even_a + odd_a;
    v[1 * t] = even_a - odd_a;
    v[2 * t] = even_b + odd_b;
    v[3 * t] = even_b - odd_b;
    v[4 * t] = d0 + d4 - both * d2;
  }
  // Four outputs of the products at the points, and the transpose of that.
  HG_INLINE void four_outputs(const vec* m, int s, vec* y, int t) {
    const vec sum_a = m[0] + m[1 * s], odd_a = m[0] - m[1 * s];
    const vec sum_b = m[2 * s] + m[3 * s], odd_b = m[2 * s] - m[3 * s], m4 = m[4 * s];
    y[0 * t] = sum_a + sum_b;
    y[1 * t] = a * odd_a + b * odd_b;
    y[2 * t] = a2 * sum_a + b2 * sum_b;
    y[3 * t] = a3 * odd_a + b3 * odd_b + m4;
  }
  HG_INLINE void four_gradients(const vec* dy, int s, vec* v, int t) {
    const vec y0 = dy[0], y1 = dy[1 * s], y2 = dy[2 * s], y3 = dy[3 * s];
    const vec even_a = y0 + a2 * y2, odd_a = y1 + a2 * y3;
    const vec even_b = y0 + b2 * y2, odd_b = y1 + b2 * y3;
    v[0 * t] = even_a + a * odd_a;
    v[1 * t] = even_a - a * odd_a;
    v[2 * t] = even_b + b * odd_b;
    v[3 * t] = even_b - b * odd_b;
    v[4 * t] = y3;
  }
};

// And the point 0.
struct SixPoints : FivePoints {
  // powers of the points, divided by N
  static constexpr double A_0 = 1 / (2 * A2 * (A2 - B2)), B_0 = 1 / (2 * B2 * (B2 - A2));
  static constexpr float a_0 = A_0, a_1 = A_0 * A, a_2 = A_0 * A2, a_3 = A_0 * A * A2, a_4 = A_0 * A2 * A2;
  static constexpr float b_0 = B_0, b_1 = B_0 * B, b_2 = B_0 * B2, b_3 = B_0 * B * B2, b_4 = B_0 * B2 * B2;

  HG_INLINE void input(const vec* d, int s, vec* v, int t) {
    v[0] = d[0] + d[4 * s] - both * d[2 * s];
    five_pixels(d + s, s, v + t, t);
  }
};

struct F4x3 : Sizes<4, 3>, SixPoints {
  HG_INLINE void filter(const dvec* g, int s, dvec* u, int t) {
    const dvec g0 = g[0], g1 = g[1 * s], g2 = g[2 * s];
    const dvec even_a = A_0 * (g0 + A2 * g2), odd_a = A_0 * A * g1;
    const dvec even_b = B_0 * (g0 + B2 * g2), odd_b = B_0 * B * g1;
    u[0 * t] = g0;
    u[1 * t] = even_a + odd_a;
    u[2 * t] = even_a - odd_a;
    u[3 * t] = even_b + odd_b;
    u[4 * t] = even_b - odd_b;
    u[5 * t] = g2;
  }
  HG_INLINE void output(const vec* m, int s, vec* y, int t) {
    four_outputs(m + s, s, y, t);
    y[0] += m[0];
  }
  HG_INLINE void output_transposed(const vec* dy, int s, vec* v, int t) {
    v[0] = dy[0];
    four_gradients(dy, s, v + t, t);
  }
  HG_INLINE void filter_transposed(const vec* u, int s, vec* g, int t) {
    const vec sum_a = u[1 * s] + u[2 * s], sum_b = u[3 * s] + u[4 * s];
    const vec u0 = u[0], u5 = u[5 * s], odd_a = u[1 * s] - u[2 * s], odd_b = u[3 * s] - u[4 * s];
    g[0 * t] = u0 + a_0 * sum_a + b_0 * sum_b;
    g[1 * t] = a_1 * odd_a + b_1 * odd_b;
    g[2 * t] = u5 + a_2 * sum_a + b_2 * sum_b;
  }
};

// Three outputs of three taps, of filters transformed as for four: at the points 0, +-a, b, infinity.
struct F3of4 : Sizes<3, 3, 6>, SixPoints {
  HG_INLINE void input(const vec* d, int s, vec* v, int t) {
    const vec d0 = d[0], d1 = d[1 * s], d2 = d[2 * s], d3 = d[3 * s], d4 = d[4 * s];
    const vec even = (a2 - b2) * d2;
    v[0 * t] = d0 - a * d1 - b2 * d2 + b * d3;
    v[1 * t] = even + (a + b) * (d3 - d1);
    v[2 * t] = even + (b - a) * (d3 + d1);
    v[3 * t] = (2 * b) * d3 - (2 * a) * d1;
    v[4 * t] = d4 - b * d3 - a2 * d2 + a * d1;
  }
  HG_INLINE void output(const vec* m, int s, vec* y, int t) {
    const vec sum_a = m[1 * s] + m[2 * s], odd_a = m[1 * s] - m[2 * s], m3 = m[3 * s];
    y[0 * t] = m[0] + sum_a + m3;
    y[1 * t] = a * odd_a + b * m3;
    y[2 * t] = a2 * sum_a + b2 * m3 + m[4 * s];
  }
  HG_INLINE void output_transposed(const vec* dy, int s, vec* v, int t) {
    const vec y0 = dy[0], y1 = dy[1 * s], y2 = dy[2 * s];
    const vec even_a = y0 + a2 * y2;
    v[0 * t] = y0;
    v[1 * t] = even_a + a * y1;
    v[2 * t] = even_a - a * y1;
    v[3 * t] = y0 + b * y1 + b2 * y2;
    v[4 * t] = y2;
  }
};

// Two outputs of three taps in the same way: at the points 0, +-a, infinity.
struct F2of4 : Sizes<2, 3, 6>, SixPoints {
  HG_INLINE void input(const vec* d, int s, vec* v, int t) {
    const vec d1 = d[1 * s], d2 = d[2 * s], even = (a2 - b2) * d2, odd = (a2 - b2) * a * d1;
    v[0 * t] = d[0] - b2 * d2;
    v[1 * t] = even + odd;
    v[2 * t] = even - odd;
    v[3 * t] = d[3 * s] - a2 * d1;
  }
  HG_INLINE void output(const vec* m, int s, vec* y, int t) {
    y[0 * t] = m[0] + m[1 * s] + m[2 * s];
    y[1 * t] = a * (m[1 * s] - m[2 * s]) + m[3 * s];
  }
  HG_INLINE void output_transposed(const vec* dy, int s, vec* v, int t) {
    const vec y0 = dy[0], y1 = dy[1 * s];
    v[0 * t] = y0;
    v[1 * t] = y0 + a * y1;
    v[2 * t] = y0 - a * y1;
    v[3 * t] = y1;
  }
};

struct F2x5 : Sizes<2, 5>, SixPoints {
  HG_INLINE void filter(const dvec* g, int s, dvec* u, int t) {
    const dvec g0 = g[0], g1 = g[1 * s], g2 = g[2 * s], g3 = g[3 * s], g4 = g[4 * s];
    const dvec even_a = A_0 * (g0 + A2 * (g2 + A2 * g4)), odd_a = A_0 * A * (g1 + A2 * g3);
    const dvec even_b = B_0 * (g0 + B2 * (g2 + B2 * g4)), odd_b = B_0 * B * (g1 + B2 * g3);
    u[0 * t] = g0;
    u[1 * t] = even_a + odd_a;
    u[2 * t] = even_a - odd_a;
    u[3 * t] = even_b + odd_b;
    u[4 * t] = even_b - odd_b;
    u[5 * t] = g4;
  }
  HG_INLINE void output(const vec* m, int s, vec* y, int t) {
    const vec m1 = m[1 * s], m2 = m[2 * s], m3 = m[3 * s], m4 = m[4 * s];
    y[0 * t] = m[0] + (m1 + m2) + (m3 + m4);
    y[1 * t] = a * (m1 - m2) + b * (m3 - m4) + m[5 * s];
  }
  HG_INLINE void output_transposed(const vec* dy, int s, vec* v, int t) {
    const vec y0 = dy[0], y1 = dy[1 * s];
    v[0 * t] = y0;
    v[1 * t] = y0 + a * y1;
    v[2 * t] = y0 - a * y1;
    v[3 * t] = y0 + b * y1;
    v[4 * t] = y0 - b * y1;
    v[5 * t] = y1;
  }
  HG_INLINE void filter_transposed(const vec* u, int s, vec* g, int t) {
    const vec sum_a = u[1 * s] + u[2 * s], sum_b = u[3 * s] + u[4 * s];
    const vec odd_a = u[1 * s] - u[2 * s], odd_b = u[3 * s] - u[4 * s];
    g[0 * t] = u[0] + a_0 * sum_a + b_0 * sum_b;
    g[1 * t] = a_1 * odd_a + b_1 * odd_b;
    g[2 * t] = a_2 * sum_a + b_2 * sum_b;
    g[3 * t] = a_3 * odd_a + b_3 * odd_b;
    g[4 * t] = u[5 * s] + a_4 * sum_a + b_4 * sum_b;
  }
};

// At stride 2 the pixels of even number meet the taps 0 and 2, those between them tap 1:
//
//     y_p = (g0 d_2p + g2 d_2p+2) + g1 d_2p+1
//
// The first sum is one of two taps at stride 1: four outputs by five products, at the points +-a, +-b, infinity. The
// others take one each: nine instead of twelve.
struct Strided : FivePoints {
  static constexpr int R = 3, P = 9, ALL = P;
  static constexpr double A_0 = 1 / (2 * A * (A2 - B2)), B_0 = 1 / (2 * B * (B2 - A2));  // 1 / N
  static constexpr float a_0 = A_0, a_1 = A_0 * A, b_0 = B_0, b_1 = B_0 * B;
  static constexpr int point(int i) { return i; }

  HG_INLINE void filter(const dvec* g, int s, dvec* u, int t) {
    const dvec g0 = g[0], g2 = g[2 * s];
    u[0 * t] = A_0 * (A * g2 + g0);
    u[1 * t] = A_0 * (A * g2 - g0);
    u[2 * t] = B_0 * (B * g2 + g0);
    u[3 * t] = B_0 * (B * g2 - g0);
    u[4 * t] = g2;
    for (int i = 5; i < P; ++i) u[i * t] = g[s];
  }
  HG_INLINE void filter_transposed(const vec* u, int s, vec* g, int t) {
    const vec u0 = u[0], u1 = u[1 * s], u2 = u[2 * s], u3 = u[3 * s];
    g[0 * t] = a_0 * (u0 - u1) + b_0 * (u2 - u3);
    g[1 * t] = (u[5 * s] + u[6 * s]) + (u[7 * s] + u[8 * s]);
    g[2 * t] = u[4 * s] + a_1 * (u0 + u1) + b_1 * (u2 + u3);
  }
};

struct F4x3Strided : Strided {
  static constexpr int M = 4, D = 9;
  static constexpr long pixel(long output) { return 2 * output; }

  HG_INLINE void input(const vec* d, int s, vec* v, int t) {
    five_pixels(d, 2 * s, v, t);
    for (int i = 0; i < M; ++i) v[(5 + i) * t] = d[(2 * i + 1) * s];
  }
  HG_INLINE void output(const vec* m, int s, vec* y, int t) {
    four_outputs(m, s, y, t);
    for (int i = 0; i < M; ++i) y[i * t] += m[(5 + i) * s];
  }
  HG_INLINE void output_transposed(const vec* dy, int s, vec* v, int t) {
    four_gradients(dy, s, v, t);
    for (int i = 0; i < M; ++i) v[(5 + i) * t] = dy[i * s];
  }
};

// The gradient of its images, of filters turned by half a turn. Of the gradients of two neighbouring pixels one, the
// first or the second, is a sum of two taps, and the other is of one.
template <bool two_taps_first>
struct Gradient8x3Strided : Strided {
  static constexpr int M = 8, D = 5;
  static constexpr long pixel(long output) { return output / 2; }

  HG_INLINE void input(const vec* d, int s, vec* v, int t) {
    five_pixels(d, s, v, t);
    for (int i = 0; i < 4; ++i) v[(5 + i) * t] = d[(i + two_taps_first) * s];
  }
  HG_INLINE void output(const vec* m, int s, vec* y, int t) {
    four_outputs(m, s, y + !two_taps_first * t, 2 * t);
    for (int i = 0; i < 4; ++i) y[(2 * i + two_taps_first) * t] = m[(5 + i) * s];
  }
};

}  // namespace handgrad::HG_ISA
