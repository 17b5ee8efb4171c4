"""Learning rates as functions of the step number, which counts from 0.

A schedule is a frozen dataclass: what it returns depends on the step alone, so a resumed run needs no state
of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Self

from handgrad.arguments import check_count, check_number, class_arguments, plain, required_fields
from handgrad.errors import ArgumentError, not_written
from handgrad.typing import Config


@dataclass(frozen=True)
class Schedule:
    """A learning rate for every step; fields are the configuration."""

    def __call__(self, step: int) -> float:
        """Return the learning rate of step number `step`, the first being 0."""
        raise not_written(self.where, "__call__(step)")

    @property
    def where(self) -> str:
        """How error messages name this schedule."""
        return type(self).__name__

    def config(self) -> Config:
        """Return the class's name and the constructor's arguments, as JSON can hold them."""
        return {"class": type(self).__name__, **{f.name: plain(getattr(self, f.name)) for f in fields(self)}}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return a new schedule from what `config` returned; ArgumentError if it is not one of this class."""
        known = [f.name for f in fields(cls)]
        arguments = class_arguments(cls.__name__, known, config, required_fields(cls))
        return cls(**{name: get(v) if isinstance(v, dict) else v for name, v in arguments.items()})


@dataclass(frozen=True)
class Constant(Schedule):
    """``lr(t) = lr``, which a plain number means, too.

    Parameters
    ----------
    lr : float
        The learning rate.
    """

    lr: float

    def __post_init__(self) -> None:
        check_number(self.where, "lr", self.lr)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        return float(self.lr)


