"""Layers that are trained for a while and then kept."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from handgrad.errors import ArgumentError
from handgrad.graph import Graph
from handgrad.train.callbacks.callback import Callback
from handgrad.typing import is_integer


class FreezeAfter(Callback):
    """Freezes layers when so many epochs are done; from then on nothing is computed for them backward.

    Parameters
    ----------
    epochs : dict of int
        By pattern over layer names, ``{"stage1.*": 3}``, the epochs that these layers are trained.

    Raises
    ------
    ArgumentError
        If a number is below 0; when training begins, if a pattern matches no layer.

    Notes
    -----
    It depends on the number of the epoch alone, so that a resumed run needs no state of it: where
    `Trainer.load` warns that layers were frozen when they were saved, they are frozen again before the next
    step. Layers stay frozen when training has ended.
    """

    def __init__(self, epochs: Mapping[str, int]) -> None:
        if not isinstance(epochs, Mapping):
            raise ArgumentError("FreezeAfter", expected="a dict of patterns and epochs", got=repr(epochs))
        for pattern, n in epochs.items():
            if not is_integer(n) or n < 0:
                raise ArgumentError(
                    "FreezeAfter", expected=f"epochs of {pattern!r} as an int of at least 0", got=repr(n)
                )
        self.epochs = dict(epochs)

    def check(self, model: Graph) -> None:
        """Raise ArgumentError if a pattern matches no layer of `model`."""
        names = [node.name for node in model.nodes]
        for pattern in self.epochs:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ArgumentError(
                    "FreezeAfter", expected=f"{pattern!r} to match a layer", got=f"none of {len(names)}"
                )

    def on_train_begin(self) -> None:
        """Check the patterns; freeze what is due in the middle of an epoch, too."""
        self.check(self.trainer.model)
        self.on_epoch_begin(self.trainer.progress.epoch)

    def on_epoch_begin(self, epoch: int) -> None:
        """Freeze the layers whose time is over."""
        for pattern, n in self.epochs.items():
            if epoch >= n:
                for node in self.trainer.model.nodes:
                    if fnmatchcase(node.name, pattern) and node.layer.trainable:
                        node.layer.freeze()
