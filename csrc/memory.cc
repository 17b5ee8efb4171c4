#include "memory.h"

#include <cstdlib>
#include <new>

namespace handgrad {

void* take(size_t bytes) {
  void* block = nullptr;
  if (posix_memalign(&block, 64, bytes)) throw std::bad_alloc();
  return block;
}

void give(void* block, size_t) { std::free(block); }

}  // namespace handgrad
