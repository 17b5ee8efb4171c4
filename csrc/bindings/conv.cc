#include "bindings.h"

namespace handgrad::bindings {

namespace {

// The last row of padding that a window at the last place reaches, below or to the right.
long padding_after(long size, long places, long taps, long stride, long dilation, long before) {
  return (places - 1) * stride + (taps - 1) * dilation + 1 - size - before;
}

ConvShape conv_shape(const std::vector<long>& v) {
  check_length(v, 16);
  const ConvShape s = {v[0], v[1], v[2],  v[3],  v[4],  v[5],  v[6],  v[7],
                       v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15]};
  check_sizes("shape", {s.n, s.top, s.left}, 0);
  check_sizes("shape", {s.h, s.w, s.c, s.oh, s.ow, s.k, s.kh, s.kw, s.sh, s.sw, s.dh, s.dw, s.groups}, 1);
  if (s.c % s.groups || s.k % s.groups)
    refuse("shape", "channels that " + std::to_string(s.groups) + " groups divide",
           std::to_string(s.c) + " and " + std::to_string(s.k));
  const long below = padding_after(s.h, s.oh, s.kh, s.sh, s.dh, s.top);
  const long right = padding_after(s.w, s.ow, s.kw, s.sw, s.dw, s.left);
  require(below > -s.sh && right > -s.sw, "shape", "as many places as fit", "fewer");
  const long rows = std::max({s.h + s.top + below, s.h, s.sh}), columns = std::max({s.w + s.left + right, s.w, s.sw});
  check_sizes("shape", {rows, columns}, 1);
  check_product("shape", {std::max(1L, s.n), rows, columns, s.c + s.k});
  check_product("shape", {s.kh, s.kw, s.c, s.k});
  return s;
}

// `tile` as of Winograd's algorithm, or 0.
void check_tile(const ConvShape& s, int tile) {
  if (!tile) return;
  const bool even = s.kh == s.kw && s.sh == s.sw && s.dh == 1 && s.dw == 1 && s.groups == 1;
  const bool known = even && ((s.kh == 3 && s.sh == 1 && (tile == 2 || tile == 4)) ||
                              (s.kh == 5 && s.sh == 1 && tile == 2) ||
                              (s.kh == 3 && s.sh == 2 && tile == 4 && s.top % 2 == s.left % 2));
  const long below = padding_after(s.h, s.oh, s.kh, s.sh, s.dh, s.top);
  const long right = padding_after(s.w, s.ow, s.kw, s.sw, s.dw, s.left);
  const bool near = s.top < s.kh && s.left < s.kw && below < s.kh && right < s.kw;
  require(known && near, "tile", "0, or one of Winograd's algorithm that fits", std::to_string(tile).c_str());
}

template <class Array>
void check_images(const char* name, const ConvShape& s, const Array& a) {
  check_shape(name, a, {s.n, s.h, s.w, s.c});
}
template <class Array>
void check_outputs(const char* name, const ConvShape& s, const Array& a) {
  check_shape(name, a, {s.n, s.oh, s.ow, s.k});
}
template <class Array>
void check_filters(const char* name, const ConvShape& s, const Array& a) {
  check_shape(name, a, {s.kh, s.kw, s.c / s.groups, s.k});
}

void check_normalization(const ConvShape& s, const Doubles& mean, const Doubles& scale,
                         const std::optional<Floats>& gamma, const std::optional<Floats>& beta) {
  require(mean.has_value() == scale.has_value() && (mean || (!gamma && !beta)), "mean", "s beside it", "one of both");
  check_shape("mean", mean, {s.c}), check_shape("s", scale, {s.c});
  check_shape("gamma", gamma, {s.c}), check_shape("beta", beta, {s.c});
}

template <class T>
void bind_typed(nb::class_<Kernels>& table) {
  table.def(
      "conv2d",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> x, Floats w, std::optional<Floats> b,
         Out<T> y) {
        const ConvShape s = conv_shape(shape);
        check_tile(s, tile);
        check_images("x", s, x), check_filters("w", s, w), check_shape("b", b, {s.k}), check_outputs("y", s, y);
        nb::gil_scoped_release release;
        if (tile)
          Activations<T>::kernels(k).winograd(s, tile, of<T>(x), nullptr, w.data(), data_or_null(b), of<T>(y), nullptr);
        else
          Activations<T>::kernels(k).conv2d(s, of<T>(x), w.data(), data_or_null(b), of<T>(y));
      },
      "shape"_a, "tile"_a, "x"_a.noconvert(), "w"_a.noconvert(), "b"_a.noconvert().none(), "y"_a.noconvert());
  table.def(
      "conv2d_backward_input",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> dy, Floats w, std::optional<In<T>> add,
         Out<T> dx) {
        const ConvShape s = conv_shape(shape);
        check_tile(s, tile);
        check_outputs("dy", s, dy), check_filters("w", s, w), check_images("add", s, add), check_images("dx", s, dx);
        nb::gil_scoped_release release;
        if (tile)
          Activations<T>::kernels(k).winograd_backward_input(s, tile, of<T>(dy), w.data(), of_or_null<T>(add),
                                                             of<T>(dx));
        else
          Activations<T>::kernels(k).conv2d_backward_input(s, of<T>(dy), w.data(), of_or_null<T>(add), of<T>(dx));
      },
      "shape"_a, "tile"_a, "dy"_a.noconvert(), "w"_a.noconvert(), "add"_a.noconvert().none(), "dx"_a.noconvert());
  table.def(
      "conv2d_backward_weight",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> dy, In<T> x, FloatsOut dw) {
        const ConvShape s = conv_shape(shape);
        check_tile(s, tile);
        check_outputs("dy", s, dy), check_images("x", s, x), check_filters("dw", s, dw);
        nb::gil_scoped_release release;
        if (tile)
          Activations<T>::kernels(k).winograd_backward_weight(s, tile, of<T>(dy), of<T>(x), nullptr, dw.data());
        else
          Activations<T>::kernels(k).conv2d_backward_weight(s, of<T>(dy), of<T>(x), dw.data());
      },
      "shape"_a, "tile"_a, "dy"_a.noconvert(), "x"_a.noconvert(), "dw"_a.noconvert());
}

