#include "sets.h"

#if defined(HG_HAS_AMX) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace handgrad {

namespace {

// The set of that name: another one, but for products of bf16.
[[maybe_unused]] Kernels with_products(const char* name, const Kernels& base, const ProductKernels<bf16>& products) {
  Kernels set = base;
  set.name = name;
  static_cast<ProductKernels<bf16>&>(set.of_bf16) = products;
  return set;
}

#ifdef HG_HAS_AVX512
bool has_avx512() {
  __builtin_cpu_init();
#ifdef HG_EMULATED  // with what AVX2 has
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
}
#endif
#ifdef HG_HAS_AVX512BF16
bool has_bf16() {
#ifdef HG_EMULATED
  return has_avx512();
#else
  return has_avx512() && __builtin_cpu_supports("avx512bf16");
#endif
}
#endif
#ifdef HG_HAS_AMX
// Whether the processor has AMX, and the system lets this process use its registers: Linux does if asked.
bool has_amx() {
#ifdef __linux__
  constexpr unsigned of_bf16 = 1u << 22, registers = 1u << 24;
  constexpr long request_permission = 0x1023, register_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned a, b, c, d;
  return has_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & of_bf16) && (d & registers) &&
         syscall(SYS_arch_prctl, request_permission, register_data) == 0;
#else
  return false;
#endif
}
#endif

}  // namespace

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> sets;
#ifdef HG_HAS_AMX
  static const Kernels of_amx = with_products("amx", avx512::kernels, amx::products);
  if (has_amx()) sets.push_back(&of_amx);
#endif
#ifdef HG_HAS_AVX512BF16
  static const Kernels of_pairs = with_products("avx512bf16", avx512::kernels, avx512bf16::products);
  if (has_bf16()) sets.push_back(&of_pairs);
#endif
#ifdef HG_HAS_AVX512
  if (has_avx512()) sets.push_back(&avx512::kernels);
#endif
#ifdef HG_HAS_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(&avx2::kernels);
#endif
#ifdef HG_HAS_PLAIN
  sets.push_back(&plain::kernels);
#endif
  return sets;
}

std::vector<const Kernels*> written_out() {
  std::vector<const Kernels*> sets;
#ifdef HG_HAS_PLAINAMX
  static const Kernels of_amx = with_products("plainamx", plain::kernels, plainamx::products);
  sets.push_back(&of_amx);
#endif
#ifdef HG_HAS_PLAINBF16
  static const Kernels of_pairs = with_products("plainbf16", plain::kernels, plainbf16::products);
  sets.push_back(&of_pairs);
#endif
  return sets;
}

std::vector<std::string> built() {
  return {
#ifdef HG_HAS_AMX
      "amx",
#endif
#ifdef HG_HAS_AVX512BF16
      "avx512bf16",
#endif
#ifdef HG_HAS_AVX512
      "avx512",
#endif
#ifdef HG_HAS_AVX2
      "avx2",
#endif
#ifdef HG_HAS_PLAIN
      "plain",
#endif
  };
}

}  // namespace handgrad
