"""Several optimizers, each with parameters of its own."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Self

from handgrad.arguments import class_arguments, plain
from handgrad.errors import ArgumentError, CheckpointError
from handgrad.kernels import Kernels
from handgrad.layers.parameter import Parameter
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.state import check_named, count
from handgrad.typing import Array, Config


class MultiOptimizer(Optimizer):
    """Moves each parameter by the first optimizer whose pattern matches its name.

    Parameters
    ----------
    optimizers : dict of Optimizer
        By pattern over parameter names, as in file names, in the order in which they are tried:
        ``{"*.weight": Muon(), "*": SGD(0.1)}``.

    Raises
    ------
    ArgumentError
        If there is none, or one stands there twice; when parameters are checked, if one matches no
        pattern, or a pattern no parameter.

    Notes
    -----
    Each optimizer counts its own steps, reads its own schedule, and clips by the norm of its own gradients.

    Examples
    --------
    >>> import numpy as np
    >>> from handgrad.optim import SGD
    >>> parameters = {name: Parameter(np.zeros(1)) for name in ("a.weight", "a.bias")}
    >>> for p in parameters.values():
    ...     p.accumulate(np.ones(1))
    >>> MultiOptimizer({"*.bias": SGD(1.0), "*": SGD(0.1)}).step(parameters)
    >>> [float(p.value[0]) for p in parameters.values()]
    [-0.1, -1.0]
    """

    def __init__(self, optimizers: Mapping[str, Optimizer]) -> None:
        if (
            not isinstance(optimizers, Mapping)
            or not optimizers
            or not all(isinstance(o, Optimizer) for o in optimizers.values())
            or len({id(o) for o in optimizers.values()}) < len(optimizers)
        ):
            raise ArgumentError(
                self.where,
                expected="a dict of patterns with an optimizer each, none of them twice",
                got=repr(optimizers),
            )
        super().__init__()
        self.optimizers = dict(optimizers)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._made and name in {"lr", "weight_decay", "groups", "global_clipnorm"}:
            raise ArgumentError(
                self.where,
                expected=f"{name} to be set of one of its optimizers",
                got=f"{name}={value!r}",
                do=f"set optimizers[{next(iter(self.optimizers))!r}].{name}",
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"MultiOptimizer({self.optimizers!r})"

    def fits(self, parameters: Mapping[str, Parameter]) -> None:
        """Raise what a step of `parameters` would raise before it moves one."""
        for optimizer, share in zip(self.optimizers.values(), self._shares(parameters), strict=True):
            optimizer.fits(share)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first optimizer's next step."""
        return next(iter(self.optimizers.values())).learning_rate

    def check(self, parameters: Mapping[str, Parameter]) -> None:
        """Raise ArgumentError if a parameter matches no pattern, or a pattern no parameter."""
        shares = self._shares(parameters)
        for (pattern, optimizer), share in zip(self.optimizers.items(), shares, strict=True):
            if not share:
                raise ArgumentError(
                    self.where,
                    expected=f"{pattern!r} to match a parameter that no earlier pattern has taken",
                    got=f"none of {len(parameters)}",
                )
            optimizer.check(share)

    def step(self, parameters: Mapping[str, Parameter], kernels: Kernels | None = None) -> None:
        """Move `parameters`, and no others, by one step; see `Optimizer.step`."""
        shares = self._shares(parameters)
        self.fits(parameters)  # before the first optimizer moves anything
        for optimizer in self.optimizers.values():
            optimizer.check_rate()
        for optimizer, share in zip(self.optimizers.values(), shares, strict=True):
            optimizer.step(share, kernels)
        self.iterations += 1

    def _shares(self, parameters: Mapping[str, Parameter]) -> list[dict[str, Parameter]]:
        """Return the parameters of each optimizer."""
        check_named(self.where, parameters)
        patterns = list(self.optimizers)
        shares: list[dict[str, Parameter]] = [{} for _ in patterns]
        for name, p in parameters.items():
            first = next((i for i, pattern in enumerate(patterns) if fnmatchcase(name, pattern)), None)
            if first is None:
                raise ArgumentError(
                    self.where,
                    expected=f"a pattern that matches {name}",
                    got=", ".join(map(repr, patterns)),
                    do='add "*" as the last one',
                )
            shares[first][name] = p
        return shares

    def state(self) -> dict[str, Array | int]:
        """Return the steps done, and under ``"0/..."``, ``"1/..."`` the state of each optimizer."""
        flat: dict[str, Array | int] = {"step": self.iterations}
        for i, optimizer in enumerate(self.optimizers.values()):
            flat |= {f"{i}/{key}": value for key, value in optimizer.state().items()}
        return flat

    def load_state(
        self, state: Mapping[str, Array | int], parameters: Mapping[str, Parameter] | None = None
    ) -> None:
        """Go on from what `state` returned; see `Optimizer.load_state`."""
        flat = dict(state)
        if "step" not in flat:
            raise CheckpointError(self.where, expected="step in the state", got="nothing of that name")
        iterations = count(self.where, "step", flat.pop("step"))
        parts: list[dict[str, Array | int]] = [{} for _ in self.optimizers]
        for key, value in flat.items():
            number, _, rest = key.partition("/")
            if number not in map(str, range(len(parts))):  # of a file it may be anything
                raise CheckpointError(
                    self.where, expected=f"state of {len(parts)} optimizers, named 0/...", got=repr(key)
                )
            parts[int(number)][rest] = value
        shares: list[Any] = [None] * len(parts) if parameters is None else list(self._shares(parameters))
        before = [(o.iterations, o._state) for o in self.optimizers.values()]
        try:
            for optimizer, part, share in zip(self.optimizers.values(), parts, shares, strict=True):
                optimizer.load_state(part, share)
        except CheckpointError:
            for optimizer, (steps, old) in zip(self.optimizers.values(), before, strict=True):
                optimizer.iterations, optimizer._state = steps, old
            raise
        self.iterations = iterations

    def config(self) -> Config:
        """Return the class's name and the optimizers' configurations, by pattern."""
        return {"class": type(self).__name__, "optimizers": {p: plain(o) for p, o in self.optimizers.items()}}

    def load_config(self, config: Config) -> None:
        """Take over the optimizers' arguments, by pattern; see `Optimizer.load_config`."""
        others = type(self).from_config(config).optimizers
        if [(p, type(o)) for p, o in others.items()] != [(p, type(o)) for p, o in self.optimizers.items()]:
            raise ArgumentError(self.where, expected=f"{self!r} with other arguments", got=f"{others!r}")
        for pattern, optimizer in self.optimizers.items():
            optimizer.load_config(others[pattern].config())

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return new optimizers, without state, from what `config` returned."""
        from handgrad.optim.names import get  # which names this class, too

        optimizers: Any = class_arguments(cls.__name__, ["optimizers"], config).get("optimizers")
        if not isinstance(optimizers, dict):
            return cls(optimizers)  # which says what is expected
        return cls({pattern: get(o) for pattern, o in optimizers.items()})
