"""The faults of the framework this one grew from: for each what is right, and that the faulty way is noticed.

Each test is a check that the library passes; where the faulty formula is short it is written here as it was,
and the same check must reject it.
"""

from __future__ import annotations

import copy
import inspect
import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses, optim
from handgrad.errors import ShapeError
from handgrad.kernels.reference import REFERENCE, conv
from handgrad.layers import Init, Parameter, Run
from handgrad.rng import Stream
from tests.layers.cases import CASES, normal

TRAINING = Run(training=True)


def rejects(check, faulty, kind=AssertionError):
    """Assert that a check notices a faulty implementation."""
    with pytest.raises(kind):
        check(faulty)


def built(layer, shape, dtype=np.float64):
    layer.build(shape, Init(dtype=dtype))
    return layer


# --- batch normalization ------------------------------------------------------------------------------


def test_01_feature_maps_are_normalized_per_channel_and_per_feature_by_choice():
    x = normal(8, 4, 5, 3) * np.arange(1, 5)[:, None, None] + np.arange(5)[:, None]

    def check(normalize):
        y = normalize(x)
        np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-13)
        np.testing.assert_allclose(y.var(axis=(0, 1, 2)), 1, rtol=1e-4)
        assert np.abs(y.mean(axis=0)).max() > 0.1, "pixels of one channel keep what sets them apart"

    def per_feature(x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)

    bn = built(layers.BatchNormalization(), (4, 5, 3))
    check(lambda x: bn.forward(x, TRAINING)[0])
    rejects(check, per_feature)
    assert bn.gamma.shape == (3,)
    chosen = built(layers.BatchNormalization(axis=(1, 2, 3)), (4, 5, 3))
    np.testing.assert_allclose(chosen.forward(x, TRAINING)[0], per_feature(x), rtol=1e-12, atol=1e-12)


def test_02_frozen_normalization_has_the_gradient_of_the_function_it_computes():
    x, dy, step = normal(6, 3), normal(6, 3, seed=1), normal(6, 3, seed=2)
    bn = built(layers.BatchNormalization(momentum=0.5), (3,))
    bn.commit(bn.forward(3 * x + 1, TRAINING)[1])
    bn.freeze()

    def forward(x):
        return bn.forward(x, TRAINING)

    def check(backward):
        _, saved = forward(x)
        derivative = np.sum(dy * (forward(x + 1e-6 * step)[0] - forward(x - 1e-6 * step)[0])) / 2e-6
        assert np.sum(backward(dy, saved) * step) == pytest.approx(derivative, rel=1e-7)

    def batch_formula(dy, saved):
        xhat = (saved.x - saved.mean) * saved.s
        return saved.s * (dy - dy.mean(axis=0) - xhat * np.mean(dy * xhat, axis=0))

    check(lambda dy, saved: bn.backward(dy, saved, TRAINING))
    check(lambda dy, saved: bn.gamma.value * saved.s * dy)
    rejects(check, batch_formula)


def test_03_evaluation_never_moves_the_running_statistics_and_warns_where_there_are_none():
    def check(bn):
        before = {name: b.value.copy() for name, b in bn.buffers().items()}
        with pytest.warns(UserWarning, match="running statistics are still mean 0 and variance 1"):
            _, saved = bn.forward(5 + normal(6, 3), Run())
        bn.commit(saved)
        for name, b in bn.buffers().items():
            np.testing.assert_array_equal(b.value, before[name])

    class FirstForwardSets(layers.BatchNormalization):
        def forward(self, x, run):
            if not self.updates.value:
                self.running_mean.assign(x.mean(axis=0))
            return super().forward(x, run)

    check(built(layers.BatchNormalization(), (3,)))
    rejects(check, built(FirstForwardSets(), (3,)), pytest.fail.Exception)  # nothing is unmoved then


