from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import ArgumentError
from handgrad.train import FreezeAfter


def make(seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.random((32, 8, 8, 1)).astype(np.float32), rng.integers(0, 3, 32)
    model = hg.models.small_cnn((8, 8, 1), 3, width=4, seed=1)
    return x, y, model, hg.Trainer(model, "cross_entropy", hg.optim.SGD(0.1, momentum=0.9))


def values(model):
    return {name: p.value.copy() for name, p in model.parameters().items()}


def test_layers_are_trained_for_so_many_epochs_and_kept_from_then_on():
    x, y, model, trainer = make()
    seen = []

    class Look(hg.train.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append(values(model))

    trainer.fit(x, y, epochs=4, callbacks=[FreezeAfter({"stage1.*": 2, "logits": 0}), Look()])
    start = values(hg.models.small_cnn((8, 8, 1), 3, width=4, seed=1))
    for name in start:
        moved = [not np.array_equal(a[name], b[name]) for a, b in zip([start, *seen], seen, strict=False)]
        expected = {"stage1": [True, True, False, False], "logits": [False] * 4}.get(
            name.split(".")[0], [True] * 4
        )
        assert moved == expected, name


def test_a_run_that_is_resumed_later_is_frozen_from_its_first_step(tmp_path):
    x, y, unbroken, trainer = make()
    trainer.fit(x, y, epochs=3, callbacks=[FreezeAfter({"stage1.*": 1})])
    x, y, _, trainer = make()
    trainer.fit(x, y, epochs=2, callbacks=[FreezeAfter({"stage1.*": 1})])
    trainer.save(tmp_path / "c.safetensors")
    x, y, resumed, trainer = make()
    with pytest.warns(UserWarning, match="was saved with trainable=False"):
        trainer.load(tmp_path / "c.safetensors")
    trainer.fit(x, y, epochs=1, callbacks=[FreezeAfter({"stage1.*": 1})])
    for name, value in values(unbroken).items():
        np.testing.assert_array_equal(value, values(resumed)[name])


def test_what_means_nothing_is_refused():
    with pytest.raises(ArgumentError) as error:
        FreezeAfter({"stage1.*": -1})
    assert str(error.value) == "FreezeAfter: expected epochs of 'stage1.*' as an int of at least 0, got -1"
    x, y, model, trainer = make()
    before = values(model)
    with pytest.raises(ArgumentError) as error:
        trainer.fit(x, y, callbacks=[FreezeAfter({"stage9.*": 1})])
    assert str(error.value) == "FreezeAfter: expected 'stage9.*' to match a layer, got none of 18"
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, before[name])
