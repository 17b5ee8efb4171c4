"""Initial values of parameters.

With ``fan_in`` products summed into an output, inputs of variance 1 and weights of variance v give outputs of
variance ``fan_in*v``: keeping it at 1 asks for ``v = 1/fan_in``; twice that where a ReLU follows, which
halves it (He); Glorot's is the mean of what forward and backward ask for, ``v = 2/(fan_in + fan_out)``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from handgrad.arguments import check_number, plain
from handgrad.errors import ArgumentError, not_written
from handgrad.rng import Stream
from handgrad.typing import Array, Shape


@dataclass(frozen=True)
class Initializer:
    """Makes the initial value of a parameter; fields are the configuration."""

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return a new array of `shape` and `dtype`; `fans` is (fan_in, fan_out)."""
        raise not_written(type(self).__name__, "__call__(rng, shape, fans, dtype)")


@dataclass(frozen=True)
class Constant(Initializer):
    """Every element `value`."""

    value: float = 0.0

    def __post_init__(self) -> None:
        check_number("Constant", "value", self.value, least=-math.inf)

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return a constant array."""
        return np.full(shape, self.value, dtype)


@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Normal with mean 0 and standard deviation `stddev`."""

    stddev: float = 0.05

    def __post_init__(self) -> None:
        check_number("RandomNormal", "stddev", self.stddev)

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return a normal array."""
        return rng.normal(shape, self.stddev, dtype)


@dataclass(frozen=True)
class HeNormal(Initializer):
    """Normal with variance ``2/fan_in``.

    K. He et al., "Delving deep into rectifiers", ICCV 2015, eq. 10.
    """

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return a normal array."""
        return rng.normal(shape, math.sqrt(2 / fans[0]), dtype)


@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform with variance ``2/fan_in``, on +-sqrt(6/fan_in)."""

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return a uniform array."""
        limit = math.sqrt(6 / fans[0])
        return rng.uniform(shape, -limit, limit, dtype)


@dataclass(frozen=True)
class GlorotNormal(Initializer):
    """Normal with variance ``2/(fan_in + fan_out)``.

    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010, eq. 12.
    """

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return a normal array."""
        return rng.normal(shape, math.sqrt(2 / sum(fans)), dtype)


@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform with variance ``2/(fan_in + fan_out)``, on +-sqrt(6/(fan_in + fan_out)) (eq. 16 there)."""

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return a uniform array."""
        limit = math.sqrt(6 / sum(fans))
        return rng.uniform(shape, -limit, limit, dtype)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """A matrix with orthonormal columns (or rows, where there are fewer of them), times `gain`.

    A. M. Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
    ICLR 2014. The sign of R's diagonal is made positive, so that Q is uniform (Mezzadri, 2007).
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        check_number("Orthogonal", "gain", self.gain, least=-math.inf)

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return an orthogonal matrix; leading axes of `shape` are flattened into rows."""
        rows, columns = math.prod(shape[:-1]), shape[-1]
        a = rng.normal((max(rows, columns), min(rows, columns)), dtype=np.float64)
        q, r = np.linalg.qr(a)
        q = q * np.sign(np.diag(r))
        return (self.gain * (q if rows >= columns else q.T)).reshape(shape).astype(dtype)


@dataclass(frozen=True)
class Dirac(Initializer):
    """Filters that begin near the identity: the middle tap of filter i passes channel i on.

    Filters beyond the number of channels, and channels beyond that of filters, have no partner: those
    filters are uniform with variance ``scale/fan_in``, the default being what PyTorch's convolutions begin
    with. The first ones are those of ``torch.nn.init.dirac_``.
    """

    scale: float = 1 / 3

    def __post_init__(self) -> None:
        check_number("Dirac", "scale", self.scale)

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return filters (kh, kw, c, k)."""
        if len(shape) != 4:
            raise ArgumentError("Dirac", expected="filters (kh, kw, c, k)", got=f"shape {shape}")
        limit = math.sqrt(3 * self.scale / fans[0])
        w = rng.uniform(shape, -limit, limit, dtype)
        kh, kw, c, k = shape
        n = min(c, k)
        w[..., :n] = 0
        w[kh // 2, kw // 2, np.arange(n), np.arange(n)] = 1
        return w


BY_NAME: dict[str, Initializer] = {
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
    "random_normal": RandomNormal(),
    "he_normal": HeNormal(),
    "he_uniform": HeUniform(),
    "glorot_normal": GlorotNormal(),
    "glorot_uniform": GlorotUniform(),
    "orthogonal": Orthogonal(),
    "dirac": Dirac(),
}


def get_initializer(initializer: str | Initializer | dict[str, Any]) -> Initializer:
    """Return an initializer from its name, its configuration or itself.

    Raises
    ------
    ArgumentError
        If there is none of that name.
    """
    if isinstance(initializer, Initializer):
        return initializer
    if isinstance(initializer, dict):
        arguments = dict(initializer)
        name = arguments.pop("class", None)
        kinds = {type(i).__name__: type(i) for i in BY_NAME.values()}
        if (
            isinstance(name, str)
            and name in kinds
            and arguments.keys() <= {f.name for f in fields(kinds[name])}
        ):
            return kinds[name](**arguments)
    elif isinstance(initializer, str) and initializer in BY_NAME:
        return BY_NAME[initializer]
    raise ArgumentError(
        "initializer",
        expected=f"one of {', '.join(BY_NAME)} or an Initializer",
        got=repr(initializer),
        do=f"create it: {initializer.__name__}(...)" if isinstance(initializer, type) else "",
    )


def initializer_config(initializer: str | Initializer) -> str | dict[str, Any]:
    """Return what JSON can hold of an initializer, for `get_initializer`."""
    if isinstance(initializer, str):
        return initializer
    return {"class": type(initializer).__name__, **{n: plain(v) for n, v in asdict(initializer).items()}}
