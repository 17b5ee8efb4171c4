"""Activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from handgrad.arguments import check_number
from handgrad.errors import ArgumentError, ShapeError
from handgrad.kernels.protocol import Kernels
from handgrad.layers.layer import Layer, Run
from handgrad.typing import Array, Shape


class ActivationSaved(NamedTuple):
    """What the backward of an activation needs: its input, or its output where that is enough."""

    value: Array


@dataclass(eq=False)
class Elementwise(Layer):
    """What activations share: a function of each number alone, ``y = f(x)``, and so ``dx = dy*f'(x)``."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        return shape

    def forward(self, x: Array, run: Run) -> tuple[Array, ActivationSaved]:
        """Return ``f(x)``."""
        self.check_input(x)
        y = self._function(run.kernels)(x)
        return y, ActivationSaved(y if self._from_output() else x)

    def backward(self, dy: Array, saved: ActivationSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return ``dy*f'(x)``."""
        self.check_gradient(dy, saved.value.shape, saved.value.dtype)
        return self._derivative(run.kernels)(dy, saved.value) if need_dx else None

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        raise NotImplementedError

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        """Return the function of (dy, value) that is dx."""
        raise NotImplementedError

    def _from_output(self) -> bool:
        """Whether the derivative is computed from the output."""
        return False


@dataclass(eq=False)
class ReLU(Elementwise):
    r"""Rectified linear unit.

    Notes
    -----
    .. math:: y = \max(x, 0), \qquad \dot x = \dot y\,[x > 0]

    At 0, where there is no derivative, it is taken as 0. NaN passes through. Backward needs only the sign of
    y.

    References
    ----------
    .. [1] V. Nair and G. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
    """

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return kernels.relu

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return kernels.relu_backward

    def _from_output(self) -> bool:
        return True


@dataclass(eq=False)
class LeakyReLU(Elementwise):
    r"""ReLU with a slope where x is negative.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope.

    Notes
    -----
    .. math:: y = \begin{cases} x & x > 0 \\ a x & x \le 0 \end{cases}, \qquad
              \dot x = \dot y \begin{cases} 1 & x > 0 \\ a & x \le 0 \end{cases}

    A. Maas, A. Hannun and A. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML
    2013.
    """

    negative_slope: float = 0.01

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        check_number(self.where, "negative_slope", self.negative_slope, least=-math.inf)
        return shape

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return lambda x: kernels.leaky_relu(x, self.negative_slope)

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return lambda dy, x: kernels.leaky_relu_backward(dy, x, self.negative_slope)


@dataclass(eq=False)
class ELU(Elementwise):
    r"""Exponential linear unit.

    Parameters
    ----------
    alpha : float, default 1.0
        Minus the value it approaches for x far below 0.

    Notes
    -----
    .. math:: y = \begin{cases} x & x > 0 \\ \alpha\,(e^x - 1) & x \le 0 \end{cases}, \qquad
              \dot x = \dot y \begin{cases} 1 & x > 0 \\ \alpha\,e^x & x \le 0 \end{cases}

    D.-A. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network learning by exponential
    linear units", ICLR 2016.
    """

    alpha: float = 1.0

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        check_number(self.where, "alpha", self.alpha, least=-math.inf)
        return shape

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return lambda x: kernels.elu(x, self.alpha)

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return lambda dy, x: kernels.elu_backward(dy, x, self.alpha)


@dataclass(eq=False)
class SELU(Elementwise):
    r"""Self-normalizing exponential linear unit.

    Notes
    -----
    .. math:: y = \lambda \begin{cases} x & x > 0 \\ \alpha\,(e^x - 1) & x \le 0 \end{cases}, \qquad
              \dot x = \lambda\,\dot y \begin{cases} 1 & x > 0 \\ \alpha\,e^x & x \le 0 \end{cases}

    with :math:`\alpha = 1.6733` and :math:`\lambda = 1.0507`, for which mean 0 and variance 1 are a fixed
    point (G. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017).
    """

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return kernels.selu

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return kernels.selu_backward


@dataclass(eq=False)
class Softplus(Elementwise):
    r"""Smooth form of ReLU.

    Notes
    -----
    .. math:: y = \log(1 + e^x) = \max(x, 0) + \log\bigl(1 + e^{-|x|}\bigr), \qquad \dot x = \dot y\,\sigma(x)

    The second form never overflows: :math:`y(1000) = 1000`.
    """

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return kernels.softplus

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return kernels.softplus_backward


@dataclass(eq=False)
class Sigmoid(Elementwise):
    r"""Logistic function.

    Notes
    -----
    .. math:: y = \sigma(x) = \frac1{1 + e^{-x}}, \qquad \dot x = \dot y\,y\,(1 - y)

    For the derivative: :math:`\sigma' = e^{-x}/(1 + e^{-x})^2 = \sigma\,(1 - \sigma)`. As the last layer
    before a loss leave it out: `BinaryCrossEntropy` takes logits.
    """

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return kernels.sigmoid

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return kernels.sigmoid_backward

    def _from_output(self) -> bool:
        return True


@dataclass(eq=False)
class Tanh(Elementwise):
    r"""Hyperbolic tangent.

    Notes
    -----
    .. math:: y = \tanh x, \qquad \dot x = \dot y\,(1 - y^2)
    """

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return kernels.tanh

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return kernels.tanh_backward

    def _from_output(self) -> bool:
        return True


@dataclass(eq=False)
class GELU(Elementwise):
    r"""Gaussian error linear unit.

    Parameters
    ----------
    approximate : bool, default False
        Whether :math:`\Phi` is replaced by a formula with tanh.

    Notes
    -----
    With the normal distribution function :math:`\Phi` and density :math:`\varphi`,

    .. math:: y = x\,\Phi(x) = \tfrac12\, x \operatorname{erfc}\bigl(-x/\sqrt2\bigr), \qquad
              \dot x = \dot y\,\bigl(\Phi(x) + x\,\varphi(x)\bigr)

    The approximation is :math:`y = \frac12 x\,(1 + \tanh u)` with :math:`u = \sqrt{2/\pi}\,(x +
    0.044715\,x^3)`, so

    .. math:: \dot x = \dot y\,\bigl(\tfrac12 (1 + \tanh u) + \tfrac12 x\,(1 - \tanh^2 u)\,u'\bigr), \qquad
              u' = \sqrt{2/\pi}\,(1 + 3 \cdot 0.044715\,x^2)

    D. Hendrycks and K. Gimpel, "Gaussian error linear units", arXiv:1606.08415.
    """

    _: KW_ONLY
    approximate: bool = False

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return lambda x: kernels.gelu(x, approximate=bool(self.approximate))

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return lambda dy, x: kernels.gelu_backward(dy, x, approximate=bool(self.approximate))


@dataclass(eq=False)
class SiLU(Elementwise):
    r"""Sigmoid linear unit, also called swish.

    Notes
    -----
    .. math:: y = x\,\sigma(x), \qquad \dot x = \dot y\,\bigl(\sigma + x\,\sigma\,(1 - \sigma)\bigr)

    S. Elfwing, E. Uchibe and K. Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", Neural Networks 107 (2018).
    """

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return kernels.silu

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return kernels.silu_backward


@dataclass(eq=False)
class Softmax(Elementwise):
    r"""Probabilities over the last axis.

    Notes
    -----
    .. math:: y_i = \frac{e^{x_i}}{\sum_j e^{x_j}}

    **Backward.** Every output depends on every input: :math:`\partial y_i/\partial x_j = y_i\,([i = j] -
    y_j)`, so

    .. math::
        \dot x_j = \sum_i \dot y_i\,y_i\,([i = j] - y_j) = y_j \Bigl(\dot y_j - \sum_i \dot y_i y_i\Bigr)

    With :math:`\dot y = 1` this is zero, as the sum of probabilities is constant. As the last layer before a
    loss leave it out: `CrossEntropy` takes logits.
    """

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        if not shape or shape[-1] < 1:
            raise ShapeError(self.where, expected="a last axis of at least one class", got=f"shape {shape}")
        return shape

    def _function(self, kernels: Kernels) -> Callable[[Array], Array]:
        return kernels.softmax

    def _derivative(self, kernels: Kernels) -> Callable[[Array, Array], Array]:
        return kernels.softmax_backward

    def _from_output(self) -> bool:
        return True


ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "selu": SELU,
    "softplus": Softplus,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "softmax": Softmax,
    "gelu": GELU,
    "silu": SiLU,
}


_OTHER_NAMES = {"swish": "silu", "leakyrelu": "leaky_relu", "logistic": "sigmoid"}


def Activation(activation: str, **options: Any) -> Layer:  # noqa: N802 (Keras' name)
    """Return the activation layer of a name.

    Parameters
    ----------
    activation : str
        One of relu, leaky_relu, elu, selu, softplus, sigmoid, tanh, softmax, gelu, silu.
    **options
        Arguments of that layer.

    Raises
    ------
    ArgumentError
        If there is none of that name.

    Examples
    --------
    >>> Activation("elu", alpha=0.5)
    ELU(name=None, trainable=True, alpha=0.5)
    """
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        names = ", ".join(ACTIVATIONS)
        meant = _OTHER_NAMES.get(str(activation).lower(), str(activation).lower())
        do = f"write {meant!r}" if meant in ACTIVATIONS else ""
        raise ArgumentError("Activation", expected=f"one of {names}", got=repr(activation), do=do)
    return ACTIVATIONS[activation](**options)
