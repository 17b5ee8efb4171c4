#pragma once

#define HG_UPDATE_KERNELS(K)
