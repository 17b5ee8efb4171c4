// Everything Python sees of the compiled kernels, a file for each family.
#include "../sets.h"
#include "../threads.h"
#include "bindings.h"

using namespace handgrad;
using namespace handgrad::bindings;

NB_MODULE(_kernels, m) {
  nb::set_leak_warnings(false);  // the tables live as long as the process
  nb::class_<Kernels> table(m, "Kernels");
  table.def_prop_ro("name", [](const Kernels& k) { return k.name; });
  table.def_prop_ro("of_floats", [](const Kernels& k) { return k.of_floats; });
  bind_conv(table);
  bind_packed_conv(table);
  bind_dense(table);
  bind_norm(table);
  bind_group_norm(table);
  bind_pool(table);
  bind_resize(table);
  bind_activation(table);
  bind_merge(table);
  bind_dropout(table);
  bind_loss(table);
  bind_update(table);
  bind_gradient(table);
  bind_memory(m);

  m.def("tables", &supported, nb::rv_policy::reference,
        "The tables of kernels that this machine can run, the fastest first.");
  m.def("emulated", &written_out, nb::rv_policy::reference,
        "Tables with the arithmetic of amx and avx512bf16 that every machine can run: for tests.");
  m.attr("instruction_sets") = built();
  m.def("threads", &threads);
  m.def(
      "set_threads",
      [](int n) {
        if (n < 1) refuse("n", "at least 1 thread", std::to_string(n));
        set_threads(n);
      },
      "n"_a);
  m.def("usable_cpus", &usable_cpus);
  m.def("quota_cpus", &quota_cpus, "root"_a = "");
  m.def("end_threads", &end_threads);
}
