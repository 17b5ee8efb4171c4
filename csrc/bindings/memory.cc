#include "../memory.h"

#include "../numpy_memory.h"
#include "bindings.h"

namespace handgrad::bindings {

void bind_memory(nb::module_& m) {
  if (!prepare_numpy_memory()) throw nb::python_error();
  m.attr("memory_handler") = nb::steal(numpy_memory_handler());
  m.def(
      "set_memory_handler",
      [](nb::handle handler) {
        require(PyCapsule_IsValid(handler.ptr(), "mem_handler"), "handler", "a capsule of NumPy's memory handlers",
                "something else");
        PyObject* before = set_numpy_memory_handler(handler.ptr());
        if (!before) throw nb::python_error();
        return nb::steal(before);
      },
      "handler"_a, "Set where this context's NumPy arrays get memory; return what was set before.");
  m.def(
      "memory_use",
      [] {
        pool::Use use = pool::use();
        return nb::make_tuple(use.in_use, use.kept, use.peak);
      },
      "The pool's bytes: in use, kept, and the most that were in use.");
  m.def("release_memory", &pool::release, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace handgrad::bindings