// With a normalization of the images, unless mean and s are null, and statistics of y where they are asked for.
template <class T>
void bind_fused(nb::class_<Kernels>& table) {
  table.def(
      "winograd",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> x, Doubles mean, Doubles s,
         std::optional<Floats> gamma, std::optional<Floats> beta, Floats w, std::optional<Floats> b, Out<T> y,
         DoublesOut mean_y, DoublesOut var_y) {
        const ConvShape size = conv_shape(shape);
        require(tile, "tile", "one of Winograd's algorithm", "0");
        check_tile(size, tile);
        check_images("x", size, x), check_normalization(size, mean, s, gamma, beta);
        check_filters("w", size, w), check_shape("b", b, {size.k}), check_outputs("y", size, y);
        require(mean_y.has_value() == var_y.has_value(), "mean_y", "var_y beside it", "one of both");
        check_shape("mean_y", mean_y, {size.k}), check_shape("var_y", var_y, {size.k});
        Normalization f = {data_or_null(mean), data_or_null(s), data_or_null(gamma), data_or_null(beta)};
        Statistics of_y = {data_or_null(mean_y), data_or_null(var_y)};
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).winograd(size, tile, of<T>(x), mean ? &f : nullptr, w.data(), data_or_null(b),
                                            of<T>(y), mean_y ? &of_y : nullptr);
      },
      "shape"_a, "tile"_a, "x"_a.noconvert(), "mean"_a.noconvert().none(), "s"_a.noconvert().none(),
      "gamma"_a.noconvert().none(), "beta"_a.noconvert().none(), "w"_a.noconvert(), "b"_a.noconvert().none(),
      "y"_a.noconvert(), "mean_y"_a.noconvert().none(), "var_y"_a.noconvert().none());
  table.def(
      "winograd_backward_weight",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> dy, In<T> x, Input<double> mean,
         Input<double> s, std::optional<Floats> gamma, std::optional<Floats> beta, FloatsOut dw) {
        const ConvShape size = conv_shape(shape);
        require(tile, "tile", "one of Winograd's algorithm", "0");
        check_tile(size, tile);
        check_outputs("dy", size, dy), check_images("x", size, x), check_filters("dw", size, dw);
        check_normalization(size, mean, s, gamma, beta);
        Normalization f = {mean.data(), s.data(), data_or_null(gamma), data_or_null(beta)};
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).winograd_backward_weight(size, tile, of<T>(dy), of<T>(x), &f, dw.data());
      },
      "shape"_a, "tile"_a, "dy"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(), "s"_a.noconvert(),
      "gamma"_a.noconvert().none(), "beta"_a.noconvert().none(), "dw"_a.noconvert());
}

