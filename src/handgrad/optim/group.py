"""Parameters that are treated apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, asdict, dataclass
from fnmatch import fnmatchcase

from handgrad.arguments import check_number, class_arguments, plain
from handgrad.errors import ArgumentError
from handgrad.typing import Config


@dataclass(frozen=True)
class Group:
    """Parameters, chosen by name, with a learning rate or weight decay of their own.

    Parameters
    ----------
    match : str or tuple of str
        Patterns over parameter names, as in file names: ``"*.gamma"``, ``"stage1.*"``. One is enough.
    lr_scale : float, default 1.0
        Multiplies the learning rate.
    weight_decay : float, optional
        Replaces the optimizer's weight decay, also for parameters that have none by default.

    Examples
    --------
    >>> Group("stage1.*", lr_scale=0.1).matches("stage1.conv2.weight")
    True
    """

    match: str | tuple[str, ...]
    _: KW_ONLY
    lr_scale: float = 1.0
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.match, list):
            object.__setattr__(self, "match", tuple(self.match))
        several = isinstance(self.match, str | tuple) and self.patterns
        if not several or not all(isinstance(p, str) and p for p in several):
            raise ArgumentError(
                "Group",
                expected="match to be a pattern over parameter names, or several",
                got=repr(self.match),
            )
        check_number("Group", "lr_scale", self.lr_scale)
        if self.weight_decay is not None:
            check_number("Group", "weight_decay", self.weight_decay)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns, also where there is one."""
        return (self.match,) if isinstance(self.match, str) else tuple(self.match)

    def matches(self, name: str) -> bool:
        """Return whether a parameter of this name belongs to the group."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def config(self) -> Config:
        """Return the constructor's arguments, as JSON can hold them."""
        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_config(cls, config: Config) -> Group:
        """Return a new group from what `config` returned."""
        known = ("match", "lr_scale", "weight_decay")
        return cls(**class_arguments("Group", known, config, required=("match",)))


def first_match(groups: Iterable[Group], name: str) -> Group | None:
    """Return the first group that a name belongs to."""
    return next((group for group in groups if group.matches(name)), None)


def check_groups(where: str, groups: Iterable[Group], names: Iterable[str]) -> None:
    """Raise ArgumentError if a group is no parameter's first match."""
    names = list(names)
    groups = list(groups)
    used = [first_match(groups, name) for name in names]
    for group in groups:
        if not any(group is u for u in used):
            taken = any(group.matches(name) for name in names)
            raise ArgumentError(
                where,
                expected=f"Group({group.match!r}) to match a parameter",
                got="none that an earlier group has not taken" if taken else f"none of {_some(names)}",
                do="put the narrower group first" if taken else "",
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)} names)" if len(names) > 4 else "")