def test_04_the_first_batch_counts_once_and_the_variance_kept_is_chosen():
    x = 5 + 2 * normal(6, 3)

    def check(running):
        mean, var = running(x, 0.9)
        np.testing.assert_allclose(mean, 0.1 * x.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(var, 0.9 + 0.1 * x.var(axis=0, ddof=1), rtol=1e-12)

    def right(x, momentum, **options):
        bn = built(layers.BatchNormalization(momentum=momentum, **options), (3,))
        bn.commit(bn.forward(x, TRAINING)[1])
        return bn.running_mean.value, bn.running_var.value

    def counted_twice(x, momentum):
        mean, var = x.mean(axis=0), x.var(axis=0)
        return momentum * mean + (1 - momentum) * mean, momentum * var + (1 - momentum) * var

    check(right)
    rejects(check, counted_twice)
    _, biased = right(x, 0.9, running_variance="biased")
    np.testing.assert_allclose(biased, 0.9 + 0.1 * x.var(axis=0), rtol=1e-12)
    bn = built(layers.BatchNormalization(momentum=0.9, debias=True), (3,))
    bn.commit(bn.forward(x, TRAINING)[1])
    y, _ = bn.forward(x, Run())
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=0, ddof=1), 1, rtol=1e-4)


def test_05_one_sample_per_feature_is_an_error_not_an_output_of_beta():
    x = normal(1, 4)

    def check(forward):
        try:
            y, doubled = forward(x), forward(2 * x)
        except ShapeError as error:
            text = str(error)
        else:
            assert not np.array_equal(y, doubled), "the output does not depend on the input"
        for words in (
            "bn (BatchNormalization)",
            "larger batches",
            "drop_last=True",
            "freeze()",
            "fewer axes",
        ):
            assert words in text

    bn = built(layers.BatchNormalization(name="bn"), (4,))
    check(lambda x: bn.forward(x, TRAINING)[0])
    rejects(check, lambda x: (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.01))


# --- pooling and convolution --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [layers.MaxPooling2D, layers.AveragePooling2D])
@pytest.mark.parametrize("padding", ["valid", "same", 0, 1, (0, 1), ((1, 0), (0, 1))], ids=str)
@pytest.mark.parametrize("strides", [None, 1, 2, (3, 2)], ids=str)
def test_06_every_padding_and_stride_of_pooling_runs_forward_and_backward(kind, padding, strides):
    assert hg.testing.gradcheck(kind(3, strides, padding), normal(2, 5, 7, 2)).ok


def test_06_strides_are_the_pool_size_by_default_and_padding_is_never_the_maximum():
    assert layers.MaxPooling2D(2).build((5, 6, 1)) == (2, 3, 1)
    x = -1 - np.abs(normal(2, 4, 4, 1))

    def check(pool):
        assert pool(x).max() < -1

    def padded_with_zeros(x):
        return REFERENCE.max_pool2d(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), hg.geometry.Window((3, 3)))[
            0
        ]

    check(lambda x: built(layers.MaxPooling2D(3, 1, 1), (4, 4, 1)).forward(x, TRAINING)[0])
    rejects(check, padded_with_zeros)


def test_06_average_pooling_can_leave_padding_out_of_the_count():
    x = np.ones((1, 3, 3, 1))
    without = built(layers.AveragePooling2D(3, 1, 1), (3, 3, 1)).forward(x, Run())[0]
    counted = built(layers.AveragePooling2D(3, 1, 1, count_padding=True), (3, 3, 1)).forward(x, Run())[0]
    np.testing.assert_allclose(without, 1, rtol=1e-15)
    assert counted[0, 0, 0, 0] == pytest.approx(4 / 9)


def test_07_initial_filters_count_the_input_channels():
    def check(initialize):
        w = initialize((3, 3, 256, 64))
        assert w.std() == pytest.approx(np.sqrt(2 / (3 * 3 * 256)), rel=0.05)

    def by_filter_size_alone(shape):
        limit = 1 / np.sqrt(shape[0] * shape[1])
        return Stream().uniform(shape, -limit, limit)

    check(lambda shape: built(layers.Conv2D(shape[3], shape[:2]), (8, 8, shape[2])).weight.value)
    rejects(check, by_filter_size_alone)


