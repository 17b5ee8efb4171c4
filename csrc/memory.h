// Memory that is used again: blocks that were freed wait, in place, for the next request that they fit.
//
// The pool is one range of addresses, reserved at first use and filled from its low end. Neighbours that are
// free are one span; a request takes the low end of the smallest span that is large enough. Memory comes
// from the system, and goes back to it, by huge pages, whatever blocks lie on them. What is kept idle never
// exceeds what the blocks in use have lately left, and a little. Any thread may call any function.
#pragma once

#include <cstddef>

namespace handgrad {

// From this size on blocks come from the pool; smaller ones malloc serves as fast.
constexpr size_t POOLED_BYTES = 64 << 10;

// A block of at least `bytes`, aligned to 64, contents unspecified. Throws std::bad_alloc.
void* take(size_t bytes);
void give(void* block, size_t bytes) noexcept;

// The pool itself, for those who have something else for small blocks.
namespace pool {

struct Block {
  void* data;      // null when there is no memory
  size_t written;  // so many bytes from its begin may hold something; the others are zero
};
Block take(size_t bytes) noexcept;
void give(void* data) noexcept;
bool owns(const void* data) noexcept;
size_t size(const void* data) noexcept;          // what was asked for
bool resize(void* data, size_t bytes) noexcept;  // in place; or false, and nothing has changed

struct Use {
  size_t in_use;  // bytes of the blocks that are handed out
  size_t kept;    // bytes that the system has given and no block uses
  size_t peak;    // the most that `in_use` has been
};
Use use() noexcept;
void release() noexcept;  // returns to the system what no block uses

}  // namespace pool

// Scratch of a kernel: numbers that live as long as the object.
template <class T>
class ScratchOf {
 public:
  explicit ScratchOf(size_t numbers)
      : bytes_(sizeof(T) * numbers), data_(bytes_ ? (T*)take(bytes_) : nullptr) {}
  ~ScratchOf() {
    if (data_) give(data_, bytes_);
  }
  ScratchOf(const ScratchOf&) = delete;
  ScratchOf& operator=(const ScratchOf&) = delete;
  T* data() const { return data_; }

 private:
  size_t bytes_;
  T* data_;
};
using Scratch = ScratchOf<float>;

}  // namespace handgrad
