// Images (n, h, w, c) made larger, in C order.
#pragma once

namespace handgrad {

struct FrameShape {
  long n, h, w, c;                // images
  long top, bottom, left, right;  // pixels around them
};

struct BlockShape {
  long n, h, w, c;     // images
  long rows, columns;  // of the block that each of their pixels becomes
};

}  // namespace handgrad

#define HG_RESIZE_KERNELS(K)                                                        \
  K(pad2d, (const FrameShape& s, const float* x, float value, float* y))            \
  K(pad2d_backward, (const FrameShape& s, const float* dy, float* dx))              \
  K(upsample2d, (const BlockShape& s, const float* x, float* y))                    \
  K(upsample2d_backward, (const BlockShape& s, const float* dy, float* dx))
