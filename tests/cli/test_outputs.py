"""What `predict` and `evaluate` make of models of every kind."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import handgrad as hg
from handgrad import layers
from handgrad.cli.classes import class_numbers
from handgrad.data import Normalize, to_config
from handgrad.errors import DataError
from handgrad.io import read_tensors, write_tensors
from tests.cli.run import call

SHAPE = (4, 4, 3)


def constant(outputs, *end, info=None, shape=None):
    """Return a model whose outputs are these for every image; of a `shape`, at every pixel."""
    head = [layers.Conv2D(len(outputs), 1)] if shape else [layers.Flatten(), layers.Dense(len(outputs))]
    model = hg.Sequential([*head, *end], input_shape=SHAPE)
    weight, bias = list(model.parameters().values())
    weight.assign(np.zeros(weight.shape, np.float32))
    bias.assign(np.float32(outputs))
    if info is not None:
        model.info = info
    return model


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.full(SHAPE, 51, np.uint8)).save(path)
    return path


@pytest.fixture
def said(tmp_path, image):
    """Return a function that says what `predict` prints of one image."""

    def say(model, *options):
        hg.save(model, tmp_path / "m")
        result = call("predict", tmp_path / "m", image, *options)
        assert (result.code, result.err) == (0, "")
        return result.out.removeprefix(f"{image}  ").removesuffix("\n")

    return say


def folder(path, part="test", **images):
    """Write images of one colour a class: of each so many, of the given value."""
    for name, value in images.items():
        (path / part / name).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full(SHAPE, value, np.uint8)).save(path / part / name / f"{i}.png")
    return path


def warned(*arguments):
    """Run a command that warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return call(*arguments)


