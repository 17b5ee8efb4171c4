"""Mean squared error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from handgrad.kernels import Kernels
from handgrad.losses.loss import Loss, as_array, check_targets, column
from handgrad.typing import Array, Shape


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    r"""The square of the difference between outputs and targets, mean over all outputs.

    Notes
    -----
    For outputs ``z`` of any shape and targets ``t`` of the same shape, m elements in all,

    .. math::

        L = \frac{1}{m}\sum (z - t)^2,\qquad \frac{\partial L}{\partial z} = \frac{2}{m}\,(z - t).

    The mean is over all elements, samples and outputs alike, as in ``torch.nn.MSELoss()``: with K outputs per
    sample it is 1/K of the mean over the batch of the squared distance. There is no factor 1/2.

    Examples
    --------
    >>> import numpy as np
    >>> value, dz = MeanSquaredError()(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    >>> value
    2.5
    >>> dz
    array([[ 1., -2.]])
    """

    outputs: ClassVar[str | None] = "numbers"

    def check(self, z_shape: Shape, y: Array) -> None:
        """Raise if targets do not fit outputs of `z_shape`.

        Parameters
        ----------
        z_shape : tuple of int
            The outputs' shape.
        y : array of that shape, or (n,) for outputs (n, 1)
            Finite real numbers.

        Raises
        ------
        ShapeError, DataError
            As `Loss.check` says.
        """
        check_targets(self.where, z_shape, as_array(y), do="give a target for each output")

    def compute(self, z: Array, y: Array, kernels: Kernels) -> tuple[Array, Array]:
        """Return the value and the gradient."""
        value, dz = kernels.mean_squared_error(z, column(y, z.shape))
        return value, dz
