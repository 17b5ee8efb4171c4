#pragma once

#define HG_POOL_KERNELS(K)
