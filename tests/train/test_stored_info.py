"""What models of runs say of their outputs and inputs, and what is known of files that say nothing."""

from __future__ import annotations

import shutil

import pytest

import handgrad as hg
from handgrad.data import Compose, Normalize, RandomCrop, to_config
from handgrad.io import read_tensors, write_tensors
from handgrad.train import Experiment, Recipe, open_model

NORMALIZE = Normalize((0.3,), (0.4,))
AUGMENT = to_config(Compose([RandomCrop(1), NORMALIZE]))
RECIPE = Recipe("digits", model_options={"width": 2}, epochs=1, batch_size=256, augment=AUGMENT)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a run whose augmentation has a step for all images, and its result."""
    experiment = Experiment(tmp_path_factory.mktemp("normalized"), RECIPE)
    return experiment, experiment.run()


def test_what_images_pass_through_is_in_the_model_with_what_outputs_mean(run):
    model, _ = open_model(run[0].folder)
    assert model.info == hg.load(run[0].model_path).info == hg.load(run[0].checkpoint.last_path).info
    assert model.info == hg.ModelInfo(
        "classification",
        classes=tuple("0123456789"),
        preprocessing=[to_config(NORMALIZE)],
        loss=hg.losses.CrossEntropy(0.1).config(),
        input_range=(0, 1),
    )


def test_the_result_is_that_of_images_that_passed_through_it(run):
    model, _ = open_model(run[0].folder)
    digits = hg.data.digits()
    x = hg.data.preprocess(digits.x_test, model)
    measured = hg.Trainer(model, model.info.loss, metrics=["accuracy"]).evaluate(x, digits.y_test)
    assert measured["accuracy"] == run[1]["test_accuracy"]
    assert measured["loss"] == pytest.approx(run[1]["test_loss"])


def test_a_file_that_does_not_say_so_goes_by_the_recipe_beside_it(run, tmp_path):
    shutil.copytree(run[0].folder, tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    tensors, header = read_tensors(path)
    info = header["model"].pop("info")
    write_tensors(path, tensors, header)
    with pytest.warns(UserWarning, match="passed through") as warned:
        model, _ = open_model(tmp_path / "run")
    assert [str(w.message) for w in warned] == [
        "the model's file does not say what images passed through: Normalize of "
        f"{tmp_path / 'run' / 'config.json'} is used"
    ]
    assert warned[0].filename == __file__
    assert model.info.config() == info | {"input_range": None}


@pytest.mark.parametrize(
    "config", ["", "[]", "{", '{"recipe": 1}', '{"recipe": {}}', '{"recipe": {"augment": {"class": "Fish"}}}']
)
def test_another_file_of_that_name_says_nothing(tmp_path, config):
    hg.save(hg.Sequential([hg.layers.Dense(2)], input_shape=(4,)), tmp_path / "m")
    (tmp_path / "config.json").write_text(config)
    model, _ = open_model(tmp_path / "m")
    assert model.info == hg.ModelInfo()


def test_a_recipe_without_such_a_step_says_that_nothing_is_to_be_done(tmp_path):
    hg.save(hg.Sequential([hg.layers.Dense(2)], input_shape=(4,)), tmp_path / "m")
    (tmp_path / "config.json").write_text('{"recipe": {"augment": null}}')
    assert open_model(tmp_path / "m")[0].info == hg.ModelInfo(preprocessing=())