@pytest.mark.parametrize("n", [4, 5, 6, 7])
@pytest.mark.parametrize("stride", [2, 3])
def test_08_same_padding_at_a_stride_is_the_least_that_gives_a_place_for_every_stride(n, stride):
    def check(pads):
        before, after = pads(n, 3, stride)
        assert (n + before + after - 3) // stride + 1 == -(-n // stride)
        assert before + after == max((-(-n // stride) - 1) * stride + 3 - n, 0)
        assert after - before in (0, 1)

    def by_kernel_alone(n, k, stride):
        return (k - 1) // 2, k // 2

    def ours(n, k, stride):
        return hg.geometry.resolve_padding("same", (n, n), (k, k), (stride, stride), (1, 1))[0]

    check(ours)
    if max((-(-n // stride) - 1) * stride + 3 - n, 0) < 2:
        rejects(check, by_kernel_alone)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"padding": (0, 2)},
        {"strides": (1, 2)},
        {"dilation_rate": 2},
        {"groups": 2},
        {"use_bias": False},
    ],
    ids=lambda options: next(iter(options)),
)
def test_08_convolution_has_every_option(options):
    layer = layers.Conv2D(4, 2, **options)
    assert hg.testing.gradcheck(layer, normal(2, 5, 6, 2)).ok
    if not options.get("use_bias", True):
        assert list(built(layer, (5, 6, 2)).parameters()) == ["weight"]


def test_09_convolution_keeps_no_column_matrix_and_never_scatters():
    x = normal(4, 32, 32, 16, dtype=np.float32)
    layer = built(layers.Conv2D(16, 3, padding="same"), (32, 32, 16), np.float32)
    columns = 9 * x.nbytes

    def check(forward):
        tracemalloc.start()
        y, kept = forward(x)
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert now < 2 * y.nbytes, "something besides the output is kept"
        assert peak < columns, "a column matrix was made"
        assert kept is not None

    def with_columns(x):
        P = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        matrix = np.concatenate([P[:, i : i + 32, j : j + 32] for i in range(3) for j in range(3)], axis=-1)
        return matrix @ layer.weight.value.reshape(-1, 16), matrix

    def run(x):
        y, saved = layer.forward(x, TRAINING)
        assert saved.x is x
        return y, saved

    check(run)
    rejects(check, with_columns)
    assert "add.at" not in inspect.getsource(conv)


def test_09_the_gradient_of_the_input_of_the_first_layer_is_not_computed():
    calls = []

    def spy(*args):
        calls.append(args)
        return REFERENCE.conv2d_backward_input(*args)

    run = Run(training=True, kernels=replace(REFERENCE, conv2d_backward_input=spy))
    model = hg.Sequential([layers.Conv2D(2, 3), layers.Conv2D(2, 3)], input_shape=(6, 6, 1))
    y, trace = model.forward(normal(2, 6, 6, 1), run)
    model.backward(y, trace, run)
    assert len(calls) == 1


def test_10_upsampling_collects_the_gradients_of_the_whole_block():
    dy = normal(2, 4, 6, 3)

    def check(backward):
        expected = dy[:, ::2, ::2] + dy[:, 1::2, ::2] + dy[:, ::2, 1::2] + dy[:, 1::2, 1::2]
        np.testing.assert_allclose(backward(dy), expected, rtol=1e-13, atol=1e-15)

    layer = built(layers.UpSampling2D(2), (2, 3, 3))
    check(lambda dy: layer.backward(dy, layer.forward(dy[:, ::2, ::2], Run())[1], Run()))
    rejects(check, lambda dy: dy[:, ::2, ::2])


# --- dropout, activations, losses ---------------------------------------------------------------------


def test_11_dropout_scales_in_training_and_does_nothing_in_evaluation():
    x = np.ones((50, 400))

    def check(dropout):
        y, dx = dropout(x, training=True)
        assert abs(y.mean() - 1) < 0.02
        np.testing.assert_array_equal(dx, y)
        y, dx = dropout(x, training=False)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(dx, x)

    layer = built(layers.Dropout(0.3), (400,))

    def ours(x, training):
        run = Run(training=training)
        y, saved = layer.forward(x, run)
        return y, layer.backward(x, saved, run)

    class RescalesAtTestTime:
        mask = None

        def __call__(self, x, training):
            if training:
                self.mask = Stream().keep(x.shape, 0.7)
            return x * (self.mask if training else 0.7), x * self.mask

    check(ours)
    rejects(check, RescalesAtTestTime())
    first, second = (layer.forward(x, replace(TRAINING, rng=Stream((k,))))[0] for k in (1, 1))
    np.testing.assert_array_equal(first, second)


def test_12_the_gradient_of_softmax_is_that_of_its_whole_jacobian():
    x, dy, step = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2)

    def check(backward):
        y = REFERENCE.softmax(x)
        derivative = np.sum(dy * REFERENCE.softmax(x + 1e-30j * step)).imag / 1e-30
        assert np.sum(backward(dy, y) * step) == pytest.approx(derivative, rel=1e-12)

    check(REFERENCE.softmax_backward)
    rejects(check, lambda dy, y: dy * y * (1 - y))


def cross_entropy_by_clipping(z, labels):
    """The faulty one: per class, from probabilities, through softmax's diagonal, without the mean."""
    p = np.clip(REFERENCE.softmax(z), 1e-15, 1 - 1e-15)
    t = np.eye(z.shape[1], dtype=z.dtype)[labels]
    loss = -t * np.log(p) - (1 - t) * np.log(1 - p)
    return loss.mean(), (-(t / p) + (1 - t) / (1 - p)) * p * (1 - p)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_13_a_confident_wrong_answer_has_the_largest_gradient_and_no_nan(dtype):
    def check(loss):
        z = np.array([[40.0, 0.0, 0.0], [1000.0, 0.0, 0.0]], dtype)
        value, dz = loss(z, np.array([1, 2]))
        assert value == pytest.approx((40 + 1000) / 2, rel=1e-6)
        np.testing.assert_allclose(dz, np.array([[1, -1, 0], [1, 0, -1]]) / 2, atol=1e-6)

    check(losses.CrossEntropy())
    with np.errstate(all="ignore"):
        rejects(check, cross_entropy_by_clipping)


def test_13_cross_entropy_is_that_of_one_class_among_several_and_the_binary_one_is_another_loss():
    z, labels = normal(5, 3), np.array([0, 2, 1, 1, 0])

    def check(loss):
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        assert loss(z, labels)[0] == pytest.approx(-np.log(p[np.arange(5), labels]).mean(), rel=1e-12)

    check(losses.CrossEntropy())
    rejects(check, cross_entropy_by_clipping)
    t = np.eye(3)[labels]
    p = 1 / (1 + np.exp(-z))
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    assert losses.BinaryCrossEntropy()(z, t)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "loss", [losses.CrossEntropy(), losses.BinaryCrossEntropy(), losses.MeanSquaredError()], ids=repr
)
def test_14_the_gradient_of_a_loss_is_that_of_its_value(loss):
    z, t, step = normal(6, 3), np.eye(3)[[0, 1, 2, 0, 1, 2]], normal(6, 3, seed=1)

    def check(loss):
        derivative = (loss(z + 1e-6 * step, t)[0] - loss(z - 1e-6 * step, t)[0]) / 2e-6
        assert np.sum(loss(z, t)[1] * step) == pytest.approx(derivative, rel=1e-7)

    def summed(z, t):
        value, dz = loss(z, t)
        return value, len(z) * dz

    check(loss)
    rejects(check, summed)


def test_14_labels_are_integers_or_one_hot():
    z, labels = normal(4, 3), np.array([2, 0, 1, 1])
    value, dz = losses.CrossEntropy()(z, labels)
    one_hot_value, one_hot_dz = losses.CrossEntropy()(z, np.eye(3)[labels])
    assert value == pytest.approx(one_hot_value, rel=1e-15)
    np.testing.assert_allclose(dz, one_hot_dz, rtol=1e-14, atol=1e-16)


# --- optimizers ---------------------------------------------------------------------------------------


def positions(step, gradient, n, start=0.0):
    """Return where a rule is after each of n steps under a gradient that depends on the place."""
    p, places = np.array([start]), []
    for _ in range(n):
        p = step(p, gradient(p))
        places.append(p[0])
    return np.array(places)


def ours(optimizer):
    """Return an optimizer as a function of (p, g) that gives the next p."""
    held = Parameter(np.zeros(1))

    def step(p, g):
        held.value[...] = p
        held.grad[...] = g
        optimizer.step({"p": held})
        return held.value.copy()

    return step


def constant(p):
    return np.full_like(p, 3.0)


def test_15_every_step_of_adam_under_a_constant_gradient_is_the_learning_rate():
    def check(step):
        np.testing.assert_allclose(np.diff(positions(step, constant, 60), prepend=0.0), -0.01, rtol=1e-6)

    class WithoutAStepCount:
        m = v = 0.0

        def __call__(self, p, g):
            self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g**2
            return p - 0.01 * (self.m / (1 - 0.9)) / (np.sqrt(self.v / (1 - 0.999)) + 1e-8)

    check(ours(optim.Adam(0.01)))
    rejects(check, WithoutAStepCount())


def test_16_momentum_adds_up_gradients_and_dampens_by_choice_alone():
    def check(step):
        steps = -np.diff(positions(step, constant, 200), prepend=0.0)
        assert steps[0] == pytest.approx(0.01 * 3)
        assert steps[-1] == pytest.approx(0.01 * 3 / (1 - 0.9))

    class Averages:
        v = 0.0

        def __call__(self, p, g):
            self.v = 0.9 * self.v + (1 - 0.9) * g
            return p - 0.01 * self.v

    check(ours(optim.SGD(0.01, momentum=0.9)))
    rejects(check, Averages())
    rejects(check, ours(optim.SGD(0.01, momentum=0.9, dampening=0.9)))


def test_17_nesterov_needs_gradients_alone_and_looks_ahead():
    """Shifted by the step to come, its places are those of the rule that takes the gradient ahead."""

    def check(step):
        lr, momentum, p, v = 0.1, 0.9, 1.0, 0.0
        ahead = []
        for _ in range(30):
            v = momentum * v - lr * 2 * (p + momentum * v)  # the gradient of x^2 at the place ahead
            p += v
            ahead.append(p + momentum * v)
        np.testing.assert_allclose(positions(step, lambda p: 2 * p, 30, start=1.0), ahead, rtol=1e-10)

    class WantsAFunction:
        v = np.zeros(1)

        def __call__(self, p, gradient):
            g = np.clip(gradient(p - 0.9 * self.v), -1, 1)
            self.v = 0.9 * self.v + 0.1 * g
            return p - self.v

    check(ours(optim.SGD(0.1, momentum=0.9, nesterov=True)))
    rejects(check, WantsAFunction(), TypeError)
    rejects(check, ours(optim.SGD(0.1, momentum=0.9)))


def dense_parameters():
    """Return a model's parameters with gradients of 1."""
    model = hg.Sequential([layers.Dense(2), layers.BatchNormalization(), layers.Dense(2)], input_shape=(3,))
    for p in model.parameters().values():
        p.assign(np.ones(p.shape))
        p.accumulate(np.ones(p.shape))
    return model.parameters()


def test_18_weight_decay_spares_biases_and_normalizations():
    parameters = dense_parameters()
    optim.SGD(0.1, weight_decay=0.5).step(parameters)
    for name, p in parameters.items():
        np.testing.assert_allclose(p.value, 1 - 0.1 * (1.5 if name.endswith("weight") else 1.0), rtol=1e-6)


def test_18_schedules_change_the_learning_rate():
    p = Parameter(np.zeros(1))
    p.accumulate(np.ones(1))
    optimizer, places = optim.SGD(optim.Step(1.0, every=2, gamma=0.1)), []
    for _ in range(4):
        optimizer.step({"p": p})
        places.append(float(p.value[0]))
    np.testing.assert_allclose(places, [-1, -2, -2.1, -2.2], rtol=1e-12)


def test_18_clipping_is_by_the_norm_of_all_gradients():
    parameters = dense_parameters()
    before = {name: p.value.copy() for name, p in parameters.items()}
    optim.SGD(1.0, global_clipnorm=0.5).step(parameters)
    moved = np.concatenate([(before[name] - p.value).ravel() for name, p in parameters.items()])
    assert np.linalg.norm(moved) == pytest.approx(0.5, rel=1e-5)


def test_18_groups_have_learning_rates_of_their_own():
    parameters = dense_parameters()
    optim.SGD(0.1, groups=[optim.Group("dense_1.*", lr_scale=0.0)]).step(parameters)
    for name, p in parameters.items():
        np.testing.assert_allclose(p.value, 1.0 if name.startswith("dense_1") else 0.9, rtol=1e-6)


@pytest.mark.parametrize(
    "kind", [optim.SGD, optim.Adagrad, optim.Adadelta, optim.RMSprop, optim.Adam, optim.AdamW]
)
def test_18_state_can_be_saved_and_the_run_goes_on_bit_for_bit(kind):
    options = {"momentum": 0.9} if kind is optim.SGD else {}
    unbroken, parameters = kind(0.01, **options), dense_parameters()
    for _ in range(3):
        unbroken.step(parameters)
    state, values = copy.deepcopy(unbroken.state()), {name: p.value.copy() for name, p in parameters.items()}
    unbroken.step(parameters)
    resumed, others = kind(0.01, **options), dense_parameters()
    for name, p in others.items():
        p.assign(values[name])
    resumed.load_state(state)
    resumed.step(others)
    for name, p in parameters.items():
        np.testing.assert_array_equal(others[name].value, p.value)


# --- training -----------------------------------------------------------------------------------------


def small_set(n=70):
    x = normal(n, 6, dtype=np.float32)
    return x, (x.sum(axis=1) > 0).astype(int)


def small_trainer(seed=0):
    chain = [
        layers.Dense(8),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.2),
        layers.Dense(2),
    ]
    model = hg.Sequential(chain, input_shape=(6,), seed=seed)
    return hg.Trainer(model, losses.CrossEntropy(), optim.Adam(0.01), metrics=["accuracy"], seed=seed)


