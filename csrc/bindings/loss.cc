#include "bindings.h"

namespace handgrad::bindings {

void bind_loss(nb::class_<Kernels>& table) {
  table.def(
      "softmax_cross_entropy",
      [](const Kernels& k, Floats z, std::optional<Input<int64_t>> labels, std::optional<Floats> t, double smoothing,
         FloatsOut dz) {
        check_rank("z", z, 2);
        const long n = z.shape(0), columns = z.shape(1);
        require(columns || !n, "z", "rows of numbers", "none");
        require(labels.has_value() != t.has_value(), "labels", "classes or targets", labels ? "both" : "neither");
        check_shape("labels", labels, {n}), check_alike("t", t, z), check_alike("dz", dz, z);
        double value;
        nb::gil_scoped_release release;
        k.softmax_cross_entropy(n, columns, z.data(), data_or_null(labels), data_or_null(t), smoothing, &value,
                                dz.data());
        return value;
      },
      "z"_a.noconvert(), "labels"_a.noconvert().none(), "t"_a.noconvert().none(), "smoothing"_a, "dz"_a.noconvert());
  for (auto [name, kernel] : {std::pair("binary_cross_entropy", &Kernels::binary_cross_entropy),
                              std::pair("mean_squared_error", &Kernels::mean_squared_error)})
    table.def(
        name,
        [kernel = kernel](const Kernels& k, Floats z, Floats t, FloatsOut dz) {
          check_aligned("z", z), check_alike("t", t, z), check_alike("dz", dz, z);
          double value;
          nb::gil_scoped_release release;
          (k.*kernel)((long)z.size(), z.data(), t.data(), &value, dz.data());
          return value;
        },
        "z"_a.noconvert(), "t"_a.noconvert(), "dz"_a.noconvert());
}

}  // namespace handgrad::bindings
