from __future__ import annotations

import json
import math

import numpy as np
import pytest
from PIL import Image

from handgrad.data import Compose, ImageFolder, Normalize, RandomCrop, RandomFlip, to_config
from handgrad.errors import ArgumentError, CheckpointError, DataError, HandgradError
from handgrad.models import MODELS
from handgrad.rng import Stream
from handgrad.train import RECIPES, Recipe, recipe_for

OPTIONS = "expected some of width, dropout, dtype, got"
FIELDS = (
    "dataset, model, model_options, epochs, batch_size, lr, weight_decay, optimizer, label_smoothing, "
    "augment, whiten, freeze_after, views, validation_images, holdout, image_size, seed"
)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_json_and_back(name):
    recipe = RECIPES[name]
    assert recipe.dataset == name
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert recipe.build((32, 32, 3), 10).output_shape == (10,)


def test_the_trainer_is_what_the_recipe_says():
    recipe = Recipe("digits", epochs=3, batch_size=8, lr=0.5, weight_decay=0.25, label_smoothing=0.2, seed=7)
    model = recipe.build((8, 8, 1), 10)
    trainer = recipe.trainer(model, 20)
    assert trainer.loss.config() == {"class": "CrossEntropy", "label_smoothing": 0.2}
    config = trainer.optimizer.config()
    assert (config["class"], config["weight_decay"]) == ("AdamW", 0.25)
    assert (config["lr"]["max_lr"], config["lr"]["steps"]) == (0.5, 3 * 3)
    assert (model.seed, trainer.rng.key[0]) == (7, 7)
    assert list(trainer.metrics) == ["accuracy"]


def test_known_sets_have_their_recipe():
    assert recipe_for("digits") == RECIPES["digits"]
    assert recipe_for("fashion-mnist") == RECIPES["fashion_mnist"]
    changed = recipe_for("digits", epochs=2, lr=None, seed=5)
    assert (changed.epochs, changed.lr, changed.seed) == (2, RECIPES["digits"].lr, 5)
    assert changed.augment == RECIPES["digits"].augment


def test_data_of_a_known_set():
    train, test, classes = recipe_for("digits").data()
    assert (len(train), len(test), train.shape, classes) == (1437, 360, (8, 8, 1), tuple("0123456789"))


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(tmp_path / "pets" / part / name / "0.png")
    return tmp_path / "pets"


def test_data_of_a_folder(folder):
    train, test, classes = recipe_for(str(folder), image_size=(5, 4)).data()
    assert isinstance(train, ImageFolder)
    assert (train.shape, test.shape, classes) == ((5, 4, 3), (5, 4, 3), ("cat", "dog"))
    assert recipe_for(str(folder)).data()[0].shape == (32, 32, 3)


def test_train_and_test_need_the_same_classes(folder):
    (folder / "test/dog").rename(folder / "test/wolf")
    with pytest.raises(DataError) as error:
        Recipe(str(folder)).data()
    assert str(error.value) == f"{folder}: expected the classes of train in test, cat, dog, got cat, wolf"


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_file_that_is_no_image_is_found_before_training(folder, part):
    path = folder / part / "dog" / "1.png"
    path.write_text("<html>")
    with pytest.raises(DataError) as error:
        Recipe(str(folder)).data()
    assert str(error.value).startswith(f"{path}: expected an image that can be read, got ")


def test_a_folder_without_its_parts_is_refused(folder):
    with pytest.raises(DataError, match="/pets/train/train: expected a folder with one directory per class"):
        Recipe(str(folder / "train")).data()


