// What becomes of several arrays.
#pragma once

#define HG_MERGE_KERNELS(K) K(add, (long n, const float* a, const float* b, float* y))  // y = a + b
