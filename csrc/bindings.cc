// Everything Python sees of the compiled kernels. Arrays come in as they are, C-contiguous and of the right
// type, or the call fails: nothing is converted. The interpreter's lock is released while a kernel runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <type_traits>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "numpy_memory.h"
#include "sets.h"
#include "threads.h"

namespace nb = nanobind;
using namespace nb::literals;
using handgrad::BlockShape;
using handgrad::ConvShape;
using handgrad::FrameShape;
using handgrad::GroupShape;
using handgrad::Kernels;
using handgrad::PoolShape;
using handgrad::TypedKernels;
using handgrad::bf16;
using handgrad::Normalization;
using handgrad::Statistics;

namespace {

template <class T>
using Input = nb::ndarray<const T, nb::numpy, nb::c_contig, nb::device::cpu>;
template <class T>
using Output = nb::ndarray<T, nb::numpy, nb::c_contig, nb::device::cpu>;
using Floats = Input<float>;
using FloatsOut = Output<float>;

const float* data_or_null(const std::optional<Floats>& a) { return a ? a->data() : nullptr; }

// Activations of type T: NumPy has no bf16 of its own, so that its bits come as numbers of two bytes.
template <class T>
struct Activations {
  using Number = T;
  static const TypedKernels<T>& kernels(const Kernels& k) { return k.of_float; }
};
template <>
struct Activations<bf16> {
  using Number = uint16_t;
  static const TypedKernels<bf16>& kernels(const Kernels& k) { return k.of_bf16; }
};
template <class T>
using In = Input<typename Activations<T>::Number>;
template <class T>
using Out = Output<typename Activations<T>::Number>;
template <class T, class Array>
auto of(const Array& a) {
  using Pointer = std::conditional_t<std::is_const_v<typename Array::Scalar>, const T*, T*>;
  return (Pointer)a.data();
}
template <class T, class Array>
auto of_or_null(const std::optional<Array>& a) {
  return a ? of<T>(*a) : nullptr;
}

using Pair = std::pair<long, long>;

ConvShape conv_shape(const std::vector<long>& v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15]};
}

template <class T>
void bind_conv(nb::class_<Kernels>& table) {
  table.def(
      "conv2d",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> x, Floats w,
         std::optional<Floats> b, Out<T> y) {
        ConvShape s = conv_shape(shape);
        nb::gil_scoped_release release;
        if (tile)
          Activations<T>::kernels(k).winograd(s, tile, of<T>(x), nullptr, w.data(), data_or_null(b), of<T>(y), nullptr);
        else
          Activations<T>::kernels(k).conv2d(s, of<T>(x), w.data(), data_or_null(b), of<T>(y));
      },
      "shape"_a, "tile"_a, "x"_a.noconvert(), "w"_a.noconvert(), "b"_a.noconvert().none(), "y"_a.noconvert());
  table.def(
      "conv2d_backward_input",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> dy, Floats w,
         std::optional<In<T>> add, Out<T> dx) {
        ConvShape s = conv_shape(shape);
        nb::gil_scoped_release release;
        if (tile)
          Activations<T>::kernels(k).winograd_backward_input(s, tile, of<T>(dy), w.data(), of_or_null<T>(add),
                                                             of<T>(dx));
        else
          Activations<T>::kernels(k).conv2d_backward_input(s, of<T>(dy), w.data(), of_or_null<T>(add), of<T>(dx));
      },
      "shape"_a, "tile"_a, "dy"_a.noconvert(), "w"_a.noconvert(), "add"_a.noconvert().none(),
      "dx"_a.noconvert());
  table.def(
      "conv2d_backward_weight",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> dy, In<T> x, FloatsOut dw) {
        ConvShape s = conv_shape(shape);
        nb::gil_scoped_release release;
        if (tile)
          Activations<T>::kernels(k).winograd_backward_weight(s, tile, of<T>(dy), of<T>(x), nullptr, dw.data());
        else
          Activations<T>::kernels(k).conv2d_backward_weight(s, of<T>(dy), of<T>(x), dw.data());
      },
      "shape"_a, "tile"_a, "dy"_a.noconvert(), "x"_a.noconvert(), "dw"_a.noconvert());
}