def test_a_folder_named_like_a_known_set_does_not_stand_in_for_it(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    folder.rename(folder.parent / "digits")
    assert len(recipe_for("digits").data()[0]) == 1437
    assert len(recipe_for("./digits").data()[0]) == 2


UNKNOWN = (
    "dataset: expected one of digits, mnist, fashion_mnist, cifar10, or a folder with train and test "
    "in it, got 'no'"
)


@pytest.mark.parametrize("use", [recipe_for, lambda name: Recipe(name).data()])
def test_a_set_that_is_neither_is_refused(use):
    with pytest.raises(ArgumentError) as error:
        use("no")
    assert str(error.value) == UNKNOWN


WRONG = {
    "dataset": (5, "dataset: expected a str, got 5"),
    "model": (None, "model: expected a str, got None"),
    "model_options": ([], "model_options: expected a dict, got []"),
    "epochs": (0, "epochs: expected an int, at least 1, got 0"),
    "batch_size": (2.5, "batch_size: expected an int, at least 1, got 2.5"),
    "seed": (-1, "seed: expected an int, at least 0, got -1"),
    "lr": (0, "lr: expected a number above 0, got 0"),
    "weight_decay": (-0.1, "weight_decay: expected a number of at least 0, got -0.1"),
    "label_smoothing": (1, "label_smoothing: expected 0 <= number < 1, got 1"),
    "augment": ("flip", "augment: expected a transform's configuration, got 'flip'"),
    "image_size": ((5, 0), "image_size: expected a height and a width, positive ints, got (5, 0)"),
    "holdout": (2**31, "holdout: expected an int, at most 2,147,483,647, got 2147483648"),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_mean_nothing_are_refused(name):
    value, message = WRONG[name]
    with pytest.raises(ArgumentError) as error:
        Recipe(**{"dataset": "digits", name: value})
    assert str(error.value) == message


@pytest.mark.parametrize("name", ["lr", "weight_decay", "label_smoothing"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "1", True, None])
def test_numbers_are_numbers(name, value):
    with pytest.raises(ArgumentError, match=f"^{name}: expected .*got {value!r}$"):
        Recipe("digits", **{name: value})


@pytest.mark.parametrize("size", [5, [5, 5], (5,), (5, 5, 3), (5.0, 5)])
def test_a_size_is_a_pair(size):
    with pytest.raises(ArgumentError, match=r"^image_size: "):
        Recipe("digits", image_size=size)


def test_an_unknown_augmentation_is_refused_at_once():
    with pytest.raises(ArgumentError) as error:
        Recipe("digits", augment={"class": "Rotate"})
    assert str(error.value) == (
        "transform: expected a class of Normalize, RandomFlip, AlternatingFlip, RandomCrop, Cutout, "
        "Compose, got 'Rotate'"
    )
    assert Recipe("digits").transform() is None
    assert Recipe("digits", augment={"class": "RandomCrop", "padding": 2}).transform() == RandomCrop(2)


@pytest.mark.parametrize(
    ("options", "got"),
    [({"depth": 3}, "'depth'"), ({"seed": 1}, "'seed'"), ({"input_shape": 1}, "'input_shape'")],
)
def test_options_that_the_model_does_not_have_are_refused(options, got):
    with pytest.raises(ArgumentError) as error:
        Recipe("digits", model_options=options).build((8, 8, 1), 10)
    assert str(error.value) == f"model_options: {OPTIONS} {got}"


def test_an_unknown_model_is_refused():
    with pytest.raises(ArgumentError) as error:
        Recipe("digits", model="big").build((8, 8, 1), 10)
    assert str(error.value) == f"model: expected one of {', '.join(MODELS)}, got 'big'"


SCHEDULE = {"class": "OneCycle", "max_lr": 0.1}


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ({"class": "SGD", "lr": SCHEDULE}, "OneCycle: expected the argument steps, got max_lr"),
        ({"class": "SGD", "lr": {"class": "Cosine"}}, "Cosine: expected the argument lr, got no arguments"),
        (
            {"class": "SGD", "lr": {**SCHEDULE, "steps": 10**400}},
            f"OneCycle: expected steps to be a whole number of at least 1 and less than 2**63, got {10**400}",
        ),
        ({"class": "SGD", "lr": 10**400}, f"SGD: expected lr of at least 0, got {10**400}"),
        ({"class": "SGD", "groups": 3}, "SGD: expected groups to be a sequence of Group, got 3"),
        ({"class": "SGD", "groups": [{}]}, "Group: expected the argument match, got no arguments"),
        (
            {"class": "SGD", "groups": [{"match": 3}]},
            "Group: expected match to be a pattern over parameter names, or several, got 3",
        ),
        (
            {"class": "SGD", "momentum": 0.9, "nesterov": 2},
            "SGD: expected nesterov to be True or False, got 2",
        ),
        (
            {"class": "SGD", "lr": {"class": ["Step"]}},
            "schedule: expected one of Constant, Step, Cosine, Linear, OneCycle, WarmUp, got "
            "{'class': ['Step']}",
        ),
    ],
)
def test_an_optimizer_that_cannot_be_made_is_refused(optimizer, message):
    with pytest.raises(ArgumentError) as error:
        Recipe("digits", optimizer=optimizer)
    assert str(error.value) == message


@pytest.mark.parametrize("width", [2**40, 10**400, {"a": 1}, "wide", None])
def test_a_width_that_the_model_cannot_have_is_refused(width):
    with pytest.raises(ArgumentError, match=r"^(model_options: expected what lenet takes, got |conv)"):
        Recipe("digits", model="lenet", model_options={"width": width}).build((8, 8, 1), 10)


