// A float without its lower half: 8 bits of precision, and float's range.
#pragma once

#include <stdint.h>

namespace handgrad {

struct bf16 {
  uint16_t bits;
};

}  // namespace handgrad
