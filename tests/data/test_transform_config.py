from __future__ import annotations

import json

import numpy as np
import pytest

from handgrad.data import (
    AlternatingFlip,
    ArrayDataset,
    Compose,
    Cutout,
    Loader,
    Normalize,
    RandomCrop,
    RandomFlip,
    from_config,
    to_config,
)
from handgrad.errors import ArgumentError
from handgrad.rng import Stream

ALL = [
    Normalize((0.5, 0.4, 0.3), (0.2, 0.1, 0.3)),
    RandomFlip(),
    RandomCrop(2, mode="edge"),
    Cutout(3, 0.5),
    AlternatingFlip(),
    Compose([RandomFlip(), RandomCrop(1), AlternatingFlip(), Cutout(2)]),
]


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_a_transform_comes_back_from_json(transform):
    config = to_config(transform)
    assert json.loads(json.dumps(config)) == config
    again = from_config(json.loads(json.dumps(config)))
    assert again == transform
    data = ArrayDataset(Stream(("images",)).uniform((40, 6, 7, 3), 0.1, 1), np.arange(40))
    (x, _), (x_again, _) = (Loader(data, 40, transform=t).batch(1, 0) for t in (transform, again))
    np.testing.assert_array_equal(x_again, x)


def test_numbers_of_numpy_are_written_too():
    config = to_config(Compose([RandomFlip(np.float32(0.25)), RandomCrop(np.int64(2))]))
    assert json.loads(json.dumps(config)) == config


def test_configurations_are_readable():
    assert to_config(Compose([RandomFlip(0.25), Normalize(0.5, 2)])) == {
        "class": "Compose",
        "transforms": [
            {"class": "RandomFlip", "probability": 0.25},
            {"class": "Normalize", "mean": [0.5], "std": [2.0]},
        ],
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"class": "Blur"},
            "transform: expected a class of Normalize, RandomFlip, AlternatingFlip, RandomCrop, Cutout, "
            "Compose, got 'Blur'",
        ),
        (
            {},
            "transform: expected a class of Normalize, RandomFlip, AlternatingFlip, RandomCrop, Cutout, "
            "Compose, got None",
        ),
        ({"class": "RandomCrop", "pad": 4}, "RandomCrop: expected fields of padding, mode, got pad"),
        ({"class": "Normalize", "mean": [0.5]}, "Normalize: expected a value for std, got none"),
        ({"class": "Cutout", "size": -2}, "Cutout: expected a size of at least 1, got -2"),
        (
            {"class": ["x"]},
            "transform: expected a class of Normalize, RandomFlip, AlternatingFlip, RandomCrop, Cutout, "
            "Compose, got ['x']",
        ),
        ("RandomFlip", "transform: expected a dict with a \"class\", got 'RandomFlip'"),
        ({"class": "RandomCrop", 1: 2, None: 3}, "RandomCrop: expected fields of padding, mode, got 1, None"),
        (
            {"class": "Normalize", "mean": "x", "std": 1},
            "Normalize: expected mean as one finite number per channel, got 'x'",
        ),
        (
            {"class": "RandomFlip", "probability": "x"},
            "RandomFlip: expected a probability from 0 to 1, got 'x'",
        ),
        ({"class": "Cutout", "size": "x"}, "Cutout: expected a size of at least 1, got 'x'"),
        (
            {"class": "Cutout", "size": 1, "fill": [0]},
            "Cutout: expected a fill that is a finite number, got [0]",
        ),
        ({"class": "Compose", "transforms": 5}, "Compose: expected a list of transforms, got 5"),
        ({"class": "Compose", "transforms": [5]}, 'transform: expected a dict with a "class", got 5'),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(config, message):
    with pytest.raises(ArgumentError) as error:
        from_config(config)
    assert str(error.value) == message


def test_a_transform_that_no_configuration_can_name_is_refused():
    def own(x, rng):
        return x

    with pytest.raises(ArgumentError) as error:
        to_config(Compose([own]))
    assert str(error.value) == (
        "transform: expected one of Normalize, RandomFlip, AlternatingFlip, RandomCrop, Cutout, Compose, "
        "which a configuration can name, got function"
    )
