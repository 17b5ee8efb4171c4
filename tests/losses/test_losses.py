"""Losses: which labels they take, what they say to others, and that value and gradient are of one mean."""

from __future__ import annotations

import dataclasses
import json
import pickle

import array_api_strict as strict
import numpy as np
import pytest

from handgrad import losses
from handgrad.errors import ArgumentError, DataError, HandgradError, ShapeError
from handgrad.kernels import default_kernels
from handgrad.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError

ALL = [CrossEntropy(), CrossEntropy(label_smoothing=0.1), BinaryCrossEntropy(), MeanSquaredError()]
every_loss = pytest.mark.parametrize("loss", ALL, ids=repr)


def labels(loss, n, rng):
    """Return labels that `loss` takes for logits (n, 4)."""
    if isinstance(loss, CrossEntropy):
        return rng.integers(0, 4, n)
    return rng.integers(0, 2, (n, 4))


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_returns_a_float_and_a_gradient_like_the_logits(loss, dtype, rng):
    value, dz = loss(rng.normal(size=(5, 4)).astype(dtype), labels(loss, 5, rng))
    assert type(value) is float
    assert dz.shape == (5, 4)
    assert dz.dtype == dtype


@every_loss
def test_gradient_is_the_derivative_of_the_value_by_central_differences(loss, rng):
    z, y, direction = rng.normal(size=(5, 4)), labels(loss, 5, rng), rng.normal(size=(5, 4))
    h = 1e-6
    difference = (loss(z + h * direction, y)[0] - loss(z - h * direction, y)[0]) / (2 * h)
    assert np.sum(loss(z, y)[1] * direction) == pytest.approx(difference, rel=1e-8)


@every_loss
def test_complex_logits_give_a_complex_value_for_complex_steps(loss, rng):
    z, y, direction = rng.normal(size=(5, 4)), labels(loss, 5, rng), rng.normal(size=(5, 4))
    value, _ = loss(z + 1e-30j * direction, y)
    assert value.imag / 1e-30 == pytest.approx(np.sum(loss(z, y)[1] * direction), rel=1e-13)


@every_loss
def test_learning_rate_means_the_same_for_every_batch_size(loss, rng):
    # the seed: the gradient was a sum, so a step grew with the batch
    x, w, y = rng.normal(size=(8, 3)), rng.normal(size=(3, 4)), labels(loss, 8, rng)
    value, dz = loss(x @ w, y)
    x4, y4 = np.concatenate([x] * 4), np.concatenate([y] * 4)
    value4, dz4 = loss(x4 @ w, y4)
    assert value4 == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(x4.T @ dz4, x.T @ dz, rtol=1e-12)


@every_loss
def test_runs_the_kernels_it_is_given(loss, rng):
    gradient = np.zeros((5, 4))
    broken = {
        name: lambda *_, **__: (np.float64(7), gradient)
        for name in ("softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error")
    }
    kernels = dataclasses.replace(default_kernels(), **broken)
    value, dz = loss(rng.normal(size=(5, 4)), labels(loss, 5, rng), kernels)
    assert value == 7
    assert dz is gradient


@every_loss
def test_takes_arrays_of_another_library(loss, rng):
    z, y = rng.normal(size=(5, 4)), labels(loss, 5, rng)
    value, dz = loss(strict.asarray(z), strict.asarray(y))
    expected, expected_dz = loss(z, y)
    assert value == pytest.approx(expected, rel=1e-15)
    np.testing.assert_allclose(np.asarray(dz), expected_dz, rtol=1e-15)


@every_loss
def test_nan_logits_give_a_nan_loss(loss, rng):
    z = rng.normal(size=(5, 4))
    z[1, 2] = np.nan
    assert np.isnan(loss(z, labels(loss, 5, rng))[0])