class TestPredict:
    LOGITS = np.log([2.0, 5.0, 3.0])

    def test_one_class_of_several(self, said):
        info = hg.ModelInfo("classification", classes=("a", "b", "c"))
        assert said(constant(self.LOGITS, info=info)) == "b 50.0%  c 30.0%  a 20.0%"
        assert said(constant(self.LOGITS, info=info), "--top", 1) == "b 50.0%"

    def test_a_softmax_at_the_end_is_not_followed_by_another(self, said):
        model = constant(self.LOGITS, layers.Softmax())
        model.info = hg.ModelInfo("classification", from_logits=False, classes=("a", "b", "c"))
        assert said(model) == "b 50.0%  c 30.0%  a 20.0%"

    def test_classes_without_a_name_have_their_number(self, said):
        info = hg.ModelInfo("classification", classes=("a", "b"))
        assert said(constant(self.LOGITS, info=info)) == "b 50.0%  2 30.0%  a 20.0%"

    @pytest.mark.parametrize("end", [(), (layers.Sigmoid(),)])
    def test_one_output_is_a_probability_of_yes(self, said, end):
        for p, expected in ((0.75, "dog 75.0%  cat 25.0%"), (0.1, "cat 90.0%  dog 10.0%")):
            info = hg.ModelInfo("binary", from_logits=not end, classes=("cat", "dog"))
            assert said(constant([np.log(p / (1 - p))], *end, info=info)) == expected
        assert said(constant([0.0], info=hg.ModelInfo("binary"))) == "0 50.0%  1 50.0%"

    def test_of_labels_all_are_named_that_are_more_likely_than_not(self, said):
        info = hg.ModelInfo("multi_label", classes=("sea", "sky", "sand"))
        assert said(constant([np.log(4), -9.0, np.log(9)], info=info)) == "sand 90.0%  sea 80.0%"
        assert said(constant([-np.log(4), -9.0, -np.log(9)], info=info)) == (
            "no label (most of all sea 20.0%)"
        )

    def test_numbers_are_printed(self, said):
        info = hg.ModelInfo("regression", classes=("width",))
        assert said(constant([1.5, -2e-5], info=info)) == "width 1.5  -2e-05"
        many = constant(np.arange(11.0), info=hg.ModelInfo("regression"))
        assert said(many) == "11 numbers from 0 to 10, mean 5"
        picture = constant([1.0, 3.0], info=hg.ModelInfo("regression"), shape=SHAPE)
        assert said(picture) == "4x4x2 numbers from 1 to 3, mean 2"

    def test_of_a_map_of_classes_the_shares_are(self, said, image):
        pixels = np.full(SHAPE, 0, np.uint8)
        pixels[0] = 255
        Image.fromarray(pixels).save(image)
        model = constant([0.0, -0.5, -9.0], shape=SHAPE)
        model["conv2d"].weight.assign(np.float32([[[[-1, 1, 0]] * 3]]))
        model.info = hg.ModelInfo("classification", classes=("ground", "sky"))
        assert said(model) == "ground 75.0%  sky 25.0%  of 4x4 positions"
        assert said(model, "--top", 1) == "ground 75.0%  of 4x4 positions"

    def test_of_a_mask_and_a_map_of_labels_the_shares_are(self, said):
        mask = constant([1.0], shape=SHAPE, info=hg.ModelInfo("binary", classes=("no", "yes")))
        assert said(mask) == "yes 100.0%  of 4x4 positions"
        labels = constant([1.0, -1.0, 2.0], shape=SHAPE, info=hg.ModelInfo("multi_label"))
        assert said(labels) == "0 100.0%  2 100.0%  of 4x4 positions"
        none = constant([-1.0, -1.0], shape=SHAPE, info=hg.ModelInfo("multi_label"))
        assert said(none) == "no label  of 4x4 positions"

    def test_images_pass_through_what_those_of_training_did(self, said):
        model = constant([0.0], info=hg.ModelInfo("regression"))
        model["dense"].weight.assign(np.full((48, 1), 1 / 48, np.float32))
        assert said(model) == "0.2"
        normalize = to_config(Normalize((0.1,) * 3, (0.5,) * 3))
        model.info = hg.ModelInfo("regression", preprocessing=[normalize])
        assert said(model) == "0.2"  # (0.2 - 0.1)/0.5
        model.info = hg.ModelInfo("regression", preprocessing=[normalize, normalize])
        assert said(model) == "0.2"
        other = to_config(Normalize((0.0,) * 3, (0.1,) * 3))
        model.info = hg.ModelInfo("regression", preprocessing=[other])
        assert said(model) == "2"

    def test_what_no_file_can_hold_is_refused(self, tmp_path, image):
        model = constant([0.0, 1.0], info=hg.ModelInfo("classification", classes=("a", "b")))
        model.info = replace(model.info, preprocessing=[{"unknown": "mine"}])
        hg.save(model, tmp_path / "m")
        for command in (
            ("predict", tmp_path / "m", image),
            ("evaluate", tmp_path / "m", "--dataset", folder(tmp_path / "f", a=0, b=1)),
        ):
            result = call(*command)
            assert (result.code, result.out) == (1, "")
            assert "images passed through mine, which a file cannot hold" in result.err

    @pytest.mark.parametrize(
        ("model", "taken", "expected"),
        [
            (constant([0.0, 0.0]), "logits of classes", "0 50.0%  1 50.0%"),
            (constant([0.0, 0.0], layers.Softmax()), "probabilities of classes", "0 50.0%  1 50.0%"),
            (constant([0.0], layers.Sigmoid()), "a probability", "0 50.0%  1 50.0%"),
            (constant([9.0, 0.0], layers.Sigmoid()), "probabilities of labels", "0 100.0%"),
            (constant([4.0], layers.Softmax()), "numbers", "1"),
            (constant([4.0]), "numbers", "4"),
            (constant([4.0, 4.0], shape=SHAPE), "numbers", "4x4x2 numbers from 4 to 4, mean 4"),
        ],
    )
    def test_a_model_that_says_nothing_is_taken_for_the_most_likely(
        self, tmp_path, image, model, taken, expected
    ):
        hg.save(model, tmp_path / "m")
        result = call("predict", tmp_path / "m", image)
        assert (result.code, result.out) == (0, f"{image}  {expected}\n")
        assert result.err == (
            f"handgrad: warning: {tmp_path / 'm'}: nothing says what the model's outputs mean, so they are "
            f"taken as {taken}; set model.info = handgrad.ModelInfo(kind, classes=...) before handgrad.save\n"
        )

    @pytest.mark.parametrize(
        ("found", "text"), [((0, 255), "0 to 255"), ((-2.117, 2.64), "-2.12 to 2.64"), ((0, 1.0001), "")]
    )
    def test_a_model_trained_on_other_numbers_than_pixels_is_doubted(self, tmp_path, image, found, text):
        hg.save(constant([1.0], info=hg.ModelInfo("regression", input_range=found)), tmp_path / "m")
        result = call("predict", tmp_path / "m", image)
        assert (result.code, result.out) == (0, f"{image}  1\n")
        warning = (
            f"handgrad: warning: {tmp_path / 'm'}: the model was trained on numbers from {text}, and images "
            "are read as numbers from 0 to 1, so what it says of them may be wrong; train it on bytes, or "
            "let handgrad.data.MappedDataset do what the numbers went through\n"
        )
        assert result.err == (warning if text else "")

    @pytest.mark.parametrize(("kind", "outputs"), [("classification", [1.0]), ("binary", [1.0, 2.0])])
    def test_a_kind_that_outputs_cannot_have_is_refused(self, tmp_path, image, kind, outputs):
        hg.save(constant(outputs, info=hg.ModelInfo(kind)), tmp_path / "m")
        result = call("predict", tmp_path / "m", image)
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"handgrad: {tmp_path / 'm'}: expected outputs of a model of kind {kind}, got outputs of shape "
            f"({len(outputs)},); give model.info the kind that they have: classification is of several, "
            "binary of one\n"
        )

    def test_a_file_from_before_goes_by_its_loss_and_classes(self, tmp_path, image):
        model = constant([np.log(3)])
        about = {"classes": ["cat", "dog"], "loss": {"class": "BinaryCrossEntropy"}}
        hg.save(model, tmp_path / "m", about=about)
        tensors, header = read_tensors(tmp_path / "m")
        del header["model"]["info"]
        write_tensors(tmp_path / "m", tensors, header)
        assert call("predict", tmp_path / "m", image) == (0, f"{image}  dog 75.0%  cat 25.0%\n", "")

    @pytest.mark.parametrize("about", [{"classes": 7}, {"classes": [1]}, {"loss": "own"}, {"loss": 3}])
    def test_what_a_file_from_before_says_in_other_words_is_passed_over(self, tmp_path, image, about):
        hg.save(constant([0.0, 0.0]), tmp_path / "m", about=about)
        result = call("predict", tmp_path / "m", image)
        assert (result.code, result.out) == (0, f"{image}  0 50.0%  1 50.0%\n")

    def test_good_images_are_printed_and_bad_ones_named(self, tmp_path, image):
        hg.save(constant([0.0, 0.0], info=hg.ModelInfo("classification")), tmp_path / "m")
        bad, missing = tmp_path / "b.png", tmp_path / "c.png"
        bad.write_text("no")
        result = call("predict", tmp_path / "m", bad, image, missing, image)
        assert (result.code, result.out) == (1, f"{image}  0 50.0%  1 50.0%\n" * 2)
        lines = result.err.splitlines()
        assert [line.partition(": expected")[0] for line in lines] == [
            f"handgrad: {bad}",
            f"handgrad: {missing}",
        ]

    def test_outputs_that_are_no_numbers_are_not_printed(self, tmp_path, image):
        hg.save(constant([0.0, 0.0], info=hg.ModelInfo("classification")), tmp_path / "m")
        model = hg.load(tmp_path / "m")
        model["dense"].bias.assign(np.float32([0, np.nan]))
        hg.save(model, tmp_path / "m")
        result = warned("predict", tmp_path / "m", image)
        assert (result.code, result.out) == (1, "")
        assert result.err.endswith(
            f"handgrad: {image}: expected finite outputs of the model, got NaN or infinity\n"
        )

    def test_names_do_not_move_the_cursor(self, said):
        info = hg.ModelInfo("classification", classes=("\x1b[31mred\x07", "a\nb"))
        assert said(constant([0.0, 0.0], info=info)) == r"\x1b[31mred\x07 50.0%  a\nb 50.0%"


