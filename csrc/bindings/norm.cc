#include "bindings.h"

namespace handgrad::bindings {

namespace {

// What normalizes c columns.
Normalization normalization(long c, const Input<double>& mean, const Input<double>& s,
                            const std::optional<Floats>& gamma, const std::optional<Floats>& beta) {
  check_shape("mean", mean, {c}), check_shape("s", s, {c});
  check_shape("gamma", gamma, {c}), check_shape("beta", beta, {c});
  return {mean.data(), s.data(), data_or_null(gamma), data_or_null(beta)};
}

template <class T>
void bind_typed(nb::class_<Kernels>& table) {
  table.def(
      "column_sums",
      [](const Kernels& k, In<T> x, FloatsOut sums) {
        check_rank("x", x, 2);
        const long m = x.shape(0), c = x.shape(1);
        check_shape("sums", sums, {c});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).column_sums(m, c, of<T>(x), sums.data());
      },
      "x"_a.noconvert(), "sums"_a.noconvert());
  table.def(
      "batch_norm_statistics",
      [](const Kernels& k, In<T> x, Output<double> mean, Output<double> var) {
        check_rank("x", x, 2);
        const long m = x.shape(0), c = x.shape(1);
        check_shape("mean", mean, {c}), check_shape("var", var, {c});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).batch_norm_statistics(m, c, of<T>(x), mean.data(), var.data());
      },
      "x"_a.noconvert(), "mean"_a.noconvert(), "var"_a.noconvert());
  table.def(
      "batch_norm",
      [](const Kernels& k, In<T> x, Input<double> mean, Input<double> s, std::optional<Floats> gamma,
         std::optional<Floats> beta, std::optional<In<T>> residual, bool relu, Out<T> y) {
        check_rank("x", x, 2);
        const long m = x.shape(0), c = x.shape(1);
        const Normalization f = normalization(c, mean, s, gamma, beta);
        check_alike("residual", residual, x), check_alike("y", y, x);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).batch_norm(m, c, of<T>(x), f, of_or_null<T>(residual), relu, of<T>(y));
      },
      "x"_a.noconvert(), "mean"_a.noconvert(), "s"_a.noconvert(), "gamma"_a.noconvert().none(),
      "beta"_a.noconvert().none(), "residual"_a.noconvert().none(), "relu"_a, "y"_a.noconvert());
  table.def(
      "batch_norm_backward",
      [](const Kernels& k, In<T> dy, In<T> x, std::optional<In<T>> y, Input<double> mean, Input<double> s,
         std::optional<Floats> gamma, std::optional<Floats> beta, bool relu, long count, Out<T> dx, FloatsOut dgamma,
         FloatsOut dbeta, std::optional<Out<T>> passed) {
        check_rank("x", x, 2);
        const long m = x.shape(0), c = x.shape(1);
        const Normalization f = normalization(c, mean, s, gamma, beta);
        check_alike("dy", dy, x), check_alike("y", y, x), check_alike("dx", dx, x), check_alike("passed", passed, x);
        check_shape("dgamma", dgamma, {c}), check_shape("dbeta", dbeta, {c});
        require(y.has_value() == passed.has_value() && (relu || !y), "y", "relu, and passed beside it", "one of them");
        if (count < 0) refuse("count", "at least 0", std::to_string(count));
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).batch_norm_backward(m, c, of<T>(dy), of<T>(x), of_or_null<T>(y), f, relu, count,
                                                       of<T>(dx), dgamma.data(), dbeta.data(), of_or_null<T>(passed));
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "y"_a.noconvert().none(), "mean"_a.noconvert(), "s"_a.noconvert(),
      "gamma"_a.noconvert().none(), "beta"_a.noconvert().none(), "relu"_a, "count"_a, "dx"_a.noconvert(),
      "dgamma"_a.noconvert(), "dbeta"_a.noconvert(), "passed"_a.noconvert().none());
}