@every_loss
def test_large_float32_logits_give_finite_numbers(loss, rng):
    # the seed: NaN in float32
    z = (1e4 * np.sign(rng.normal(size=(5, 4)))).astype(np.float32)
    value, dz = loss(z, labels(loss, 5, rng))
    assert np.isfinite(value)
    assert np.isfinite(dz).all()


@every_loss
def test_an_empty_batch_is_an_error(loss):
    with pytest.raises(ShapeError) as error:
        loss(np.zeros((0, 4)), np.zeros((0, 4)))
    assert str(error.value) == (
        f"{type(loss).__name__}: expected at least one sample, got none; "
        "a mean over an empty batch has no value"
    )


@every_loss
def test_check_and_call_refuse_alike(loss):
    z, y = np.zeros((3, 4)), np.full((3, 4), 7)
    if isinstance(loss, MeanSquaredError):
        y = y * np.nan
    with pytest.raises(DataError) as checked:
        loss.check(z.shape, y)
    with pytest.raises(DataError) as called:
        loss(z, y)
    assert str(checked.value) == str(called.value)


@every_loss
def test_config_round_trip_through_json(loss):
    config = json.loads(json.dumps(loss.config()))
    assert losses.get(config) == loss
    assert type(loss).from_config(config) == loss
    assert pickle.loads(pickle.dumps(loss)) == loss


def test_integer_one_hot_and_column_labels_mean_the_same(rng):
    # the seed: one-hot labels alone
    z, y = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    expected, expected_dz = CrossEntropy()(z, y)
    for same in (
        y[:, None],
        y.astype(np.uint8),
        np.eye(4)[y],
        np.eye(4, dtype=int)[y],
        np.eye(4)[y] > 0,
        list(y),
    ):
        value, dz = CrossEntropy()(z, same)
        assert value == expected
        np.testing.assert_array_equal(dz, expected_dz)


def test_a_confident_wrong_sample_gets_the_largest_gradient():
    # the seed: clipped probabilities, whose gradient there was zero
    z = np.array([[0.0, 50.0], [0.0, 0.5], [50.0, 0.0]], np.float32)
    value, dz = CrossEntropy()(z, np.array([0, 0, 0]))
    np.testing.assert_allclose(dz[:, 0], [-1 / 3, -0.6224593 / 3, 0], rtol=1e-6, atol=1e-20)
    assert value == pytest.approx((50 + np.log1p(np.exp(0.5))) / 3, rel=1e-6)


def test_cross_entropy_and_binary_cross_entropy_are_different_losses(rng):
    # the seed: what it called cross entropy was the binary one, class by class
    z, y = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert CrossEntropy()(z, y)[0] == pytest.approx(-np.log(p[np.arange(6), y]).mean(), rel=1e-13)
    q, t = 1 / (1 + np.exp(-z)), np.eye(4)[y]
    assert BinaryCrossEntropy()(z, t)[0] == pytest.approx(
        -(t * np.log(q) + (1 - t) * np.log(1 - q)).mean(), rel=1e-13
    )


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), MeanSquaredError()], ids=repr)
def test_labels_without_a_column_axis_are_not_broadcast(loss, rng):
    z, y = rng.normal(size=(6, 1)), rng.integers(0, 2, 6)
    value, dz = loss(z, y)
    expected, expected_dz = loss(z, y[:, None])
    assert value == expected
    assert dz.shape == (6, 1)
    np.testing.assert_array_equal(dz, expected_dz)


def test_binary_labels_may_be_booleans_integers_or_probabilities(rng):
    z, y = rng.normal(size=(6, 2)), rng.integers(0, 2, (6, 2))
    expected = BinaryCrossEntropy()(z, y)[0]
    assert BinaryCrossEntropy()(z, y > 0)[0] == expected
    assert BinaryCrossEntropy()(z, y.astype(np.float32))[0] == expected
    BinaryCrossEntropy().check((6, 2), np.full((6, 2), 0.25))


