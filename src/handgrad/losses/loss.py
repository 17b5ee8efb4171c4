"""What every loss is: a value and its gradient, from outputs and labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from handgrad.arguments import check_unmasked, class_arguments
from handgrad.errors import DataError, ShapeError
from handgrad.kernels import Kernels, default_kernels
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.typing import Array, Config, Shape, is_bfloat16


@dataclass(frozen=True)
class Loss:
    """A number to make small, as a function of a model's outputs and the labels.

    A loss is a frozen dataclass with two methods of its own: `check`, which says what labels it takes, and
    `compute`. The reduction is PyTorch's ``reduction="mean"``, for value and gradient alike: the gradient is
    the derivative of the value that is returned, so a learning rate means the same for every batch size.
    """

    def __call__(self, z: Array, y: Any, kernels: Kernels | None = None) -> tuple[float, Array]:
        """Return the loss and its gradient.

        Parameters
        ----------
        z : (n, ...) floating-point array
            The model's outputs: logits for the cross entropies.
        y : array
            Labels; see `check`.
        kernels : Kernels, optional
            The table of functions that compute.

        Returns
        -------
        value : float
            The loss, summed in float64 (complex for complex `z`).
        dz : array
            dL/dz, of z's shape and dtype.

        Raises
        ------
        ShapeError, DataError
            If the labels do not fit, as `check` does.
        """
        isdtype = array_namespace(z).isdtype
        if not (is_bfloat16(z) or isdtype(z.dtype, ("real floating", "complex floating"))):
            raise DataError(self.where, expected="floating-point outputs", got=f"{z.dtype}")
        y = as_array(y)
        self.check(z.shape, y)
        value, dz = self.compute(z, y, kernels or default_kernels())
        number: Any = float if is_bfloat16(z) or isdtype(z.dtype, "real floating") else complex
        return number(value), dz

    def check(self, z_shape: Shape, y: Any) -> None:
        """Raise if labels do not fit outputs of `z_shape`; a trainer asks before the first step.

        Parameters
        ----------
        z_shape : tuple of int
            The outputs' shape, batch axis included: ``(len(y), *model.output_shape)`` for a whole data set.
        y : array
            All the labels.

        Raises
        ------
        ShapeError
            If there are too few or too many labels, or none, or they have the wrong shape.
        DataError
            If their dtype or their values mean nothing to this loss.
        """
        raise NotImplementedError

    def compute(self, z: Array, y: Array, kernels: Kernels) -> tuple[Array, Array]:
        """Return the value, as an array without axes, and the gradient, for labels that `check` let pass."""
        raise NotImplementedError

    @property
    def where(self) -> str:
        """How error messages name this loss."""
        return type(self).__name__

    def config(self) -> Config:
        """Return the class's name and the constructor's arguments, as JSON can hold them."""
        return {"class": type(self).__name__, **asdict(self)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return a new loss from what `config` returned; ``"class"`` may be missing.

        Raises
        ------
        ArgumentError
            If the configuration is another class's or has an argument that this one has not.
        """
        return cls(**class_arguments(cls.__name__, [f.name for f in fields(cls)], config))


def as_array(y: Any) -> Array:
    """Return `y` itself if it is an array of any library, else a NumPy array of it."""
    check_unmasked("labels", y)
    array: Array = y if hasattr(y, "shape") and hasattr(y, "dtype") else np.asarray(y)
    return array


def check_batch(where: str, z_shape: Shape, y: Array) -> None:
    """Raise ShapeError for an empty batch, or if there is not one label for each sample."""
    n = z_shape[0] if z_shape else 0
    if n == 0:
        raise ShapeError(
            where, expected="at least one sample", got="none", do="a mean over an empty batch has no value"
        )
    if y.ndim == 0 or y.shape[0] != n:
        got = f"{y.shape[0]}" if y.ndim else "a single number"
        raise ShapeError(where, expected=f"{n} labels", got=got, do="one for each sample")


def column(y: Array, z_shape: Shape) -> Array:
    """Return labels (n,) as (n, 1) if that is the outputs' shape, other labels as they are."""
    return array_namespace(y).reshape(y, z_shape) if (*y.shape, 1) == tuple(z_shape) else y


def check_targets(where: str, z_shape: Shape, y: Array, *, do: str) -> None:
    """Raise unless `y` holds finite real numbers in the outputs' shape; (n,) for outputs (n, 1) will do."""
    check_batch(where, z_shape, y)
    shape = tuple(z_shape)
    if column(y, shape).shape != shape:
        raise ShapeError(where, expected=f"labels of the outputs' shape {shape}", got=f"{y.shape}", do=do)
    xp = array_namespace(y)
    if not xp.isdtype(y.dtype, ("bool", "integral", "real floating")):
        raise DataError(where, expected="labels that are real numbers", got=f"{y.dtype}")
    if xp.isdtype(y.dtype, "real floating") and not bool(xp.all(xp.isfinite(y))):
        raise DataError(where, expected="finite labels", got="NaN or infinity")