using Doubles = std::optional<Input<double>>;
using DoublesOut = std::optional<Output<double>>;

// With a normalization of the images, unless mean and s are null, and statistics of y where they are asked for.
template <class T>
void bind_fused_conv(nb::class_<Kernels>& table) {
  table.def(
      "winograd",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> x, Doubles mean, Doubles s,
         std::optional<Floats> gamma, std::optional<Floats> beta, Floats w, std::optional<Floats> b, Out<T> y,
         DoublesOut mean_y, DoublesOut var_y) {
        ConvShape size = conv_shape(shape);
        Normalization f = {mean ? mean->data() : nullptr, s ? s->data() : nullptr, data_or_null(gamma),
                           data_or_null(beta)};
        Statistics of_y = {mean_y ? mean_y->data() : nullptr, var_y ? var_y->data() : nullptr};
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).winograd(size, tile, of<T>(x), mean ? &f : nullptr, w.data(), data_or_null(b), of<T>(y),
                                            mean_y ? &of_y : nullptr);
      },
      "shape"_a, "tile"_a, "x"_a.noconvert(), "mean"_a.noconvert().none(), "s"_a.noconvert().none(),
      "gamma"_a.noconvert().none(), "beta"_a.noconvert().none(), "w"_a.noconvert(), "b"_a.noconvert().none(),
      "y"_a.noconvert(), "mean_y"_a.noconvert().none(), "var_y"_a.noconvert().none());
  table.def(
      "winograd_backward_weight",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> dy, In<T> x, Input<double> mean,
         Input<double> s, std::optional<Floats> gamma, std::optional<Floats> beta, FloatsOut dw) {
        ConvShape size = conv_shape(shape);
        Normalization f = {mean.data(), s.data(), data_or_null(gamma), data_or_null(beta)};
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).winograd_backward_weight(size, tile, of<T>(dy), of<T>(x), &f, dw.data());
      },
      "shape"_a, "tile"_a, "dy"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(), "s"_a.noconvert(),
      "gamma"_a.noconvert().none(), "beta"_a.noconvert().none(), "dw"_a.noconvert());
}

template <class T>
void bind_dense(nb::class_<Kernels>& table) {
  table.def(
      "dense",
      [](const Kernels& k, In<T> x, Floats w, std::optional<Floats> b, Out<T> y) {
        long m = x.shape(0), c = w.shape(0), n = w.shape(1);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).dense(m, c, n, of<T>(x), w.data(), data_or_null(b), of<T>(y));
      },
      "x"_a.noconvert(), "w"_a.noconvert(), "b"_a.noconvert().none(), "y"_a.noconvert());
  table.def(
      "dense_backward_input",
      [](const Kernels& k, In<T> dy, Floats w, Out<T> dx) {
        long m = dy.shape(0), c = w.shape(0), n = w.shape(1);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).dense_backward_input(m, c, n, of<T>(dy), w.data(), of<T>(dx));
      },
      "dy"_a.noconvert(), "w"_a.noconvert(), "dx"_a.noconvert());
  table.def(
      "dense_backward_weight",
      [](const Kernels& k, In<T> dy, In<T> x, FloatsOut dw) {
        long m = dy.shape(0), c = x.shape(1), n = dy.shape(1);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).dense_backward_weight(m, c, n, of<T>(dy), of<T>(x), dw.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "dw"_a.noconvert());
}

// Arrays that are read and written number by number.
template <class... Arrays>
long same_size(const Arrays&... arrays) {
  const size_t sizes[] = {arrays.size()...};
  for (size_t size : sizes)
    if (size != sizes[0]) throw nb::value_error("arrays of one size");
  return (long)sizes[0];
}
template <class T>
const T* data_or_null(long n, const std::optional<Input<T>>& a) {
  if (a && (long)a->size() != n) throw nb::value_error("arrays of one size");
  return a ? a->data() : nullptr;
}
float* data_or_null(long n, const std::optional<FloatsOut>& a) {
  if (a && (long)a->size() != n) throw nb::value_error("arrays of one size");
  return a ? a->data() : nullptr;
}