def batches_of(dataset):
    """Return a list to which the samples of every batch read from now on are written."""
    batches, read = [], dataset.batch
    dataset.batch = lambda indices: (batches.append(indices.tolist()), read(indices))[1]
    return batches


def test_19_every_epoch_has_an_order_of_its_own_and_every_sample_once():
    dataset = hg.data.ArrayDataset(*small_set())
    seen = batches_of(dataset)
    small_trainer().fit(dataset, epochs=2, batch_size=32)
    first, second = np.concatenate(seen[:3]).tolist(), np.concatenate(seen[3:]).tolist()
    assert sorted(first) == sorted(second) == list(range(70))
    assert first != second
    assert first != list(range(70))


def test_19_a_last_batch_of_one_sample_is_an_error_with_a_way_out_and_drop_last_leaves_it_out():
    x, y = small_set(65)
    with pytest.raises(ShapeError, match=r"batch_normalization .* drop_last=True"):
        small_trainer().fit(x, y, batch_size=32)
    dataset = hg.data.ArrayDataset(x, y)
    seen = batches_of(dataset)
    small_trainer().fit(dataset, batch_size=32, drop_last=True)
    assert [len(batch) for batch in seen] == [32, 32]


def test_19_validation_goes_through_the_model_in_batches():
    x, y = small_set(600)
    trainer = small_trainer()
    trainer.fit(x, y, batch_size=64)
    sizes = []
    dense = REFERENCE.dense
    trainer.kernels = replace(REFERENCE, dense=lambda x, w, b: (sizes.append(len(x)), dense(x, w, b))[1])
    trainer.evaluate(x, y, batch_size=100)
    assert max(sizes) == 100