CROSS = "CrossEntropy: expected "
BINARY = "BinaryCrossEntropy: expected "
SQUARED = "MeanSquaredError: expected "
SEVERAL = "for one class among several use CrossEntropy"
LEAVE = "leave samples without a label out, or give them one"


@pytest.mark.parametrize(
    ("loss", "shape", "y", "kind", "message"),
    [
        (
            CrossEntropy(),
            (3, 10),
            [0, 10, 1],
            DataError,
            CROSS + "labels in 0..9, got 10; the model has 10 outputs",
        ),
        (
            CrossEntropy(),
            (3, 10),
            [0, -1, 12],
            DataError,
            CROSS + "labels in 0..9, got -1; the model has 10 outputs",
        ),
        (
            CrossEntropy(),
            (2, 10),
            [[0], [10]],
            DataError,
            CROSS + "labels in 0..9, got 10; the model has 10 outputs",
        ),
        (CrossEntropy(), (3, 10), [0, 1], ShapeError, CROSS + "3 labels, got 2; one for each sample"),
        (
            CrossEntropy(),
            (3, 10),
            1,
            ShapeError,
            CROSS + "3 labels, got a single number; one for each sample",
        ),
        (
            CrossEntropy(),
            (2, 10),
            [0.0, 1.0],
            DataError,
            CROSS + "integer labels of shape (2,), got float64; convert them with y.astype(int)",
        ),
        (
            CrossEntropy(),
            (2, 10),
            ["cat", "dog"],
            DataError,
            CROSS + "integer labels of shape (2,), got <U3; convert them with y.astype(int)",
        ),
        (
            CrossEntropy(),
            (2, 10),
            np.zeros((2, 9)),
            ShapeError,
            CROSS + "labels of shape (2,), or (2, 10) for one-hot labels or probabilities, got (2, 9);"
            " the model has 10 outputs",
        ),
        (
            CrossEntropy(),
            (2, 2),
            [[0.5, 0.5], [1.0, 1.0]],
            DataError,
            CROSS + "one-hot labels or probabilities, whose rows sum to 1, got 2 in row 1",
        ),
        (
            CrossEntropy(),
            (2, 2),
            [[0.5, 0.5], [np.nan, 1.0]],
            DataError,
            CROSS + f"one-hot labels or probabilities, got NaN for sample 1; {LEAVE}",
        ),
        (CrossEntropy(), (1, 2), [[1.5, -0.5]], DataError, CROSS + "probabilities of at least 0, got -0.5"),
        (
            CrossEntropy(),
            (1, 2),
            [["a", "b"]],
            DataError,
            CROSS + "one-hot labels or probabilities, got <U1",
        ),
        (
            CrossEntropy(),
            (2, 1),
            [0, 0],
            ShapeError,
            CROSS + "logits of shape (n, classes) with at least 2 classes, got shape (2, 1);"
            " use BinaryCrossEntropy for a single output",
        ),
        (
            CrossEntropy(),
            (2, 8, 8, 3),
            [0, 0],
            ShapeError,
            CROSS + "logits of shape (n, classes) with at least 2 classes, got shape (2, 8, 8, 3)",
        ),
        (
            CrossEntropy(),
            (4, 3),
            [0, np.nan, 1, np.nan],
            DataError,
            CROSS + f"a class for each sample, got NaN for sample 1 and 1 more; {LEAVE}",
        ),
        (
            BinaryCrossEntropy(),
            (2, 2),
            np.array([[0, 255], [1, 1]], np.uint8),
            DataError,
            BINARY + "labels in 0..1, got 255; divide pixels by 255",
        ),
        (BinaryCrossEntropy(), (2, 1), [-1, 1], DataError, BINARY + "labels in 0..1, got -1; give 0 for -1"),
        (BinaryCrossEntropy(), (2, 1), [0, 2], DataError, BINARY + f"labels in 0..1, got 2; {SEVERAL}"),
        (
            BinaryCrossEntropy(),
            (2, 1),
            [0.5, -0.5],
            DataError,
            BINARY + f"labels in 0..1, got -0.5; {SEVERAL}",
        ),
        (
            BinaryCrossEntropy(),
            (2, 1),
            [0.5, np.nan],
            DataError,
            BINARY + f"finite labels, got NaN for sample 1; {LEAVE}",
        ),
        (
            BinaryCrossEntropy(),
            (2, 1),
            ["a", "b"],
            DataError,
            BINARY + "labels that are real numbers, got <U1",
        ),
        (
            BinaryCrossEntropy(),
            (2, 3),
            [0, 1],
            ShapeError,
            BINARY + f"labels of the outputs' shape (2, 3), got (2,); {SEVERAL}",
        ),
        (BinaryCrossEntropy(), (2, 1), [0], ShapeError, BINARY + "2 labels, got 1; one for each sample"),
        (
            MeanSquaredError(),
            (2, 3),
            [0, 1],
            ShapeError,
            SQUARED + "labels of the outputs' shape (2, 3), got (2,); give a target for each output",
        ),
        (
            MeanSquaredError(),
            (2, 1),
            [0.0, np.inf],
            DataError,
            SQUARED + f"finite labels, got infinity for sample 1; {LEAVE}",
        ),
        (
            MeanSquaredError(),
            (2, 1),
            [1j, 0],
            DataError,
            SQUARED + "labels that are real numbers, got complex128",
        ),
    ],
)
def test_check_says_what_is_wrong_with_labels(loss, shape, y, kind, message):
    with pytest.raises(kind) as error:
        loss.check(shape, np.array(y))
    assert str(error.value) == message


