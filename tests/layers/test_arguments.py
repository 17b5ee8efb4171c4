"""Whatever is given for an argument of a layer or an initializer, there is a layer or an error on purpose."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.cli.gradcheck import CASES
from handgrad.errors import ArgumentError, HandgradError
from handgrad.io.config import model_config, model_from_config
from handgrad.layers import initializers

ANYTHING = {
    "word": "0.1",
    "no word": "",
    "bytes": b"x",
    "True": True,
    "nan": float("nan"),
    "infinity": float("inf"),
    "negative": -1,
    "zero": 0,
    "half": 0.5,
    "complex": 1j,
    "None": None,
    "int64": np.int64(3),
    "float32": np.float32(2.5),
    "list": [1],
    "nested": [[1], 2],
    "pair": (3, 3),
    "three": (1, 2, 3),
    "words": ("1", "2"),
    "bools": (True, True),
    "dict": {},
    "dict of a class": {"class": ["HeNormal"]},
    "set": {1},
    "array": np.ones(3),
    "class": int,
    "object": object(),
}


def used(layer, shape):
    """Put a layer into a model, run a step, and make it again from its configuration."""
    if isinstance(layer, layers.Merge):
        i = hg.Input(shape[0])
        model, shape = hg.Graph(i, layer(i, layers.ReLU()(i))), shape[0]
    else:
        model = hg.Sequential([layer], input_shape=shape)
    run, x = hg.Run(training=True), np.ones((3, *shape), np.float32)
    y, trace = model.forward(x + np.arange(3).reshape(3, *[1] * len(shape)), run)
    model.backward(np.ones_like(y), trace, run)
    model.commit(trace)
    model_from_config(json.loads(json.dumps(model_config(model)))).load_state(model.state())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*running statistics")
@pytest.mark.parametrize("kind", CASES)
def test_a_layer_takes_an_argument_or_says_why_not(kind):
    arguments, shape = CASES[kind]
    layer, refused = getattr(layers, kind), 0
    for name in [f.name for f in fields(layer) if f.init]:
        for what, value in ANYTHING.items():
            try:
                used(layer(**{**arguments, name: value}), shape)
            except HandgradError:
                refused += 1
            except Exception as error:
                raise AssertionError(f"{kind}({name}={value!r}), {what}") from error
    assert refused > len(ANYTHING)


INITIALIZERS = {"Constant": "value", "RandomNormal": "stddev", "Orthogonal": "gain", "Dirac": "scale"}


@pytest.mark.parametrize("kind", INITIALIZERS)
def test_an_initializer_takes_a_number_or_says_why_not(kind):
    name, taken, said = INITIALIZERS[kind], [], set()
    for what, value in ANYTHING.items():
        try:
            initializer = getattr(initializers, kind)(**{name: value})
        except ArgumentError as error:
            said.add(str(error).partition(", got")[0])
            continue
        used(layers.Conv2D(3, 3, kernel_initializer=initializer), (5, 5, 3))
        taken.append(what)
    signs = [] if kind in ("RandomNormal", "Dirac") else ["negative"]
    assert taken == [*signs, "zero", "half", "int64", "float32"]
    assert len(said) == 1
    assert said.pop().startswith(f"{kind}: expected {name} ")
