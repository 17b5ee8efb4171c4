#include "numpy_memory.h"

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include <algorithm>
#include <cstring>

#include "memory.h"

namespace handgrad {

namespace {

// NumPy's own: it keeps tiny blocks in a cache of its own and gets the others from malloc.
PyDataMemAllocator numpys;

void* array_malloc(void*, size_t bytes) {
  if (bytes >= POOLED_BYTES)
    if (void* data = pool::take(bytes).data) return data;
  return numpys.malloc(numpys.ctx, bytes);
}

void* array_calloc(void*, size_t items, size_t item_bytes) {
  size_t bytes;
  if (!__builtin_mul_overflow(items, item_bytes, &bytes) && bytes >= POOLED_BYTES) {
    pool::Block block = pool::take(bytes);
    if (block.data) return std::memset(block.data, 0, std::min(block.written, bytes)), block.data;
  }
  return numpys.calloc(numpys.ctx, items, item_bytes);
}

void array_free(void*, void* data, size_t bytes) {
  if (pool::owns(data))
    pool::give(data);
  else
    numpys.free(numpys.ctx, data, bytes);
}

void* array_realloc(void* ctx, void* data, size_t bytes) {
  if (!pool::owns(data)) return numpys.realloc(numpys.ctx, data, bytes);  // its size is not known here
  if (bytes >= POOLED_BYTES && pool::resize(data, bytes)) return data;
  void* moved = array_malloc(ctx, bytes);
  if (!moved) return nullptr;
  std::memcpy(moved, data, std::min(bytes, pool::size(data)));
  pool::give(data);
  return moved;
}

PyDataMem_Handler handler = {"handgrad", 1, {nullptr, array_malloc, array_calloc, array_realloc, array_free}};

}  // namespace

bool prepare_numpy_memory() {
  if (PyArray_ImportNumPyAPI() < 0) return false;
  auto* own = (PyDataMem_Handler*)PyCapsule_GetPointer(PyDataMem_DefaultHandler, "mem_handler");
  if (!own) return false;
  numpys = own->allocator;
  return true;
}

PyObject* numpy_memory_handler() { return PyCapsule_New(&handler, "mem_handler", nullptr); }

PyObject* set_numpy_memory_handler(PyObject* handler) { return PyDataMem_SetHandler(handler); }

}  // namespace handgrad