def test_24_models_are_saved_and_loaded(tmp_path):
    x, y = small_set()
    trainer = small_trainer()
    trainer.fit(x, y, epochs=2)
    hg.save(trainer.model, tmp_path / "m.safetensors")
    assert np.array_equal(hg.load(tmp_path / "m.safetensors").predict(x), trainer.model.predict(x))


def test_24_the_seed_decides_everything():
    x, y = small_set()
    runs = [small_trainer(seed) for seed in (1, 1, 2)]
    a, b, c = [(trainer.fit(x, y, epochs=2), trainer.model.predict(x))[1] for trainer in runs]
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_24_callbacks_are_told_and_may_stop():
    class StopAfterTwo(hg.train.Callback):
        def on_epoch_end(self, epoch, logs):
            self.trainer.stop_training = epoch == 1

    x, y = small_set()
    assert small_trainer().fit(x, y, epochs=9, callbacks=[StopAfterTwo()]).epochs == 2


def test_24_skip_connections():
    i = hg.Input((5,))
    model = hg.Graph(i, layers.Add()(i, layers.Dense(5)(i)), dtype=np.float64)
    assert hg.testing.gradcheck(model, normal(3, 5)).ok


# --- numbers ------------------------------------------------------------------------------------------


def test_20_nan_passes_through_relu_and_its_derivative_at_0_is_0():
    def check(relu):
        y, dx = relu(np.array([np.nan, 0.0, -1.0, 2.0]))
        np.testing.assert_array_equal(y, [np.nan, 0, 0, 2])
        np.testing.assert_array_equal(dx[1:], [0, 0, 1])

    def ours(x):
        y = REFERENCE.relu(x)
        return y, REFERENCE.relu_backward(np.ones_like(x), y)

    check(ours)
    rejects(check, lambda x: (np.where(x >= 0, x, 0), np.where(x >= 0, 1, 0)))
    rejects(check, lambda x: (np.maximum(x, 0), np.where(x >= 0, 1, 0)))


