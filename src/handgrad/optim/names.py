"""Optimizers by name and configuration."""

from __future__ import annotations

from handgrad.errors import ArgumentError
from handgrad.optim.adadelta import Adadelta
from handgrad.optim.adagrad import Adagrad
from handgrad.optim.adam import Adam, AdamW
from handgrad.optim.multi import MultiOptimizer
from handgrad.optim.muon import Muon
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.rmsprop import RMSprop
from handgrad.optim.sgd import SGD
from handgrad.typing import Config

OPTIMIZERS: tuple[type[Optimizer], ...] = (
    SGD,
    Adagrad,
    Adadelta,
    RMSprop,
    Adam,
    AdamW,
    Muon,
    MultiOptimizer,
)


def get(optimizer: str | Config | Optimizer) -> Optimizer:
    """Return an optimizer from its name, its configuration or itself.

    Parameters
    ----------
    optimizer : str, dict or Optimizer
        ``"adam"``, upper and lower case alike, or what `Optimizer.config` returned.

    Raises
    ------
    ArgumentError
        If there is none of that name, or it has no such argument.

    Examples
    --------
    >>> get("sgd").learning_rate
    0.01
    >>> get({"class": "Adam", "lr": {"class": "Step", "lr": 0.1, "every": 10}}).lr
    Step(lr=0.1, every=10, gamma=0.1)
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    config = dict(optimizer) if isinstance(optimizer, dict) else {"class": optimizer}
    name = str(config.get("class"))
    for kind in OPTIMIZERS:
        if kind.__name__.lower() == name.lower():
            return kind.from_config(config | {"class": kind.__name__})
    known = ", ".join(kind.__name__ for kind in OPTIMIZERS)
    raise ArgumentError("optimizer", expected=f"one of {known} or an Optimizer", got=repr(optimizer))
