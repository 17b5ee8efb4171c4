// The formulas are those of src/handgrad/kernels/reference/activation.py, in the same letters.
#include "activation.h"

#include "elementwise.h"
#include "exp.h"
#include "rows.h"

namespace handgrad::HG_ISA {

HG_RELU_KERNELS(HG_DECLARE_TYPED, T)
HG_ACTIVATION_KERNELS(HG_DECLARE)

template <class T>
void relu(long n, const T* x, T* y) {
  map(n, CHEAP, y, [=](Lanes at) { return relu(load(x, at)); });
}

template <class T>
void relu_backward(long n, const T* dy, const T* y, T* dx) {
  map(n, CHEAP, dx, [=](Lanes at) { return load(y, at) <= 0 ? vec{} : load(dy, at); });
}

HG_RELU_KERNELS(HG_INSTANTIATE, float)
HG_RELU_KERNELS(HG_INSTANTIATE, bf16)

void leaky_relu(long n, const float* x, float slope, float* y) {
  map(n, CHEAP, y, [=](Lanes at) {
    const vec v = load(x, at);
    return v > 0 ? v : slope * v;
  });
}

void leaky_relu_backward(long n, const float* dy, const float* x, float slope, float* dx) {
  map(n, CHEAP, dx, [=](Lanes at) {
    const vec d = load(dy, at);
    return load(x, at) > 0 ? d : slope * d;
  });
}

namespace {

// y = scale*x where x > 0, else alpha*(e^x - 1)
HG_INLINE void scaled_elu(long n, const float* x, float scale, float alpha, float* y) {
  map(n, COSTLY, y, [=](Lanes at) {
    const vec v = load(x, at);
    return v > 0 ? scale * v : alpha * expm1_negative(at_most(v, 0));
  });
}

// dx = scale*dy where x > 0, else alpha*e^x*dy
HG_INLINE void scaled_elu_backward(long n, const float* dy, const float* x, float scale, float alpha, float* dx) {
  map(n, COSTLY, dx, [=](Lanes at) {
    const vec v = load(x, at), d = load(dy, at);
    return v > 0 ? scale * d : d * (alpha * exp(at_most(v, 0)));
  });
}

// The fixed point of Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017, eq. 14
constexpr double SELU_ALPHA = 1.6732632423543772848170429916717;
constexpr double SELU_SCALE = 1.0507009873554804934193349852946;

}  // namespace

void elu(long n, const float* x, float alpha, float* y) { scaled_elu(n, x, 1, alpha, y); }

void elu_backward(long n, const float* dy, const float* x, float alpha, float* dx) {
  scaled_elu_backward(n, dy, x, 1, alpha, dx);
}

void selu(long n, const float* x, float* y) {
  scaled_elu(n, x, (float)SELU_SCALE, (float)(SELU_SCALE * SELU_ALPHA), y);
}

void selu_backward(long n, const float* dy, const float* x, float* dx) {
  scaled_elu_backward(n, dy, x, (float)SELU_SCALE, (float)(SELU_SCALE * SELU_ALPHA), dx);
}

void softplus(long n, const float* x, float* y) {
  map(n, COSTLY, y, [=](Lanes at) { return softplus(load(x, at)); });
}

void softplus_backward(long n, const float* dy, const float* x, float* dx) {
  map(n, COSTLY, dx, [=](Lanes at) { return load(dy, at) * sigmoid(load(x, at)); });
}

void sigmoid(long n, const float* x, float* y) {
  map(n, COSTLY, y, [=](Lanes at) { return sigmoid(load(x, at)); });
}

void sigmoid_backward(long n, const float* dy, const float* y, float* dx) {
  map(n, CHEAP, dx, [=](Lanes at) {
    const vec s = load(y, at);
    return load(dy, at) * s * (1 - s);
  });
}

void tanh(long n, const float* x, float* y) {
  map(n, COSTLY, y, [=](Lanes at) { return tanh(load(x, at)); });
}

// dx = dy*(1 - y^2); as a product, what is left near y = 1 keeps its digits.
void tanh_backward(long n, const float* dy, const float* y, float* dx) {
  map(n, CHEAP, dx, [=](Lanes at) {
    const vec t = load(y, at);
    return load(dy, at) * ((1 - t) * (1 + t));
  });
}

namespace {

// From here on Phi and sigmoid are 0 or 1, and their derivatives 0: x is cut off where it is multiplied by one of them,
// for infinity times 0 would be NaN where x*Phi(x) goes to 0.
constexpr float NORMAL_END = 16, SIGMOID_END = 112;
HG_INLINE vec bounded(vec v, float end) { return at_least(at_most(v, end), -end); }

}  // namespace

void gelu(long n, const float* x, float* y) {
  map(n, COSTLY, y, [=](Lanes at) {
    const vec v = load(x, at);
    return at_least(v, -NORMAL_END) * normal(v).cdf;
  });
}

// dx = dy*(Phi(x) + x*phi(x))
void gelu_backward(long n, const float* dy, const float* x, float* dx) {
  constexpr float ONE_BY_SQRT_2_PI = 0.398942280401432678f;
  map(n, COSTLY, dx, [=](Lanes at) {
    const vec v = load(x, at);
    const Normal f = normal(v);
    return load(dy, at) * (f.cdf + bounded(v, NORMAL_END) * (ONE_BY_SQRT_2_PI * f.e));
  });
}

namespace {

// 2*u = 2*sqrt(2/pi)*(z + 0.044715*z^3), and half its derivative by z. Since (1 + tanh(u))/2 is sigmoid(2*u), the
// approximate GELU is x*sigmoid(2*u).
constexpr float TWO_SQRT_2_BY_PI = 1.59576912160573071f;
HG_INLINE vec gelu_2u(vec z) { return TWO_SQRT_2_BY_PI * (z + 0.044715f * z * z * z); }
HG_INLINE vec gelu_2du(vec z) { return TWO_SQRT_2_BY_PI * (1 + 0.134145f * z * z); }
constexpr float GELU_END = 40;  // where sigmoid(2*u) is 0 or 1

}  // namespace

void gelu_tanh(long n, const float* x, float* y) {
  map(n, COSTLY, y, [=](Lanes at) {
    const vec v = at_least(load(x, at), -GELU_END);
    return v * sigmoid(gelu_2u(at_most(v, GELU_END)));
  });
}

// dx = dy*(s + z*s*(1 - s)*2*u') with s = sigmoid(2*u)
void gelu_tanh_backward(long n, const float* dy, const float* x, float* dx) {
  map(n, COSTLY, dx, [=](Lanes at) {
    const vec z = bounded(load(x, at), GELU_END);
    const Sigmoid f = sigmoid_and_derivative(gelu_2u(z));
    return load(dy, at) * (f.s + z * f.derivative * gelu_2du(z));
  });
}

void silu(long n, const float* x, float* y) {
  map(n, COSTLY, y, [=](Lanes at) {
    const vec v = load(x, at);
    return at_least(v, -SIGMOID_END) * sigmoid(v);
  });
}

// dx = dy*(s + x*s*(1 - s))
void silu_backward(long n, const float* dy, const float* x, float* dx) {
  map(n, COSTLY, dx, [=](Lanes at) {
    const vec v = load(x, at);
    const Sigmoid f = sigmoid_and_derivative(v);
    return load(dy, at) * (f.s + bounded(v, SIGMOID_END) * f.derivative);
  });
}

// y_i = e^(x_i - max)/s, s the sum of all e^(x_j - max)
void softmax(long m, long k, const float* x, float* y) {
  parallel_for(m, grain_of_rows(k), [&](long begin, long end, int) {
    for (long i = begin; i < end; ++i) {
      const float* xi = x + i * k;
      float* yi = y + i * k;
      const float by_s = (float)(1 / exp_row(k, xi, greatest(k, xi), yi));
      for_row(k, [&](Lanes at) { store(yi, load(yi, at) * by_s, at); });
    }
  });
}

// dx_i = y_i*(dy_i - sum_j dy_j*y_j). Where the sum is large, the difference may be more than a float holds.
constexpr double LARGE = 1e31;  // less than a unit in the last place of the largest float
void softmax_backward(long m, long k, const float* dy, const float* y, float* dx) {
  parallel_for(m, grain_of_rows(k), [&](long begin, long end, int) {
    for (long i = begin; i < end; ++i) {
      const float *di = dy + i * k, *yi = y + i * k;
      DoubleSum products;
      for_row(k, [&](Lanes at) { products.add_product(load(di, at), load(yi, at)); });
      const double sum = products.total();
      if (!(__builtin_fabs(sum) < LARGE)) {
        for (long j = 0; j < k; ++j) dx[i * k + j] = (float)(yi[j] * (di[j] - sum));
        continue;
      }
      const float dot = (float)sum;
      for_row(k, [&](Lanes at) { store(dx + i * k, load(yi, at) * (load(di, at) - dot), at); });
    }
  });
}

}  // namespace handgrad::HG_ISA
