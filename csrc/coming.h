// What is read next comes near while the processor multiplies: where it is in memory, reads that jump from row to row are
// not foreseen.
#pragma once

#include "simd.h"

namespace handgrad::HG_ISA {

// Memory that is to come near in so many steps: a step asks for what lies at `at`, and goes on by `pace` bytes.
struct Coming {
  const char* at = &near;
  long pace = 0;

  Coming() = default;
  // Numbers one behind the other.
  template <class T>
  Coming(const T* at, long numbers, long steps)
      : at((const char*)at), pace(((long)sizeof(T) * numbers + steps - 1) / larger(1, steps)) {}
  // `width` numbers of rows that lie `row` numbers apart: a line of the cache of each in one turn, the lines behind them in
  // the next.
  template <class T>
  static Coming down_rows(const T* at, long width, long row, long steps_in_a_turn) {
    Coming down;
    down.at = (const char*)at, down.pace = sizeof(T) * row;
    down.jump_ = LINE_BYTES - steps_in_a_turn * down.pace;
    down.turns_ = ((long)sizeof(T) * width + LINE_BYTES - 1) / LINE_BYTES;
    return down;
  }

  // A step that may take several lines of the cache.
  HG_INLINE_MEMBER void step() {
    for (long i = 0; i < pace; i += LINE_BYTES) prefetch(at + i);
    at += pace;
  }
  // What a block's steps asked for is one turn.
  HG_INLINE_MEMBER void turn() {
    if (turns_ == 0) return;
    at += jump_;
    if (--turns_ == 0) at = &near, pace = 0;
  }

 private:
  static constexpr long LINE_BYTES = LINE * sizeof(float);
  inline static const char near = 0;  // to ask for what is there already takes nothing
  long jump_ = 0, turns_ = 0;
};

}  // namespace handgrad::HG_ISA
