from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.data import (
    ArrayDataset,
    Compose,
    Cutout,
    MappedDataset,
    Normalize,
    NpyDataset,
    RandomFlip,
    Subset,
    preprocess,
    to_config,
)
from handgrad.data.preprocessing import recorded
from handgrad.data.transform_config import fixed_steps
from handgrad.errors import ArgumentError, DataError, ShapeError
from handgrad.rng import Stream

NORMALIZE = Normalize((0.5, 0.25), (2.0, 4.0))
TWICE = Normalize((0.0, 0.0), (0.5, 0.5))
INFO = hg.ModelInfo("classification", preprocessing=[to_config(NORMALIZE), to_config(TWICE)])


@pytest.fixture
def x():
    return Stream(("preprocess",)).uniform((6, 4, 5, 2))


def both(x):
    return TWICE(NORMALIZE(x, Stream()), Stream())


class TestWhatADataSetSays:
    def test_of_numbers_nobody_knows(self, x):
        assert ArrayDataset(x, np.arange(6)).preprocessing is None
        assert Subset(ArrayDataset(x, np.arange(6)), [0]).preprocessing is None

    def test_bytes_are_as_they_are(self, x):
        dataset = ArrayDataset((255 * x).astype(np.uint8), np.arange(6))
        assert dataset.preprocessing == Subset(dataset, [0]).preprocessing == ()
        assert ArrayDataset(dataset.x, np.arange(6), scale=1 / 255).preprocessing == ()

    @pytest.mark.parametrize("scale", [1.0, 1 / 128, 0.5])
    def test_bytes_with_a_scale_are_pixels_times_a_number(self, x, scale, tmp_path):
        pixels = (255 * x).astype(np.uint8)
        np.save(tmp_path / "x.npy", pixels)
        for dataset in (
            ArrayDataset(pixels, np.arange(6), scale=scale),
            NpyDataset(tmp_path / "x.npy", np.arange(6), scale=scale),
        ):
            info = hg.ModelInfo(preprocessing=recorded(dataset.preprocessing))
            np.testing.assert_allclose(
                preprocess(pixels, info), dataset.batch(np.arange(6))[0], rtol=1e-6, atol=1e-7
            )

    def test_what_passed_through_transforms_names_them_in_order(self, x):
        dataset = ArrayDataset((255 * x).astype(np.uint8), np.arange(6))
        mapped = MappedDataset(MappedDataset(dataset, NORMALIZE), Compose([TWICE, Compose([NORMALIZE])]))
        assert mapped.preprocessing == (NORMALIZE, TWICE, NORMALIZE)
        assert Subset(mapped, [1]).preprocessing == mapped.preprocessing
        assert MappedDataset(ArrayDataset(x, np.arange(6)), NORMALIZE).preprocessing == (NORMALIZE,)

    def test_fixed_steps_of_augmentation_are_those_without_chance(self):
        augment = Compose([RandomFlip(), Compose([NORMALIZE, Cutout(2)]), TWICE])
        assert fixed_steps(augment) == (NORMALIZE, TWICE)
        assert fixed_steps(None) == fixed_steps(RandomFlip()) == ()
        assert fixed_steps(NORMALIZE) == (NORMALIZE,)


class TestPreprocess:
    def test_images_pass_through_what_is_recorded_in_order(self, x):
        np.testing.assert_array_equal(preprocess(x, INFO), both(x))
        assert preprocess(x, INFO).dtype == np.float32
        assert preprocess(x, INFO, dtype=np.float64).dtype == np.float64

    def test_bytes_are_divided_by_255(self, x):
        pixels = (255 * x).astype(np.uint8)
        np.testing.assert_array_equal(preprocess(pixels, INFO), both(pixels / np.float32(255)))

    def test_where_nothing_is_recorded_images_stay_as_they_are(self, x):
        for info in (hg.ModelInfo(), hg.ModelInfo(preprocessing=[])):
            np.testing.assert_array_equal(preprocess(x, info), x)
            dataset = ArrayDataset(x, np.arange(6))
            assert preprocess(dataset, info) is dataset

    def test_a_model_and_a_predictor_say_it_too(self, x):
        model = hg.Sequential([hg.layers.Conv2D(1, 3)], input_shape=(4, 5, 2))
        model.info = INFO
        for each in (model, hg.Predictor(model)):
            np.testing.assert_array_equal(preprocess(x, each), both(x))

    def test_a_data_set_becomes_one_that_passed_through_it(self, x):
        dataset = preprocess(ArrayDataset(x, np.arange(6)), INFO)
        assert dataset.preprocessing == (NORMALIZE, TWICE)
        np.testing.assert_array_equal(dataset.batch(np.array([4, 0]))[0], both(x[[4, 0]]))

    def test_one_that_passed_through_it_already_does_so_once(self, x):
        dataset = MappedDataset(ArrayDataset(x, np.arange(6)), Compose([NORMALIZE, TWICE]))
        assert preprocess(dataset, INFO) is dataset

    def test_one_that_passed_through_something_else_is_refused(self, x):
        with pytest.raises(DataError) as error:
            preprocess(MappedDataset(ArrayDataset(x, np.arange(6)), NORMALIZE), INFO)
        assert str(error.value) == (
            "preprocess: expected images as they are, or that passed through Normalize, Normalize, got a "
            "MappedDataset of images that passed through Normalize"
        )

    def test_what_a_file_cannot_hold_is_refused_by_name(self, x):
        def negative(x, rng):
            return -x

        mapped = MappedDataset(ArrayDataset(x, np.arange(6)), Compose([NORMALIZE, negative]))
        steps = recorded(mapped.preprocessing)
        assert steps == (to_config(NORMALIZE), {"unknown": negative.__qualname__})
        with pytest.raises(DataError) as error:
            preprocess(x, hg.ModelInfo(preprocessing=steps))
        assert str(error.value) == (
            "preprocess: expected a model trained on images that passed through transforms of handgrad.data, "
            f"got one whose images passed through {negative.__qualname__}, which a file cannot hold; let "
            "images pass through it yourself, and give them to model.predict"
        )

    def test_a_class_derived_from_a_transform_may_compute_something_else(self):
        class Other(Normalize):
            pass

        assert recorded([Other((0.5,), (2.0,))]) == ({"unknown": Other.__qualname__},)

    def test_chance_is_refused(self, x):
        with pytest.raises(ArgumentError, match=r"^preprocess: .* that draws no random numbers, got"):
            preprocess(x, hg.ModelInfo(preprocessing=[to_config(RandomFlip())]))

    def test_transforms_within_transforms_without_end_are_refused(self, x):
        step = to_config(NORMALIZE)
        for _ in range(2000):
            step = {"class": "Compose", "transforms": [step]}
        info = hg.ModelInfo()
        object.__setattr__(info, "preprocessing", (step,))
        with pytest.raises(ArgumentError) as error:
            preprocess(x, info)
        assert str(error.value) == "preprocess: expected a few transforms, got too many within others"

    def test_arguments_that_do_not_fit(self, x):
        with pytest.raises(ArgumentError) as error:
            preprocess(x, "model.safetensors")
        assert str(error.value) == "preprocess: expected a model or its info, got str"
        with pytest.raises(ShapeError, match=r"^Normalize: expected images of 2 channels, got 1 channels"):
            preprocess(x[..., :1], INFO)
        with pytest.raises(DataError, match=r"^data: expected images as an array of numbers, got dtype <U1"):
            preprocess("a", INFO)
