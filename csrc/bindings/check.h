// What a kernel is given, checked before anything is read or written: a wrong argument is a ValueError that names it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace handgrad::bindings {

using Shape = std::initializer_list<int64_t>;

// Throws "NAME: expected EXPECTED, got GOT".
[[noreturn]] void refuse(const char* name, const std::string& expected, const std::string& got);
[[noreturn]] void refuse_shape(const char* name, const std::string& expected, const int64_t* shape, size_t ndim);
// A shape as Python writes it, "(3,)".
std::string text(const int64_t* shape, size_t ndim);

// Throws unless it holds.
inline void require(bool holds, const char* name, const char* expected, const char* got) {
  if (!holds) refuse(name, expected, got);
}

// Throws unless every size is at least `least` and fits in 32 bits, so that no sum or product of two overflows.
void check_sizes(const char* name, Shape sizes, long least);
// Throws if the product of sizes, of which each fits in 32 bits, is more than any memory holds.
void check_product(const char* name, Shape sizes);
// Throws unless a vector of sizes has as many as the kernel takes.
void check_length(const std::vector<long>& sizes, size_t length);

// A kernel reads whole numbers of its type: NumPy has arrays that begin between two of them.
template <class Array>
void check_aligned(const char* name, const Array& a) {
  if ((uintptr_t)a.data() % sizeof(typename Array::Scalar)) refuse(name, "aligned memory", "an address between numbers");
}

template <class Array>
void check_rank(const char* name, const Array& a, size_t rank) {
  check_aligned(name, a);
  if (a.ndim() != rank) refuse_shape(name, std::to_string(rank) + " axes", a.shape_ptr(), a.ndim());
}

template <class Array>
void check_shape(const char* name, const Array& a, Shape shape) {
  check_aligned(name, a);
  if (!std::equal(shape.begin(), shape.end(), a.shape_ptr(), a.shape_ptr() + a.ndim()))
    refuse_shape(name, "shape " + text(shape.begin(), shape.size()), a.shape_ptr(), a.ndim());
}
template <class Array>
void check_shape(const char* name, const std::optional<Array>& a, Shape shape) {
  if (a) check_shape(name, *a, shape);
}

// Throws unless `a` has the shape of `like`.
template <class Array, class Like>
void check_alike(const char* name, const Array& a, const Like& like) {
  check_aligned(name, a);
  if (!std::equal(like.shape_ptr(), like.shape_ptr() + like.ndim(), a.shape_ptr(), a.shape_ptr() + a.ndim()))
    refuse_shape(name, "shape " + text(like.shape_ptr(), like.ndim()), a.shape_ptr(), a.ndim());
}
template <class Array, class Like>
void check_alike(const char* name, const std::optional<Array>& a, const Like& like) {
  if (a) check_alike(name, *a, like);
}

}  // namespace handgrad::bindings