class TestEvaluate:
    @pytest.fixture
    def model(self, tmp_path):
        """Write a model that says "dark" of what is dark and "light" of all else, and never "grey"."""
        model = constant([0.0, -0.5, -9.0])
        model["dense"].weight.assign(np.float32([[-1 / 48, 1 / 48, 0]] * 48))
        model.info = hg.ModelInfo("classification", classes=("dark", "light", "grey"))
        hg.save(model, tmp_path / "m")
        return tmp_path / "m"

    @pytest.mark.parametrize(
        ("images", "absent"),
        [
            ({"dark": 0, "light": 255}, "grey"),
            ({"light": 255}, "dark, grey"),
            ({"grey": 128, "light": 255}, "dark"),
        ],
    )
    def test_classes_are_found_by_their_names(self, model, tmp_path, images, absent):
        """Their numbers in the folder are others than the model's."""
        result = call("evaluate", model, "--dataset", folder(tmp_path / "f", **images))
        assert result.code == 0
        assert result.err == (
            f"handgrad: warning: {tmp_path / 'f'}: {len(images)} of the model's 3 classes are here; there is "
            f"no image of {absent}\n"
        )
        head, *rows = result.out.splitlines()
        right = (3 * len(images) - 3 * ("grey" in images)) / (3 * len(images))
        assert head.endswith(f", accuracy {right:.2%}")
        wide = max(map(len, images))
        expected = {
            "dark": f"  {'dark'.ljust(wide)}  100.00% of 3",
            "grey": f"  {'grey'.ljust(wide)}    0.00% of 3  mostly as light",
            "light": f"  {'light'.ljust(wide)}  100.00% of 3",
        }
        assert rows == [expected[name] for name in images]

    def test_the_loss_is_that_of_the_same_classes(self, model, tmp_path):
        result = call("evaluate", model, "--dataset", folder(tmp_path / "f", light=255))
        z = hg.load(model).predict(np.full((1, *SHAPE), 255, np.uint8))
        loss, _ = hg.losses.CrossEntropy()(z, np.array([1]))
        assert f"loss {loss:.4f}, " in result.out

    def test_a_class_that_the_model_does_not_know_is_refused(self, model, tmp_path):
        result = call("evaluate", model, "--dataset", folder(tmp_path / "f", dark=0, night=0, white=255))
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"handgrad: {tmp_path / 'f'}: expected classes that the model knows, dark, light, grey, got "
            "night, white; give them the model's names, or leave them out\n"
        )

    def test_a_model_that_has_a_name_twice_cannot_be_compared(self):
        with pytest.raises(DataError) as error:
            class_numbers("f", ["a"], ["a", "b", "a"], named=True)
        assert (
            str(error.value) == "f: expected classes that the model knows, a, b, a, got a, which it has twice"
        )

    def test_without_names_classes_are_taken_in_order_where_they_are_as_many(self, model, tmp_path):
        hg.save(constant([0.0, 0.0], info=hg.ModelInfo("classification")), tmp_path / "m")
        result = call("evaluate", tmp_path / "m", "--dataset", folder(tmp_path / "f", dark=0, light=255))
        assert result.code == 0
        assert result.err == (
            f"handgrad: warning: {tmp_path / 'f'}: the model has no names of its classes; its numbers are "
            "taken in order, 0 for dark, 1 for light\n"
        )
        result = call("evaluate", tmp_path / "m", "--dataset", folder(tmp_path / "g", dark=0))
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"handgrad: {tmp_path / 'g'}: expected 2 classes, as a model without names of its classes has "
            "outputs, got 1, dark; save the model with model.info = handgrad.ModelInfo(kind, classes=...)\n"
        )

    @pytest.mark.parametrize("end", [(), (layers.Sigmoid(),)])
    def test_one_output_is_a_class_of_two(self, tmp_path, end):
        model = constant([-1.0], *end)
        model["dense"].weight.assign(np.full((48, 1), 2 / 48, np.float32))
        model.info = hg.ModelInfo("binary", from_logits=not end, classes=("dark", "light"))
        hg.save(model, tmp_path / "m")
        result = call("evaluate", tmp_path / "m", "--dataset", folder(tmp_path / "f", dark=0, light=255))
        assert (result.code, result.err) == (0, "")
        head, *rows = result.out.splitlines()
        assert head.endswith(", accuracy 100.00%")
        assert rows == ["  dark   100.00% of 3", "  light  100.00% of 3"]

    def test_a_model_trained_by_squares_is_measured_by_squares(self, tmp_path):
        model = constant([0.0, 0.0], layers.Softmax())
        loss = {"class": "MeanSquaredError"}
        model.info = hg.ModelInfo("classification", from_logits=False, classes=("dark", "light"), loss=loss)
        hg.save(model, tmp_path / "m")
        result = call("evaluate", tmp_path / "m", "--dataset", folder(tmp_path / "f", dark=0, light=255))
        assert (result.code, result.err) == (0, "")
        assert "6 test images: loss 0.2500, accuracy 50.00%" in result.out

    def test_images_pass_through_what_those_of_training_did(self, model, tmp_path):
        again = hg.load(model)
        negative = to_config(Normalize((255.0,) * 3, (1e-3,) * 3))  # all is dark
        again.info = hg.ModelInfo("classification", classes=again.info.classes, preprocessing=[negative])
        hg.save(again, model)
        out = call("evaluate", model, "--dataset", folder(tmp_path / "f", dark=0, light=255)).out
        assert "light    0.00% of 3  mostly as dark" in out

    def test_images_that_cannot_be_read_are_left_out(self, model, tmp_path):
        path = folder(tmp_path / "f", dark=0, light=255, grey=128)
        (path / "test" / "dark" / "1.png").write_text("no")
        result = warned("evaluate", model, "--dataset", path)
        assert result.code == 0
        bad = path / "test" / "dark" / "1.png"
        assert result.err.startswith(f"handgrad: warning: left out, as they cannot be read: {bad} (")
        assert "8 test images" in result.out
        assert "  dark   100.00% of 2\n" in result.out

    def test_a_grey_model_sees_a_folder_in_grey(self, tmp_path):
        model = hg.Sequential([layers.Flatten(), layers.Dense(2)], input_shape=(4, 4, 1))
        model.info = hg.ModelInfo("classification", classes=("dark", "light"))
        hg.save(model, tmp_path / "m")
        result = call("evaluate", tmp_path / "m", "--dataset", folder(tmp_path / "f", dark=0, light=255))
        assert (result.code, result.err) == (0, "")

    @pytest.mark.parametrize(
        ("model", "got"),
        [
            (constant([0.0, 0.0], info=hg.ModelInfo("multi_label")), "kind multi_label with outputs (2,)"),
            (constant([0.0, 0.0], info=hg.ModelInfo("regression")), "kind regression with outputs (2,)"),
            (
                constant([0.0, 0.0], info=hg.ModelInfo("classification"), shape=SHAPE),
                "kind classification with outputs (4, 4, 2)",
            ),
        ],
    )
    def test_what_gives_no_class_is_measured_in_python(self, tmp_path, model, got):
        hg.save(model, tmp_path / "m")
        result = call("evaluate", tmp_path / "m", "--dataset", folder(tmp_path / "f", dark=0, light=255))
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"handgrad: {tmp_path / 'm'}: expected a model that gives an image one class, got one of {got}; "
            "measure it in Python, by handgrad.Trainer(model, loss, metrics=[...]).evaluate(x, y)\n"
        )

    def test_names_do_not_move_the_cursor(self, tmp_path):
        model = constant([0.0, 1.0], info=hg.ModelInfo("classification", classes=("dark", "\x1b[2J")))
        hg.save(model, tmp_path / "m")
        result = call("evaluate", tmp_path / "m", "--dataset", folder(tmp_path / "f", dark=0))
        assert r"mostly as \x1b[2J" in result.out
        assert "\x1b" not in result.out + result.err


