#pragma once

#define HG_ACTIVATION_KERNELS(K)
