// What becomes of several arrays.
#pragma once

#define HG_MERGE_KERNELS(K, T) K(add, (long n, const T* a, const T* b, T* y))  // y = a + b
