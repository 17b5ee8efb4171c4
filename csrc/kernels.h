// The table of compiled kernels: what Python calls, once for each instruction set.
//
// Each family's header lists its kernels with their arguments in a macro, HG_<FAMILY>_KERNELS(K). From these
// lists come the declarations (in the family's source, in the namespace of the instruction set) and the table.
#pragma once

#include "activation.h"
#include "conv.h"
#include "dense.h"
#include "dropout.h"
#include "gradient.h"
#include "loss.h"
#include "merge.h"
#include "norm.h"
#include "pool.h"
#include "resize.h"
#include "update.h"

#define HG_KERNELS(K)      \
  HG_CONV_KERNELS(K)       \
  HG_DENSE_KERNELS(K)      \
  HG_NORM_KERNELS(K)       \
  HG_POOL_KERNELS(K)       \
  HG_RESIZE_KERNELS(K)     \
  HG_ACTIVATION_KERNELS(K) \
  HG_DROPOUT_KERNELS(K)    \
  HG_MERGE_KERNELS(K)      \
  HG_LOSS_KERNELS(K)       \
  HG_UPDATE_KERNELS(K)     \
  HG_GRADIENT_KERNELS(K)

namespace handgrad {

struct Kernels {
  const char* name;
#define HG_MEMBER(kernel, arguments) void(*kernel) arguments;
  HG_KERNELS(HG_MEMBER)
#undef HG_MEMBER
};


#define HG_TABLE(isa)           \
  namespace isa {               \
  extern const Kernels kernels; \
  }
#ifdef HG_HAS_AVX512
HG_TABLE(avx512)
#endif
#ifdef HG_HAS_AVX2
HG_TABLE(avx2)
#endif
HG_TABLE(plain)
#undef HG_TABLE

}  // namespace handgrad
