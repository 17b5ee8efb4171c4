// Everything Python sees of the compiled kernels. Arrays come in as they are, C-contiguous and of the right
// type, or the call fails: nothing is converted. The interpreter's lock is released while a kernel runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "numpy_memory.h"
#include "threads.h"

namespace nb = nanobind;
using namespace nb::literals;
using handgrad::ConvShape;
using handgrad::Kernels;

namespace {

template <class T>
using Input = nb::ndarray<const T, nb::numpy, nb::c_contig, nb::device::cpu>;
template <class T>
using Output = nb::ndarray<T, nb::numpy, nb::c_contig, nb::device::cpu>;
using Floats = Input<float>;
using FloatsOut = Output<float>;

const float* data_or_null(const std::optional<Floats>& a) { return a ? a->data() : nullptr; }

using Pair = std::pair<long, long>;

ConvShape conv_shape(const std::vector<long>& v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15]};
}

void bind_conv(nb::class_<Kernels>& table) {
  table.def(
      "conv2d",
      [](const Kernels& k, const std::vector<long>& shape, int tile, Floats x, Floats w,
         std::optional<Floats> b, FloatsOut y) {
        ConvShape s = conv_shape(shape);
        nb::gil_scoped_release release;
        if (tile)
          k.winograd(s, tile, x.data(), w.data(), data_or_null(b), y.data());
        else
          k.conv2d(s, x.data(), w.data(), data_or_null(b), y.data());
      },
      "shape"_a, "tile"_a, "x"_a.noconvert(), "w"_a.noconvert(), "b"_a.noconvert().none(), "y"_a.noconvert());
  table.def(
      "conv2d_backward_input",
      [](const Kernels& k, const std::vector<long>& shape, int tile, Floats dy, Floats w,
         std::optional<Floats> add, FloatsOut dx) {
        ConvShape s = conv_shape(shape);
        nb::gil_scoped_release release;
        if (tile)
          k.winograd_backward_input(s, tile, dy.data(), w.data(), data_or_null(add), dx.data());
        else
          k.conv2d_backward_input(s, dy.data(), w.data(), data_or_null(add), dx.data());
      },
      "shape"_a, "tile"_a, "dy"_a.noconvert(), "w"_a.noconvert(), "add"_a.noconvert().none(),
      "dx"_a.noconvert());
  table.def(
      "conv2d_backward_weight",
      [](const Kernels& k, const std::vector<long>& shape, int tile, Floats dy, Floats x, FloatsOut dw) {
        ConvShape s = conv_shape(shape);
        nb::gil_scoped_release release;
        if (tile)
          k.winograd_backward_weight(s, tile, dy.data(), x.data(), dw.data());
        else
          k.conv2d_backward_weight(s, dy.data(), x.data(), dw.data());
      },
      "shape"_a, "tile"_a, "dy"_a.noconvert(), "x"_a.noconvert(), "dw"_a.noconvert());
}

void bind_dense(nb::class_<Kernels>& table) {
  table.def(
      "dense",
      [](const Kernels& k, Floats x, Floats w, std::optional<Floats> b, FloatsOut y) {
        long m = x.shape(0), c = w.shape(0), n = w.shape(1);
        nb::gil_scoped_release release;
        k.dense(m, c, n, x.data(), w.data(), data_or_null(b), y.data());
      },
      "x"_a.noconvert(), "w"_a.noconvert(), "b"_a.noconvert().none(), "y"_a.noconvert());
  table.def(
      "dense_backward_input",
      [](const Kernels& k, Floats dy, Floats w, FloatsOut dx) {
        long m = dy.shape(0), c = w.shape(0), n = w.shape(1);
        nb::gil_scoped_release release;
        k.dense_backward_input(m, c, n, dy.data(), w.data(), dx.data());
      },
      "dy"_a.noconvert(), "w"_a.noconvert(), "dx"_a.noconvert());
  table.def(
      "dense_backward_weight",
      [](const Kernels& k, Floats dy, Floats x, FloatsOut dw) {
        long m = dy.shape(0), c = x.shape(1), n = dy.shape(1);
        nb::gil_scoped_release release;
        k.dense_backward_weight(m, c, n, dy.data(), x.data(), dw.data());
      },
      "dy"_a.noconvert(), "x"_a.noconvert(), "dw"_a.noconvert());
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

}  // namespace

NB_MODULE(_kernels, m) {
  nb::class_<Kernels> table(m, "Kernels");
  table.def_prop_ro("name", [](const Kernels& k) { return k.name; });
  bind_conv(table);
  bind_dense(table);
  bind_memory(m);

  m.def(
      "tables",
      [] {
        std::vector<const Kernels*> supported;  // the fastest first
#ifdef HG_HAS_AVX512
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
          supported.push_back(&handgrad::avx512::kernels);
#endif
#ifdef HG_HAS_AVX2
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
          supported.push_back(&handgrad::avx2::kernels);
#endif
        supported.push_back(&handgrad::plain::kernels);
        return supported;
      },
      nb::rv_policy::reference, "The tables of kernels that this machine can run, the fastest first.");
  std::vector<std::string> built;  // as `tables` would give them on a machine that has all
#ifdef HG_HAS_AVX512
  built.push_back("avx512");
#endif
#ifdef HG_HAS_AVX2
  built.push_back("avx2");
#endif
  built.push_back("plain");
  m.attr("instruction_sets") = built;
#ifdef _OPENMP
  m.attr("parallel") = true;
#else
  m.attr("parallel") = false;
#endif
  m.def("threads", &handgrad::threads);
  m.def("set_threads", &handgrad::set_threads, "n"_a);
  m.def("usable_cpus", &handgrad::usable_cpus);
  m.def("end_threads", &handgrad::end_threads);
}
