#include "bindings.h"

namespace handgrad::bindings {

namespace {

// Parameters, their gradient and the optimizer's state: all of one shape.
template <class... State>
long check_update(const FloatsOut& p, const Floats& g, const State&... state) {
  check_aligned("p", p), check_alike("g", g, p);
  (check_alike("state", state, p), ...);
  return (long)p.size();
}

}  // namespace

void bind_update(nb::class_<Kernels>& table) {
  table.def(
      "sgd",
      [](const Kernels& k, FloatsOut p, Floats g, std::optional<FloatsOut> b, float lr, bool first, float momentum,
         float damped, bool nesterov, float weight_decay) {
        const long n = check_update(p, g, b);
        nb::gil_scoped_release release;
        k.sgd(n, p.data(), g.data(), data_or_null(b), lr, first, momentum, damped, nesterov, weight_decay);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "b"_a.noconvert().none(), "lr"_a, "first"_a, "momentum"_a, "damped"_a,
      "nesterov"_a, "weight_decay"_a);
  table.def(
      "adagrad",
      [](const Kernels& k, FloatsOut p, Floats g, FloatsOut s, float lr, float epsilon, float weight_decay) {
        const long n = check_update(p, g, s);
        nb::gil_scoped_release release;
        k.adagrad(n, p.data(), g.data(), s.data(), lr, epsilon, weight_decay);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "s"_a.noconvert(), "lr"_a, "epsilon"_a, "weight_decay"_a);
  table.def(
      "adadelta",
      [](const Kernels& k, FloatsOut p, Floats g, FloatsOut v, FloatsOut u, float lr, double rho, float epsilon,
         float weight_decay) {
        const long n = check_update(p, g, v, u);
        nb::gil_scoped_release release;
        k.adadelta(n, p.data(), g.data(), v.data(), u.data(), lr, rho, epsilon, weight_decay);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "v"_a.noconvert(), "u"_a.noconvert(), "lr"_a, "rho"_a, "epsilon"_a,
      "weight_decay"_a);
  table.def(
      "rmsprop",
      [](const Kernels& k, FloatsOut p, Floats g, FloatsOut v, std::optional<FloatsOut> m, std::optional<FloatsOut> b,
         float lr, double rho, float epsilon, float momentum, float weight_decay) {
        const long n = check_update(p, g, v, m, b);
        nb::gil_scoped_release release;
        k.rmsprop(n, p.data(), g.data(), v.data(), data_or_null(m), data_or_null(b), lr, rho, epsilon, momentum,
                  weight_decay);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "v"_a.noconvert(), "m"_a.noconvert().none(), "b"_a.noconvert().none(),
      "lr"_a, "rho"_a, "epsilon"_a, "momentum"_a, "weight_decay"_a);
  table.def(
      "adam",
      [](const Kernels& k, FloatsOut p, Floats g, FloatsOut m, FloatsOut v, float step, double beta_1, double beta_2,
         float correction, float epsilon, float weight_decay, float keep) {
        const long n = check_update(p, g, m, v);
        nb::gil_scoped_release release;
        k.adam(n, p.data(), g.data(), m.data(), v.data(), step, beta_1, beta_2, correction, epsilon, weight_decay,
               keep);
      },
      "p"_a.noconvert(), "g"_a.noconvert(), "m"_a.noconvert(), "v"_a.noconvert(), "step"_a, "beta_1"_a, "beta_2"_a,
      "correction"_a, "epsilon"_a, "weight_decay"_a, "keep"_a);
}

void bind_gradient(nb::class_<Kernels>& table) {
  table.def(
      "all_finite",
      [](const Kernels& k, Floats g) {
        check_aligned("g", g);
        bool answer;
        nb::gil_scoped_release release;
        k.all_finite((long)g.size(), g.data(), &answer);
        return answer;
      },
      "g"_a.noconvert());
  table.def(
      "sum_of_squares",
      [](const Kernels& k, Floats g) {
        check_aligned("g", g);
        double answer;
        nb::gil_scoped_release release;
        k.sum_of_squares((long)g.size(), g.data(), &answer);
        return answer;
      },
      "g"_a.noconvert());
}

}  // namespace handgrad::bindings
