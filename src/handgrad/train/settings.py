"""What a run is carried out with, as a checkpoint remembers it, and what differs where it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from handgrad.errors import ArgumentError, CheckpointError
from handgrad.graph import Graph
from handgrad.io import load_checkpoint
from handgrad.io.model import in_file
from handgrad.losses import Loss
from handgrad.optim import Optimizer
from handgrad.train.environment import changed, environment
from handgrad.train.outputs import saved_info
from handgrad.train.standing import Standing
from handgrad.typing import Config

if TYPE_CHECKING:
    from handgrad.train.trainer import Trainer


def config_of(part: Loss | Optimizer) -> Config:
    """Return the configuration of a loss or an optimizer; of one that JSON cannot hold the class alone."""
    name: Config = {"class": type(part).__name__}
    try:
        config: Config = json.loads(json.dumps(part.config()))
    except (AttributeError, TypeError, ValueError):
        return name
    return config | name


class Settings:
    """The configurations that optimizer and loss of a trainer have had.

    A callback may change both while training. A checkpoint so holds what they were when the trainer was made
    and when its last fit began, beside what they are: a trainer that is made as that one was takes over what
    it became.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._made = self._begun = _parts(trainer)

    def begin(self, trainer: Trainer) -> None:
        """Note what both are when a fit begins."""
        self._begun = _parts(trainer)

    def pack(self, trainer: Trainer) -> Config:
        """Return what a checkpoint holds: what both are now and were before, and the other settings."""
        begun = [self._made] if self._begun == self._made else [self._made, self._begun]
        return {**_parts(trainer), "begun": begun, **_others(trainer)}


def _parts(trainer: Trainer) -> Config:
    return {"optimizer": config_of(trainer.optimizer), "loss": config_of(trainer.loss)}


def _others(trainer: Trainer) -> Config:
    names = list(trainer.metrics)
    return {"metrics": names, "precision": trainer.precision, "micro_batch_size": trainer.micro_batch_size}


def compare(saved: Config, path: str, trainer: Trainer) -> tuple[Config, list[str]]:
    """Return what a trainer's optimizer and loss have become, and say what else it has otherwise.

    Parameters
    ----------
    saved : dict
        From `Settings.pack`; what is missing is not compared.
    path : str
        Of the checkpoint, for errors.
    trainer : Trainer
        That goes on.

    Returns
    -------
    become : dict
        Under ``"optimizer"`` and ``"loss"`` a configuration, where it is not to stay as it is.
    differing : list of str
        A sentence each.

    Raises
    ------
    CheckpointError
        If the optimizer or the loss is of another class.
    """
    become: Config = {}
    differing: list[str] = []
    for name, part in (("optimizer", trainer.optimizer), ("loss", trainer.loss)):
        was, now = saved.get(name), config_of(part)
        if not isinstance(was, dict) or was == now:
            continue
        if _kind(was) != _kind(now):
            raise CheckpointError(
                path, expected=f"a run with the {name} {_kind(now)}", got=f"one with {_kind(was)}"
            )
        before = saved.get("begun")
        begun = [b.get(name) for b in before if isinstance(b, dict)] if isinstance(before, list) else []
        if now in begun and _restorable(type(part), was):
            become[name] = was
        else:
            differing += _differing(now["class"], was, now)
    others = _others(trainer)
    had, has = saved.get("metrics"), others.pop("metrics")
    if isinstance(had, list) and sorted(map(str, had)) != sorted(has):
        old, new = (", ".join(map(str, names)) or "none" for names in (had, has))
        differing.append(f"the metrics were {old} and are {new} from here on")
    for name, value in others.items():
        if name in saved and None not in (value, saved[name]) and saved[name] != value:
            differing.append(f"{name} was {saved[name]} and is {value}, which it keeps")
    return become, differing