// For images of bf16 or of float.
void bind_packing(nb::class_<Kernels>& table) {
  table.def(
      "packed_filters_size",
      [](const Kernels& k, const std::vector<long>& shape, int tile, bool narrow) {
        ConvShape s = conv_shape(shape);
        long size;
        narrow ? k.of_bf16.packed_filters_size(s, tile, {}, &size) : k.of_float.packed_filters_size(s, tile, {}, &size);
        return size;
      },
      "shape"_a, "tile"_a, "narrow"_a);
  table.def(
      "pack_filters",
      [](const Kernels& k, const std::vector<long>& shape, int tile, bool narrow, Floats w, FloatsOut packed) {
        ConvShape s = conv_shape(shape);
        nb::gil_scoped_release release;
        narrow ? k.of_bf16.pack_filters(s, tile, {}, w.data(), packed.data())
               : k.of_float.pack_filters(s, tile, {}, w.data(), packed.data());
      },
      "shape"_a, "tile"_a, "narrow"_a, "w"_a.noconvert(), "packed"_a.noconvert());
}

template <class T>
void bind_packed_conv(nb::class_<Kernels>& table) {
  table.def(
      "conv2d_packed",
      [](const Kernels& k, const std::vector<long>& shape, int tile, In<T> x, Floats packed, std::optional<Floats> b,
         std::optional<In<T>> add, bool relu, Out<T> y) {
        ConvShape s = conv_shape(shape);
        if (add && add->size() != y.size()) throw nb::value_error("arrays of one size");
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).conv2d_packed(s, tile, of<T>(x), packed.data(), data_or_null(b), of_or_null<T>(add), relu,
                                                 of<T>(y));
      },
      "shape"_a, "tile"_a, "x"_a.noconvert(), "packed"_a.noconvert(), "b"_a.noconvert().none(),
      "add"_a.noconvert().none(), "relu"_a, "y"_a.noconvert());
}

using Unary = void (*Kernels::*)(long, const float*, float*);
using Binary = void (*Kernels::*)(long, const float*, const float*, float*);
using UnaryWith = void (*Kernels::*)(long, const float*, float, float*);
using BinaryWith = void (*Kernels::*)(long, const float*, const float*, float, float*);

void bind_unary(nb::class_<Kernels>& table, const char* name, Unary kernel) {
  table.def(
      name,
      [kernel](const Kernels& k, Floats x, FloatsOut y) {
        long n = same_size(x, y);
        nb::gil_scoped_release release;
        (k.*kernel)(n, x.data(), y.data());
      },
      "x"_a.noconvert(), "y"_a.noconvert());
}

void bind_binary(nb::class_<Kernels>& table, const char* name, Binary kernel) {
  table.def(
      name,
      [kernel](const Kernels& k, Floats a, Floats b, FloatsOut y) {
        long n = same_size(a, b, y);
        nb::gil_scoped_release release;
        (k.*kernel)(n, a.data(), b.data(), y.data());
      },
      "a"_a.noconvert(), "b"_a.noconvert(), "y"_a.noconvert());
}

template <class T>
void bind_relu_and_add(nb::class_<Kernels>& table) {
  table.def(
      "relu",
      [](const Kernels& k, In<T> x, Out<T> y) {
        long n = same_size(x, y);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).relu(n, of<T>(x), of<T>(y));
      },
      "x"_a.noconvert(), "y"_a.noconvert());
  for (auto [name, kernel] : {std::pair("relu_backward", &TypedKernels<T>::relu_backward),
                              std::pair("add", &TypedKernels<T>::add)})
    table.def(
        name,
        [kernel = kernel](const Kernels& k, In<T> a, In<T> b, Out<T> y) {
          long n = same_size(a, b, y);
          nb::gil_scoped_release release;
          (Activations<T>::kernels(k).*kernel)(n, of<T>(a), of<T>(b), of<T>(y));
        },
        "a"_a.noconvert(), "b"_a.noconvert(), "y"_a.noconvert());
}