// Of samples (n, m, c), in as many groups as they have scales.
template <class Array, class Doubles>
GroupShape group_shape(const Array& x, const Doubles& mean, const Doubles& s) {
  check_rank("x", x, 3), check_rank("s", s, 2);
  const GroupShape shape = {(long)x.shape(0), (long)x.shape(1), (long)x.shape(2), (long)s.shape(1)};
  require(shape.m > 0 && shape.c > 0, "x", "samples of numbers", "empty ones");
  check_shape("s", s, {shape.n, shape.groups}), check_alike("mean", mean, s);
  if (shape.groups < 1 || shape.c % shape.groups)
    refuse("s", "as many groups as divide " + std::to_string(shape.c) + " channels", std::to_string(shape.groups));
  return shape;
}

template <class T>
void bind_groups(nb::class_<Kernels>& table) {
  table.def(
      "group_norm",
      [](const Kernels& k, In<T> x, std::optional<Floats> gamma, std::optional<Floats> beta, double epsilon, Out<T> y,
         Output<double> mean, Output<double> s) {
        const GroupShape shape = group_shape(x, mean, s);
        check_shape("gamma", gamma, {shape.c}), check_shape("beta", beta, {shape.c}), check_alike("y", y, x);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).group_norm(shape, of<T>(x), data_or_null(gamma), data_or_null(beta), epsilon,
                                              of<T>(y), mean.data(), s.data());
      },
      "x"_a.noconvert(), "gamma"_a.noconvert().none(), "beta"_a.noconvert().none(), "epsilon"_a, "y"_a.noconvert(),
      "mean"_a.noconvert(), "s"_a.noconvert());
  table.def(
      "group_norm_backward",
      [](const Kernels& k, In<T> dy, In<T> x, Input<double> mean, Input<double> s, std::optional<Floats> gamma,
         Out<T> dx, FloatsOut dgamma, FloatsOut dbeta) {
        const GroupShape shape = group_shape(x, mean, s);
        check_alike("dy", dy, x), check_shape("gamma", gamma, {shape.c}), check_alike("dx", dx, x);
        check_shape("dgamma", dgamma, {shape.c}), check_shape("dbeta", dbeta, {shape.c});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).group_norm_backward(shape, of<T>(dy), of<T>(x), mean.data(), s.data(),
                                                       data_or_null(gamma), of<T>(dx), dgamma.data(), dbeta.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(), "s"_a.noconvert(), "gamma"_a.noconvert().none(),
      "dx"_a.noconvert(), "dgamma"_a.noconvert(), "dbeta"_a.noconvert());
  table.def(
      "rms_norm",
      [](const Kernels& k, In<T> x, std::optional<Floats> gamma, double epsilon, Out<T> y, Output<double> s) {
        check_rank("x", x, 2);
        const long n = x.shape(0), c = x.shape(1);
        check_shape("gamma", gamma, {c}), check_alike("y", y, x), check_shape("s", s, {n});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).rms_norm(n, c, of<T>(x), data_or_null(gamma), epsilon, of<T>(y), s.data());
      },
      "x"_a.noconvert(), "gamma"_a.noconvert().none(), "epsilon"_a, "y"_a.noconvert(), "s"_a.noconvert());
  table.def(
      "rms_norm_backward",
      [](const Kernels& k, In<T> dy, In<T> x, Input<double> s, std::optional<Floats> gamma, Out<T> dx,
         FloatsOut dgamma) {
        check_rank("x", x, 2);
        const long n = x.shape(0), c = x.shape(1);
        check_alike("dy", dy, x), check_shape("s", s, {n}), check_shape("gamma", gamma, {c});
        check_alike("dx", dx, x), check_shape("dgamma", dgamma, {c});
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).rms_norm_backward(n, c, of<T>(dy), of<T>(x), s.data(), data_or_null(gamma),
                                                     of<T>(dx), dgamma.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "s"_a.noconvert(), "gamma"_a.noconvert().none(), "dx"_a.noconvert(),
      "dgamma"_a.noconvert());
}

}  // namespace

void bind_norm(nb::class_<Kernels>& table) {
  bind_typed<float>(table);
  bind_typed<bf16>(table);
}

void bind_group_norm(nb::class_<Kernels>& table) {
  bind_groups<float>(table);
  bind_groups<bf16>(table);
}

}  // namespace handgrad::bindings