ANYTHING = (
    None,
    True,
    -1,
    0.5,
    10**400,
    "",
    "classification",
    "\x1b[2J",
    [],
    [[]],
    {},
    {"class": "Normalize"},
)
STEPS = (
    {"unknown": "\x1b[2J"},
    {"unknown": None},
    {"class": "RandomFlip"},
    {"class": "Cutout", "size": 10**9},
    {"class": "RandomCrop", "padding": 10**9},
    {"class": "AlternatingFlip"},
    {"class": "Compose", "transforms": []},
    {"class": "Compose", "transforms": [1]},
    {"class": "Normalize", "mean": [0.0] * 3, "std": [1e-300] * 3},
    {"class": "Normalize", "mean": [[1]], "std": {}},
)


@pytest.mark.slow
def test_whatever_a_file_says_of_itself_ends_in_a_line_or_an_error(tmp_path, image):
    rng = random.Random(0)
    fields = hg.ModelInfo().config()
    values = {"preprocessing": [[step] for step in STEPS], "classes": [["a"], ["a"] * 5, ["b", "a"]]}
    values |= {"kind": ["binary", "multi_label", "regression"], "loss": [{"class": "Fish"}, {"class": 3}]}
    images = folder(tmp_path / "f", a=0, b=255)
    for i in range(60):
        shape = rng.choice([None, SHAPE])
        model = constant([0.0] * rng.choice([1, 2, 3]), *rng.choice([(), (layers.Softmax(),)]), shape=shape)
        hg.save(model, tmp_path / "m", about=rng.choice([{}, {"classes": rng.choice(ANYTHING)}]))
        tensors, header = read_tensors(tmp_path / "m")
        for name in rng.sample(sorted(fields), 2):
            header["model"]["info"][name] = rng.choice(values.get(name, []) + list(ANYTHING))
        write_tensors(tmp_path / "m", tensors, header)
        command = ("predict", image) if i % 2 else ("evaluate", "--dataset", images)
        result = warned(command[0], tmp_path / "m", *command[1:])
        assert result.code in (0, 1), header["model"]["info"]
        assert (result.code == 0) <= bool(result.out)
        assert "Traceback" not in result.err
        assert "\x1b" not in result.out + result.err
