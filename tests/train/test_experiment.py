from __future__ import annotations

import json

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import CheckpointError, HandgradError
from handgrad.io import load_about
from handgrad.train import Callback, Experiment, Recipe, open_model
from tests.train.parts import At, assert_same, everything

RECIPE = Recipe(
    "digits",
    model_options={"width": 2},
    epochs=2,
    batch_size=256,
    augment={"class": "RandomCrop", "padding": 1},
)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    experiment = Experiment(folder, RECIPE)
    return experiment, experiment.run()


def test_all_files_are_there(ended):
    experiment, result = ended
    names = [
        "config.json",
        "history.csv",
        "history.json",
        "last.safetensors",
        "model.safetensors",
        "result.json",
    ]
    assert sorted(p.name for p in experiment.folder.iterdir()) == names
    assert json.loads((experiment.folder / "result.json").read_text()) == {
        **result,
        **experiment.spent._asdict(),
    }
    assert 0 <= experiment.spent.waited < experiment.spent.seconds < 60
    assert 0 < experiment.spent.cpu_seconds < 60
    config = json.loads((experiment.folder / "config.json").read_text())
    assert Recipe.from_json(config["recipe"]) == RECIPE
    assert (config["handgrad"], config["numpy"]) == (hg.__version__, np.__version__)
    assert len((experiment.folder / "history.csv").read_text().splitlines()) == 3


def test_the_result_is_that_of_the_model_on_the_test_images(ended):
    experiment, result = ended
    model, about = open_model(experiment.folder)
    trainer = hg.Trainer(model, hg.losses.CrossEntropy(0.1), metrics=["accuracy"])
    digits = hg.data.digits()
    measured = trainer.evaluate(digits.x_test, digits.y_test)
    assert result == {"test_loss": measured["loss"], "test_accuracy": measured["accuracy"]}
    loss = {"class": "CrossEntropy", "label_smoothing": 0.1}
    assert about == {"classes": list("0123456789"), "dataset": "digits", "loss": loss, **result}
    assert load_about(experiment.model_path) == about
    assert experiment.trainer.history["val_loss"][-1] == result["test_loss"]


def test_the_recipe_in_the_folder_makes_the_same_model(ended, tmp_path):
    again = Experiment(tmp_path, Recipe.read(ended[0].config_path))
    assert again.run() == ended[1]
    assert_same(everything(again.trainer), everything(ended[0].trainer))
    for name in ("history.csv", "history.json"):
        assert (tmp_path / name).read_bytes() == (ended[0].folder / name).read_bytes()


@pytest.mark.parametrize("step", [4, 6, 9])
def test_a_run_that_was_stopped_goes_on(ended, tmp_path, step):
    broken = Experiment(tmp_path, RECIPE)
    assert broken.run([At(step, lambda t: setattr(t, "stop_training", True))]) is None
    assert not broken.ended
    assert not broken.model_path.exists()
    with pytest.raises(CheckpointError) as error:
        open_model(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: expected a run that has ended, got one without its model; go on with: handgrad "
        "train --resume "
        f"{tmp_path}"
    )
    resumed = Experiment(tmp_path)
    assert resumed.run() == ended[1]
    assert resumed.ended
    assert_same(everything(resumed.trainer), everything(ended[0].trainer))
    assert (tmp_path / "history.csv").read_bytes() == (ended[0].folder / "history.csv").read_bytes()


def test_a_run_that_crashed_before_its_first_checkpoint_begins_anew(ended, tmp_path):
    def crash(trainer):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Experiment(tmp_path, RECIPE).run([At(2, crash)])
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
    resumed = Experiment(tmp_path)
    assert resumed.run() == ended[1]
    assert_same(everything(resumed.trainer), everything(ended[0].trainer))


def test_a_run_that_has_ended_is_not_trained_again(ended):
    class Never(Callback):
        def on_train_begin(self):
            raise AssertionError

    again = Experiment(ended[0].folder)
    assert again.run([Never()]) == ended[1]
    assert again.spent == ended[0].spent


def test_a_folder_with_a_run_is_not_overwritten(ended):
    before = {p: p.read_bytes() for p in ended[0].folder.iterdir()}
    with pytest.raises(CheckpointError) as error:
        Experiment(ended[0].folder, RECIPE)
    assert str(error.value) == (
        f"{ended[0].folder}: expected a new folder, got one that holds a run; resume it, or name another"
    )
    assert {p: p.read_bytes() for p in ended[0].folder.iterdir()} == before


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path):
    for folder in (tmp_path, tmp_path / "no"):
        with pytest.raises(CheckpointError) as error:
            Experiment(folder)
        assert (
            str(error.value)
            == f"{folder}: expected a folder of a run, with config.json in it, got none there"
        )


def test_a_damaged_checkpoint_is_refused(ended, tmp_path):
    for name in ("config.json", "last.safetensors"):
        (tmp_path / name).write_bytes((ended[0].folder / name).read_bytes()[: 10**3])
    with pytest.raises(
        CheckpointError, match=r"last\.safetensors: expected a whole safetensors file, got a damaged one"
    ):
        Experiment(tmp_path)


def test_a_recipe_that_cannot_be_built_leaves_no_folder(tmp_path):
    for options in ({"width": 0}, {"depth": 2}):
        with pytest.raises(HandgradError):
            Experiment(tmp_path / "new", Recipe("digits", model_options=options))
    assert not (tmp_path / "new").exists()


class TestOpenModel:
    def test_of_a_file(self, ended):
        model, about = open_model(ended[0].model_path)
        assert model.output_shape == (10,)
        assert about["dataset"] == "digits"

    def test_of_a_checkpoint(self, ended):
        model, about = open_model(ended[0].folder / "last.safetensors")
        assert_same(model.state(), ended[0].trainer.model.state())
        assert about == {}

    def test_of_nothing(self, tmp_path):
        with pytest.raises(CheckpointError) as error:
            open_model(tmp_path / "no")
        assert (
            str(error.value)
            == f"{tmp_path / 'no'}: expected a run's folder or a model file, got nothing of that name"
        )

    def test_of_another_folder(self, tmp_path):
        with pytest.raises(CheckpointError) as error:
            open_model(tmp_path)
        assert (
            str(error.value)
            == f"{tmp_path / 'model.safetensors'}: expected a safetensors file, got no file there"
        )


def test_a_result_that_is_not_finite_is_json_all_the_same(tmp_path, monkeypatch):
    experiment = Experiment(tmp_path, Recipe("digits", model_options={"width": 2}, epochs=1, batch_size=512))
    monkeypatch.setattr(
        experiment.trainer, "evaluate", lambda *_, **__: {"loss": float("nan"), "accuracy": 0.5}
    )
    experiment.run()

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    result = json.loads((tmp_path / "result.json").read_text(), parse_constant=refuse)
    assert (result["test_loss"], result["test_accuracy"]) == (None, 0.5)
