// The instruction sets that kernels were compiled for, and which of them this machine runs.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace handgrad {

std::vector<const Kernels*> supported();    // by this machine, the fastest first
std::vector<const Kernels*> written_out();  // with the arithmetic of amx and avx512bf16, for every machine: for tests
std::vector<std::string> built();           // names, as `supported` would have them on a machine that has all

}  // namespace handgrad