void bind_with_number(nb::class_<Kernels>& table, const char* name, const char* backward, UnaryWith kernel,
                      BinaryWith backward_kernel) {
  table.def(
      name,
      [kernel](const Kernels& k, Floats x, float number, FloatsOut y) {
        long n = same_size(x, y);
        nb::gil_scoped_release release;
        (k.*kernel)(n, x.data(), number, y.data());
      },
      "x"_a.noconvert(), "number"_a, "y"_a.noconvert());
  table.def(
      backward,
      [backward_kernel](const Kernels& k, Floats dy, Floats x, float number, FloatsOut dx) {
        long n = same_size(dy, x, dx);
        nb::gil_scoped_release release;
        (k.*backward_kernel)(n, dy.data(), x.data(), number, dx.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "number"_a, "dx"_a.noconvert());
}

void bind_activation(nb::class_<Kernels>& table) {
#define HG_BIND_BOTH(name)                        \
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
  bind_with_number(table, "leaky_relu", "leaky_relu_backward", &Kernels::leaky_relu,
                   &Kernels::leaky_relu_backward);
  bind_with_number(table, "elu", "elu_backward", &Kernels::elu, &Kernels::elu_backward);
  table.def(
      "softmax",
      [](const Kernels& k, Floats x, FloatsOut y) {
        long n = same_size(x, y), columns = x.shape(x.ndim() - 1);
        nb::gil_scoped_release release;
        k.softmax(columns ? n / columns : 0, columns, x.data(), y.data());
      },
      "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "softmax_backward",
      [](const Kernels& k, Floats dy, Floats y, FloatsOut dx) {
        long n = same_size(dy, y, dx), columns = y.shape(y.ndim() - 1);
        nb::gil_scoped_release release;
        k.softmax_backward(columns ? n / columns : 0, columns, dy.data(), y.data(), dx.data());
      },
      "dy"_a.noconvert(), "y"_a.noconvert(), "dx"_a.noconvert());
}

void bind_dropout(nb::class_<Kernels>& table) {
  table.def(
      "dropout",
      [](const Kernels& k, Floats x, uint64_t key0, uint64_t key1, double keep, FloatsOut y,
         Output<bool> mask) {
        long n = same_size(x, y, mask);
        nb::gil_scoped_release release;
        k.dropout(n, x.data(), key0, key1, keep, y.data(), mask.data());
      },
      "x"_a.noconvert(), "key0"_a, "key1"_a, "keep"_a, "y"_a.noconvert(), "mask"_a.noconvert());
  table.def(
      "dropout_backward",
      [](const Kernels& k, Floats dy, Input<bool> mask, double keep, FloatsOut dx) {
        long n = same_size(dy, mask, dx);
        nb::gil_scoped_release release;
        k.dropout_backward(n, dy.data(), mask.data(), keep, dx.data());
      },
      "dy"_a.noconvert(), "mask"_a.noconvert(), "keep"_a, "dx"_a.noconvert());
}

void bind_loss(nb::class_<Kernels>& table) {
  table.def(
      "softmax_cross_entropy",
      [](const Kernels& k, Floats z, std::optional<Input<int64_t>> labels, std::optional<Floats> t,
         double smoothing, FloatsOut dz) {
        long size = same_size(z, dz), n = z.shape(0), columns = z.shape(1);
        const int64_t* classes = data_or_null(n, labels);
        const float* targets = data_or_null(size, t);
        double value;
        nb::gil_scoped_release release;
        k.softmax_cross_entropy(n, columns, z.data(), classes, targets, smoothing, &value, dz.data());
        return value;
      },
      "z"_a.noconvert(), "labels"_a.noconvert().none(), "t"_a.noconvert().none(), "smoothing"_a,
      "dz"_a.noconvert());
  for (auto [name, kernel] : {std::pair("binary_cross_entropy", &Kernels::binary_cross_entropy),
                              std::pair("mean_squared_error", &Kernels::mean_squared_error)})
    table.def(
        name,
        [kernel = kernel](const Kernels& k, Floats z, Floats t, FloatsOut dz) {
          long m = same_size(z, t, dz);
          double value;
          nb::gil_scoped_release release;
          (k.*kernel)(m, z.data(), t.data(), &value, dz.data());
          return value;
        },
        "z"_a.noconvert(), "t"_a.noconvert(), "dz"_a.noconvert());
}

void bind_update(nb::class_<Kernels>& table) {
  table.def(
      "sgd",
      [](const Kernels& k, FloatsOut p, Floats g, std::optional<FloatsOut> b, float lr, bool first,
         float momentum, float damped, bool nesterov, float weight_decay) {
        long n = same_size(p, g);
        float* velocity = data_or_null(n, b);
        nb::gil_scoped_release release;
        k.sgd(n, p.data(), g.data(), velocity, lr, first, momentum, damped, nesterov, weight_decay);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "b"_a.noconvert().none(), "lr"_a, "first"_a, "momentum"_a,
      "damped"_a, "nesterov"_a, "weight_decay"_a);
  table.def(
      "adagrad",
      [](const Kernels& k, FloatsOut p, Floats g, FloatsOut s, float lr, float epsilon, float weight_decay) {
        long n = same_size(p, g, s);
        nb::gil_scoped_release release;
        k.adagrad(n, p.data(), g.data(), s.data(), lr, epsilon, weight_decay);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "s"_a.noconvert(), "lr"_a, "epsilon"_a, "weight_decay"_a);
  table.def(
      "adadelta",
      [](const Kernels& k, FloatsOut p, Floats g, FloatsOut v, FloatsOut u, float lr, double rho,
         float epsilon, float weight_decay) {
        long n = same_size(p, g, v, u);
        nb::gil_scoped_release release;
        k.adadelta(n, p.data(), g.data(), v.data(), u.data(), lr, rho, epsilon, weight_decay);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "v"_a.noconvert(), "u"_a.noconvert(), "lr"_a, "rho"_a,
      "epsilon"_a, "weight_decay"_a);
  table.def(
      "rmsprop",
      [](const Kernels& k, FloatsOut p, Floats g, FloatsOut v, std::optional<FloatsOut> m,
         std::optional<FloatsOut> b, float lr, double rho, float epsilon, float momentum, float weight_decay) {
        long n = same_size(p, g, v);
        float *mean = data_or_null(n, m), *velocity = data_or_null(n, b);
        nb::gil_scoped_release release;
        k.rmsprop(n, p.data(), g.data(), v.data(), mean, velocity, lr, rho, epsilon, momentum, weight_decay);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "v"_a.noconvert(), "m"_a.noconvert().none(),
      "b"_a.noconvert().none(), "lr"_a, "rho"_a, "epsilon"_a, "momentum"_a, "weight_decay"_a);
  table.def(
      "adam",
      [](const Kernels& k, FloatsOut p, Floats g, FloatsOut m, FloatsOut v, float step, double beta_1,
         double beta_2, float correction, float epsilon, float weight_decay, float keep) {
        long n = same_size(p, g, m, v);
        nb::gil_scoped_release release;
        k.adam(n, p.data(), g.data(), m.data(), v.data(), step, beta_1, beta_2, correction, epsilon,
               weight_decay, keep);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "m"_a.noconvert(), "v"_a.noconvert(), "step"_a, "beta_1"_a,
      "beta_2"_a, "correction"_a, "epsilon"_a, "weight_decay"_a, "keep"_a);
}

void bind_gradient(nb::class_<Kernels>& table) {
  table.def(
      "all_finite",
      [](const Kernels& k, Floats g) {
        bool answer;
        nb::gil_scoped_release release;
        k.all_finite((long)g.size(), g.data(), &answer);
        return answer;
      },
      "g"_a.noconvert());
  table.def(
      "sum_of_squares",
      [](const Kernels& k, Floats g) {
        double answer;
        nb::gil_scoped_release release;
        k.sum_of_squares((long)g.size(), g.data(), &answer);
        return answer;
      },
      "g"_a.noconvert());
}

PoolShape pool_shape(const std::vector<long>& v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13]};
}

// Taps of one byte and of four, as a kernel takes them.
std::pair<uint8_t*, int32_t*> taps(const Output<uint8_t>& tap) { return {tap.data(), nullptr}; }
std::pair<uint8_t*, int32_t*> taps(const Output<int32_t>& tap) { return {nullptr, tap.data()}; }

template <class T, class Tap>
void bind_max_pool(nb::class_<Kernels>& table) {
  table.def(
      "max_pool2d",
      [](const Kernels& k, const std::vector<long>& shape, In<T> x, Out<T> y, Output<Tap> tap) {
        PoolShape s = pool_shape(shape);
        auto [narrow, wide] = taps(tap);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).max_pool2d(s, of<T>(x), of<T>(y), narrow, wide);
      },
      "shape"_a, "x"_a.noconvert(), "y"_a.noconvert(), "tap"_a.noconvert());
  table.def(
      "max_pool2d_backward",
      [](const Kernels& k, const std::vector<long>& shape, In<T> dy, Input<Tap> tap, Out<T> dx) {
        PoolShape s = pool_shape(shape);
        nb::gil_scoped_release release;
        if constexpr (sizeof(Tap) == 1)
          Activations<T>::kernels(k).max_pool2d_backward(s, of<T>(dy), tap.data(), nullptr, of<T>(dx));
        else
          Activations<T>::kernels(k).max_pool2d_backward(s, of<T>(dy), nullptr, tap.data(), of<T>(dx));
      },
      "shape"_a, "dy"_a.noconvert(), "tap"_a.noconvert(), "dx"_a.noconvert());
}

template <class T>
void bind_typed_pool(nb::class_<Kernels>& table) {
  bind_max_pool<T, uint8_t>(table);
  bind_max_pool<T, int32_t>(table);
  table.def(
      "global_average_pool2d",
      [](const Kernels& k, In<T> x, Out<T> y) {
        long n = x.shape(0), pixels = x.shape(1) * x.shape(2), c = x.shape(3);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).global_average_pool2d(n, pixels, c, of<T>(x), of<T>(y));
      },
      "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "global_average_pool2d_backward",
      [](const Kernels& k, In<T> dy, Out<T> dx) {
        long n = dx.shape(0), pixels = dx.shape(1) * dx.shape(2), c = dx.shape(3);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).global_average_pool2d_backward(n, pixels, c, of<T>(dy), of<T>(dx));
      },
      "dy"_a.noconvert(), "dx"_a.noconvert());
}

void bind_pool(nb::class_<Kernels>& table) {
  table.def(
      "average_pool2d",
      [](const Kernels& k, const std::vector<long>& shape, bool count_padding, Floats x, FloatsOut y) {
        PoolShape s = pool_shape(shape);
        nb::gil_scoped_release release;
        k.average_pool2d(s, count_padding, x.data(), y.data());
      },
      "shape"_a, "count_padding"_a, "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "average_pool2d_backward",
      [](const Kernels& k, const std::vector<long>& shape, bool count_padding, Floats dy, FloatsOut dx) {
        PoolShape s = pool_shape(shape);
        nb::gil_scoped_release release;
        k.average_pool2d_backward(s, count_padding, dy.data(), dx.data());
      },
      "shape"_a, "count_padding"_a, "dy"_a.noconvert(), "dx"_a.noconvert());
}

void bind_resize(nb::class_<Kernels>& table) {
  table.def(
      "pad2d",
      [](const Kernels& k, const std::vector<long>& v, Floats x, float value, FloatsOut y) {
        FrameShape s = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
        nb::gil_scoped_release release;
        k.pad2d(s, x.data(), value, y.data());
      },
      "shape"_a, "x"_a.noconvert(), "value"_a, "y"_a.noconvert());
  table.def(
      "pad2d_backward",
      [](const Kernels& k, const std::vector<long>& v, Floats dy, FloatsOut dx) {
        FrameShape s = {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]};
        nb::gil_scoped_release release;
        k.pad2d_backward(s, dy.data(), dx.data());
      },
      "shape"_a, "dy"_a.noconvert(), "dx"_a.noconvert());
  table.def(
      "upsample2d",
      [](const Kernels& k, const std::vector<long>& v, Floats x, FloatsOut y) {
        BlockShape s = {v[0], v[1], v[2], v[3], v[4], v[5]};
        nb::gil_scoped_release release;
        k.upsample2d(s, x.data(), y.data());
      },
      "shape"_a, "x"_a.noconvert(), "y"_a.noconvert());
  table.def(
      "upsample2d_backward",
      [](const Kernels& k, const std::vector<long>& v, Floats dy, FloatsOut dx) {
        BlockShape s = {v[0], v[1], v[2], v[3], v[4], v[5]};
        nb::gil_scoped_release release;
        k.upsample2d_backward(s, dy.data(), dx.data());
      },
      "shape"_a, "dy"_a.noconvert(), "dx"_a.noconvert());
}

void bind_memory(nb::module_& m) {
  if (!handgrad::prepare_numpy_memory()) throw nb::python_error();
  m.attr("memory_handler") = nb::steal(handgrad::numpy_memory_handler());
  m.def(
      "set_memory_handler",
      [](nb::handle handler) {
        PyObject* before = handgrad::set_numpy_memory_handler(handler.ptr());
        if (!before) throw nb::python_error();
        return nb::steal(before);
      },
      "handler"_a, "Set where this context's NumPy arrays get memory; return what was set before.");
  m.def(
      "memory_use",
      [] {
        handgrad::pool::Use use = handgrad::pool::use();
        return nb::make_tuple(use.in_use, use.kept, use.peak);
      },
      "The pool's bytes: in use, kept, and the most that were in use.");
  m.def("release_memory", &handgrad::pool::release, nb::call_guard<nb::gil_scoped_release>());
}

template <class T>
void bind_norm(nb::class_<Kernels>& table) {
  table.def(
      "column_sums",
      [](const Kernels& k, In<T> x, FloatsOut sums) {
        long m = x.shape(0), c = x.shape(1);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).column_sums(m, c, of<T>(x), sums.data());
      },
      "x"_a.noconvert(), "sums"_a.noconvert());
  table.def(
      "batch_norm_statistics",
      [](const Kernels& k, In<T> x, Output<double> mean, Output<double> var) {
        long m = x.shape(0), c = x.shape(1);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).batch_norm_statistics(m, c, of<T>(x), mean.data(), var.data());
      },
      "x"_a.noconvert(), "mean"_a.noconvert(), "var"_a.noconvert());
  table.def(
      "batch_norm",
      [](const Kernels& k, In<T> x, Input<double> mean, Input<double> s, std::optional<Floats> gamma,
         std::optional<Floats> beta, std::optional<In<T>> residual, bool relu, Out<T> y) {
        long m = x.shape(0), c = x.shape(1);
        Normalization f = {mean.data(), s.data(), data_or_null(gamma), data_or_null(beta)};
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).batch_norm(m, c, of<T>(x), f, of_or_null<T>(residual), relu, of<T>(y));
      },
      "x"_a.noconvert(), "mean"_a.noconvert(), "s"_a.noconvert(), "gamma"_a.noconvert().none(),
      "beta"_a.noconvert().none(), "residual"_a.noconvert().none(), "relu"_a, "y"_a.noconvert());
  table.def(
      "batch_norm_backward",
      [](const Kernels& k, In<T> dy, In<T> x, std::optional<In<T>> y, Input<double> mean, Input<double> s,
         std::optional<Floats> gamma, std::optional<Floats> beta, bool relu, long count, Out<T> dx,
         FloatsOut dgamma, FloatsOut dbeta, std::optional<Out<T>> passed) {
        long m = x.shape(0), c = x.shape(1);
        Normalization f = {mean.data(), s.data(), data_or_null(gamma), data_or_null(beta)};
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).batch_norm_backward(m, c, of<T>(dy), of<T>(x), of_or_null<T>(y), f, relu, count,
                                                       of<T>(dx), dgamma.data(), dbeta.data(), of_or_null<T>(passed));
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "y"_a.noconvert().none(), "mean"_a.noconvert(), "s"_a.noconvert(),
      "gamma"_a.noconvert().none(), "beta"_a.noconvert().none(), "relu"_a, "count"_a, "dx"_a.noconvert(),
      "dgamma"_a.noconvert(), "dbeta"_a.noconvert(), "passed"_a.noconvert().none());
}

