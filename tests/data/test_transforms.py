from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handgrad.data import (
    AlternatingFlip,
    ArrayDataset,
    Compose,
    Cutout,
    Loader,
    MappedDataset,
    Normalize,
    RandomCrop,
    RandomFlip,
    Samples,
    SampleTransform,
)
from handgrad.errors import ArgumentError, DataError, ShapeError
from handgrad.rng import Stream

RNG = Stream(("transforms", 0))
ALL = [
    Normalize((0.5, 0.4, 0.3), (0.2, 0.1, 0.3)),
    RandomFlip(),
    RandomCrop(2),
    RandomCrop(2, mode="reflect"),
    RandomCrop(2, mode="edge"),
    Cutout(3),
    Compose([RandomFlip(), RandomCrop(1), Cutout(2)]),
]
every_transform = pytest.mark.parametrize("transform", ALL, ids=repr)


@pytest.fixture
def x():
    return Stream(("images",)).uniform((40, 6, 7, 3), 0.1, 1)


@every_transform
def test_the_batch_given_is_never_written(transform, x):
    before = x.copy()
    x.flags.writeable = False
    y = transform(x, RNG)
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(x, y)


@every_transform
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_shape_and_dtype_are_kept(transform, x, dtype):
    y = transform(x.astype(dtype), RNG)
    assert (y.shape, y.dtype) == (x.shape, dtype)


@pytest.mark.parametrize("transform", ALL[1:], ids=repr)
def test_bytes_stay_bytes(transform, x):
    assert transform((x * 255).astype(np.uint8), RNG).dtype == np.uint8


@every_transform
def test_an_empty_batch_stays_empty(transform):
    assert transform(np.zeros((0, 6, 7, 3), np.float32), RNG).shape == (0, 6, 7, 3)


@pytest.mark.parametrize("transform", ALL[1:], ids=repr)
def test_the_stream_alone_decides(transform, x):
    np.testing.assert_array_equal(transform(x, RNG), transform(x, RNG))
    assert not np.array_equal(transform(x, RNG), transform(x, RNG.child(1)))


@every_transform
def test_what_is_no_batch_of_images_is_refused(transform):
    with pytest.raises(
        ShapeError, match=r"expected images \(n, height, width, channels\), got shape \(6, 7, 3\)$"
    ):
        transform(np.zeros((6, 7, 3), np.float32), RNG)


