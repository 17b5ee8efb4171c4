#include "bindings.h"

namespace handgrad::bindings {

namespace {

FrameShape frame_shape(const std::vector<long>& v) {
  check_length(v, 8);
  const FrameShape s = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
  check_sizes("shape", {s.n, s.h, s.w, s.c, s.top, s.bottom, s.left, s.right}, 0);
  check_product("shape", {std::max(1L, s.n), 1 + s.top + s.h + s.bottom, 1 + s.left + s.w + s.right, 1 + s.c});
  return s;
}

BlockShape block_shape(const std::vector<long>& v) {
  check_length(v, 6);
  const BlockShape s = {v[0], v[1], v[2], v[3], v[4], v[5]};
  check_sizes("shape", {s.n, s.h, s.w, s.c}, 0), check_sizes("size", {s.rows, s.columns}, 1);
  check_product("shape", {std::max(1L, s.n), 1 + s.h, s.rows, 1 + s.w, s.columns, 1 + s.c});
  return s;
}

template <class Array>
void check_framed(const char* name, const FrameShape& s, const Array& a) {
  check_shape(name, a, {s.n, s.top + s.h + s.bottom, s.left + s.w + s.right, s.c});
}
template <class Array>
void check_blocks(const char* name, const BlockShape& s, const Array& a) {
  check_shape(name, a, {s.n, s.h * s.rows, s.w * s.columns, s.c});
}

}  // namespace

void bind_resize(nb::class_<Kernels>& table) {
  table.def(
      "pad2d",
      [](const Kernels& k, const std::vector<long>& shape, Floats x, float value, FloatsOut y) {
        const FrameShape s = frame_shape(shape);
        check_shape("x", x, {s.n, s.h, s.w, s.c}), check_framed("y", s, y);
        nb::gil_scoped_release release;
        k.pad2d(s, x.data(), value, y.data());
      },
      "shape"_a, "x"_a.noconvert(), "value"_a, "y"_a.noconvert());
  table.def(
      "pad2d_backward",
      [](const Kernels& k, const std::vector<long>& shape, Floats dy, FloatsOut dx) {
        const FrameShape s = frame_shape(shape);
        check_framed("dy", s, dy), check_shape("dx", dx, {s.n, s.h, s.w, s.c});
        nb::gil_scoped_release release;
        k.pad2d_backward(s, dy.data(), dx.data());
      },
      "shape"_a, "dy"_a.noconvert(), "dx"_a.noconvert());
  table.def(
      "upsample2d",
      [](const Kernels& k, const std::vector<long>& shape, Floats x, FloatsOut y) {
        const BlockShape s = block_shape(shape);
        check_shape("x", x, {s.n, s.h, s.w, s.c}), check_blocks("y", s, y);
        nb::gil_scoped_release release;
        k.upsample2d(s, x.data(), y.data());
      },
      "shape"_a, "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "upsample2d_backward",
      [](const Kernels& k, const std::vector<long>& shape, Floats dy, FloatsOut dx) {
        const BlockShape s = block_shape(shape);
        check_blocks("dy", s, dy), check_shape("dx", dx, {s.n, s.h, s.w, s.c});
        nb::gil_scoped_release release;
        k.upsample2d_backward(s, dy.data(), dx.data());
      },
      "shape"_a, "dy"_a.noconvert(), "dx"_a.noconvert());
}

}  // namespace handgrad::bindings
