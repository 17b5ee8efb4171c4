// The tiles of a Winograd convolution: where they lie, in which order they are computed, and what is done with one.
//
// Where tiles of 4 x 4 outputs do not divide an image, the last one of a row or of a column of tiles is a short one if
// 3 or 2 outputs are left. It has some of the points of a whole tile, and multiplies with the same filters: of 7 x 7
// outputs, 121 products for each pair of channels instead of 144.
#pragma once

#include <type_traits>

#include "conv.h"
#include "images.h"
#include "moments.h"
#include "product.h"
#include "transform.h"

namespace handgrad::HG_ISA {

// The transforms of a convolution: of whole tiles, and of short ones.
template <class WholeTile, class ShortTile = WholeTile>
struct Transforms : WholeTile {
  typedef WholeTile Whole;
  typedef ShortTile Short;
  static constexpr bool mixed = !std::is_same_v<Whole, Short>;
};

// Shapes of tiles, in the order in which a chunk holds them: those that have a point lie side by side.
enum TileShape { NARROW, WHOLE, LOW, SMALL, SHAPES };

template <class F>
struct Tiles {
  static constexpr int M = F::M;
  long down, across, per_image, count;
  bool low, narrow;  // whether the last row of tiles is of short ones, and the last column
  explicit Tiles(const ConvShape& s)
      : down((s.oh + M - 1) / M),
        across((s.ow + M - 1) / M),
        per_image(down * across),
        count(s.n * per_image),
        low(F::mixed && s.oh % M == F::Short::M),
        narrow(F::mixed && s.ow % M == F::Short::M) {}

  // How many of the first t tiles are of a shape.
  long among(long t, TileShape shape) const {
    const long in_last_column = narrow ? t / across : 0, in_both = low && narrow ? t / per_image : 0;
    const long in_last_row = low ? t / per_image * across + larger(0, t % per_image - (down - 1) * across) : 0;
    switch (shape) {
      case NARROW: return in_last_column - in_both;
      case LOW: return in_last_row - in_both;
      case SMALL: return in_both;
      default: return t - in_last_row - in_last_column + in_both;
    }
  }
};

// Tiles [begin, begin + count), which are computed together: a row of the planes for each, ordered by their shapes.
template <class F>
class Chunk {
 public:
  const Tiles<F>& tiles;
  const long begin, count;

  Chunk(const Tiles<F>& tiles, long begin, long count) : tiles(tiles), begin(begin), count(count), first_{} {
    for (int shape = 0; shape < SHAPES; ++shape)
      first_[shape + 1] = first_[shape] + tiles.among(begin + count, (TileShape)shape) - tiles.among(begin, (TileShape)shape);
  }

  // The row of the first tile of a shape among those from the i-th on.
  long row(TileShape shape, long i) const {
    return first_[shape] + tiles.among(begin + i, shape) - tiles.among(begin, shape);
  }

  // The rows of tiles that have a point.
  struct Rows {
    long first, count;
  };
  Rows with(int point) const {
    const bool low = in_short(point / F::P), narrow = in_short(point % F::P);  // whether such tiles have it
    const long first = first_[narrow ? NARROW : WHOLE], end = first_[!low ? LOW : !narrow ? SMALL : SHAPES];
    return {first, end - first};
  }

 private:
  static bool in_short(int i) { return i < F::Short::P - 1 || i == F::P - 1; }
  long first_[SHAPES + 1];
};

// The first output of a tile.
struct Corner {
  long image, p, q;
};

// A tile of a chunk, from the i-th on one after another, by rows of an image.
template <class F>
class Place : public Corner {
 public:
  explicit Place(const Chunk<F>& chunk, long i = 0) : tiles_(chunk.tiles) {
    const long t = chunk.begin + i;
    image = t / tiles_.per_image;
    p = t % tiles_.per_image / tiles_.across * F::M;
    q = t % tiles_.across * F::M;
    for (int shape = 0; shape < SHAPES; ++shape) rows_[shape] = chunk.row((TileShape)shape, i);
  }
  // Its row in the planes of the chunk.
  long row() const { return rows_[shape()]; }
  TileShape shape() const {
    const bool low = tiles_.low && p == (tiles_.down - 1) * F::M;
    const bool narrow = tiles_.narrow && q == (tiles_.across - 1) * F::M;
    return low ? narrow ? SMALL : LOW : narrow ? NARROW : WHOLE;
  }
  void next() {
    ++rows_[shape()];
    if ((q += F::M) < tiles_.across * F::M) return;
    q = 0;
    if ((p += F::M) < tiles_.down * F::M) return;
    p = 0;
    ++image;
  }