def test_normalize_is_the_formula(x):
    y = Normalize((0.5, 0.4, 0.3), (0.2, 0.1, 0.3))(x, RNG)
    np.testing.assert_allclose(y, (x - [0.5, 0.4, 0.3]) / [0.2, 0.1, 0.3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [1, 1024, 2500])
def test_fit_finds_mean_and_standard_deviation(n):
    x = 1000 + Stream(("fit",)).normal((n, 3, 2, 2), dtype=np.float64) * [1, 20]
    fitted = Normalize.fit(x)
    np.testing.assert_allclose(fitted.mean, x.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(fitted.std, x.std(axis=(0, 1, 2)), rtol=1e-9)
    y = fitted(x, RNG)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, atol=1e-9)


def test_fit_takes_bytes_and_data_sets_as_they_come_in_batches(x):
    stored = (x * 255).astype(np.uint8)
    from_bytes, from_data = Normalize.fit(stored), Normalize.fit(ArrayDataset(stored, np.zeros(40)))
    np.testing.assert_allclose(from_bytes.mean, (stored / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(from_data.std, from_bytes.std, rtol=1e-6)


def test_a_constant_channel_is_not_divided_by_zero():
    assert Normalize.fit(np.full((2, 2, 2, 1), 3.0)) == Normalize((3.0,), (1.0,))


def test_normalize_refuses_what_does_not_fit(x):
    cases = [
        (lambda: Normalize((1, 2), (1,)), ArgumentError, "expected a std for each of 2 means, got 1"),
        (lambda: Normalize((1,), (0,)), ArgumentError, "expected every std above 0, got (0.0,)"),
        (lambda: Normalize((1,), (1,))(x, RNG), ShapeError, "expected images of 1 channels, got 3 channels"),
        (
            lambda: Normalize((1,), (1,))(np.zeros((1, 2, 2, 1), np.uint8), RNG),
            DataError,
            "expected floating-point images, got dtype uint8",
        ),
    ]
    for call, kind, message in cases:
        with pytest.raises(kind) as error:
            call()
        assert str(error.value) == f"Normalize: {message}"


@pytest.mark.parametrize(
    "value",
    ["x", None, [], ["x"], [[1.0]], [[1], [1, 2]], [1, None], float("nan"), [1, float("inf")], True, {}],
)
def test_what_is_no_number_per_channel_is_refused(value):
    for field, values in (("mean", (value, 1)), ("std", (1, value))):
        with pytest.raises(ArgumentError) as error:
            Normalize(*values)
        assert (
            str(error.value) == f"Normalize: expected {field} as one finite number per channel, got {value!r}"
        )


def test_flips_mirror_left_and_right_or_nothing(x):
    y = RandomFlip()(x, RNG)
    same, mirrored = (y == x).all(axis=(1, 2, 3)), (y == x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert np.all(same ^ mirrored)
    assert 5 < mirrored.sum() < 35


@pytest.mark.parametrize(("probability", "step"), [(0, 1), (1, -1)])
def test_flips_never_and_always(x, probability, step):
    np.testing.assert_array_equal(RandomFlip(probability)(x, RNG), x[:, :, ::step])


def test_the_share_of_flips_is_the_probability():
    x = np.broadcast_to(np.float32([0, 1]).reshape(1, 1, 2, 1), (4000, 1, 2, 1))
    assert abs(RandomFlip(0.2)(x, RNG)[:, 0, 0, 0].mean() - 0.2) < 0.03


@given(
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    padding=st.integers(0, 2),
    mode=st.sampled_from(["constant", "reflect", "edge"]),
    key=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_crops_are_shifted_images(size, padding, mode, key):
    """Each image is one window of the padded image, found by trying them all."""
    n, (h, w) = 3, size
    x = Stream(("crop", key)).uniform((n, h, w, 2))
    y = RandomCrop(padding, mode)(x, Stream((key,)))
    for xi, yi in zip(x, y, strict=True):
        padded = np.pad(xi, ((padding, padding), (padding, padding), (0, 0)), mode)
        windows = [
            padded[i : i + h, j : j + w] for i in range(2 * padding + 1) for j in range(2 * padding + 1)
        ]
        assert any(np.array_equal(yi, window) for window in windows)


def test_images_of_many_parts_are_changed_as_in_one(x, monkeypatch):
    changed = [transform(x, RNG) for transform in ALL]
    for size in (1, 3 * x[0].nbytes, x.nbytes - 1):
        monkeypatch.setattr("handgrad.data.transforms.CACHED", size)
        for transform, y in zip(ALL, changed, strict=True):
            np.testing.assert_array_equal(transform(x, RNG), y, err_msg=repr(transform))


@pytest.mark.parametrize("of", [np.asfortranarray, lambda x: x[:, ::-1], lambda x: x[::2]])
def test_the_order_of_the_memory_does_not_matter(x, of):
    for transform in ALL:
        np.testing.assert_array_equal(transform(of(x), RNG), transform(of(x).copy(), RNG), repr(transform))


def test_a_shift_is_drawn_from_a_stream_of_its_axis(x):
    """By which runs from before come out the same."""
    y = RandomCrop(2, "reflect")(x, RNG)
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect")
    top, left = (RNG.child(axis).integers(0, 5, (40, 1)) for axis in ("rows", "columns"))
    for i in range(40):
        (t,), (s,) = top[i], left[i]
        np.testing.assert_array_equal(y[i], padded[i, t : t + 6, s : s + 7])


def test_every_shift_is_equally_likely_and_images_shift_on_their_own():
    x = np.zeros((9000, 5, 5, 1), np.float32)
    x[:, 2, 2] = 1
    y = RandomCrop(1)(x, RNG)[..., 0]
    where = np.argwhere(y == 1)[:, 1:] - 2
    shifts, counts = np.unique(where, axis=0, return_counts=True)
    assert shifts.tolist() == [[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    assert np.all(np.abs(counts - 1000) < 150)


def test_reflecting_more_than_the_image_is_refused():
    with pytest.raises(ShapeError) as error:
        RandomCrop(4, mode="reflect")(np.zeros((1, 4, 9, 1), np.float32), RNG)
    assert str(error.value) == "RandomCrop: expected images larger than the padding 4, got 4x9"


@given(
    size=st.integers(1, 7),
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    key=st.integers(0, 2**32),
    fill=st.floats(2, 3),
)
@settings(max_examples=40, deadline=None)
def test_cutouts_are_squares_cut_off_at_the_border(size, h, w, key, fill):
    """What is covered is one of the squares whose centre is on the image, found by trying them all."""
    x = Stream(("cutout", key)).uniform((3, h, w, 2))
    y = Cutout(size, fill)(x, Stream((key,)))
    squares = []
    for ci in range(h):
        for cj in range(w):
            mask = np.zeros((h, w), bool)
            i, j = ci - size // 2, cj - size // 2
            mask[max(i, 0) : i + size, max(j, 0) : j + size] = True
            squares.append(mask)
    for xi, yi in zip(x, y, strict=True):
        covered = (yi == np.float32(fill)).all(axis=-1)
        assert any(np.array_equal(covered, square) for square in squares)
        np.testing.assert_array_equal(yi[~covered], xi[~covered])


def test_the_centres_of_cutouts_are_uniform():
    y = Cutout(1)(np.ones((6000, 2, 3, 1), np.float32), RNG)
    assert np.all(np.abs((y == 0).sum(axis=0) - 1000) < 150)
    assert np.all((y == 0).sum(axis=(1, 2, 3)) == 1)


def test_transforms_follow_each_other_with_streams_of_their_own(x):
    both = Compose([RandomFlip(), RandomCrop(2)])
    np.testing.assert_array_equal(both(x, RNG), RandomCrop(2)(RandomFlip()(x, RNG.child(0)), RNG.child(1)))
    twice = Compose([RandomFlip(), RandomFlip()])(x, RNG)
    assert not np.array_equal(twice, x)


@pytest.fixture
def numbered():
    """Return 64 images with their number in the left pixel and 1000 more in the right one."""
    images = np.arange(64.0)[:, None, None, None] + np.array([0.0, 1000]).reshape(2, 1)
    return ArrayDataset(images.astype(np.float32), np.arange(64))


def mirrored(dataset, transform, epoch, batch_size=64, seed=0):
    """Return by sample whether it is mirrored in an epoch."""
    found = np.full(64, -1)
    for x, y in Loader(dataset, batch_size, transform=transform, rng=Stream((seed,))).epoch(epoch):
        found[y] = x[:, 0, 0, 0] >= 1000
        np.testing.assert_array_equal(x.sum(axis=(1, 2, 3)), 2 * y + 1000)
    return found


@pytest.mark.parametrize("transform", [AlternatingFlip(), Compose([AlternatingFlip()])], ids=repr)
def test_alternating_flips_mirror_every_image_once_in_two_epochs(numbered, transform):
    first = mirrored(numbered, transform, 0)
    assert 20 < first.sum() < 44
    for epoch in range(1, 6):
        np.testing.assert_array_equal(mirrored(numbered, transform, epoch), (first + epoch) % 2)


def test_alternating_flips_are_those_of_the_hash(numbered):
    bits = Stream((3, "sample")).hashed(np.arange(64)) >> np.uint64(63)
    np.testing.assert_array_equal(mirrored(numbered, AlternatingFlip(), 0, seed=3), bits)


def test_alternating_flips_follow_the_image_whatever_batch_it_is_in(numbered):
    first = mirrored(numbered, AlternatingFlip(), 0)
    for size in (1, 7, 33):
        np.testing.assert_array_equal(mirrored(numbered, AlternatingFlip(), 2, size), first)
    assert np.any(mirrored(numbered, AlternatingFlip(), 0, seed=1) != first)


def test_alternating_flips_have_to_know_the_images(x):
    message = (
        "AlternatingFlip: expected to be told which images these are, got a batch alone; "
        "give it to Trainer.fit or to a Loader as transform="
    )
    for call in (
        lambda: AlternatingFlip()(x, RNG),
        lambda: Compose([RandomFlip(), AlternatingFlip()])(x, RNG),
        lambda: MappedDataset(ArrayDataset(x, np.arange(40)), AlternatingFlip()),
    ):
        with pytest.raises(ArgumentError) as error:
            call()
        assert str(error.value) == message


def test_compose_hands_the_samples_on_with_streams_of_their_own(x):
    seen = []

    class Own:
        def __call__(self, x, rng):
            raise AssertionError

        def apply_to_samples(self, x, rng, samples):
            seen.append((rng.key, samples))
            return x + 1

    def plain(x, rng):
        seen.append((rng.key,))
        return 2 * x

    assert isinstance(Own(), SampleTransform)
    assert not isinstance(plain, SampleTransform)
    assert not isinstance(RandomFlip(), SampleTransform)
    samples = Samples(np.arange(40), 3, Stream((9,)))
    y = Compose([plain, Compose([Own()]), plain]).apply_to_samples(x, RNG, samples)
    np.testing.assert_array_equal(y, 2 * (2 * x + 1))
    key = RNG.key
    assert seen == [((*key, 0),), ((*key, 1, 0), samples), ((*key, 2),)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomFlip(1.5), "RandomFlip: expected a probability from 0 to 1, got 1.5"),
        (lambda: RandomFlip(float("nan")), "RandomFlip: expected a probability from 0 to 1, got nan"),
        (lambda: RandomCrop(-1), "RandomCrop: expected a padding of at least 0, got -1"),
        (lambda: RandomCrop(1.0), "RandomCrop: expected a padding of at least 0, got 1.0"),
        (
            lambda: RandomCrop(1, "wrap"),
            "RandomCrop: expected mode one of constant, reflect, edge, got 'wrap'",
        ),
        (lambda: Cutout(0), "Cutout: expected a size of at least 1, got 0"),
        (lambda: Cutout("x"), "Cutout: expected a size of at least 1, got 'x'"),
        (lambda: Cutout(1, "x"), "Cutout: expected a fill that is a finite number, got 'x'"),
        (lambda: Cutout(1, float("inf")), "Cutout: expected a fill that is a finite number, got inf"),
        (lambda: RandomFlip("x"), "RandomFlip: expected a probability from 0 to 1, got 'x'"),
        (lambda: RandomFlip(None), "RandomFlip: expected a probability from 0 to 1, got None"),
        (lambda: RandomFlip(True), "RandomFlip: expected a probability from 0 to 1, got True"),
        (lambda: RandomCrop("4"), "RandomCrop: expected a padding of at least 0, got '4'"),
        (
            lambda: RandomCrop(1, ["edge"]),
            "RandomCrop: expected mode one of constant, reflect, edge, got ['edge']",
        ),
        (
            lambda: Compose(RandomFlip()),
            "Compose: expected a list of transforms, got RandomFlip(probability=0.5)",
        ),
        (lambda: Compose([1]), "Compose: expected a list of transforms, got [1]"),
    ],
)
def test_fields_that_mean_nothing_are_refused(make, message):
    with pytest.raises(ArgumentError) as error:
        make()
    assert str(error.value) == message
