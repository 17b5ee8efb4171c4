// Convolution with fewer multiplications: of 3x3 filters with a quarter (Winograd, F(4x4, 3x3)) or four
// ninths of them (F(2x2, 3x3)), of 5x5 filters with nine of twenty-five (F(2x2, 5x5)). At stride 2, of 3x3 filters with
// nine sixteenths of them.
//
// An M x M tile of outputs of R x R taps depends on D x D pixels d, and takes P x P products: D = P = M + R - 1 at
// stride 1. With the matrices of `transform.h`,
//
//     y  = A^T [ (G g G^T) . (B^T d B) ] A             "." multiplies point by point
//     dg = G^T [ sum over tiles (B^T d B) . (A dy A^T) ] G
//
// For many channels each of the P^2 points is a product of matrices, (tiles x channels) by (channels x
// filters), and that is where the time goes. The input gradient is the first formula with filters turned by
// half a turn and their channels exchanged. S. Winograd, "Arithmetic complexity of computations" (1980);
// A. Lavin and S. Gray, CVPR 2016; of stride 2, J. Yepez and S.-B. Ko, IEEE Trans. VLSI 28 (2020).
#include "conv.h"
#include "memory.h"
#include "threads.h"
#include "tiles.h"
#include "transpose.h"

namespace handgrad::HG_ISA {

HG_WINOGRAD_KERNELS(HG_DECLARE_TYPED, T)
HG_PACKED_WINOGRAD_KERNELS(HG_DECLARE)

namespace {

constexpr long CHUNK = 24;  // tiles: at most so many are transformed, or add to sums in float, at a time

// Products over c channels that are added one after another: what they lose grows in the output's transform. Few
// channels, of which sums lose little elsewhere, are added in two halves. Forward, sums over many channels lose no more
// than others do; input gradients are taken where less is lost elsewhere.
long part_forward(long c) { return c <= 32 ? (c + 1) / 2 : 0; }
long part_backward(long c) { return c <= 32 ? part_forward(c) : 16; }

// U = G g G^T for filters g (R, R, c, k): channels [c_begin, c_end) of one panel of filters, as `product` reads
// them: a plane (c, width) for each point.
template <class F>
void transform_filters(long c, long k, const float* w, long panel, long c_begin, long c_end, long plane,
                       float* U) {
  constexpr int P = F::P, R = F::R;
  const long width = smaller(PANEL, round_up(k, W) - panel);
  for (long ci = c_begin; ci < c_end; ++ci)
    for (long ki = panel; ki < panel + width; ki += W) {
      dvec g[R][R], t[R][P];
      for (int i = 0; i < R; ++i)
        for (int j = 0; j < R; ++j) g[i][j] = to_double(load_some(w + ((i * R + j) * c + ci) * k + ki, k - ki));
      for (int i = 0; i < R; ++i) F::filter(g[i], 1, t[i], 1);
      float* to = U + ci * width + (ki - panel);
      for (int j = 0; j < P; ++j) {
        dvec u[P];
        F::filter(&t[0][j], P, u, 1);
        for (int i = 0; i < P; ++i) store(to + (i * P + j) * plane, __builtin_convertvector(u[i], vec));
      }
    }
}

// The inputs of tiles [first, last) of a chunk.
template <class F, class Source, class Layout>
void transform_inputs(const ConvShape& s, const Chunk<F>& chunk, long first, long last, const Source& x,
                      const Layout& planes, int first_plane) {
  Place at(chunk, first);
  for (long t = first; t < last; ++t, at.next())
    by_shape(at, [&](auto down, auto across) {
      transform_input<decltype(down), decltype(across)>(s, at, x, planes, first_plane, at.row());
    });
}

// The outputs of `count` tiles, from `at` on.
template <class F, class T>
void transform_outputs(const ConvShape& s, Place<F>& at, long count, const Planes& planes, long k_begin, long k_end,
                       const Epilogue<T>& epilogue, T* y, bool streams, ChunkSums* sums) {
  for (long t = 0; t < count; ++t, at.next())
    by_shape(at, [&](auto down, auto across) {
      transform_output<decltype(down), decltype(across)>(s, at, planes, at.row(), k_begin, k_end, epilogue, y, streams,
                                                         sums);
    });
}

// What the weight gradient multiplies, of tiles [first, last) of a chunk.
template <class F, class Source, class T>
void transform_factors(const ConvShape& s, const Chunk<F>& chunk, long first, long last, const Source& x, const T* dy,
                       const Panels& V, const Panels& Y) {
  Place at(chunk, first);
  for (long t = first; t < last; ++t, at.next())
    by_shape(at, [&](auto down, auto across) {
      transform_input<decltype(down), decltype(across)>(s, at, x, V, 0, at.row());
      transform_gradient<decltype(down), decltype(across)>(s, at, dy, Y, at.row());
    });
}

template <class T>
bool can_stream(const ConvShape& s, const T* y) {
  const long line = LINE * sizeof(float);  // in bytes
  return streamed<T>(s.n * s.oh * s.ow * s.k) && s.k * sizeof(T) % line == 0 && (uintptr_t)y % line == 0;
}

// All filters transformed: planes (c, k) of the points, k in panels.
template <class F>
long transformed_size(const ConvShape& s) {
  return F::P * F::P * s.c * round_up(s.k, W);
}
template <class F>
void transform_all_filters(const ConvShape& s, const float* w, float* U) {
  const long panels = (s.k + PANEL - 1) / PANEL, plane = s.c * round_up(s.k, W);
  parallel_for(panels * s.c, larger(1, 16384 / smaller(s.k, PANEL)), [&](long begin, long end, int) {
    for (long panel = begin / s.c; panel * s.c < end; ++panel)
      transform_filters<F>(s.c, s.k, w, panel * PANEL, larger(begin - panel * s.c, 0), smaller(end - panel * s.c, s.c),
                           plane, U + panel * PANEL * s.c);
  });
}

// With all filters transformed: a few tiles at a time are transformed, multiplied and transformed back while they stay
// in the L2 cache.
template <class F, class Source, class T>
void convolve_tiles(const ConvShape& s, const Source& x, const float* U, long part, const Epilogue<T>& epilogue, T* y,
                    const Statistics* of_y) {
  constexpr int POINTS = F::P * F::P;
  const Tiles<F> tiles(s);
  const long cs = round_up(s.c, W), ks = round_up(s.k, W), stride = larger(cs, ks);
  const int most = threads();
  const long parts = of_y ? 8 : most;  // statistics do not depend on the number of threads
  const long rounds = (tiles.count + parts * CHUNK - 1) / (parts * CHUNK);  // as even as can be
  const long chunk = larger(1, (tiles.count + parts * rounds - 1) / larger(1, parts * rounds));
  const long count_of_chunks = (tiles.count + chunk - 1) / chunk;
  // one plane more than points: the product of point p goes where the input of point p - 1 was
  const long planes_size = (POINTS + 1) * Planes::size(stride, chunk), work = planes_size + (of_y ? 3 * ks : 0);
  Scratch scratch(work * most);
  ChunkStatistics statistics(of_y ? count_of_chunks : 0, s.k);
  const bool streams = can_stream(s, y);
  const bool once = count_of_chunks <= most;  // the filters are read once, from memory: not again from a cache
  parallel_items(count_of_chunks, most, [&](long item, int thread) {
    const Chunk own(tiles, item * chunk, smaller(chunk, tiles.count - item * chunk));
    const Planes planes(scratch.data() + thread * work, stride, chunk);
    transform_inputs(s, own, 0, own.count, x, planes, 1);
    for (int p = 0; p < POINTS; ++p) {
      const auto rows = own.with(p);
      for (long k = 0; k < s.k; k += PANEL) {
        const long width = smaller(PANEL, ks - k);
        Walk walk{s.c, stride, 1, width};
        if (once) walk.ahead = s.c * width;
        walk.part = part;
        product(walk, rows.count, width, planes.at(p + 1, rows.first, 0), U + p * s.c * ks + k * s.c,
                planes.at(p, rows.first, k), stride, Begin::zero);
      }
    }
    ChunkSums sums(planes.data + planes_size, s.k);
    Place at(own);
    transform_outputs(s, at, own.count, planes, 0, s.k, epilogue, y, streams, of_y ? &sums : nullptr);
    if (of_y) statistics.put(item, sums, 0, s.k);
    if (streams) stream_end();
  });
  if (of_y) statistics.total(count_of_chunks, s.k, *of_y);
}

// Filters too large for the caches when they are transformed: the tiles are transformed first, many at once,
// and each thread takes a panel of filters at a time, which is multiplied with all of them. Where U is null, it
// transforms the panel first, and forgets it.
template <class F, class Source, class T>
void convolve_panels(const ConvShape& s, const Source& x, const float* w, const float* U, long part,
                     const Epilogue<T>& epilogue, T* y, const Statistics* of_y) {
  constexpr int POINTS = F::P * F::P;
  const Tiles<F> tiles(s);
  const long cs = round_up(s.c, W), ks = round_up(s.k, W), panels = (s.k + PANEL - 1) / PANEL;
  const long fits = larger(1, (12L << 20) / (4 * POINTS * cs));  // tiles whose planes stay in the last cache
  const long phases = (tiles.count + fits - 1) / fits, chunk = larger(1, (tiles.count + phases - 1) / larger(phases, 1));
  const long filters_size = U ? 0 : POINTS * s.c * PANEL, products_size = POINTS * Planes::size(PANEL, chunk);
  const long work = filters_size + products_size + 3 * PANEL;
  const int most = threads();
  Scratch inputs(POINTS * Planes::size(cs, chunk)), scratch(work * most);
  const long per_phase = (chunk + CHUNK - 1) / CHUNK;  // chunks of statistics
  const long count_of_chunks = tiles.count / chunk * per_phase + (tiles.count % chunk + CHUNK - 1) / CHUNK;
  ChunkStatistics statistics(of_y ? count_of_chunks : 0, s.k);
  const Planes V(inputs.data(), cs, chunk);
  const bool streams = can_stream(s, y);
  for (long begin = 0; begin < tiles.count; begin += chunk) {
    const Chunk all(tiles, begin, smaller(chunk, tiles.count - begin));
    parallel_for(all.count, 4, [&](long first, long last, int) { transform_inputs(s, all, first, last, x, V, 0); });
    parallel_items(panels, most, [&](long item, int thread) {
      const long panel = item * PANEL, width = smaller(PANEL, ks - panel), end = smaller(panel + PANEL, s.k);
      float* own = scratch.data() + thread * work;
      const Planes products(own + filters_size, width, chunk);
      if (!U) transform_filters<typename F::Whole>(s.c, s.k, w, panel, 0, s.c, s.c * width, own);
      const float* filters = U ? U + panel * s.c : own;
      const long plane = s.c * (U ? ks : width);
      Walk walk{s.c, cs, 1, width};
      walk.part = part;
      for (int p = 0; p < POINTS; ++p) {
        const auto rows = all.with(p);
        product(walk, rows.count, width, V.at(p, rows.first, 0), filters + p * plane, products.at(p, rows.first, 0), width,
                Begin::zero);
      }
      Place at(all);
      for (long t = 0; t < all.count; t += CHUNK) {
        ChunkSums sums(own + filters_size + products_size, PANEL);
        const long count = smaller(CHUNK, all.count - t);
        transform_outputs(s, at, count, products, panel, end, epilogue, y, streams, of_y ? &sums : nullptr);
        if (of_y) statistics.put(begin / chunk * per_phase + t / CHUNK, sums, panel, end);
      }
      if (streams) stream_end();
    });
  }
  if (of_y) statistics.total(count_of_chunks, s.k, *of_y);
}

// Whether threads are to divide filters instead of tiles. The sums of statistics are taken in another order then, and that
// must not depend on the number of threads.
template <class F>
bool by_panels(const ConvShape& s, bool statistics) {
  return 4 * transformed_size<F>(s) > (16L << 20) && s.k >= (statistics ? 4 : threads()) * PANEL;
}

// The forward convolution, also of gradients: w is (R, R, c, k).
template <class F, class Source, class T>
void convolve(const ConvShape& s, const Source& x, const float* w, long part, const Epilogue<T>& epilogue, T* y,
              const Statistics* of_y) {
  if (by_panels<F>(s, of_y)) return convolve_panels<F>(s, x, w, nullptr, part, epilogue, y, of_y);
  Scratch U(transformed_size<F>(s));
  transform_all_filters<typename F::Whole>(s, w, U.data());
  convolve_tiles<F>(s, x, U.data(), part, epilogue, y, of_y);
}

// Numbers from one point of the gradient of transformed filters to the next, not of the same lines of the cache.
long sums_plane(const ConvShape& s) { return s.c * round_up(s.k, W) + LINE; }

// dw = G^T u G of filters [c_begin, c_end); u holds a plane of (c, ks) for every point.
template <class F>
void transform_filter_gradient(const ConvShape& s, long c_begin, long c_end, const float* u, long ks, float* dw) {
  constexpr int P = F::P, R = F::R;
  const long plane = sums_plane(s);
  for (long c = c_begin; c < c_end; ++c)
    for (long k = 0; k < s.k; k += W) {
      vec t[P][R], g[R][R];
      for (int i = 0; i < P; ++i) {
        vec m[P];
        for (int j = 0; j < P; ++j) m[j] = load(u + (i * P + j) * plane + c * ks + k);
        F::filter_transposed(m, 1, t[i], 1);
      }
      for (int j = 0; j < R; ++j) F::filter_transposed(&t[0][j], R, &g[0][j], R);
      for (int i = 0; i < R; ++i)
        for (int j = 0; j < R; ++j) {
          float* p = dw + ((i * R + j) * s.c + c) * s.k + k;
          if (s.k - k >= W)
            store(p, g[i][j]);
          else
            store(p, g[i][j], s.k - k);
        }
    }
}

// u[point] (+)= V[point]^T Y[point] for channels [c, c + channels), summed over the chunk's tiles that have the point.
template <class F>
void outer_product(const Chunk<F>& chunk, const Panels& V, const Panels& Y, int point, long c, long channels, long k,
                   float* u, const Begin& begin) {
  const auto rows = chunk.with(point);
  for (long i = c; i < c + channels;) {
    const long end = smaller(c + channels, (i / PANEL + 1) * PANEL);  // of the panel of V
    for (long j = 0; j < k; j += PANEL)
      product({rows.count, 1, V.width(i), Y.width(j)}, end - i, smaller(PANEL, k - j), V.at(point, rows.first, i),
              Y.at(point, rows.first, j), u + (i - c) * k + j, k, begin);
    i = end;
  }
}

// Few channels: every thread has sums of its own, of the tiles of its share; they are added up at the end.
template <class F, class Source, class T>
void backward_weight_private(const ConvShape& s, const T* dy, const Source& x, float* dw) {
  constexpr int POINTS = F::P * F::P;
  const Tiles<F> tiles(s);
  const long cs = round_up(s.c, W), ks = round_up(s.k, W), plane = sums_plane(s), sums = POINTS * plane;
  // sums that leave room for the tiles in the L2 cache are read and written often, others seldom
  const long bytes = 4 * sums <= (192L << 10) ? 384L << 10 : 1536L << 10, fits = bytes / (4 * POINTS * (cs + ks));
  const long chunk = smaller(larger(fits, sums * 4 > (1L << 20) ? 64 : CHUNK), tiles.count);
  const long chunks = (tiles.count + chunk - 1) / chunk;
  const long v_size = POINTS * Planes::size(cs, chunk), y_size = POINTS * Planes::size(ks, chunk);
  const long parts = smaller(threads(), chunks);
  Scratch accumulators(sums * parts), scratch((v_size + y_size) * parts);
  parallel_shares(chunks, (int)parts, [&](long first, long last, int thread) {
    const Panels V(scratch.data() + thread * (v_size + y_size), cs, chunk), Y(V.data + v_size, ks, chunk);
    float* u = accumulators.data() + thread * sums;
    for (long item = first; item < last; ++item) {
      const Chunk own(tiles, item * chunk, smaller(chunk, tiles.count - item * chunk));
      transform_factors(s, own, 0, own.count, x, dy, V, Y);
      for (int p = 0; p < POINTS; ++p)
        outer_product(own, V, Y, p, 0, s.c, ks, u + p * plane, item == first ? Begin::zero : Begin::previous);
    }
  });
  for (long part = 1; part < parts; ++part) {
    const float* from = accumulators.data() + part * sums;
    float* to = accumulators.data();
    parallel_for(sums / W, 4096, [&](long begin, long end, int) {
      for (long i = begin * W; i < end * W; i += W) store(to + i, load(to + i) + load(from + i));
    });
  }
  parallel_for(s.c, larger(1, 8192 / s.k), [&](long begin, long end, int) {
    transform_filter_gradient<typename F::Whole>(s, begin, end, accumulators.data(), ks, dw);
  });
}

// Many channels: the tiles of a phase are transformed by all threads; then each takes blocks of channels.
template <class F, class Source, class T>
void backward_weight_shared(const ConvShape& s, const T* dy, const Source& x, float* dw) {
  constexpr int POINTS = F::P * F::P;
  const Tiles<F> tiles(s);
  const long cs = round_up(s.c, W), ks = round_up(s.k, W), plane = sums_plane(s);
  // few phases, for each reads and writes all sums, but short enough for their tiles to stay in the last cache
  const long tiles_bytes = 4 * POINTS * (cs + ks) * tiles.count, most = larger(8L << 20, 4 * POINTS * plane);
  const long phases = (tiles_bytes + most - 1) / most;
  const long chunk = (tiles.count + phases - 1) / phases;
  // of one point, rows of sums that stay in the L2 cache with the tiles that they are sums over
  const long rows = smaller(cs, larger(PANEL, (128L << 10) / (4 * ks) / PANEL * PANEL)), blocks = (s.c + rows - 1) / rows;
  Scratch v(POINTS * Planes::size(cs, chunk)), y(POINTS * Planes::size(ks, chunk)), sums(POINTS * plane);
  const int all = threads();
  const Panels V(v.data(), cs, chunk), Y(y.data(), ks, chunk);
  for (long phase = 0; phase < phases; ++phase) {
    const Chunk own(tiles, phase * chunk, smaller(chunk, tiles.count - phase * chunk));
    parallel_items((own.count + 7) / 8, all, [&](long item, int) {
      transform_factors(s, own, item * 8, smaller(item * 8 + 8, own.count), x, dy, V, Y);
    });
    parallel_items(POINTS * blocks, all, [&](long item, int) {
      const long point = item / blocks, c = item % blocks * rows;
      outer_product(own, V, Y, (int)point, c, smaller(rows, s.c - c), ks, sums.data() + point * plane + c * ks,
                    phase ? Begin::previous : Begin::zero);
    });
  }
  parallel_for(s.c, larger(1, 8192 / s.k), [&](long begin, long end, int) {
    transform_filter_gradient<typename F::Whole>(s, begin, end, sums.data(), ks, dw);
  });
}

template <class F, class Source, class T>
void backward_weight(const ConvShape& s, const T* dy, const Source& x, float* dw) {
  if (s.n == 0) {
    for (long i = 0; i < F::R * F::R * s.c * s.k; ++i) dw[i] = 0;
    return;
  }
  const long sums = 4 * F::P * F::P * s.c * round_up(s.k, W);
  if (sums <= (36L * 128 * 128 * 4))
    backward_weight_private<F>(s, dy, x, dw);
  else
    backward_weight_shared<F>(s, dy, x, dw);
}

// (taps, c, k) -> (taps, k, c), the taps in the opposite order.
void turn_filters(long taps, long c, long k, const float* w, float* to) {
  const long strips = (c + SIDE - 1) / SIDE;
  parallel_for(taps * strips, larger(1, 4096 / (k * SIDE)), [&](long begin, long end, int) {
    for (long i = begin; i < end; ++i) {
      const long tap = i / strips, first = i % strips * SIDE;
      transpose(smaller(SIDE, c - first), k, w + (tap * c + first) * k, k, to + (taps - 1 - tap) * c * k + first, c);
    }
  });
}

// How far the first gradient of outputs that the first pixel's depends on lies before them. At stride 2 that is one where
// there is no padding, as the first pixel would have two taps.
long padding_backward(long stride, long taps, long padding) {
  return stride == 2 ? padding == 0 : taps - 1 - padding;
}

template <class F, class T>
void backward_input(const ConvShape& s, const T* dy, const float* w, const T* add, T* dx) {
  constexpr int TAPS = F::R * F::R;
  Scratch turned(TAPS * s.c * s.k);
  turn_filters(TAPS, s.c, s.k, w, turned.data());
  ConvShape back = s;
  back.h = s.oh, back.w = s.ow, back.c = s.k;
  back.oh = s.h, back.ow = s.w, back.k = s.c;
  back.top = padding_backward(s.sh, F::R, s.top), back.left = padding_backward(s.sw, F::R, s.left);
  convolve<F>(back, Images<T>{dy}, turned.data(), part_backward(back.c), Epilogue<T>{nullptr, add, false}, dx, nullptr);
}

// Calls work(transform) with that of whole tiles of these filters.
template <class Work>
void with_transform(const ConvShape& s, int tile, const Work& work) {
  if (s.kh == 5) return work(F2x5());
  if (s.sh == 2) return work(F4x3Strided());
  tile == 4 ? work(F4x3()) : work(F2x3());
}

// What tiles of 4 leave of `rows` or `columns`, if short ones can be of that size; in doubt, of columns.
int left_of_four(long rows, long columns) { return columns % 4 >= 2 ? columns % 4 : rows % 4; }

// Calls work(transforms) with those of whole and of short tiles, for so many outputs.
template <class Work>
void with_transforms(const ConvShape& s, int tile, long rows, long columns, const Work& work) {
  const int left = s.kh == 3 && s.sh == 1 && tile == 4 ? left_of_four(rows, columns) : 0;
  if (left == 3) return work(Transforms<F4x3, F3of4>());
  if (left == 2) return work(Transforms<F4x3, F2of4>());
  with_transform(s, tile, [&](auto transform) { work(Transforms<decltype(transform)>()); });
}

}  // namespace

template <class T>
void winograd(const ConvShape& s, int tile, const T* x, const Normalization* f, const float* w, const float* b, T* y,
              const Statistics* of_y) {
  const Epilogue<T> epilogue{b, nullptr, false};
  with_images(s.n * s.h * s.w, s.c, x, f, [&](const auto& images) {
    with_transforms(s, tile, s.oh, s.ow, [&](auto transforms) {
      convolve<decltype(transforms)>(s, images, w, part_forward(s.c), epilogue, y, of_y);
    });
  });
  if (of_y && any_overflows(s.k, of_y->var)) batch_norm_statistics(s.n * s.oh * s.ow, s.k, y, of_y->mean, of_y->var);
}

template <class T>
void winograd_backward_input(const ConvShape& s, int tile, const T* dy, const float* w, const T* add, T* dx) {
  const auto work = [&](auto transforms) { backward_input<decltype(transforms)>(s, dy, w, add, dx); };
  if (s.sh == 1) return with_transforms(s, tile, s.h, s.w, work);
  s.top % 2 ? work(Transforms<Gradient8x3Strided<false>>()) : work(Transforms<Gradient8x3Strided<true>>());
}

template <class T>
void winograd_backward_weight(const ConvShape& s, int tile, const T* dy, const T* x, const Normalization* f,
                              float* dw) {
  with_images(s.n * s.h * s.w, s.c, x, f, [&](const auto& images) {
    with_transforms(s, tile, s.oh, s.ow,
                    [&](auto transforms) { backward_weight<decltype(transforms)>(s, dy, images, dw); });
  });
}

void winograd_packed_size(const ConvShape& s, int tile, long* size) {
  with_transform(s, tile, [&](auto transform) { *size = transformed_size<decltype(transform)>(s); });
}

void winograd_pack(const ConvShape& s, int tile, const float* w, float* packed) {
  with_transform(s, tile, [&](auto transform) { transform_all_filters<decltype(transform)>(s, w, packed); });
}

void winograd_packed(const ConvShape& s, int tile, const float* x, const float* packed, const float* b,
                     const float* add, bool relu, float* y) {
  const Epilogue<float> epilogue{b, add, relu};
  with_transforms(s, tile, s.oh, s.ow, [&](auto transforms) {
    typedef decltype(transforms) F;
    if (by_panels<F>(s, false))
      convolve_panels<F>(s, Images<float>{x}, nullptr, packed, part_forward(s.c), epilogue, y, nullptr);
    else
      convolve_tiles<F>(s, Images<float>{x}, packed, part_forward(s.c), epilogue, y, nullptr);
  });
}

HG_WINOGRAD_KERNELS(HG_INSTANTIATE, float)
HG_WINOGRAD_KERNELS(HG_INSTANTIATE, bf16)

}  // namespace handgrad::HG_ISA
