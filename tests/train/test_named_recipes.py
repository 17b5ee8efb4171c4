"""What recipes with a name are made of, together: on the embedded digits, in seconds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import handgrad as hg
from handgrad.data import AlternatingFlip
from handgrad.errors import ArgumentError, HandgradError
from handgrad.io import load_checkpoint
from handgrad.layers import whiten
from handgrad.optim import SGD, MultiOptimizer, Muon
from handgrad.train import Experiment, Recipe, Views, named_recipes, recipe_for
from handgrad.train.recipe import spread
from tests.process import environment
from tests.train.parts import At, assert_same, everything

FAST = named_recipes()["fast94"]
SMALL = FAST.changed(
    dataset="digits", model_options={"width": 4}, epochs=4, batch_size=256, validation_images=50
).changed(freeze_after={"whiten": 2})


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    experiment = Experiment(tmp_path_factory.mktemp("runs") / "a", SMALL)
    return experiment, experiment.run()


def test_every_named_recipe_is_json_and_back_and_can_be_built():
    for name, recipe in named_recipes().items():
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
        shape = {"cifar10": (32, 32, 3)}.get(recipe.dataset, (28, 28, 1))
        model = recipe.build(shape, 10)
        recipe.trainer(model, 50_000)
        assert recipe_for(recipe.dataset, name) == recipe


def test_fast94_is_what_its_file_says():
    trainer = FAST.trainer(FAST.build((32, 32, 3), 10), 50_000)
    rules = trainer.optimizer
    assert isinstance(rules, MultiOptimizer)
    steps = FAST.epochs * 25
    muon, whitening, betas, logits = rules.optimizers.values()
    assert isinstance(muon, Muon)
    assert [o.lr.steps for o in (muon, betas, logits)] == [steps] * 3
    assert whitening.lr.steps == round(0.333 * steps)
    assert all(isinstance(o, SGD) for o in (whitening, betas, logits))
    # the published rates are for the sum over a batch of 2000, and for logits divided by the 256 features
    assert muon.lr.lr == 0.24
    assert whitening.lr.lr == betas.lr.lr == pytest.approx(0.053 * 2000)
    assert logits.lr.lr == pytest.approx(0.67 * 2000 / 256**2, rel=5e-3)
    # and weight decay takes 2e-6 for each image of a batch, in every step, of what decays
    assert betas.groups[0].weight_decay * betas.lr.lr == pytest.approx(2e-6 * 2000, rel=0.01)
    assert logits.weight_decay * logits.lr.lr == pytest.approx(2e-6 * 2000, rel=0.03)
    assert [o.momentum for o in (muon, whitening, betas, logits)] == [0.6, 0.85, 0.85, 0.85]
    assert isinstance(FAST.transform().transforms[0], AlternatingFlip)
    assert FAST.test_views() == Views(flip=True, shift=1)


def test_the_first_layer_is_whitened_and_frozen_in_time(ended):
    experiment, _ = ended
    digits = hg.data.digits()
    model = SMALL.build((8, 8, 1), 10)
    first = model.nodes[0].layer
    images, _ = experiment.train_data.batch(np.arange(len(digits.x_train)))
    whiten(first, images)
    trained = experiment.trainer.model.parameters()
    np.testing.assert_array_equal(trained["whiten.weight"].value, first.weight.value)
    assert not np.array_equal(trained["whiten.bias"].value, first.bias.value)
    assert experiment.trainer.optimizer.state()["1/step/whiten.bias"] == 2 * 6


def test_the_result_is_of_the_mean_over_the_views(ended):
    experiment, result = ended
    measured = experiment.trainer.evaluate(experiment.test_data, views=Views(shift=1))
    assert result == {f"test_{name}": value for name, value in measured.items()}
    assert result != {f"test_{k}": v for k, v in experiment.trainer.evaluate(experiment.test_data).items()}
    spread_out = np.linspace(0, len(experiment.test_data) - 1, 50).round().astype(int)
    few = experiment.trainer.evaluate(*experiment.test_data.batch(spread_out))
    assert experiment.trainer.history["val_accuracy"][-1] == few["accuracy"]


@pytest.mark.parametrize("step", [3, 9, 13, 20])
def test_a_run_that_was_stopped_ends_as_the_unbroken_one(ended, tmp_path, step):
    assert Experiment(tmp_path, SMALL).run([At(step, lambda t: setattr(t, "stop_training", True))]) is None
    resumed = Experiment(tmp_path)
    assert resumed.run() == ended[1]
    assert_same(everything(resumed.trainer), everything(ended[0].trainer))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_run_that_was_killed_ends_as_the_unbroken_one(ended, tmp_path, epochs):
    config, run = tmp_path / "recipe.json", tmp_path / "run"
    config.write_text(json.dumps(SMALL.to_json()))
    command = [sys.executable, "-m", "handgrad", "train"]
    process = subprocess.Popen(
        [*command, "--config", str(config), "--out", str(run), "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    seen = 0
    for line in process.stdout:
        seen += json.loads(line)["event"] == "epoch"
        if seen == epochs:
            break
    deadline = time.monotonic() + 60
    while not (run / "last.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    resumed = Experiment(run)
    at = resumed.trainer.progress
    assert epochs * at.batches <= at.step < SMALL.epochs * at.batches
    assert resumed.run() == ended[1]
    assert_same(everything(resumed.trainer), everything(ended[0].trainer))


def test_seconds_of_all_parts_count_where_a_run_broke_off_in_its_test(tmp_path, monkeypatch):
    first = Experiment(tmp_path, SMALL)

    def fail(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(first, "_tested", fail)
    with pytest.raises(RuntimeError):
        first.run()
    trained = json.loads(json.dumps(load_checkpoint(tmp_path / "last.safetensors").progress))
    before = trained["callbacks"]["Stopwatch.0"]["seconds"]
    resumed = Experiment(tmp_path)
    assert resumed.ended
    resumed.run()
    assert resumed.spent.seconds > before > 0


def test_few_images_are_of_all_classes_where_they_lie_class_by_class():
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 5).tolist() == [0, 1, 2]


def test_held_out_images_are_not_trained_on_and_stand_in_for_the_test_images():
    recipe = Recipe("digits", holdout=300)
    train, test, _ = recipe.data()
    whole, _, _ = Recipe("digits").data()
    assert (len(train), len(test)) == (len(whole) - 300, 300)
    together = np.concatenate([train.batch(np.arange(len(train)))[0], test.batch(np.arange(300))[0]])
    expected = whole.batch(np.arange(len(whole)))[0]
    flat = [a.reshape(len(a), -1) for a in (together, expected)]
    np.testing.assert_array_equal(*(a[np.lexsort(a.T)] for a in flat))
    assert len(set(test.labels)) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holdout": 10**6}, "holdout: expected fewer than all 1437 images, got 1000000"),
        ({"whiten": "relu1"}, "whiten: expected the name of a Conv2D of the model, got 'relu1'"),
        ({"validation_images": 0}, "validation_images: expected an int, at least 1, got 0"),
        (
            {"views": {"shift": 8}},
            "Views: expected images (n, h, w, c) larger than the shift 8, got shape (1, 8, 8, 1)",
        ),
        ({"views": {"flip": "no"}}, "Views: expected flip to be True or False, got 'no'"),
        ({"views": True}, "views: expected a dict with flip and shift, got True"),
        ({"freeze_after": {"nope": 1}}, "FreezeAfter: expected 'nope' to match a layer, got none of 18"),
        ({"freeze_after": [1]}, "FreezeAfter: expected a dict of patterns and epochs, got [1]"),
        (
            {"augment": {"class": "RandomCrop", "padding": 8, "mode": "reflect"}},
            "RandomCrop: expected images larger than the padding 8, got 8x8",
        ),
        (
            {"optimizer": {"class": "MultiOptimizer", "optimizers": ["sgd"]}},
            "MultiOptimizer: expected a dict of patterns with an optimizer each, none of them twice, "
            "got ['sgd']",
        ),
        ({"views": {"flips": True}}, "Views: expected arguments among flip, shift, got 'flips'"),
        (
            {"optimizer": {"class": "SGD", "lr": {"class": "Linear", "lr": 1.0, "share": 2}}},
            "optimizer: expected 0 < share <= 1 in place of steps, "
            "got {'class': 'Linear', 'lr': 1.0, 'share': 2}",
        ),
    ],
)
def test_what_means_nothing_is_refused_before_a_folder_is_made(tmp_path, changes, message):
    with pytest.raises(HandgradError) as error:
        Experiment(tmp_path / "run", Recipe("digits", **changes)).run()
    assert str(error.value) == message
    assert not (tmp_path / "run").exists()


def test_names_and_options_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError) as error:
        recipe_for("digits", "fast94")
    assert str(error.value) == "recipe: expected no named recipe, as there is none, for digits, got 'fast94'"
    with pytest.raises(ArgumentError) as error:
        recipe_for("cifar10", "fast94", lr=0.1)
    assert str(error.value) == (
        "lr: expected none, as the recipe has an optimizer of its own, got 0.1; "
        "change it in a copy of the recipe, and train by that with --config"
    )
