from __future__ import annotations

import inspect

import pytest

from handgrad import models
from handgrad.errors import ArgumentError
from handgrad.train import Recipe

NAMES = ["small_cnn", "lenet", "resnet18", "resnet20", "resnet50", "whitened_cnn"]


def test_models_are_found_by_name():
    assert list(models.MODELS) == NAMES
    for name in NAMES:
        assert models.get(name) is getattr(models, name)


def test_an_unknown_name_is_refused():
    with pytest.raises(ArgumentError) as error:
        models.get("resnet")
    known = "small_cnn, lenet, resnet18, resnet20, resnet50, whitened_cnn"
    assert str(error.value) == f"model: expected one of {known}, got 'resnet'"


@pytest.mark.parametrize("name", NAMES)
def test_every_model_takes_what_recipes_give(name):
    parameters = inspect.signature(models.get(name)).parameters
    assert list(parameters)[:2] == ["input_shape", "classes"]
    assert {"width", "seed", "dtype"} <= parameters.keys()
    model = Recipe("digits", model=name, model_options={"width": 2}, seed=3).build((8, 8, 1), 5)
    assert (model.output_shape, model.seed) == ((5,), 3)
