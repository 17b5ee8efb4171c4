// What the bindings of all families have in common. Arrays come in as they are, C-contiguous and of the right type, or
// the call fails: nothing is converted. Every shape is checked (check.h) before anything is read or written, and the
// interpreter's lock is released while a kernel runs.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <type_traits>
#include <vector>

#include "../kernels.h"
#include "check.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace handgrad::bindings {

template <class T>
using Input = nb::ndarray<const T, nb::numpy, nb::c_contig, nb::device::cpu>;
template <class T>
using Output = nb::ndarray<T, nb::numpy, nb::c_contig, nb::device::cpu>;
using Floats = Input<float>;
using FloatsOut = Output<float>;
using Doubles = std::optional<Input<double>>;
using DoublesOut = std::optional<Output<double>>;

// Activations of type T. NumPy has no bf16, so its bits come as 16-bit integers.
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
template <class Array>
auto data_or_null(const std::optional<Array>& a) {
  return a ? a->data() : nullptr;
}

// Each adds its family's functions. Those of activations of several types have one name: the one that fits is called.
void bind_conv(nb::class_<Kernels>& table);
void bind_packed_conv(nb::class_<Kernels>& table);
void bind_dense(nb::class_<Kernels>& table);
void bind_norm(nb::class_<Kernels>& table);
void bind_group_norm(nb::class_<Kernels>& table);
void bind_pool(nb::class_<Kernels>& table);
void bind_resize(nb::class_<Kernels>& table);
void bind_activation(nb::class_<Kernels>& table);
void bind_dropout(nb::class_<Kernels>& table);
void bind_merge(nb::class_<Kernels>& table);
void bind_loss(nb::class_<Kernels>& table);
void bind_update(nb::class_<Kernels>& table);
void bind_gradient(nb::class_<Kernels>& table);
void bind_memory(nb::module_& m);

}  // namespace handgrad::bindings
