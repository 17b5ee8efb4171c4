"""What a model's outputs mean and what its inputs have passed through: kept and saved with the model."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from handgrad.arguments import class_arguments
from handgrad.errors import ArgumentError
from handgrad.kernels import Kernels, default_kernels
from handgrad.typing import Array, Config, is_bfloat16

KINDS = ("classification", "binary", "multi_label", "regression")
"""What a model's outputs can mean, at every position of a map or for the whole input."""


@dataclass(frozen=True)
class ModelInfo:
    """What a model's outputs mean, and what its inputs have passed through.

    `handgrad.Trainer` sets it as ``model.info`` from the loss, the last layer and the data; `handgrad.save`
    writes it, and the commands ``predict`` and ``evaluate`` go by it. Set it yourself for a model that was
    trained elsewhere.

    Parameters
    ----------
    kind : str, optional
        Of the last axis of the outputs: ``"classification"``, one class of several; ``"binary"``, one output
        that says yes or no; ``"multi_label"``, a yes or no for each; ``"regression"``, numbers. An output of
        shape (height, width, K) says so for each of its pixels. None where nobody knows.
    from_logits : bool, default True
        Whether outputs are logits; False where the model ends with `Softmax` or `Sigmoid`, and so returns
        probabilities.
    classes : sequence of str, optional
        Names of the classes or labels, in the order of the outputs; of a binary model first that of no, then
        that of yes.
    preprocessing : sequence of dict, optional
        What inputs pass through before the model gets them, in order: configurations of transforms, as
        `handgrad.data.to_config` gives them. Images begin as floating-point numbers in [0, 1], bytes divided
        by 255. `handgrad.data.preprocess` applies it. Empty where inputs are as they are, None where nobody
        knows.
    loss : dict, optional
        Configuration of the loss that the model was trained with.
    input_range : (float, float), optional
        The smallest and largest number that inputs had before `preprocessing`, in some samples of its
        training, where these were arrays of numbers: the commands warn where that is not [0, 1].

    Raises
    ------
    ArgumentError
        If an argument is none of these.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> model = hg.Sequential([hg.layers.Dense(2)], input_shape=(4,))
    >>> model.info = hg.ModelInfo("classification", classes=("cat", "dog"))
    >>> model.info.probabilities(np.array([[0.0, np.log(3)]])).round(2)
    array([[0.25, 0.75]])
    """

    kind: str | None = None
    from_logits: bool = True
    classes: tuple[str, ...] = ()
    preprocessing: tuple[Config, ...] | None = None
    loss: Config | None = None
    input_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ArgumentError("ModelInfo kind", expected=f"one of {', '.join(KINDS)}", got=repr(self.kind))
        if not isinstance(self.from_logits, bool):
            raise ArgumentError("ModelInfo from_logits", expected="True or False", got=repr(self.from_logits))
        if not _all(str, self.classes):
            raise ArgumentError("ModelInfo classes", expected="a list of names", got=repr(self.classes))
        if self.preprocessing is not None and not _all(dict, self.preprocessing):
            raise ArgumentError(
                "ModelInfo preprocessing",
                expected="a list of configurations of transforms",
                got=repr(self.preprocessing),
                do="handgrad.data.to_config(transform) gives one",
            )
        if self.loss is not None and not isinstance(self.loss, dict):
            raise ArgumentError("ModelInfo loss", expected="a loss's configuration", got=repr(self.loss))
        ends = self.input_range
        if ends is not None and not (_all(Real, ends) and len(ends) == 2 and all(map(_is_finite, ends))):
            raise ArgumentError(
                "ModelInfo input_range", expected="a smallest and a largest number", got=repr(ends)
            )
        object.__setattr__(self, "classes", tuple(self.classes))
        if ends is not None:
            object.__setattr__(self, "input_range", tuple(map(float, ends)))
        if self.preprocessing is not None:
            object.__setattr__(self, "preprocessing", tuple(map(copy.deepcopy, self.preprocessing)))

    def probabilities(self, z: Array, kernels: Kernels | None = None) -> Array:
        """Return probabilities of classes or labels from a model's outputs.

        Parameters
        ----------
        z : (n, ..., K) array
            As ``model.predict`` returns them.
        kernels : Kernels, optional
            The table of functions that compute.

        Returns
        -------
        (n, ..., K) array
            Softmax over the last axis of logits of classes, sigmoid of logits of labels, and outputs that are
            probabilities already as they are.

        Raises
        ------
        ArgumentError
            If the outputs are numbers, or nobody knows what they are.
        """
        if self.kind is None or self.kind == "regression":
            raise ArgumentError(
                "probabilities",
                expected="a model of classes or labels",
                got="one of numbers" if self.kind else "one that does not say what its outputs mean",
                do="" if self.kind else "set model.info = handgrad.ModelInfo(kind, classes=...)",
            )
        z = np.asarray(z, np.float32) if is_bfloat16(z) else np.asarray(z)
        if not self.from_logits:
            return z
        kernels = kernels or default_kernels()
        p: Array = kernels.softmax(z) if self.kind == "classification" else kernels.sigmoid(z)
        return p

    def names(self, count: int) -> tuple[str, ...]:
        """Return the names of so many classes: numbers for those that have none."""
        return (*self.classes[:count], *map(str, range(len(self.classes), count)))

    def config(self) -> Config:
        """Return the fields, as JSON can hold them."""
        return {
            "kind": self.kind,
            "from_logits": self.from_logits,
            "classes": list(self.classes),
            "preprocessing": None if self.preprocessing is None else copy.deepcopy([*self.preprocessing]),
            "loss": None if self.loss is None else dict(self.loss),
            "input_range": None if self.input_range is None else list(self.input_range),
        }

    @classmethod
    def from_config(cls, config: Config) -> ModelInfo:
        """Return what `config` described; raise ArgumentError if it is something else."""
        if not isinstance(config, dict):
            raise ArgumentError("ModelInfo", expected="a configuration", got=repr(config))
        return cls(**class_arguments("ModelInfo", cls.__dataclass_fields__, config))


def _is_finite(value: Any) -> bool:
    return bool(-sys.float_info.max <= value <= sys.float_info.max)  # also an int that no float holds


def _all(kind: type, values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, kind) for value in values)
