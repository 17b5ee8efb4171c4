// The table of compiled kernels: what Python calls, once for each instruction set.
//
// Each family's header lists its kernels with their arguments in a macro, HG_<FAMILY>_KERNELS(K), or (K, T) for
// every type T of their activations. From these lists come the declarations (in the family's source, in the
// namespace of the instruction set) and the table.
#pragma once

#include "activation.h"
#include "bf16.h"
#include "conv.h"
#include "dense.h"
#include "dropout.h"
#include "gradient.h"
#include "group_norm.h"
#include "loss.h"
#include "merge.h"
#include "norm.h"
#include "pool.h"
#include "resize.h"
#include "update.h"

// Kernels of activations of type T, float or bf16: templates, and products, with a function for each (convert.cc).
#define HG_TEMPLATE_KERNELS(K, T) \
  HG_WINOGRAD_KERNELS(K, T)       \
  HG_NORM_KERNELS(K, T)           \
  HG_GROUP_NORM_KERNELS(K, T)     \
  HG_TYPED_POOL_KERNELS(K, T)     \
  HG_RELU_KERNELS(K, T)           \
  HG_MERGE_KERNELS(K, T)
#define HG_PRODUCT_KERNELS(K, T) \
  HG_DIRECT_KERNELS(K, T)        \
  HG_PACKED_KERNELS(K, T)        \
  HG_DENSE_KERNELS(K, T)

// Kernels of floats.
#define HG_KERNELS(K)      \
  HG_POOL_KERNELS(K)       \
  HG_RESIZE_KERNELS(K)     \
  HG_ACTIVATION_KERNELS(K) \
  HG_DROPOUT_KERNELS(K)    \
  HG_LOSS_KERNELS(K)       \
  HG_UPDATE_KERNELS(K)     \
  HG_GRADIENT_KERNELS(K)

namespace handgrad {

#define HG_MEMBER(kernel, arguments) void(*kernel) arguments;
template <class T>
struct ProductKernels {
  HG_PRODUCT_KERNELS(HG_MEMBER, T)
};
template <class T>
struct TypedKernels : ProductKernels<T> {
  HG_TEMPLATE_KERNELS(HG_MEMBER, T)
};

struct Kernels {
  const char* name;
  const char* of_floats;  // the name of the set that computes in float as this one does
  TypedKernels<float> of_float;
  TypedKernels<bf16> of_bf16;
  HG_KERNELS(HG_MEMBER)
};
#undef HG_MEMBER

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
#ifdef HG_HAS_PLAIN
HG_TABLE(plain)
#endif
#undef HG_TABLE

// Sets with products of bf16 of their own (pairs.cc, amx.cc), of which all else is that of another set.
#define HG_PRODUCTS(isa)                         \
  namespace isa {                                \
  extern const ProductKernels<bf16> products;    \
  }
#ifdef HG_HAS_AMX
HG_PRODUCTS(amx)
#endif
#ifdef HG_HAS_AVX512BF16
HG_PRODUCTS(avx512bf16)
#endif
#ifdef HG_HAS_PLAINAMX
HG_PRODUCTS(plainamx)
#endif
#ifdef HG_HAS_PLAINBF16
HG_PRODUCTS(plainbf16)
#endif
#undef HG_PRODUCTS

}  // namespace handgrad
