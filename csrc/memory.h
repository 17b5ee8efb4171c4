// Memory that is used again: blocks that were freed wait for the next request of their size.
#pragma once

#include <cstddef>

namespace handgrad {

// A block of at least `bytes`, aligned to 64, contents unspecified; null when there is no memory.
void* take(size_t bytes);
void give(void* block, size_t bytes);

// Scratch of a kernel: floats that live as long as the object.
class Scratch {
 public:
  explicit Scratch(size_t floats) : bytes_(4 * floats), data_(bytes_ ? (float*)take(bytes_) : nullptr) {}
  ~Scratch() {
    if (data_) give(data_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* data() const { return data_; }

 private:
  size_t bytes_;
  float* data_;
};

}  // namespace handgrad
