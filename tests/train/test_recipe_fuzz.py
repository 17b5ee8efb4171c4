"""Recipes and configs with a wrong value anywhere: an error of handgrad's own, or a run."""

from __future__ import annotations

import copy
import json
import random
import shutil
import warnings

import pytest

from handgrad.errors import HandgradError
from handgrad.train import Experiment, Recipe, named_recipes

NOTHINGS = [
    *(None, True, False, 0, 1, -1, 3, 2.5, 1e308, float("nan"), float("inf"), 10**400, 2**31, -(2**63)),
    *("", "x", "adam", "\0", "\ud800", "é" * 300, [], [1], [[]], ["x"], {}, {"a": 1}, {"class": 3}),
    *({"class": "OneCycle"}, {"class": "SGD"}, {"class": "Compose", "transforms": 3}, {"match": "*"}),
]
NAMES = ["x", "", "class", "steps", "share", "lr", "groups", "seed", "optimizer", "model_options"]
OWN = {
    "dataset": "digits",
    "model_options": {"width": 2},
    "augment": {
        "class": "Compose",
        "transforms": [{"class": "RandomCrop", "padding": 1}, {"class": "Cutout"}],
    },
    "optimizer": {
        "class": "AdamW",
        "lr": {"class": "WarmUp", "lr": {"class": "OneCycle", "max_lr": 0.1, "share": 0.5}, "steps": 3},
        "groups": [{"match": "*.weight", "lr_scale": 1.0, "weight_decay": 0.1}],
    },
    "views": {"flip": True, "shift": 1},
    "freeze_after": {"stage1.*": 1},
    "validation_images": 5,
    "holdout": 10,
    "epochs": 1,
}


def places(value, path=()):
    """Yield the path of every value inside one."""
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*path, key))


def mutated(config, rng):
    """Return a configuration with one or two values lost, added or put in place of others."""
    config = json.loads(json.dumps(config))
    for _ in range(rng.choice((1, 1, 2))):
        *path, key = rng.choice(list(places(config)))
        inside = config
        for step in path:
            inside = inside[step]
        wrong = copy.deepcopy(rng.choice(NOTHINGS))
        if isinstance(inside, dict) and rng.random() < 0.3:
            inside.pop(key) if rng.random() < 0.5 else inside.__setitem__(rng.choice(NAMES), wrong)
        else:
            inside[key] = wrong
    return config


@pytest.mark.slow
def test_recipes(tmp_path):
    rng = random.Random(0)
    known = [{**recipe.to_json(), "dataset": "digits"} for recipe in named_recipes().values()]
    came = {"error": 0, "run": 0}
    for i in range(150):
        path = tmp_path / f"{i}.json"
        path.write_text(json.dumps(mutated(rng.choice([OWN, *known]), rng)))
        try:
            Experiment(tmp_path / f"run{i}", Recipe.read(path))
        except HandgradError:
            came["error"] += 1
        else:
            came["run"] += 1
    assert not list(tmp_path.glob("run*"))
    assert min(came.values()) > 5, came


@pytest.mark.slow
def test_configs_of_runs(tmp_path):
    rng = random.Random(0)
    recipe = Recipe("digits", model_options={"width": 2}, epochs=1, batch_size=1024)
    Experiment(tmp_path / "run", recipe).run()
    config = json.loads((tmp_path / "run/config.json").read_text())
    config["resumed"] = [{"epoch": 0, "batch": 1, "changed": ["2 threads, now 1 thread"]}]
    came = {"error": 0, "run": 0}
    for i in range(80):
        folder = shutil.copytree(tmp_path / "run", tmp_path / str(i))
        (folder / "config.json").write_text(json.dumps(mutated(config, rng)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Experiment(folder, epochs=rng.choice((None, 2))).run()
        except HandgradError:
            came["error"] += 1
        else:
            came["run"] += 1
    assert min(came.values()) > 5, came
