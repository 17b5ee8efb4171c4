"""What every optimizer is: state by name, and one step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np

from handgrad.arguments import check_flag, check_number, class_arguments, plain
from handgrad.errors import ArgumentError, CheckpointError, not_written
from handgrad.kernels import Kernels, default_kernels
from handgrad.layers.parameter import Parameter
from handgrad.optim import schedules
from handgrad.optim.group import Group, check_groups
from handgrad.optim.schedules import Schedule
from handgrad.optim.state import Span, State, check_named, count
from handgrad.typing import Array, Config


@dataclass(eq=False)
class Optimizer:
    """Moves parameters against their gradients.

    A rule is a subclass with two methods: `slots` says what it remembers of each parameter, `update` moves
    a vector of them. Everything else is here.

    Parameters
    ----------
    lr : float or Schedule
        The learning rate, or what it is at each step.
    weight_decay : float, default 0.0
        Adds ``weight_decay*p`` to the gradient of each parameter p that decays: not to biases, nor to gamma
        and beta of normalizations (those with ``Parameter.decay`` false), unless a group says so.
    groups : sequence of Group, default ()
        Parameters with a learning rate or weight decay of their own; the first group that matches a name
        counts.
    global_clipnorm : float, optional
        Where the norm of all gradients together is greater, they are scaled down to it.

    Attributes
    ----------
    iterations : int
        Steps done.

    Notes
    -----
    ``lr``, ``weight_decay`` and the rule's other numbers are read at every step, so they may be changed
    between two; what is assigned is checked as in the constructor. Weight decay and learning rate of a step
    are those of PyTorch; clipping is ``torch.nn.utils.clip_grad_norm_``:
    ``g*min(1, global_clipnorm/(norm + 1e-6))``, without a change to ``Parameter.grad``.

    Corrections that depend on the number of steps, such as Adam's, count each parameter's own steps, as
    PyTorch does: a parameter that was frozen for a while has not gathered anything meanwhile, and goes on
    where it was.

    Examples
    --------
    A rule of one's own, which takes only the sign of the gradient:

    >>> import numpy as np
    >>> class SignDescent(Optimizer):
    ...     def update(self, p, g, slots, *, lr, weight_decay, t, kernels):
    ...         p -= lr * np.sign(g + weight_decay * p)
    >>> p = Parameter(np.array([1.0, 2.0]))
    >>> p.accumulate(np.array([0.3, -70.0]))
    >>> optimizer = SignDescent(0.1)
    >>> optimizer.step({"p": p})
    >>> p.value
    array([0.9, 2.1])
    """

    elementwise: ClassVar[bool] = True
    """Whether a rule moves each element by itself: `update` gets vectors that may hold many parameters then;
    else one parameter at a time, in its own shape."""

    lr: float | Schedule = 0.01
    _: KW_ONLY
    weight_decay: float = 0.0
    groups: Sequence[Group] = ()
    global_clipnorm: float | None = None
    iterations: int = field(default=0, init=False, repr=False)
    _state: State = field(default_factory=State, init=False, repr=False)
    _checked: tuple[Group, ...] = field(default=(), init=False, repr=False)

    _made: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.check_settings()
        self.groups = tuple(self.groups)
        vars(self)["_made"] = True

    def __setattr__(self, name: str, value: Any) -> None:
        setting = self._made and name in self.__dataclass_fields__ and self.__dataclass_fields__[name].init
        before = getattr(self, name, None) if setting else None
        super().__setattr__(name, value)
        if setting:
            try:
                self.check_settings()
            except ArgumentError:
                super().__setattr__(name, before)
                raise

    def check_settings(self) -> None:
        """Raise ArgumentError if an argument means nothing: when made, and when one is assigned later."""
        if callable(self.lr) and (isinstance(self.lr, type) or not isinstance(self.lr, Schedule)):
            name = getattr(self.lr, "__name__", type(self.lr).__name__)
            raise ArgumentError(
                self.where,
                expected="lr to be a number of at least 0 or a Schedule",
                got=f"the class {name}" if isinstance(self.lr, type) else f"the function {name}",
                do="create the schedule"
                if isinstance(self.lr, type)
                else "make it a subclass of handgrad.optim.Schedule, whose __call__ takes the step's number",
            )
        if not isinstance(self.lr, Schedule):
            check_number(self.where, "lr", self.lr)
        check_number(self.where, "weight_decay", self.weight_decay)
        for switch in (f.name for f in fields(self) if f.type == "bool"):
            check_flag(self.where, switch, getattr(self, switch))
        if self.global_clipnorm is not None:
            check_number(self.where, "global_clipnorm", self.global_clipnorm, positive=True)
        if not isinstance(self.groups, Sequence) or not all(isinstance(g, Group) for g in self.groups):
            raise ArgumentError(
                self.where, expected="groups to be a sequence of Group", got=repr(self.groups)
            )

    def slots(self) -> dict[str, float]:
        """Return what is remembered of each parameter: names of arrays of its shape, with first values."""
        return {}

    def update(
        self,
        p: Array,
        g: Array,
        slots: Mapping[str, Array],
        *,
        lr: float,
        weight_decay: float,
        t: int,
        kernels: Kernels,
    ) -> None:
        """Move a vector of parameters, or one parameter where the rule is not `elementwise`.

        Parameters
        ----------
        p : (m,) array, or of the parameter's shape
            Parameters, written in place.
        g : array of the same shape
            Their gradient, not to be written.
        slots : dict of arrays of the same shape
            What `slots` named, written in place.
        lr, weight_decay : float
            Of this step and these parameters.
        t : int
            How often they have been moved, this step included.
        kernels : Kernels
            The table of functions that compute.
        """
        raise not_written(self.where, "update(p, g, slots, *, lr, weight_decay, t, kernels)")

    @property
    def where(self) -> str:
        """How error messages name this optimizer."""
        return type(self).__name__

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step, before groups scale it."""
        return float(self.lr(self.iterations) if isinstance(self.lr, Schedule) else self.lr)

    def check_rate(self) -> float:
        """Return the learning rate of the next step; raise ArgumentError if the schedule gives none."""
        rate = self.learning_rate
        check_number(self.where, f"lr of step {self.iterations}", rate)
        return rate

    def check(self, parameters: Mapping[str, Parameter]) -> None:
        """Raise ArgumentError if a group matches none of `parameters`.

        The first step asks, of what it is given. Where some layers are frozen then, call this before it
        with all parameters of the model: a group may be waiting for them.
        """
        check_named(self.where, parameters)
        check_groups(self.where, self.groups, parameters)
        self.fits(parameters)
        self._checked = tuple(self.groups)

    def fits(self, parameters: Mapping[str, Parameter]) -> None:
        """Raise what a step of `parameters` would raise before it moves one.

        Raises
        ------
        CheckpointError
            If a loaded state does not fit them.
        """
        self._state.check(self.where, parameters)

    def step(self, parameters: Mapping[str, Parameter], kernels: Kernels | None = None) -> None:
        """Move `parameters`, and no others, by one step along their gradients.

        Parameters
        ----------
        parameters : dict of Parameter
            Those to be trained, by name. Values are written in place; gradients are left as they are.
        kernels : Kernels, optional
            The table of functions that compute.

        Raises
        ------
        ArgumentError
            If a group matches no parameter, or the schedule gives no number of at least 0.
        CheckpointError
            If a loaded state does not fit them. Nothing has been moved then.
        """
        check_named(self.where, parameters)
        groups = tuple(self.groups)
        if self._checked != groups:
            self.check(parameters)
        elif self.iterations == 0:
            self.fits(parameters)
        lr = self.check_rate()
        spans = self._state.arrange(self.where, parameters, groups, self.slots(), together=self.elementwise)
        kernels = kernels or default_kernels()
        scale = self._clip(parameters, kernels)
        for span in spans:
            for name in span.names:
                self._state.steps[name] += 1
            grad = span.grad if scale == 1 else scaled(span.grad, scale)
            shape = span.value.shape if self.elementwise else parameters[span.names[0]].shape
            self.update(
                span.value.reshape(shape),
                grad.reshape(shape),
                {slot: a.reshape(shape) for slot, a in span.slots.items()},
                lr=lr * float(span.group.lr_scale) if span.group else lr,
                weight_decay=self._decay(span),
                t=self._state.steps[span.names[0]],
                kernels=kernels,
            )
        self.iterations += 1

    def _clip(self, parameters: Mapping[str, Parameter], kernels: Kernels) -> float:
        if self.global_clipnorm is None:
            return 1.0
        size, norm = _norm(parameters, kernels)
        return min(1.0, float(self.global_clipnorm) / size / (norm + 1e-6 / size))

    def _decay(self, span: Span) -> float:
        if span.group and span.group.weight_decay is not None:
            return float(span.group.weight_decay)
        return float(self.weight_decay) if span.decay else 0.0

    def state(self) -> dict[str, Array | int]:
        """Return all that the next steps depend on, apart from `config`.

        Returns
        -------
        dict
            ``"step"``, the steps done; for every parameter moved so far ``"step/NAME"``, its own steps, and
            for each slot an array of its shape, ``"m/NAME"``. Arrays are copies.
        """
        return {"step": self.iterations, **self._state.export()}

    def load_state(
        self, state: Mapping[str, Array | int], parameters: Mapping[str, Parameter] | None = None
    ) -> None:
        """Go on from what `state` returned: the steps to come are bit for bit those of the unbroken run.

        Parameters
        ----------
        state : dict
            As `state` returns it; numbers of steps may be arrays without axes.
        parameters : dict of Parameter, optional
            All parameters of the model, to check against now; otherwise the next step checks.

        Raises
        ------
        CheckpointError
            If it is not a state of this kind of optimizer, or does not fit the parameters. Nothing has
            changed then.
        """
        flat = dict(state)
        if "step" not in flat:
            raise CheckpointError(self.where, expected="step in the state", got="nothing of that name")
        iterations = count(self.where, "step", flat.pop("step"))
        loaded = State.parse(self.where, flat, self.slots())
        if parameters is not None:
            check_named(self.where, parameters)
            loaded.check(self.where, parameters)
            for name in loaded.steps:
                if name not in parameters:
                    raise CheckpointError(
                        self.where,
                        expected="state of the model's parameters",
                        got=f"that of {name}",
                        do="the state was saved with another model",
                    )
        self.iterations, self._state = iterations, loaded

    def config(self) -> Config:
        """Return the class's name and the constructor's arguments, as JSON can hold them."""
        arguments = {f.name: plain(getattr(self, f.name)) for f in fields(self) if f.init}
        return {"class": type(self).__name__, **arguments}

    def load_config(self, config: Config) -> None:
        """Take over the arguments in what `config` returned; the state stays as it is.

        Raises
        ------
        ArgumentError
            As from `from_config`. Nothing has changed then.
        """
        other = type(self).from_config(config)
        vars(self).update({f.name: getattr(other, f.name) for f in fields(self) if f.init})

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return a new optimizer, without state, from what `config` returned.

        Raises
        ------
        ArgumentError
            If the configuration is another class's or has an argument that this one has not.
        """
        arguments: dict[str, Any] = class_arguments(
            cls.__name__, [f.name for f in fields(cls) if f.init], config
        )
        if isinstance(arguments.get("lr"), dict):
            arguments["lr"] = schedules.get(arguments["lr"])
        groups = arguments.get("groups", ())
        if not isinstance(groups, list | tuple):
            raise ArgumentError(cls.__name__, expected="groups to be a sequence of Group", got=repr(groups))
        arguments["groups"] = tuple(Group.from_config(g) if isinstance(g, dict) else g for g in groups)
        return cls(**arguments)


def global_norm(parameters: Mapping[str, Parameter], kernels: Kernels) -> float:
    """Return the Euclidean norm of all gradients together, summed in float64."""
    size, norm = _norm(parameters, kernels)
    return size * norm


def _norm(parameters: Mapping[str, Parameter], kernels: Kernels) -> tuple[float, float]:
    """Return two factors of the norm: 1, or the largest gradient where float64 does not hold the squares."""
    gradients = [p.grad for p in parameters.values()]
    with np.errstate(over="ignore"):
        squares = sum(float(kernels.sum_of_squares(g)) for g in gradients)
    if squares == math.inf:
        largest = max(float(np.max(np.abs(g), initial=0)) for g in gradients)
        if largest < math.inf:
            squares = sum(float(kernels.sum_of_squares(g / largest)) for g in gradients)
            return largest, math.sqrt(squares)
    return 1.0, math.sqrt(squares)


def scaled(grad: Array, factor: float) -> Array:
    """Return ``factor*grad``, for a factor that float32 does not hold, too."""
    if factor > 1e-37:
        return factor * grad
    root = math.sqrt(factor)
    return root * (root * grad)