 private:
  const Tiles<F>& tiles_;
  long rows_[SHAPES];
};

// Calls work(down, across) with the transforms of the tile's columns and rows.
template <class F, class Work>
HG_INLINE void by_shape(const Place<F>& at, const Work& work) {
  typedef typename F::Whole Whole;
  typedef typename F::Short Short;
  if constexpr (!F::mixed)
    work(Whole(), Whole());
  else
    switch (at.shape()) {
      case NARROW: return work(Whole(), Short());
      case LOW: return work(Short(), Whole());
      case SMALL: return work(Short(), Short());
      default: return work(Whole(), Whole());
    }
}

// Which point of a whole tile the point (i, j) of one with these transforms is.
template <class D, class A>
constexpr int point(int i, int j) {
  return D::point(i) * A::ALL + A::point(j);
}

// Transformed tiles: a plane for each point, in it a row for each tile. A vector lies between planes, so that
// they do not meet in the same lines of the cache.
struct Planes {
  float* data;
  long stride, plane;
  Planes(float* data, long stride, long tiles) : data(data), stride(stride), plane(size(stride, tiles)) {}
  static long size(long stride, long tiles) { return stride * tiles + W; }
  float* at(int point, long tile, long column) const { return data + point * plane + tile * stride + column; }
};

// The same in panels: PANEL columns of all tiles side by side, as sums over tiles read them.
struct Panels {
  float* data;
  long columns, tiles, plane;
  Panels(float* data, long columns, long tiles)
      : data(data), columns(columns), tiles(tiles), plane(Planes::size(columns, tiles)) {}
  long width(long column) const { return smaller(PANEL, columns - column / PANEL * PANEL); }
  float* at(int point, long tile, long column) const {
    const long panel = column / PANEL * PANEL;
    return data + point * plane + panel * tiles + tile * width(column) + (column - panel);
  }
};

// Part of the numbers of a row of channels: those that are left, W at most.
template <class T>
HG_INLINE vec load_some(const T* p, long left) {
  return left >= W ? load(p) : load(p, left);
}
template <class T>
HG_INLINE void store_some(T* p, vec v, long left) {
  left >= W ? store(p, v) : store(p, v, left);
}

// Rows [r, r + N) and columns of a tile, as far as they are on an image: [begin, end) of 0..N.
template <int N>
struct Range {
  long begin, end;
  Range(long first, long size) : begin(larger(0, -first)), end(smaller(N, size - first)) {}
  bool whole() const { return begin == 0 && end == N; }
};

// V = B^T d B of one tile, all channels, in a row of the planes from `first` on; pixels outside the image are 0.
template <class D, class A, class Source, class Layout>
void transform_input(const ConvShape& s, const Corner& at, const Source& x, const Layout& planes, int first, long row) {
  // what stays the same stands in locals: a store to the planes could change anything else, for all that is known
  const long r = D::pixel(at.p) - s.top, q = A::pixel(at.q) - s.left;
  const long channels = s.c, line = s.w * s.c, plane = planes.plane;
  const Range<D::D> rows(r, s.h);
  const Range<A::D> columns(q, s.w);
  const bool inside = rows.whole() && columns.whole();
  const auto* corner = x.data + ((at.image * s.h + r) * s.w + q) * channels;
  for (long c = 0; c < channels; c += W) {
    const long left = channels - c;
    const auto read = x.channels(c);
    float* to = planes.at(first, row, c);
    vec v[D::D][A::P];
    if (inside && left >= W) {
      const auto* pixels = corner + c;
#pragma GCC unroll 1
      for (int i = 0; i < D::D; ++i, pixels += line) {
        if (c % LINE == 0)  // of the next tile
          for (int j = A::D; j < A::D + A::pixel(A::M); ++j) prefetch(pixels + j * channels);
        vec d[A::D];
        const auto* pixel = pixels;
        for (int j = 0; j < A::D; ++j, pixel += channels) d[j] = read(load(pixel));
        A::input(d, 1, v[i], 1);
      }
    } else {
#pragma GCC unroll 1
      for (long i = 0; i < D::D; ++i) {
        vec d[A::D];
        const auto* pixels = corner + i * line + c;
        const bool on_image = i >= rows.begin && i < rows.end;
#pragma GCC unroll 9
        for (int j = 0; j < A::D; ++j)
          d[j] = on_image && j >= columns.begin && j < columns.end ? read(load_some(pixels + j * channels, left)) : vec{};
        A::input(d, 1, v[i], 1);
      }
    }
    for (int j = 0; j < A::P; ++j) {
      vec o[D::P];
      D::input(&v[0][j], A::P, o, 1);
      for (int i = 0; i < D::P; ++i) store(to + point<D, A>(i, j) * plane, o[i]);
    }
  }
}

// Y = A dy A^T of one tile, all filters, in a row of the planes; outputs outside the image are 0.
template <class D, class A, class T>
void transform_gradient(const ConvShape& s, const Corner& at, const T* dy, const Panels& planes, long row) {
  const long filters = s.k, line = s.ow * s.k, plane = planes.plane;
  const Range<D::M> rows(at.p, s.oh);
  const Range<A::M> columns(at.q, s.ow);
  const bool inside = rows.whole() && columns.whole();
  const T* corner = dy + ((at.image * s.oh + at.p) * s.ow + at.q) * filters;
  for (long k = 0; k < filters; k += W) {
    const long left = filters - k;
    float* to = planes.at(0, row, k);
    vec d[D::M][A::M], v[D::M][A::P];
    if (inside && left >= W) {
      for (int i = 0; i < D::M; ++i)
        for (int j = 0; j < A::M; ++j) d[i][j] = load(corner + i * line + j * filters + k);
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < D::M; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < A::M; ++j)
          d[i][j] = i < rows.end && j < columns.end ? load_some(corner + i * line + j * filters + k, left) : vec{};
    }
    for (int i = 0; i < D::M; ++i) A::output_transposed(d[i], 1, v[i], 1);
    for (int j = 0; j < A::P; ++j) {
      vec o[D::P];
      D::output_transposed(&v[0][j], A::P, o, 1);
      for (int i = 0; i < D::P; ++i) store(to + point<D, A>(i, j) * plane, o[i]);
    }
  }
}