@pytest.mark.parametrize("name", ["", "\0", "é" * 300])
def test_names_that_no_folder_has_are_refused(name):
    with pytest.raises(ArgumentError) as error:
        recipe_for(name)
    assert str(error.value) == UNKNOWN.replace("'no'", repr(name))


class TestRead:
    @pytest.mark.parametrize("name", ["r.json", "r.JSON", "r.toml", "r.TOML"])
    def test_the_mark_before_utf_8_and_capitals_of_endings_are_passed_over(self, tmp_path, name):
        toml = name.lower().endswith("toml")
        text = 'dataset = "digits"\nepochs = 3' if toml else '{"dataset": "digits", "epochs": 3}'
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert Recipe.read(tmp_path / name) == Recipe("digits", epochs=3)

    def test_a_folder_and_a_nested_file_are_refused(self, tmp_path):
        with pytest.raises(CheckpointError) as error:
            Recipe.read(tmp_path)
        assert str(error.value) == f"{tmp_path}: expected a recipe's file, got a folder"
        for name, text in (("r.json", "[" * 10**5), ("r.toml", "a = " + "[" * 10**5)):
            (tmp_path / name).write_text(text)
            with pytest.raises(CheckpointError) as error:
                Recipe.read(tmp_path / name)
            assert str(error.value).endswith(", got one that is nested too deeply")

    def test_a_recipe_by_itself_or_in_a_config(self, tmp_path):
        recipe = Recipe("digits", image_size=(9, 8), model_options={"width": 3})
        (tmp_path / "a.json").write_text(json.dumps(recipe.to_json()))
        (tmp_path / "b.json").write_text(json.dumps({"recipe": recipe.to_json(), "numpy": "2"}))
        assert Recipe.read(tmp_path / "a.json") == Recipe.read(tmp_path / "b.json") == recipe

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[1]", "expected a recipe, as an object, got list"),
            ('{"recipe": 5}', "expected a recipe, as an object, got int"),
            (
                "{",
                "expected a recipe as JSON, got Expecting property name enclosed in double quotes: "
                "line 1 column 2 (char 1)",
            ),
            ('{"epochs": 3}', "expected a field dataset, got epochs"),
            ("{}", "expected a field dataset, got no fields"),
            ('{"dataset": "digits", "epoch": 3}', f"expected fields among {FIELDS}, got 'epoch'"),
        ],
    )
    def test_what_is_no_recipe_is_refused(self, tmp_path, text, message):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(HandgradError) as error:
            Recipe.read(tmp_path / "r.json")
        assert str(error.value) == f"{tmp_path / 'r.json'}: {message}"

    def test_a_missing_or_binary_file_is_refused(self, tmp_path):
        with pytest.raises(CheckpointError) as error:
            Recipe.read(tmp_path / "r.json")
        assert str(error.value) == f"{tmp_path / 'r.json'}: expected a recipe, got no file there"
        (tmp_path / "r.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(CheckpointError, match="expected a recipe as JSON, got "):
            Recipe.read(tmp_path / "r.json")


class TestStepsOfAugmentationThatAreNoChance:
    """Test images need what training images get alike."""

    normalize = Normalize((0.3,), (0.4,))
    augment = to_config(Compose([RandomFlip(), normalize]))

    @pytest.mark.parametrize("holdout", [0, 50])
    def test_test_images_pass_through_them_and_training_images_do_so_once(self, holdout):
        plain, augmented = (Recipe("digits", augment=a, holdout=holdout).data() for a in (None, self.augment))
        i = np.arange(5)
        np.testing.assert_array_equal(augmented[0].batch(i)[0], plain[0].batch(i)[0])
        x, y = augmented[1].batch(i)
        np.testing.assert_array_equal(x, self.normalize(plain[1].batch(i)[0], Stream()))
        np.testing.assert_array_equal(y, plain[1].batch(i)[1])

    def test_a_convolution_is_whitened_for_what_comes_to_it(self):
        options = {"model": "whitened_cnn", "model_options": {"width": 4}, "whiten": "whiten"}
        filters = []
        for recipe in (Recipe("digits", augment=self.augment, **options), Recipe("digits", **options)):
            train, _, names = recipe.data()
            model = recipe.build((8, 8, 1), len(names))
            recipe.prepare(model, train)
            filters.append(next(iter(model.parameters().values())).value.copy())
        # of images divided by 0.4, filters are 0.4 times as large
        np.testing.assert_allclose(np.abs(filters[0]), 0.4 * np.abs(filters[1]), rtol=0.05)
