#include "bindings.h"

namespace handgrad::bindings {

namespace {

template <class T>
void bind_typed(nb::class_<Kernels>& table) {
  table.def(
      "dense",
      [](const Kernels& k, In<T> x, Floats w, std::optional<Floats> b, Out<T> y) {
        check_rank("x", x, 2), check_rank("w", w, 2);
        const long m = x.shape(0), c = w.shape(0), n = w.shape(1);
        check_shape("x", x, {m, c}), check_shape("b", b, {n}), check_shape("y", y, {m, n});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).dense(m, c, n, of<T>(x), w.data(), data_or_null(b), of<T>(y));
      },
      "x"_a.noconvert(), "w"_a.noconvert(), "b"_a.noconvert().none(), "y"_a.noconvert());
  table.def(
      "dense_backward_input",
      [](const Kernels& k, In<T> dy, Floats w, Out<T> dx) {
        check_rank("dy", dy, 2), check_rank("w", w, 2);
        const long m = dy.shape(0), c = w.shape(0), n = w.shape(1);
        check_shape("dy", dy, {m, n}), check_shape("dx", dx, {m, c});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).dense_backward_input(m, c, n, of<T>(dy), w.data(), of<T>(dx));
      },
      "dy"_a.noconvert(), "w"_a.noconvert(), "dx"_a.noconvert());
  table.def(
      "dense_backward_weight",
      [](const Kernels& k, In<T> dy, In<T> x, FloatsOut dw) {
        check_rank("dy", dy, 2), check_rank("x", x, 2);
        const long m = x.shape(0), c = x.shape(1), n = dy.shape(1);
        check_shape("dy", dy, {m, n}), check_shape("dw", dw, {c, n});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).dense_backward_weight(m, c, n, of<T>(dy), of<T>(x), dw.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "dw"_a.noconvert());
}

}  // namespace

void bind_dense(nb::class_<Kernels>& table) {
  bind_typed<float>(table);
  bind_typed<bf16>(table);
}

}  // namespace handgrad::bindings
