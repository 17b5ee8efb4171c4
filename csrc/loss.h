#pragma once

#define HG_LOSS_KERNELS(K)