// For images of bf16, if `narrow`, or of float.
long packed_size(const Kernels& k, const ConvShape& s, int tile, bool narrow) {
  long size;
  narrow ? k.of_bf16.packed_filters_size(s, tile, {}, &size) : k.of_float.packed_filters_size(s, tile, {}, &size);
  return size;
}

template <class T>
void bind_packed(nb::class_<Kernels>& table) {
  table.def(
      "conv2d_packed",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> x, Floats packed, std::optional<Floats> b,
         std::optional<In<T>> add, bool relu, Out<T> y) {
        const ConvShape s = conv_shape(shape);
        check_tile(s, tile);
        check_shape("packed", packed, {packed_size(k, s, tile, std::is_same_v<T, bf16>)});
        check_images("x", s, x), check_shape("b", b, {s.k}), check_outputs("add", s, add), check_outputs("y", s, y);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).conv2d_packed(s, tile, of<T>(x), packed.data(), data_or_null(b), of_or_null<T>(add),
                                                 relu, of<T>(y));
      },
      "shape"_a, "tile"_a, "x"_a.noconvert(), "packed"_a.noconvert(), "b"_a.noconvert().none(),
      "add"_a.noconvert().none(), "relu"_a, "y"_a.noconvert());
}

}  // namespace

void bind_conv(nb::class_<Kernels>& table) {
  bind_typed<float>(table);
  bind_typed<bf16>(table);
  bind_fused<float>(table);
  bind_fused<bf16>(table);
}

void bind_packed_conv(nb::class_<Kernels>& table) {
  table.def(
      "packed_filters_size",
      [](const Kernels& k, const std::vector<long>& shape, int tile, bool narrow) {
        const ConvShape s = conv_shape(shape);
        check_tile(s, tile);
        return packed_size(k, s, tile, narrow);
      },
      "shape"_a, "tile"_a, "narrow"_a);
  table.def(
      "pack_filters",
      [](const Kernels& k, const std::vector<long>& shape, int tile, bool narrow, Floats w, FloatsOut packed) {
        const ConvShape s = conv_shape(shape);
        check_tile(s, tile);
        check_filters("w", s, w), check_shape("packed", packed, {packed_size(k, s, tile, narrow)});
        nb::gil_scoped_release release;
        narrow ? k.of_bf16.pack_filters(s, tile, {}, w.data(), packed.data())
               : k.of_float.pack_filters(s, tile, {}, w.data(), packed.data());
      },
      "shape"_a, "tile"_a, "narrow"_a, "w"_a.noconvert(), "packed"_a.noconvert());
  bind_packed<float>(table);
  bind_packed<bf16>(table);
}

}  // namespace handgrad::bindings
