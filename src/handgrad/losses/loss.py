"""What every loss is: a value and its gradient, from outputs and labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from handgrad.arguments import check_unmasked, class_arguments
from handgrad.errors import BuildError, DataError, ShapeError
from handgrad.kernels import Kernels, default_kernels
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.typing import Array, Config, Shape, is_bfloat16


@dataclass(frozen=True)
class Loss:
    """A number to make small, as a function of a model's outputs and the labels.

    A loss is a frozen dataclass with a method `compute` of its own, and as a rule `check`, which says what
    labels it takes. The reduction is PyTorch's ``reduction="mean"``, for value and gradient alike: the
    gradient is the derivative of the value that is returned, so a learning rate means the same for every
    batch size.
    """

    outputs: ClassVar[str | None] = None
    """What it takes outputs for, by which accuracy is measured: ``"classes"``, logits of one class among
    several; ``"labels"``, logits of independent yes-or-no labels; ``"numbers"``, estimates of the targets;
    None where that is unknown."""

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
            If the labels do not fit, as `check` does; or if `compute` returns anything else than a number and
            a gradient of the outputs' shape.
        """
        isdtype = array_namespace(z).isdtype
        if not (is_bfloat16(z) or isdtype(z.dtype, ("real floating", "complex floating"))):
            raise DataError(self.where, expected="floating-point outputs", got=f"{z.dtype}")
        y = as_array(y)
        self.check(z.shape, y)
        return checked(self.where, z, self.compute(z, y, kernels or default_kernels()))

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
            If their dtype or their values mean nothing to this loss. By default any will do.
        """
        check_batch(self.where, z_shape, as_array(y))

    def compute(self, z: Array, y: Array, kernels: Kernels) -> tuple[Array, Array]:
        """Return the value, as an array without axes, and the gradient, for labels that `check` let pass."""
        raise BuildError(
            self.where,
            expected="a method compute(z, y, kernels) that returns the loss and its gradient",
            got="none",
            do="define it, as the losses in handgrad.losses do",
        )

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


def checked(where: str, z: Array, result: Any) -> tuple[float, Array]:
    """Return what a loss returned for outputs `z` as a float (complex for complex `z`) and an array like `z`.

    Raises
    ------
    BuildError
        If it is no pair.
    ShapeError, DataError
        If its first part is no number, or its second no gradient of `z`.
    """
    pair = "the loss and its gradient with respect to the outputs"
    if not isinstance(result, tuple | list) or len(result) != 2:
        several = isinstance(result, tuple | list)
        got = f"{len(result)} values" if several else f"a {type(result).__name__} alone"
        raise BuildError(where, expected=pair, got=got, do="return value, dz")
    value, dz = result
    if value is None or getattr(value, "size", 1) != 1 or isinstance(value, str | list | tuple):
        got = f"shape {value.shape}" if hasattr(value, "shape") else repr(value)
        raise ShapeError(where, expected="one number as the loss of a batch", got=got, do="take the mean")
    if getattr(dz, "shape", None) != z.shape:
        got = f"shape {dz.shape}" if hasattr(dz, "shape") else f"a {type(dz).__name__}"
        raise ShapeError(where, expected=f"a gradient of the outputs' shape {z.shape}", got=got)
    xp = array_namespace(z)
    real = is_bfloat16(z) or xp.isdtype(z.dtype, "real floating")
    if dz.dtype != z.dtype:
        if real and not (is_bfloat16(dz) or xp.isdtype(dz.dtype, ("bool", "integral", "real floating"))):
            raise DataError(where, expected=f"a gradient of {z.dtype}", got=f"{dz.dtype}")
        dz = xp.astype(dz, z.dtype)
    number = value.reshape(()) if isinstance(value, np.ndarray) else value
    return (float(number) if real else complex(number)), dz  # type: ignore[return-value]


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
    check_finite(where, y, "finite labels")


def check_finite(where: str, y: Array, expected: str) -> None:
    """Raise DataError that names the first sample whose label is NaN or infinite."""
    xp = array_namespace(y)
    if not xp.isdtype(y.dtype, "real floating") or bool(xp.all(xp.isfinite(y))):
        return
    bad = xp.any(xp.reshape(~xp.isfinite(y), (y.shape[0], -1)), axis=1)
    first, more = int(xp.argmax(xp.astype(bad, xp.int8))), int(xp.sum(xp.astype(bad, xp.int64))) - 1
    kind = "NaN" if bool(xp.any(xp.isnan(y[first, ...]))) else "infinity"
    raise DataError(
        where,
        expected=expected,
        got=f"{kind} for sample {first}" + (f" and {more} more" if more else ""),
        do="leave samples without a label out, or give them one",
    )
