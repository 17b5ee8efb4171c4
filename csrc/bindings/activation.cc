#include "bindings.h"

namespace handgrad::bindings {

namespace {

using Unary = void (*Kernels::*)(long, const float*, float*);
using Binary = void (*Kernels::*)(long, const float*, const float*, float*);
using UnaryWith = void (*Kernels::*)(long, const float*, float, float*);
using BinaryWith = void (*Kernels::*)(long, const float*, const float*, float, float*);

void bind_unary(nb::class_<Kernels>& table, const char* name, Unary kernel) {
  table.def(
      name,
      [kernel](const Kernels& k, Floats x, FloatsOut y) {
        check_aligned("x", x), check_alike("y", y, x);
        nb::gil_scoped_release release;
        (k.*kernel)((long)x.size(), x.data(), y.data());
      },
      "x"_a.noconvert(), "y"_a.noconvert());
}

// `b` is x or y.
void bind_binary(nb::class_<Kernels>& table, const char* name, Binary kernel) {
  table.def(
      name,
      [kernel](const Kernels& k, Floats dy, Floats b, FloatsOut dx) {
        check_aligned("b", b), check_alike("dy", dy, b), check_alike("dx", dx, b);
        nb::gil_scoped_release release;
        (k.*kernel)((long)b.size(), dy.data(), b.data(), dx.data());
      },
      "dy"_a.noconvert(), "b"_a.noconvert(), "dx"_a.noconvert());
}

void bind_with_number(nb::class_<Kernels>& table, const char* name, const char* backward, UnaryWith kernel,
                      BinaryWith backward_kernel) {
  table.def(
      name,
      [kernel](const Kernels& k, Floats x, float number, FloatsOut y) {
        check_aligned("x", x), check_alike("y", y, x);
        nb::gil_scoped_release release;
        (k.*kernel)((long)x.size(), x.data(), number, y.data());
      },
      "x"_a.noconvert(), "number"_a, "y"_a.noconvert());
  table.def(
      backward,
      [backward_kernel](const Kernels& k, Floats dy, Floats x, float number, FloatsOut dx) {
        check_aligned("x", x), check_alike("dy", dy, x), check_alike("dx", dx, x);
        nb::gil_scoped_release release;
        (k.*backward_kernel)((long)x.size(), dy.data(), x.data(), number, dx.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "number"_a, "dx"_a.noconvert());
}

template <class T>
void bind_relu(nb::class_<Kernels>& table) {
  table.def(
      "relu",
      [](const Kernels& k, In<T> x, Out<T> y) {
        check_aligned("x", x), check_alike("y", y, x);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).relu((long)x.size(), of<T>(x), of<T>(y));
      },
      "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "relu_backward",
      [](const Kernels& k, In<T> dy, In<T> y, Out<T> dx) {
        check_aligned("y", y), check_alike("dy", dy, y), check_alike("dx", dx, y);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).relu_backward((long)y.size(), of<T>(dy), of<T>(y), of<T>(dx));
      },
      "dy"_a.noconvert(), "y"_a.noconvert(), "dx"_a.noconvert());
}

template <class T>
void bind_add(nb::class_<Kernels>& table) {
  table.def(
      "add",
      [](const Kernels& k, In<T> a, In<T> b, Out<T> y) {
        check_aligned("a", a), check_alike("b", b, a), check_alike("y", y, a);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).add((long)a.size(), of<T>(a), of<T>(b), of<T>(y));
      },
      "a"_a.noconvert(), "b"_a.noconvert(), "y"_a.noconvert());
}

// The numbers of a row of softmax, at least one.
long columns_of(const char* name, const Floats& a) {
  require(a.ndim(), name, "rows", "a number without axes");
  const long columns = a.shape(a.ndim() - 1);
  require(columns || !a.size(), name, "rows of numbers", "none");
  return columns;
}

void bind_softmax(nb::class_<Kernels>& table) {
  table.def(
      "softmax",
      [](const Kernels& k, Floats x, FloatsOut y) {
        check_aligned("x", x), check_alike("y", y, x);
        const long columns = columns_of("x", x), rows = columns ? (long)x.size() / columns : 0;
        nb::gil_scoped_release release;
        k.softmax(rows, columns, x.data(), y.data());
      },
      "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "softmax_backward",
      [](const Kernels& k, Floats dy, Floats y, FloatsOut dx) {
        check_aligned("y", y), check_alike("dy", dy, y), check_alike("dx", dx, y);
        const long columns = columns_of("y", y), rows = columns ? (long)y.size() / columns : 0;
        nb::gil_scoped_release release;
        k.softmax_backward(rows, columns, dy.data(), y.data(), dx.data());
      },
      "dy"_a.noconvert(), "y"_a.noconvert(), "dx"_a.noconvert());
}

void check_keep(double keep) {
  if (!(keep > 0 && keep <= 1)) refuse("keep", "a share of more than 0, at most 1", std::to_string(keep));
}

}  // namespace

void bind_activation(nb::class_<Kernels>& table) {
  bind_relu<float>(table);
  bind_relu<bf16>(table);
#define HG_BIND_BOTH(name)                  \
  bind_unary(table, #name, &Kernels::name); \
  bind_binary(table, #name "_backward", &Kernels::name##_backward);
  HG_BIND_BOTH(selu)
  HG_BIND_BOTH(softplus)
  HG_BIND_BOTH(sigmoid)
  HG_BIND_BOTH(tanh)
  HG_BIND_BOTH(gelu)
  HG_BIND_BOTH(gelu_tanh)
  HG_BIND_BOTH(silu)
#undef HG_BIND_BOTH
  bind_with_number(table, "leaky_relu", "leaky_relu_backward", &Kernels::leaky_relu, &Kernels::leaky_relu_backward);
  bind_with_number(table, "elu", "elu_backward", &Kernels::elu, &Kernels::elu_backward);
  bind_softmax(table);
}

void bind_merge(nb::class_<Kernels>& table) {
  bind_add<float>(table);
  bind_add<bf16>(table);
}

void bind_dropout(nb::class_<Kernels>& table) {
  table.def(
      "dropout",
      [](const Kernels& k, Floats x, uint64_t key0, uint64_t key1, double keep, FloatsOut y, Output<bool> mask) {
        check_aligned("x", x), check_alike("y", y, x), check_alike("mask", mask, x), check_keep(keep);
        nb::gil_scoped_release release;
        k.dropout((long)x.size(), x.data(), key0, key1, keep, y.data(), mask.data());
      },
      "x"_a.noconvert(), "key0"_a, "key1"_a, "keep"_a, "y"_a.noconvert(), "mask"_a.noconvert());
  table.def(
      "dropout_backward",
      [](const Kernels& k, Floats dy, Input<bool> mask, double keep, FloatsOut dx) {
        check_alike("dy", dy, mask), check_alike("dx", dx, mask), check_keep(keep);
        nb::gil_scoped_release release;
        k.dropout_backward((long)dy.size(), dy.data(), mask.data(), keep, dx.data());
      },
      "dy"_a.noconvert(), "mask"_a.noconvert(), "keep"_a, "dx"_a.noconvert());
}

}  // namespace handgrad::bindings