def test_integer_outputs_are_refused():
    with pytest.raises(DataError) as error:
        CrossEntropy()(np.zeros((2, 3), int), np.zeros(2, int))
    assert str(error.value) == "CrossEntropy: expected floating-point outputs, got int64"


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, np.nan])
def test_label_smoothing_outside_zero_to_one_is_refused(smoothing):
    with pytest.raises(ArgumentError) as error:
        CrossEntropy(label_smoothing=smoothing)
    assert str(error.value) == f"CrossEntropy: expected label_smoothing in [0, 1], got {smoothing!r}"


@pytest.mark.parametrize("name", ["CrossEntropy", "cross_entropy", "crossentropy"])
def test_get_takes_a_name_in_any_spelling(name):
    assert losses.get(name) == CrossEntropy()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            "hinge",
            "loss: expected one of CrossEntropy, BinaryCrossEntropy, MeanSquaredError or a Loss, got 'hinge'",
        ),
        (
            {"class": "CrossEntropy", "smoothing": 0.1},
            "CrossEntropy: expected arguments among label_smoothing, got 'smoothing'",
        ),
        (
            {"class": "MeanSquaredError", "factor": 0.5},
            "MeanSquaredError: expected arguments among none, got 'factor'",
        ),
    ],
)
def test_get_says_what_it_does_not_know(asked, message):
    with pytest.raises(ArgumentError) as error:
        losses.get(asked)
    assert str(error.value) == message


def test_a_loss_of_ones_own_needs_check_and_compute_alone():
    @dataclasses.dataclass(frozen=True)
    class MeanAbsoluteError(losses.Loss):
        def check(self, z_shape, y):
            pass

        def compute(self, z, y, kernels):
            return np.mean(np.abs(z - y)), np.sign(z - y) / z.size

    value, dz = MeanAbsoluteError()(np.array([[3.0, 1.0]]), np.array([[1.0, 1.0]]))
    assert value == 1.0
    np.testing.assert_array_equal(dz, [[0.5, 0.0]])


def test_label_errors_are_errors_of_this_package_and_of_value():
    with pytest.raises(HandgradError):
        CrossEntropy().check((1, 2), np.array([2]))
    with pytest.raises(ValueError, match=r"labels in 0\.\.1"):
        CrossEntropy().check((1, 2), np.array([2]))
