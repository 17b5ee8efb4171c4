#pragma once

#define HG_NORM_KERNELS(K)
