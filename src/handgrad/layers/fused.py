"""Layers that take the places of others, and compute at once what these compute one after the other.

They hold nothing of their own: parameters, buffers, name and whether they are trained are those of a layer
they hold. `handgrad.graph.fuse` puts them where these stood. What passes between two of them need not be an
array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from handgrad.layers.layer import Layer
from handgrad.layers.parameter import Buffer, Parameter
from handgrad.typing import Array, Config, DTypeLike, Shape


@dataclass(frozen=True, eq=False)
class Normalized:
    """What a convolution may take in place of images: those it is to compute as it reads them.

    ``max(gamma*s*(x - mean) + beta, 0)``, never in memory.
    """

    x: Array
    mean: Array
    s: Array
    gamma: Array | None
    beta: Array | None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the kernels take in place of images."""
        return self.x, self.mean, self.s, self.gamma, self.beta

    @property
    def shape(self) -> Shape:
        """Of the images, with the batch axis."""
        shape: Shape = self.x.shape
        return shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> DTypeLike:
        """Of the images."""
        dtype: DTypeLike = self.x.dtype
        return dtype


class Measured(NamedTuple):
    """What a normalization may take in place of an array: one whose statistics are known."""

    x: Array
    mean: Array
    var: Array


def _shared(name: str) -> Any:
    """Return a property that is the held layer's attribute."""

    def get(layer: Fused) -> Any:
        return getattr(layer.layer, name)

    def set_(layer: Fused, value: Any) -> None:
        setattr(layer.layer, name, value)

    return property(get, set_)


class Fused(Layer):
    """What a fused layer has of the one whose parameters it has.

    Parameters
    ----------
    layer : Layer
        Built or not.
    """

    kind: ClassVar[type[Layer]]

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    name = _shared("name")
    path = _shared("path")
    trainable = _shared("trainable")

    @property
    def built(self) -> bool:
        """Whether the layer is."""
        built: bool = self.layer.built
        return built

    @property
    def where(self) -> str:
        """How error messages name this layer: as the one it holds."""
        where: str = self.layer.where
        return where

    def freeze(self) -> None:
        """Freeze the layer."""
        self.layer.freeze()

    def unfreeze(self) -> None:
        """Unfreeze the layer."""
        self.layer.unfreeze()

    def parameters(self) -> dict[str, Parameter]:
        """Return those of the layer."""
        parameters: dict[str, Parameter] = self.layer.parameters()
        return parameters

    def buffers(self) -> dict[str, Buffer]:
        """Return those of the layer."""
        buffers: dict[str, Buffer] = self.layer.buffers()
        return buffers

    def config(self) -> Config:
        """Return the layer's arguments."""
        return {"layer": self.layer.config()}

    @classmethod
    def from_config(cls, config: Config) -> Layer:
        """Return a new layer, not built, from `config`."""
        return cls(cls.kind.from_config(config["layer"]))
