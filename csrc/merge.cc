#include "merge.h"

#include "elementwise.h"

namespace handgrad::HG_ISA {

HG_MERGE_KERNELS(HG_DECLARE_TYPED, T)

template <class T>
void add(long n, const T* a, const T* b, T* y) {
  map(n, CHEAP, y, [=](Lanes at) { return load(a, at) + load(b, at); });
}

HG_MERGE_KERNELS(HG_INSTANTIATE, float)
HG_MERGE_KERNELS(HG_INSTANTIATE, bf16)

}  // namespace handgrad::HG_ISA
