// NumPy arrays whose data lie in the pool (NEP 49).
#pragma once

#include <Python.h>

namespace handgrad {

// Call once, before the others; false, and a Python exception, where NumPy's interface is not to be had.
bool prepare_numpy_memory();

// The handler that takes large blocks from the pool and leaves small ones to NumPy's own; a new reference.
PyObject* numpy_memory_handler();

// Lets arrays of this context take their memory from `handler`; returns what they took it from before, or
// null and a Python exception. An array remembers its handler, so it may outlive the context.
PyObject* set_numpy_memory_handler(PyObject* handler);

}  // namespace handgrad
