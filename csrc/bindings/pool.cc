#include "bindings.h"

namespace handgrad::bindings {

namespace {

PoolShape pool_shape(const std::vector<long>& v) {
  check_length(v, 14);
  const PoolShape s = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13]};
  check_sizes("shape", {s.n, s.h, s.w, s.c, s.oh, s.ow, s.top, s.left}, 0);
  check_sizes("shape", {s.kh, s.kw, s.sh, s.sw, s.dh, s.dw}, 1);
  check_sizes("taps", {s.kh * s.kw}, 1);
  const long rows = s.oh * s.sh + s.kh * s.dh, columns = s.ow * s.sw + s.kw * s.dw;  // that windows reach, about
  check_sizes("shape", {rows, columns}, 1);
  check_product("shape", {std::max(1L, s.n), std::max(s.h, rows), std::max(s.w, columns), std::max(1L, s.c)});
  check_product("shape", {s.oh + s.h, s.kh, (long)sizeof(long[4])});
  check_product("shape", {s.ow + s.w, s.kw, (long)sizeof(long[4])});
  return s;
}

template <class Array>
void check_images(const char* name, const PoolShape& s, const Array& a) {
  check_shape(name, a, {s.n, s.h, s.w, s.c});
}
template <class Array>
void check_outputs(const char* name, const PoolShape& s, const Array& a) {
  check_shape(name, a, {s.n, s.oh, s.ow, s.c});
}
template <class Tap>
void check_taps(const PoolShape& s, const Tap& tap) {
  check_outputs("tap", s, tap);
  if (sizeof(typename Tap::Scalar) == 1 && s.kh * s.kw > 256)
    refuse("tap", "numbers of four bytes", "one byte for " + std::to_string(s.kh * s.kw) + " taps");
}

// Taps of one byte and of four, as a kernel takes them.
std::pair<uint8_t*, int32_t*> taps(const Output<uint8_t>& tap) { return {tap.data(), nullptr}; }
std::pair<uint8_t*, int32_t*> taps(const Output<int32_t>& tap) { return {nullptr, tap.data()}; }

template <class T, class Tap>
void bind_max_pool(nb::class_<Kernels>& table) {
  table.def(
      "max_pool2d",
      [](const Kernels& k, const std::vector<long>& shape, In<T> x, Out<T> y, Output<Tap> tap) {
        const PoolShape s = pool_shape(shape);
        check_images("x", s, x), check_outputs("y", s, y), check_taps(s, tap);
        auto [narrow, wide] = taps(tap);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).max_pool2d(s, of<T>(x), of<T>(y), narrow, wide);
      },
      "shape"_a, "x"_a.noconvert(), "y"_a.noconvert(), "tap"_a.noconvert());
  table.def(
      "max_pool2d_backward",
      [](const Kernels& k, const std::vector<long>& shape, In<T> dy, Input<Tap> tap, Out<T> dx) {
        const PoolShape s = pool_shape(shape);
        check_outputs("dy", s, dy), check_taps(s, tap), check_images("dx", s, dx);
        nb::gil_scoped_release release;
        if constexpr (sizeof(Tap) == 1)
          Activations<T>::kernels(k).max_pool2d_backward(s, of<T>(dy), tap.data(), nullptr, of<T>(dx));
        else
          Activations<T>::kernels(k).max_pool2d_backward(s, of<T>(dy), nullptr, tap.data(), of<T>(dx));
      },
      "shape"_a, "dy"_a.noconvert(), "tap"_a.noconvert(), "dx"_a.noconvert());
}

template <class T>
void bind_typed(nb::class_<Kernels>& table) {
  bind_max_pool<T, uint8_t>(table);
  bind_max_pool<T, int32_t>(table);
  table.def(
      "global_average_pool2d",
      [](const Kernels& k, In<T> x, Out<T> y) {
        check_rank("x", x, 4);
        const long n = x.shape(0), pixels = x.shape(1) * x.shape(2), c = x.shape(3);
        check_shape("y", y, {n, c});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).global_average_pool2d(n, pixels, c, of<T>(x), of<T>(y));
      },
      "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "global_average_pool2d_backward",
      [](const Kernels& k, In<T> dy, Out<T> dx) {
        check_rank("dx", dx, 4);
        const long n = dx.shape(0), pixels = dx.shape(1) * dx.shape(2), c = dx.shape(3);
        check_shape("dy", dy, {n, c});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).global_average_pool2d_backward(n, pixels, c, of<T>(dy), of<T>(dx));
      },
      "dy"_a.noconvert(), "dx"_a.noconvert());
}

}  // namespace

void bind_pool(nb::class_<Kernels>& table) {
  bind_typed<float>(table);
  bind_typed<bf16>(table);
  table.def(
      "average_pool2d",
      [](const Kernels& k, const std::vector<long>& shape, bool count_padding, Floats x, FloatsOut y) {
        const PoolShape s = pool_shape(shape);
        check_images("x", s, x), check_outputs("y", s, y);
        nb::gil_scoped_release release;
        k.average_pool2d(s, count_padding, x.data(), y.data());
      },
      "shape"_a, "count_padding"_a, "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "average_pool2d_backward",
      [](const Kernels& k, const std::vector<long>& shape, bool count_padding, Floats dy, FloatsOut dx) {
        const PoolShape s = pool_shape(shape);
        check_outputs("dy", s, dy), check_images("dx", s, dx);
        nb::gil_scoped_release release;
        k.average_pool2d_backward(s, count_padding, dy.data(), dx.data());
      },
      "shape"_a, "count_padding"_a, "dy"_a.noconvert(), "dx"_a.noconvert());
}

}  // namespace handgrad::bindings