template <class T>
void bind_group_norm(nb::class_<Kernels>& table) {
  table.def(
      "group_norm",
      [](const Kernels& k, In<T> x, std::optional<Floats> gamma, std::optional<Floats> beta, double epsilon, Out<T> y,
         Output<double> mean, Output<double> s) {
        GroupShape shape = {(long)x.shape(0), (long)x.shape(1), (long)x.shape(2), (long)s.shape(1)};
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
        GroupShape shape = {(long)x.shape(0), (long)x.shape(1), (long)x.shape(2), (long)s.shape(1)};
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).group_norm_backward(shape, of<T>(dy), of<T>(x), mean.data(), s.data(),
                                                       data_or_null(gamma), of<T>(dx), dgamma.data(), dbeta.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "mean"_a.noconvert(), "s"_a.noconvert(), "gamma"_a.noconvert().none(),
      "dx"_a.noconvert(), "dgamma"_a.noconvert(), "dbeta"_a.noconvert());
  table.def(
      "rms_norm",
      [](const Kernels& k, In<T> x, std::optional<Floats> gamma, double epsilon, Out<T> y, Output<double> s) {
        long n = x.shape(0), c = x.shape(1);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).rms_norm(n, c, of<T>(x), data_or_null(gamma), epsilon, of<T>(y), s.data());
      },
      "x"_a.noconvert(), "gamma"_a.noconvert().none(), "epsilon"_a, "y"_a.noconvert(), "s"_a.noconvert());
  table.def(
      "rms_norm_backward",
      [](const Kernels& k, In<T> dy, In<T> x, Input<double> s, std::optional<Floats> gamma, Out<T> dx,
         FloatsOut dgamma) {
        long n = x.shape(0), c = x.shape(1);
        nb::gil_scoped_release release;
        Activations<T>::kernels(k).rms_norm_backward(n, c, of<T>(dy), of<T>(x), s.data(), data_or_null(gamma),
                                                     of<T>(dx), dgamma.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "s"_a.noconvert(), "gamma"_a.noconvert().none(), "dx"_a.noconvert(),
      "dgamma"_a.noconvert());
}

// What takes activations of several types: of the functions of one name that which fits is called.
template <class T>
void bind_typed(nb::class_<Kernels>& table) {
  bind_conv<T>(table);
  bind_packed_conv<T>(table);
  bind_fused_conv<T>(table);
  bind_dense<T>(table);
  bind_relu_and_add<T>(table);
  bind_typed_pool<T>(table);
  bind_norm<T>(table);
  bind_group_norm<T>(table);
}

}  // namespace

NB_MODULE(_kernels, m) {
  nb::set_leak_warnings(false);  // the tables live as long as the process
  nb::class_<Kernels> table(m, "Kernels");
  table.def_prop_ro("name", [](const Kernels& k) { return k.name; });
  table.def_prop_ro("of_floats", [](const Kernels& k) { return k.of_floats; });
  bind_typed<float>(table);
  bind_typed<bf16>(table);
  bind_activation(table);
  bind_dropout(table);
  bind_loss(table);
  bind_update(table);
  bind_gradient(table);
  bind_packing(table);
  bind_pool(table);
  bind_resize(table);
  bind_memory(m);

  m.def("tables", &handgrad::supported, nb::rv_policy::reference,
        "The tables of kernels that this machine can run, the fastest first.");
  m.def("emulated", &handgrad::written_out, nb::rv_policy::reference,
        "Tables with the arithmetic of amx and avx512bf16 that every machine can run: for tests.");
  m.attr("instruction_sets") = handgrad::built();
  m.def("threads", &handgrad::threads);
  m.def("set_threads", &handgrad::set_threads, "n"_a);
  m.def("usable_cpus", &handgrad::usable_cpus);
  m.def("quota_cpus", &handgrad::quota_cpus, "root"_a = "");
  m.def("end_threads", &handgrad::end_threads);
}
