"""Where a training run stands, between two steps."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from handgrad.errors import CheckpointError
from handgrad.io import Checkpoint
from handgrad.rng import Stream
from handgrad.train.callbacks.kept import check_kept
from handgrad.train.history import History
from handgrad.train.metrics import Metric
from handgrad.train.totals import Totals
from handgrad.typing import Array, Config, is_integer

Told: TypeAlias = dict[str, tuple[Config, dict[str, Array]]]
"""What each callback keeps, as JSON can hold it and as arrays."""


@dataclass
class Where:
    """Where training is: the next batch to be trained on.

    Attributes
    ----------
    epoch, batch : int
        Its numbers, from 0.
    step : int
        Steps tried so far, those left out included: the number that random layers draw by.
    last : int
        The number of epochs at which the fit ends.
    batches : int
        In an epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    last: int = 0
    batches: int = 0


@dataclass(frozen=True)
class Standing:
    """All that a run goes on from besides its model and optimizer.

    Attributes
    ----------
    where : Where
        The next batch.
    totals : Totals
        Of the epoch so far.
    history : History
        Of the epochs before.
    told : Told
        What callbacks keep, by a name that a resumed run finds each by.
    settings : dict
        As `Settings.pack` returns them; empty of a file that was written before there were any.
    """

    where: Where
    totals: Totals
    history: History
    told: Told
    settings: Config

    def pack(self, rng: Stream) -> tuple[Config, dict[str, Array]]:
        """Return what a checkpoint holds of it: ``progress``, and the arrays of ``callbacks``."""
        progress = {
            "where": asdict(self.where),
            "rng": list(rng.key),
            "totals": self.totals.state(),
            "history": dict(self.history),
            "callbacks": {key: state for key, (state, _) in self.told.items()},
            "settings": self.settings,
        }
        return progress, {
            f"{key}/{n}": a for key, (_, arrays) in self.told.items() for n, a in arrays.items()
        }

    @classmethod
    def unpack(
        cls, checkpoint: Checkpoint, path: str, rng: Stream, metrics: Mapping[str, Metric]
    ) -> Standing:
        """Return what `pack` gave to the checkpoint at `path`.

        Raises
        ------
        CheckpointError
            If it is something else, or of a run of another seed.
        """
        progress, totals = checkpoint.progress, Totals(metrics)
        try:
            _check(progress)
            key, where, history = tuple(progress["rng"]), Where(**progress["where"]), progress["history"]
            settings = progress.get("settings")  # of files from before there is none
            settings = settings if isinstance(settings, dict) else {}
            _load_totals(totals, progress["totals"], settings.get("metrics"))
            told = {k: (state, _under(k, checkpoint.callbacks)) for k, state in progress["callbacks"].items()}
            standing = cls(where, totals, History(history), told, settings)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error.where}", expected=error.expected, got=error.got) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                path, expected="the state of a training run", got=f"another ({error!r})"
            ) from error
        if key != rng.key:
            raise CheckpointError(path, expected=f"a run of seed {rng.key[0]}", got=f"one of seed {key[0]}")
        return standing


def _load_totals(totals: Totals, saved: Config, metrics: Any) -> None:
    """Load the sums of an epoch that had begun; raise CheckpointError if they are not of its `metrics`."""
    if saved["samples"]:  # none between two epochs
        wanted = ["loss", *metrics] if isinstance(metrics, list) else list(saved["sums"])
        if sorted(saved["sums"]) != sorted(wanted):
            names, got = (", ".join(of) or "nothing" for of in (wanted, saved["sums"]))
            raise CheckpointError("totals", expected=f"sums of {names}", got=f"of {got}")
        totals.load_state(saved)


def _check(progress: Config) -> None:
    """Raise CheckpointError where the state of a run holds values of another kind, KeyError where none."""
    parts = {"where": dict, "rng": list, "totals": dict, "history": dict, "callbacks": dict}
    for part, kind in parts.items():
        if not isinstance(progress[part], kind):
            raise _unlike(part, "a list" if kind is list else "an object", progress[part])
    for name, value in progress["where"].items():
        check_kept(name, value, whole=True)
    if not all(isinstance(part, str) or is_integer(part) for part in progress["rng"]) or not progress["rng"]:
        raise _unlike("rng", "the name of a random stream", progress["rng"])
    totals = progress["totals"]
    check_kept("samples", totals["samples"], whole=True)
    for name, value in dict(totals["sums"]).items():
        check_kept(f"the sum of {name}", value)
    for name, values in progress["history"].items():
        if not isinstance(values, list):
            raise _unlike(f"history of {name}", "a list", values)
        for value in values:
            check_kept(f"history of {name}", value)
    for name, state in progress["callbacks"].items():
        if not isinstance(state, dict):
            raise _unlike(f"callback {name}", "an object", state)


def _unlike(name: str, expected: str, value: Any) -> CheckpointError:
    return CheckpointError(name, expected=expected, got=reprlib.repr(value))


def _under(key: str, arrays: dict[str, Array]) -> dict[str, Array]:
    prefix = f"{key}/"
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
