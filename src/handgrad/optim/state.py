"""What an optimizer remembers of each parameter, by name, and how it lies in memory.

A *slot* is one array per parameter, such as Adam's ``m``. A *span* is a run of parameters that lie side by
side in memory and move alike, so that one call moves them all. Each span keeps one flat vector per slot,
and the parameters' own slots are views of it. When the spans change, because layers were frozen or freed,
what is remembered moves to new vectors, name by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from weakref import ReferenceType, ref

import numpy as np

from handgrad.arguments import unmasked
from handgrad.errors import ArgumentError, CheckpointError
from handgrad.layers.packing import span_view, spans
from handgrad.layers.parameter import Parameter
from handgrad.optim.group import Group, first_match
from handgrad.typing import Array


@dataclass
class Span:
    """Parameters that lie side by side and move alike: one group, decayed or not, moved equally often."""

    names: list[str]
    group: Group | None
    decay: bool
    value: Array
    grad: Array
    slots: dict[str, Array]


@dataclass
class Arrangement:
    """The spans of some parameters, and what they were made for."""

    parameters: list[tuple[str, Array, Array, bool]]
    groups: tuple[Group, ...]
    slots: Mapping[str, float]
    spans: list[Span]

    def is_for(
        self, parameters: Mapping[str, Parameter], groups: tuple[Group, ...], slots: Mapping[str, float]
    ) -> bool:
        """Return whether the spans are right for these parameters where they are in memory now."""
        return (
            len(self.parameters) == len(parameters)
            and all(
                name == known and p.value is value and p.grad is grad and p.decay == decay
                for (name, p), (known, value, grad, decay) in zip(
                    parameters.items(), self.parameters, strict=True
                )
            )
            and self.groups == groups
            and self.slots == slots
        )


@dataclass
class State:
    """Steps and slots of each parameter.

    Attributes
    ----------
    steps : dict of int
        How often each parameter was moved.
    slots : dict of dict of ndarray
        Each parameter's arrays, by slot, of its own shape and dtype.
    owners : dict of weak references
        The parameters that were moved; none yet of a state that was loaded.
    arrangement : Arrangement or None
        That of the parameters moved last.
    """

    steps: dict[str, int] = field(default_factory=dict)
    slots: dict[str, dict[str, Array]] = field(default_factory=dict)
    owners: dict[str, ReferenceType[Parameter]] = field(default_factory=dict)
    arrangement: Arrangement | None = None

    def __getstate__(self) -> dict[str, Any]:
        # in a copy, views are no longer views of the copied vectors: it is arranged anew
        return vars(self) | {"arrangement": None, "owners": {}}

    def arrange(
        self,
        where: str,
        parameters: Mapping[str, Parameter],
        groups: tuple[Group, ...],
        slots: Mapping[str, float],
        *,
        together: bool = True,
    ) -> list[Span]:
        """Return the spans of `parameters`, each with its part of the slots.

        Parameters
        ----------
        where : str
            The optimizer, for error messages.
        parameters : dict of Parameter
            By name.
        groups : tuple of Group
            Parameters of different groups move apart.
        slots : dict of float
            Which slots the rule needs, and what each is filled with at first.
        together : bool, default True
            Whether a span may hold several parameters, else each has one of its own.

        Raises
        ------
        ArgumentError
            If a parameter has two names, or what is remembered is another parameter's of the same name.
        CheckpointError
            If what is remembered does not fit a parameter. Nothing has changed in either case.
        """
        if self.arrangement and self.arrangement.is_for(parameters, groups, slots):
            return self.arrangement.spans
        self.check(where, parameters)
        self._check_owners(where, parameters)
        names = {id(p): name for name, p in parameters.items()}
        for name, p in parameters.items():
            if names[id(p)] != name:
                raise ArgumentError(
                    where, expected="each parameter once", got=f"{name} and {names[id(p)]} for the same"
                )

        def alike(p: Parameter) -> tuple[Group | None, bool, int, str]:
            name = names[id(p)]
            return first_match(groups, name), p.decay, self.steps.get(name, 0), "" if together else name

        for name in self.slots.keys() - parameters.keys():  # a view would keep all of its old vector
            self.slots[name] = {slot: a.copy() for slot, a in self.slots[name].items()}
        arranged = [
            self._span(members, names, group, decay, slots)
            for run in spans(parameters.values())
            for (group, decay, *_), members in ((k, list(m)) for k, m in groupby(run, alike))
        ]
        self.owners |= {name: ref(p) for name, p in parameters.items()}
        self.arrangement = Arrangement(
            [(name, p.value, p.grad, p.decay) for name, p in parameters.items()],
            groups,
            dict(slots),
            arranged,
        )
        return arranged

    def _check_owners(self, where: str, parameters: Mapping[str, Parameter]) -> None:
        for name, p in parameters.items():
            if name in self.owners and self.owners[name]() is not p:
                raise ArgumentError(
                    where,
                    expected="the parameters that it moved before",
                    got=f"another {name}",
                    do="make an optimizer for each model; load_state(other.state()) goes on from another's",
                )

    def _span(
        self,
        members: list[Parameter],
        names: Mapping[int, str],
        group: Group | None,
        decay: bool,
        slots: Mapping[str, float],
    ) -> Span:
        value, grad = span_view(members)
        vectors = {slot: np.full_like(value, initial) for slot, initial in slots.items()}
        start = 0
        for p in members:
            name, stop = names[id(p)], start + p.size
            old = self.slots.get(name, {})
            new = {slot: vector[start:stop].reshape(p.shape) for slot, vector in vectors.items()}
            for slot in new.keys() & old.keys():
                new[slot][...] = old[slot]
            self.slots[name] = new
            self.steps.setdefault(name, 0)
            start = stop
        return Span([names[id(p)] for p in members], group, decay, value, grad, vectors)

    def check(self, where: str, parameters: Mapping[str, Parameter]) -> None:
        """Raise CheckpointError if what is remembered of a parameter has another shape or dtype."""
        for name, p in parameters.items():
            for slot, a in self.slots.get(name, {}).items():
                if (a.shape, a.dtype) != (p.shape, p.value.dtype):
                    raise CheckpointError(
                        where,
                        expected=f"{slot}/{name} of shape {p.shape} and {p.value.dtype}",
                        got=f"shape {a.shape} and {a.dtype}",
                        do="the state was saved with another model",
                    )

    def export(self) -> dict[str, Array | int]:
        """Return everything, as copies, under flat names: ``"step/conv.weight"``, ``"m/conv.weight"``."""
        flat: dict[str, Array | int] = {}
        for name, step in self.steps.items():
            flat[f"step/{name}"] = step
            flat |= {f"{slot}/{name}": a.copy() for slot, a in self.slots[name].items()}
        return flat

    @classmethod
    def parse(cls, where: str, flat: Mapping[str, Array | int], slots: Mapping[str, float]) -> State:
        """Return the state that `export` gave as `flat`; raise CheckpointError if it has other slots."""
        state = cls()
        for key, value in flat.items():
            slot, _, name = key.partition("/")
            if not name or slot not in {"step", *slots}:
                raise CheckpointError(
                    where,
                    expected=f"state named {', '.join(f'{s}/...' for s in ('step', *slots))}",
                    got=repr(key),
                    do="load it into the kind of optimizer that saved it",
                )
            if slot == "step":
                state.steps[name] = count(where, key, value)
            else:
                state.slots.setdefault(name, {})[slot] = np.array(unmasked(where, value))
        for name in state.steps.keys() | state.slots.keys():
            found = state.slots.setdefault(name, {})
            missing = {f"step/{name}"} - flat.keys() | {f"{slot}/{name}" for slot in slots} - flat.keys()
            if missing:
                raise CheckpointError(
                    where, expected=f"{min(missing)} in the state", got="nothing of that name"
                )
            if len({(a.shape, a.dtype) for a in found.values()}) > 1:
                got = ", ".join(f"{slot} of {a.shape} and {a.dtype}" for slot, a in found.items())
                raise CheckpointError(where, expected=f"one shape and dtype for all state of {name}", got=got)
        return state


def check_named(where: str, parameters: Any) -> None:
    """Raise ArgumentError if `parameters` are not given by name."""
    if not isinstance(parameters, Mapping):
        model = hasattr(parameters, "trainable_parameters")
        raise ArgumentError(
            where,
            expected="a dict of parameters by name",
            got=f"a {type(parameters).__name__}",
            do="give it model.trainable_parameters()" if model else "",
        )


def count(where: str, key: str, value: Array | int) -> int:
    """Return a number of steps as an int; raise CheckpointError if it is not one."""
    a = np.asarray(value)
    if a.ndim or a.dtype.kind not in "iu" or a < 0:
        raise CheckpointError(where, expected=f"{key} to be a number of steps", got=repr(value))
    return int(a)
