// The kernels of one instruction set, side by side.
#include "kernels.h"
#include "simd.h"

#define HG_STRING(name) #name
#define HG_NAME(name) HG_STRING(name)

namespace handgrad::HG_ISA {

HG_KERNELS(HG_DECLARE)

#define HG_ENTRY(kernel, arguments) kernel,
extern const Kernels kernels = {HG_NAME(HG_ISA), HG_KERNELS(HG_ENTRY)};

}  // namespace handgrad::HG_ISA