// y = A^T m A of W filters of one tile; `from` is where the product's first point is.
template <class D, class A>
HG_INLINE void output_tile(const float* from, long plane, vec o[D::M][A::M]) {
  vec t[D::M][A::P];
  for (int j = 0; j < A::P; ++j) {
    vec m[D::P];
    for (int i = 0; i < D::P; ++i) m[i] = load(from + point<D, A>(i, j) * plane);
    D::output(m, 1, &t[0][j], A::P);
  }
  for (int i = 0; i < D::M; ++i) A::output(t[i], 1, o[i], 1);
}

// What is done with outputs before they are written: a bias and an array of y's shape are added, if not null; then, with
// `relu`, what is negative becomes 0.
template <class T>
struct Epilogue {
  const float* b;
  const T* add;
  bool relu;
};

// The outputs of one tile, filters [k_begin, k_end), from a row of the planes. Planes and sums begin at k_begin; sums, of
// what has no ReLU, may be null.
template <class D, class A, class T>
void transform_output(const ConvShape& s, const Corner& at, const Planes& planes, long row, long k_begin, long k_end,
                      const Epilogue<T>& epilogue, T* y, bool streams, ChunkSums* sums) {
  const long filters = s.k, line = s.ow * s.k, plane = planes.plane;
  const long corner = ((at.image * s.oh + at.p) * s.ow + at.q) * filters;
  const Range<D::M> rows(at.p, s.oh);
  const Range<A::M> columns(at.q, s.ow);
  const bool inside = rows.whole() && columns.whole();
  const auto outputs = [&](long k, vec o[D::M][A::M]) {
    output_tile<D, A>(planes.at(0, row, k - k_begin), plane, o);
    if (epilogue.b) {
      const vec bias = load_some(epilogue.b + k, filters - k);
      for (int i = 0; i < D::M; ++i)
        for (int j = 0; j < A::M; ++j) o[i][j] += bias;
    }
    if (sums) {
      if (inside)
        sums->add<A::M>(o, D::M, A::M, k - k_begin);
      else
        sums->add<A::M>(o, rows.end, columns.end, k - k_begin);
    }
  };
  const T* add = epilogue.add;
  const bool rectified = epilogue.relu;
  const auto rectify = [=](vec v) HG_INLINE_LAMBDA { return rectified ? relu(v) : v; };
  const auto added = [=](long place, vec v) { return rectify(add ? v + load(add + place) : v); };
  long k = k_begin;
  constexpr int line_of_T = LINE * (int)(sizeof(float) / sizeof(T));
  if (streams)  // a line of the cache at a time, as stores past it must
    for (; k + line_of_T <= k_end; k += line_of_T) {
      vec o[line_of_T / W][D::M][A::M];
      for (int v = 0; v < line_of_T / W; ++v) outputs(k + v * W, o[v]);
      const auto write = [&](int i, int j) {
        for (int v = 0; v < line_of_T / W; ++v) {
          const long place = corner + i * line + j * filters + k + v * W;
          stream(y + place, added(place, o[v][i][j]));
        }
      };
#pragma GCC unroll 4
      for (int i = 0; i < D::M; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < A::M; ++j)
          if (inside || (i < rows.end && j < columns.end)) write(i, j);
    }
  for (; k < k_end; k += W) {
    const long left = filters - k;
    vec o[D::M][A::M];
    outputs(k, o);
    if (inside && left >= W) {
      for (int i = 0; i < D::M; ++i)
        for (int j = 0; j < A::M; ++j) {
          const long place = corner + i * line + j * filters + k;
          store(y + place, added(place, o[i][j]));
        }
    } else {
      for (long i = 0; i < rows.end; ++i)
        for (long j = 0; j < columns.end; ++j) {
          const long place = corner + i * line + j * filters + k;
          store_some(y + place, rectify(add ? o[i][j] + load_some(add + place, left) : o[i][j]), left);
        }
    }
  }
  if (sums) sums->count += rows.end * columns.end;
}

}  // namespace handgrad::HG_ISA
