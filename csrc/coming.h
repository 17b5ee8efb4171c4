// What is read next comes near while the processor multiplies: where it is in memory, reads that jump from row to row are
// not foreseen.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {

// Numbers one behind the other that are to come near in so many steps.
template <class T>
struct Coming {
  static constexpr long IN_LINE = LINE * sizeof(float) / sizeof(T);
  const T* at;
  long pace;

  Coming() : at(nullptr), pace(0) {}
  Coming(const T* at, long numbers, long steps) : at(at), pace((numbers + steps - 1) / larger(1, steps)) {}

  // One step: a line of the cache, for steps that are short, or all.
  HG_INLINE_MEMBER void step_of_a_line() {
    prefetch(at);
    at += pace;
  }
  HG_INLINE_MEMBER void step() {
    for (long i = 0; i < pace; i += IN_LINE) prefetch(at + i);
    at += pace;
  }
};

}  // namespace handgrad::HG_ISA