def restore(trainer: Trainer, path: str) -> list[str]:
    """Let a trainer go on from a checkpoint; say of layers, of settings and of where it runs what differs.

    Raises
    ------
    CheckpointError
        As `Trainer.load` says; nothing has been changed then.
    """
    checkpoint = load_checkpoint(path)
    standing = Standing.unpack(checkpoint, path, trainer.rng, trainer.metrics)
    become, differing = compare(standing.settings, path, trainer)
    info = saved_info(checkpoint.model, path)
    try:
        trainer.model.check_state(checkpoint.state)
        trainer.optimizer.load_state(checkpoint.optimizer, trainer.model.parameters())
    except CheckpointError as error:
        raise in_file(path, error) from error
    trainer.model.load_state(checkpoint.state)
    if "optimizer" in become:
        trainer.optimizer.load_config(become["optimizer"])
    if "loss" in become:
        trainer.loss = type(trainer.loss).from_config(become["loss"])
    trainer.progress, trainer.totals, trainer.history = standing.where, standing.totals, standing.history
    trainer.callbacks, trainer.waiting = (), standing.told
    trainer.model.info = info or trainer.model.info
    said = ["; ".join(sentences) for sentences in (switched(checkpoint.model, trainer.model), differing)]
    if elsewhere := changed(checkpoint.progress.get("environment"), environment(trainer.kernels)):
        said.append(f"saved with {'; '.join(elsewhere)}: what follows may differ in the last bits")
    return [sentences for sentences in said if sentences]


def _restorable(kind: type[Loss] | type[Optimizer], config: Config) -> bool:
    """Whether the class makes of a configuration an object that has it."""
    try:
        return config_of(kind.from_config(config)) == config
    except (ArgumentError, TypeError):
        return False


def _kind(config: Any) -> str:
    """Return the class that a configuration is of, with those of the optimizers in it."""
    if not isinstance(config, dict):
        return repr(config)
    name, inner = str(config.get("class")), config.get("optimizers")
    if not isinstance(inner, dict):
        return name
    return f"{name}({', '.join(f'{pattern!r}: {_kind(of)}' for pattern, of in inner.items())})"


def _differing(where: str, was: Config, now: Config) -> list[str]:
    """Say which arguments were others, of two configurations of one kind."""
    if isinstance(now.get("optimizers"), dict):
        return [
            sentence
            for pattern, of in now["optimizers"].items()
            for sentence in _differing(f"the {of['class']} of {pattern!r}", was["optimizers"][pattern], of)
        ]
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if not names:
        return []
    had, has = (", ".join(f"{name}={of[name]!r}" for name in names if name in of) for of in (was, now))
    return [f"{where} was saved with {had} and has {has}, which it keeps"]


def switched(saved: Config, model: Graph) -> list[str]:
    """Say of each layer whose arguments are not those that it had when it was saved what they were.

    Its name and its initial values do not count: they change no step.
    """
    nodes = saved.get("nodes") if isinstance(saved, dict) else None
    nodes = [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    configs = {str(node.get("name")): node.get("config") for node in nodes}  # of a file that may be damaged
    before = {name: config for name, config in configs.items() if isinstance(config, dict)}
    found = []
    for node in model.nodes:
        then, now = before.get(node.name, {}), node.layer.config()
        names = [
            name
            for name in (*_SWITCHES, *(name for name in now if name not in _SWITCHES))
            if name in then and name in now and _json(now[name]) != then[name] and _counts(name)
        ]
        if names:
            was, are = (", ".join(f"{name}={of[name]}" for name in names) for of in (then, now))
            found.append(f"{node.layer.where} was saved with {was} and has {are}, which it keeps")
    return found


_SWITCHES = "trainable", "use_batch_statistics", "update_running_statistics", "renorm"


def _counts(name: str) -> bool:
    return name != "name" and not name.endswith("initializer")


def _json(value: Any) -> Any:
    """Return what a configuration becomes in a file."""
    if isinstance(value, Mapping):
        return {key: _json(v) for key, v in value.items()}
    return [_json(v) for v in value] if isinstance(value, tuple | list) else value