@dataclass(frozen=True)
class Step(Schedule):
    """``lr(t) = lr*gamma**floor(t/every)``: down by a factor every so many steps.

    Parameters
    ----------
    lr : float
        At the beginning.
    every : int
        Steps between two drops.
    gamma : float, default 0.1
        The factor.

    Notes
    -----
    The values of ``torch.optim.lr_scheduler.StepLR`` that is stepped after every batch.

    Examples
    --------
    >>> [Step(1.0, every=2, gamma=0.5)(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: float
    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.where, "lr", self.lr)
        check_count(self.where, "every", self.every)
        check_number(self.where, "gamma", self.gamma)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        return float(self.lr * self.gamma ** (step // self.every))


@dataclass(frozen=True)
class Cosine(Schedule):
    """``lr(t) = final + (lr - final)*(1 + cos(pi*t/steps))/2``, and `final` from ``t = steps`` on.

    Parameters
    ----------
    lr : float
        At the beginning.
    steps : int
        Steps until `final`.
    final : float, default 0.0
        At the end.

    Notes
    -----
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, eq. 5,
    without restarts. Up to ``t = steps`` the values of ``torch.optim.lr_scheduler.CosineAnnealingLR``,
    which rises again after that.

    Examples
    --------
    >>> [round(Cosine(1.0, steps=4)(t), 3) for t in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.where, "lr", self.lr)
        check_count(self.where, "steps", self.steps)
        check_number(self.where, "final", self.final)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        return _cosine(self.lr, self.final, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class Linear(Schedule):
    """``lr(t) = lr + (final - lr)*t/steps``, and `final` from ``t = steps`` on.

    Parameters
    ----------
    lr : float
        At the beginning.
    steps : int
        Steps until `final`.
    final : float, default 0.0
        At the end.

    Notes
    -----
    Keras' ``PolynomialDecay`` with ``power=1``, PyTorch's ``LinearLR`` with ``start_factor=1``.

    Examples
    --------
    >>> [Linear(1.0, steps=4)(t) for t in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.where, "lr", self.lr)
        check_count(self.where, "steps", self.steps)
        check_number(self.where, "final", self.final)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        return _linear(self.lr, self.final, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to `max_lr` and down to almost nothing.

    With ``a = pct_start*steps - 1`` and ``b = steps - 1``, ``lr`` goes from ``max_lr/div_factor`` at t = 0 to
    `max_lr` at t = a, and on to ``max_lr/div_factor/final_div_factor`` at t = b, where it stays. Where
    ``pct_start*steps`` is below 1, no step goes up, and the first one is on the way down. A cycle of one step
    is its top: ``lr = max_lr`` at t = 0.

    Parameters
    ----------
    max_lr : float
        At the top.
    steps : int
        All the steps of the cycle.
    pct_start : float, default 0.3
        The share of the steps that goes up.
    div_factor : float, default 25.0
        The top over the beginning.
    final_div_factor : float, default 1e4
        The beginning over the end.
    anneal_strategy : {"cos", "linear"}
        The shape of both ways.

    Notes
    -----
    L. N. Smith and N. Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018. Names and values are those of ``torch.optim.lr_scheduler.OneCycleLR`` in two phases, but for
    a cycle of one step, which has the end's learning rate there and learns nothing; the momentum is left
    alone.

    Examples
    --------
    >>> cycle = OneCycle(1.0, steps=11, pct_start=6 / 11, div_factor=10, final_div_factor=10)
    >>> [round(cycle(t), 2) for t in (0, 5, 10, 11)]
    [0.1, 1.0, 0.01, 0.01]
    """

    max_lr: float
    steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal_strategy: str = "cos"

    def __post_init__(self) -> None:
        check_number(self.where, "max_lr", self.max_lr)
        check_count(self.where, "steps", self.steps)
        check_number(self.where, "pct_start", self.pct_start, below=1.0)
        check_number(self.where, "div_factor", self.div_factor, positive=True)
        check_number(self.where, "final_div_factor", self.final_div_factor, positive=True)
        if not isinstance(self.anneal_strategy, str) or self.anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                self.where, expected='anneal_strategy "cos" or "linear"', got=repr(self.anneal_strategy)
            )

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        a, b = self.pct_start * self.steps - 1, self.steps - 1
        first = self.max_lr / self.div_factor
        if step == b == 0:
            return float(self.max_lr)
        way = _cosine if self.anneal_strategy == "cos" else _linear
        if step < a:
            return way(first, self.max_lr, step / a)
        return way(self.max_lr, first / self.final_div_factor, min((step - a) / (b - a), 1.0))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A straight way up, then another schedule.

    With ``lr_0`` the first value of that, ``lr(t) = lr_0*(t + 1)/steps`` for t < steps, and then the other's
    ``lr(t - steps)``.

    Parameters
    ----------
    lr : float or Schedule
        What comes after the warm-up, from its own step 0 on.
    steps : int
        Steps of the warm-up; the last of them has ``lr_0`` already.

    Notes
    -----
    The first step moves, too: it has ``lr_0/steps``. In PyTorch this is a ``SequentialLR`` with milestone
    `steps`, whose first part is ``LinearLR(start_factor=1/steps, total_iters=steps - 1)``.

    Examples
    --------
    >>> [WarmUp(1.0, steps=4)(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    lr: float | Schedule
    steps: int

    def __post_init__(self) -> None:
        if not isinstance(self.lr, Schedule):
            check_number(self.where, "lr", self.lr)
        check_count(self.where, "steps", self.steps)

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step."""
        after = self.lr if isinstance(self.lr, Schedule) else Constant(self.lr)
        return after(0) * (step + 1) / self.steps if step < self.steps else after(step - self.steps)


def _cosine(start: float, stop: float, share: float) -> float:
    return float(stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2)


def _linear(start: float, stop: float, share: float) -> float:
    return float(start + (stop - start) * share)


SCHEDULES: dict[str, type[Schedule]] = {
    kind.__name__: kind for kind in (Constant, Step, Cosine, Linear, OneCycle, WarmUp)
}


def get(schedule: Any) -> Schedule:
    """Return a schedule from its configuration or itself.

    Raises
    ------
    ArgumentError
        If it is neither.
    """
    if isinstance(schedule, Schedule):
        return schedule
    name = schedule.get("class") if isinstance(schedule, dict) else None
    if not isinstance(name, str) or name not in SCHEDULES:
        raise ArgumentError("schedule", expected=f"one of {', '.join(SCHEDULES)}", got=repr(schedule))
    return SCHEDULES[name].from_config(schedule)
