// The kernels of one instruction set, side by side.
#include "kernels.h"
#include "simd.h"

#define HG_STRING(name) #name
#define HG_NAME(name) HG_STRING(name)

namespace handgrad::HG_ISA {

HG_KERNELS(HG_DECLARE)
HG_DIRECT_KERNELS(HG_DECLARE, float)
HG_DIRECT_KERNELS(HG_DECLARE, bf16)
HG_PACKED_KERNELS(HG_DECLARE, float)
HG_PACKED_KERNELS(HG_DECLARE, bf16)
HG_DENSE_KERNELS(HG_DECLARE, float)
HG_DENSE_KERNELS(HG_DECLARE, bf16)
HG_TEMPLATE_KERNELS(HG_DECLARE_TYPED, T)

#define HG_ENTRY(kernel, arguments) kernel,
extern const Kernels kernels = {
    HG_NAME(HG_ISA),
    HG_NAME(HG_ISA),
    {{HG_PRODUCT_KERNELS(HG_ENTRY, float)}, HG_TEMPLATE_KERNELS(HG_ENTRY, float)},
    {{HG_PRODUCT_KERNELS(HG_ENTRY, bf16)}, HG_TEMPLATE_KERNELS(HG_ENTRY, bf16)},
    HG_KERNELS(HG_ENTRY)};

}  // namespace handgrad::HG_ISA
