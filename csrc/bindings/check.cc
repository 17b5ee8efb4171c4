#include "check.h"

#include <stdexcept>

namespace handgrad::bindings {

namespace {

constexpr int64_t MOST = INT32_MAX;       // of a size, a stride, a padding
constexpr int64_t MEMORY = 1LL << 56;     // numbers that nobody has

}  // namespace

void refuse(const char* name, const std::string& expected, const std::string& got) {
  throw std::invalid_argument(std::string(name) + ": expected " + expected + ", got " + got);
}

std::string text(const int64_t* shape, size_t ndim) {
  std::string out = "(";
  for (size_t i = 0; i < ndim; ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + (ndim == 1 ? ",)" : ")");
}

void refuse_shape(const char* name, const std::string& expected, const int64_t* shape, size_t ndim) {
  refuse(name, expected, "shape " + text(shape, ndim));
}

void check_sizes(const char* name, Shape sizes, long least) {
  for (int64_t size : sizes)
    if (size < least || size > MOST)
      refuse(name, "whole numbers from " + std::to_string(least) + " to " + std::to_string(MOST), std::to_string(size));
}

void check_product(const char* name, Shape sizes) {
  int64_t product = 1;
  for (int64_t size : sizes)
    if (__builtin_mul_overflow(product, size, &product) || product > MEMORY)
      refuse(name, "an array that fits in memory", "shape " + text(sizes.begin(), sizes.size()));
}

void check_length(const std::vector<long>& sizes, size_t length) {
  if (sizes.size() != length) refuse("shape", std::to_string(length) + " numbers", std::to_string(sizes.size()));
}

}  // namespace handgrad::bindings
