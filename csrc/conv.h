// Convolution of images (n, h, w, c) with filters (kh, kw, c/groups, k), all in C order.
#pragma once

#include "norm.h"

namespace handgrad {

struct ConvShape {
  long n, h, w, c;       // images
  long oh, ow, k;        // outputs
  long kh, kw;           // taps
  long sh, sw, dh, dw;   // strides and dilation
  long top, left;        // padding; below and to the right it is what the output's size says
  long groups;
};

// The mean and the (biased) variance of each output channel.
struct Statistics {
  double *mean, *var;
};

// Which type of images is meant, where a kernel has no argument of it.
template <class T>
struct For {};

}  // namespace handgrad

// Images and their gradients are of type T, float or bf16. direct: as products of matrices, of images of type X, and
// results of type Y.
// winograd_*: dilation 1, one group; 3x3 with output tiles of `tile` = 2 or 4 pixels squared, at stride 2 with 4 and an
// even difference of the paddings above and to the left; 5x5 with 2.
// What may be null: b; `add`, which is added to the result; `f`, with which max(gamma*s*(x - mean) + beta, 0)
// takes the place of the images x; `of_y`, where statistics of the result go.
#define HG_DIRECT_KERNELS(K, T)                                                                               \
  K(conv2d, (const ConvShape& s, const T* x, const float* w, const float* b, T* y))                           \
  K(conv2d_backward_input, (const ConvShape& s, const T* dy, const float* w, const T* add, T* dx))            \
  K(conv2d_backward_weight, (const ConvShape& s, const T* dy, const T* x, float* dw))
#define HG_DIRECT_PRODUCTS(K, X, Y)                                                                           \
  K(direct, (const ConvShape& s, const X* x, const float* w, const float* b, Y* y))                           \
  K(direct_backward_input, (const ConvShape& s, const X* dy, const float* w, const Y* add, Y* dx))            \
  K(direct_backward_weight, (const ConvShape& s, const X* dy, const X* x, float* dw))
// With filters packed once, in `size` times four bytes: for tiles of that size, or for sums of products where tile = 0,
// which may be products of bf16. A packed filter fits every number and size of images of type T. b and add, which has
// y's shape, may be null; with `relu` y is 0 where it were negative. Not depthwise.
#define HG_PACKED_KERNELS(K, T)                                                                               \
  K(packed_filters_size, (const ConvShape& s, int tile, For<T>, long* size))                                  \
  K(pack_filters, (const ConvShape& s, int tile, For<T>, const float* w, float* packed))                      \
  K(conv2d_packed, (const ConvShape& s, int tile, const T* x, const float* packed, const float* b,            \
                    const T* add, bool relu, T* y))
#define HG_DIRECT_PACKED(K, X, Y)                                                                             \
  K(direct_packed_size, (const ConvShape& s, long* size))                                                     \
  K(direct_pack, (const ConvShape& s, const float* w, float* packed))                                         \
  K(direct_packed, (const ConvShape& s, const X* x, const float* packed, const float* b, Y* y))
#define HG_PACKED_WINOGRAD_KERNELS(K)                                                                         \
  K(winograd_packed_size, (const ConvShape& s, int tile, long* size))                                         \
  K(winograd_pack, (const ConvShape& s, int tile, const float* w, float* packed))                             \
  K(winograd_packed, (const ConvShape& s, int tile, const float* x, const float* packed, const float* b,      \
                      const float* add, bool relu, float* y))
#define HG_WINOGRAD_KERNELS(K, T)                                                                             \
  K(winograd, (const ConvShape& s, int tile, const T* x, const Normalization* f, const float* w,              \
               const float* b, T* y, const Statistics* of_y))                                                 \
  K(winograd_backward_input,                                                                                  \
    (const ConvShape& s, int tile, const T* dy, const float* w, const T* add, T* dx))                         \
  K(winograd_backward_weight,                                                                                 \
    (const ConvShape& s, int tile, const T* dy, const T* x, const Normalization* f, float* dw))