def test_20_softplus_of_1000_is_1000():
    def check(softplus):
        np.testing.assert_array_equal(softplus(np.array([1000.0, -1000.0])), [1000.0, 0.0])

    check(REFERENCE.softplus)
    with np.errstate(over="ignore"):
        rejects(check, lambda x: np.log(1 + np.exp(x)))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu", "selu", "softplus", "silu", "gelu", "softmax"])
def test_20_no_activation_overflows(name):
    x = np.array([[-1e4, -750.0, 0.0, 750.0, 1e4]])

    def check(activation):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                y = activation(x)
            except RuntimeWarning as warning:
                raise AssertionError("a warning") from warning
        assert np.isfinite(y).all()

    layer = built(layers.Activation(name), (5,))
    check(lambda x: layer.forward(x, Run())[0])
    check(lambda x: layer.backward(np.ones_like(x), layer.forward(x, Run())[1], Run()))
    if name == "sigmoid":
        rejects(check, lambda x: 1 / (1 + np.exp(-x)))
    if name == "tanh":
        rejects(check, lambda x: 2 / (1 + np.exp(-2 * x)) - 1)
    if name == "elu":
        rejects(check, lambda x: np.where(x >= 0, x, np.exp(x) - 1))


def test_21_slopes_are_those_of_the_papers_by_default():
    x = np.array([[-50.0]])
    assert built(layers.ELU(), (1,)).forward(x, Run())[0][0, 0] == pytest.approx(-1.0)
    assert built(layers.LeakyReLU(), (1,)).forward(x, Run())[0][0, 0] == pytest.approx(-0.5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
def test_22_float32_stays_float32(case, training):
    layer, x, run = case.new(np.float32), case.input(dtype=np.float32), Run(training=training)
    y, saved = layer.forward(x, run)
    dx = layer.backward(np.ones_like(y), saved, run)
    arrays = [y, *(dx if isinstance(dx, tuple) else (dx,)), *(p.grad for p in layer.parameters().values())]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}


def test_23_gradients_reach_every_step_through_all_later_states():
    x, W, U = normal(2, 5, 3), normal(3, 4, seed=1), normal(4, 4, seed=2) / 2
    dh, step = np.zeros((2, 5, 4)), normal(2, 5, 3, seed=3)
    dh[:, -1] = normal(2, 4, seed=4)

    def check(backward):
        h = REFERENCE.simple_rnn(x, W, U, None, "tanh")
        moved = REFERENCE.simple_rnn(x + 1e-30j * step, W, U, None, "tanh")
        derivative = np.sum(dh * moved).imag / 1e-30
        assert np.sum(backward(dh, h) * step) == pytest.approx(derivative, rel=1e-12)

    def without_later_states(dh, h):
        return dh * (1 - h * h) @ W.T

    check(lambda dh, h: REFERENCE.simple_rnn_backward(dh, x, h, W, U, "tanh")[0])
    rejects(check, without_later_states)
    rejects(check, lambda dh, h: REFERENCE.simple_rnn_backward(dh, x, h, W, U, "tanh", 2)[0])
    assert layers.SimpleRNN(4).truncate is None
