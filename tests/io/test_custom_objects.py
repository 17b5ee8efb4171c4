"""Classes of the user's own in saved models: never mistaken for handgrad's, and asked for by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import CheckpointError


@dataclass(eq=False)
class Dense(layers.Dense):
    """Has a name that handgrad has, too."""

    def forward(self, x, run):
        y, saved = super().forward(x, run)
        return 100 * y, saved


@dataclass(frozen=True)
class Ramp(layers.Initializer):
    step: float = 1.0

    def __call__(self, rng, shape, fans, dtype):
        return self.step * np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def saved(layer, tmp_path):
    model = hg.Sequential([layer], input_shape=(3,))
    hg.save(model, tmp_path / "m")
    return model.predict(np.ones((1, 3)))


def test_a_layer_of_the_same_name_is_not_taken_for_handgrads(tmp_path):
    y = saved(Dense(2), tmp_path)
    with pytest.raises(CheckpointError, match="pass custom_objects"):
        hg.load(tmp_path / "m")
    model = hg.load(tmp_path / "m", {"Dense": Dense})
    assert np.array_equal(model.predict(np.ones((1, 3))), y)


def test_an_initializer_of_ones_own(tmp_path):
    y = saved(layers.Dense(2, kernel_initializer=Ramp(0.5)), tmp_path)
    with pytest.raises(CheckpointError, match="initializer"):
        hg.load(tmp_path / "m")
    model = hg.load(tmp_path / "m", custom_objects={"Ramp": Ramp})
    assert model["dense"].kernel_initializer == Ramp(0.5)
    assert np.array_equal(model.predict(np.ones((1, 3))), y)
