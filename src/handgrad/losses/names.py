"""Losses by name and configuration."""

from __future__ import annotations

from handgrad.errors import ArgumentError
from handgrad.losses.binary_cross_entropy import BinaryCrossEntropy
from handgrad.losses.cross_entropy import CrossEntropy
from handgrad.losses.loss import Loss
from handgrad.losses.mean_squared_error import MeanSquaredError
from handgrad.typing import Config

LOSSES: tuple[type[Loss], ...] = (CrossEntropy, BinaryCrossEntropy, MeanSquaredError)


def get(loss: str | Config | Loss) -> Loss:
    """Return a loss from its name, its configuration or itself.

    Parameters
    ----------
    loss : str, dict or Loss
        ``"cross_entropy"`` or ``"CrossEntropy"``, or what `Loss.config` returned.

    Raises
    ------
    ArgumentError
        If there is none of that name, or it has no such argument.

    Examples
    --------
    >>> get("cross_entropy")
    CrossEntropy(label_smoothing=0.0)
    >>> get({"class": "CrossEntropy", "label_smoothing": 0.1})
    CrossEntropy(label_smoothing=0.1)
    """
    if isinstance(loss, Loss):
        return loss
    config = dict(loss) if isinstance(loss, dict) else {"class": loss}
    name = str(config.get("class"))
    for kind in LOSSES:
        if kind.__name__.lower() == name.replace("_", "").lower():
            return kind.from_config(config | {"class": kind.__name__})
    known = ", ".join(kind.__name__ for kind in LOSSES)
    raise ArgumentError("loss", expected=f"one of {known} or a Loss", got=repr(loss))
