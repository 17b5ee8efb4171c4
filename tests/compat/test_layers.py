"""Every layer, channels first, against what it means element by element."""

import numpy as np
import pytest

from handgrad.compat import mlfromscratch as m
from handgrad.compat.mlfromscratch import parts
from handgrad.errors import ArgumentError, BuildError, ShapeError
from handgrad.testing import check_layer, gradcheck
from tests.compat.networks import alone, network, normal

X = normal(2, 3, 6, 5)  # (samples, channels, height, width)


def gradients_are_right(layer, shape, n=4):
    """Check dx and every parameter's gradient of a layer that is made ready."""
    layer.forward_pass(normal(n, *shape))
    gradcheck(layer._graph, normal(n, *shape, seed=9))


def test_convolution():
    layer = alone(m.Conv2D(4, (3, 2), padding="valid"), (3, 6, 5))
    layer.w0 = normal(4, 1, seed=3)
    y = layer.forward_pass(X)
    assert y.shape == (2, *layer.output_shape()) == (2, 4, 4, 4)
    for a in range(4):
        for b in range(4):
            window = X[:, :, a : a + 3, b : b + 2]
            wanted = np.einsum("ncij,kcij->nk", window, layer.W) + layer.w0[:, 0]
            np.testing.assert_allclose(y[:, :, a, b], wanted, rtol=0, atol=1e-12)
    assert layer.parameters() == layer.W.size + layer.w0.size == 4 * 3 * 3 * 2 + 4
    gradients_are_right(layer, (3, 6, 5))


@pytest.mark.parametrize(
    ("padding", "stride", "out"),
    [("same", 1, (6, 5)), ("same", 2, (3, 3)), ("valid", 2, (2, 2)), (1, 1, (6, 5)), (2, (2, 3), (4, 3))],
)
def test_padding_and_stride_of_a_convolution(padding, stride, out):
    layer = alone(m.Conv2D(2, (3, 3), padding=padding, stride=stride), (3, 6, 5))
    assert layer.output_shape() == (2, *out)
    assert layer.forward_pass(X).shape == (2, 2, *out)
    gradients_are_right(layer, (3, 6, 5))


def test_initial_values_go_by_the_fan_in_channels_included():
    layer = alone(m.Conv2D(64, (3, 3)), (256, 4, 4))
    limit = 0.5 / np.sqrt(256 * 3 * 3)
    assert 0.99 * limit < abs(layer.W).max() <= limit
    assert (layer.w0 == 0).all()
    dense = alone(m.Dense(50), (400,))
    assert 0.99 / 40 < abs(dense.W).max() <= 1 / 40


def test_initial_values_differ_from_part_to_part_and_from_layer_to_layer():
    rnn = alone(m.RNN(4), (6, 4))
    assert len({abs(w).max() for w in (rnn.U, rnn.V, rnn.W)}) == 3
    one, two = network(m.Dense(4, input_shape=(4,)), m.Dense(4)).layers
    assert (one.W != two.W).all()


def test_dense():
    layer = alone(m.Dense(3), (4,))
    layer.w0 = normal(1, 3, seed=4)
    x, dy = normal(5, 4), normal(5, 3, seed=2)
    np.testing.assert_allclose(layer.forward_pass(x), x @ layer.W + layer.w0, rtol=1e-13)
    W, w0 = layer.W.copy(), layer.w0.copy()
    np.testing.assert_allclose(layer.backward_pass(dy), dy @ W.T, rtol=1e-13)
    np.testing.assert_allclose(layer.W, W - x.T @ dy, rtol=1e-12)  # a step of learning rate 1
    np.testing.assert_allclose(layer.w0, w0 - dy.sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize(("kind", "reduce"), [(m.MaxPooling2D, np.max), (m.AveragePooling2D, np.mean)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pooling_moves_by_one_by_default_and_need_not_divide_the_image(kind, reduce, stride):
    layer = alone(kind((2, 3), stride=stride), (3, 6, 5))
    y = layer.forward_pass(X)
    assert y.shape == (2, *layer.output_shape()) == (2, 3, 4 // stride + 1, 2 // stride + 1)
    for a in range(y.shape[2]):
        for b in range(y.shape[3]):
            window = X[:, :, a * stride : a * stride + 2, b * stride : b * stride + 3]
            np.testing.assert_allclose(y[:, :, a, b], reduce(window, axis=(2, 3)), rtol=1e-13)
    gradients_are_right(layer, (3, 6, 5))
    assert alone(kind(), (3, 6, 5)).output_shape() == (3, 5, 4)


@pytest.mark.parametrize("padding", [1, "same"])
@pytest.mark.parametrize("kind", [m.MaxPooling2D, m.AveragePooling2D])
def test_pooling_with_padding_has_gradients(kind, padding):
    gradients_are_right(alone(kind((2, 2), stride=2, padding=padding), (3, 5, 5)), (3, 5, 5))


def test_padding_is_never_a_maximum_and_does_not_count_in_a_mean():
    x = np.full((1, 1, 2, 2), -7.0)
    for kind in (m.MaxPooling2D, m.AveragePooling2D):
        assert (alone(kind((2, 2), stride=2, padding=1), (1, 2, 2)).forward_pass(x) == -7).all()


@pytest.mark.parametrize("padding", [(1, 2), ((1, 0), (0, 2)), (1, (0, 2)), ((1, 0), 2)])
def test_padding_layers(padding):
    rows, columns = ((p, p) if isinstance(p, int) else p for p in padding)
    for layer, value in ((m.ZeroPadding2D(padding), 0), (m.ConstantPadding2D(padding, 1.5), 1.5)):
        alone(layer, (3, 6, 5))
        wanted = np.pad(X, ((0, 0), (0, 0), rows, columns), constant_values=value)
        np.testing.assert_array_equal(layer.forward_pass(X), wanted)
        assert layer.output_shape() == wanted.shape[1:]
        dy = normal(*wanted.shape, seed=1)
        dx = dy[:, :, rows[0] : rows[0] + 6, columns[0] : columns[0] + 5]
        np.testing.assert_array_equal(layer.backward_pass(dy), dx)


def test_upsampling_collects_the_gradients_of_the_whole_block():
    layer = alone(m.UpSampling2D((2, 3)), (3, 6, 5))
    np.testing.assert_array_equal(layer.forward_pass(X), X.repeat(2, axis=2).repeat(3, axis=3))
    dy = normal(2, 3, 12, 15, seed=1)
    wanted = dy.reshape(2, 3, 6, 2, 5, 3).sum(axis=(3, 5))
    np.testing.assert_allclose(layer.backward_pass(dy), wanted, rtol=1e-13)


@pytest.mark.parametrize(
    ("layer", "out"),
    [
        (m.Flatten(), (90,)),
        (m.Reshape((90,)), (90,)),
        (m.Reshape((5, 3, 6)), (5, 3, 6)),
        (m.Reshape((10, 9)), (10, 9)),
        (m.Reshape((-1, 2, 3)), (15, 2, 3)),
    ],
)
def test_flatten_and_reshape_keep_the_order_with_channels_first(layer, out):
    alone(layer, (3, 6, 5))
    assert layer.output_shape() == out
    np.testing.assert_array_equal(layer.forward_pass(X), X.reshape(2, *out))
    dy = normal(2, *out, seed=1)
    np.testing.assert_array_equal(layer.backward_pass(dy), dy.reshape(X.shape))


def test_a_row_becomes_an_image_channel_by_channel():
    layer = alone(m.Reshape((3, 6, 5)), (90,))
    np.testing.assert_array_equal(layer.forward_pass(X.reshape(2, 90)), X)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


FUNCTIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1)),
    "elu": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "softmax": softmax,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "tanh": np.tanh,
    "softplus": lambda x: np.log(1 + np.exp(x)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(7,), (4, 3), (3, 6, 5)])
def test_activations(name, shape):
    layer = alone(m.Activation(name), shape)
    x = normal(2, *shape)
    np.testing.assert_allclose(layer.forward_pass(x), FUNCTIONS[name](x), rtol=0, atol=1e-12)
    assert layer.output_shape() == shape
    gradients_are_right(layer, shape)


def test_dropout_drops_in_training_scales_up_the_rest_and_passes_the_same_gradients():
    layer = alone(m.Dropout(0.25), (3, 30, 30))
    x = 1 + abs(normal(2, 3, 30, 30))
    y = layer.forward_pass(x)
    kept = y != 0
    assert 0.7 < kept.mean() < 0.8
    np.testing.assert_allclose(y[kept], x[kept] / 0.75, rtol=1e-13)
    np.testing.assert_allclose(layer.backward_pass(np.ones_like(x)), kept / 0.75, rtol=1e-13)
    assert (layer.forward_pass(x) != y).any()
    np.testing.assert_array_equal(layer.forward_pass(x, training=False), x)
    np.testing.assert_array_equal(layer.backward_pass(x), x)


@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid"])
def test_recurrent_layer(name):
    layer = alone(m.RNN(4, activation=name, bptt_trunc=None), (6, 3))
    x, state = normal(2, 6, 3), np.zeros((2, 4))
    y = layer.forward_pass(x)
    assert y.shape == (2, *layer.output_shape()) == (2, 6, 3)
    for t in range(6):
        state = FUNCTIONS[name](x[:, t] @ layer.U.T + state @ layer.W.T)
        np.testing.assert_allclose(y[:, t], state @ layer.V.T, rtol=0, atol=1e-12)
    assert layer.parameters() == layer.U.size + layer.V.size + layer.W.size
    gradients_are_right(layer, (6, 3))


@pytest.mark.parametrize(("truncation", "reached"), [(0, 1), (2, 3), (5, 6), (None, 8)])
def test_gradients_go_back_by_the_truncation_and_to_inputs_too(truncation, reached):
    layer = alone(m.RNN(4, bptt_trunc=truncation), (8, 3))
    layer.forward_pass(normal(2, 8, 3))
    dy = np.zeros((2, 8, 3))
    dy[:, -1] = 1
    dx = layer.backward_pass(dy)
    assert list(np.flatnonzero(abs(dx).sum(axis=(0, 2)))) == list(range(8 - reached, 8))


def test_the_truncation_is_five_steps_by_default_and_a_frozen_one_keeps_its_weights():
    layer = alone(m.RNN(4), (8, 3))
    assert layer.bptt_trunc == 5
    layer.trainable = False
    before = layer.U.copy(), layer.W.copy(), layer.V.copy()
    layer.forward_pass(normal(2, 8, 3))
    assert abs(layer.backward_pass(normal(2, 8, 3))).sum() > 0
    for a, b in zip(before, (layer.U, layer.W, layer.V), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_are_read_and_written_in_place():
    dense, conv = alone(m.Dense(3), (4,)), alone(m.Conv2D(2, (3, 3)), (1, 4, 4))
    dense.W += 1.0
    dense.W[:, 1:] = 7.0
    conv.W = np.zeros((2, 1, 3, 3))
    conv.w0[1] = 5.0
    np.testing.assert_allclose(dense.forward_pass(np.ones((1, 4)))[0, 1:], 28.0)
    np.testing.assert_array_equal(conv.forward_pass(normal(1, 1, 4, 4))[0, :, 0, 0], [0.0, 5.0])
    assert m.Dense(3).W is None


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (parts.Transpose((1, 2, 0)), (3, 5, 4)),
        (parts.Transpose((2, 0, 1)), (5, 4, 3)),
        (parts.BatchNormalization((1, 2, 3), epsilon=0.01, running_variance="biased"), (3, 2, 2)),
    ],
)
def test_the_layers_of_this_package_keep_the_contract(layer, shape):
    check_layer(layer, shape)


MESSAGES = [
    (
        lambda: alone(m.Dense(3), (1, 8, 8)),
        ShapeError,
        "dense (Dense): expected inputs (features,), got shape (1, 8, 8); put a Flatten before it",
    ),
    (
        lambda: alone(m.Conv2D(3, (3, 3)), (64,)),
        ShapeError,
        "conv2d (Conv2D): expected images (channels, height, width), got shape (64,)",
    ),
    (
        lambda: alone(m.RNN(3), (64,)),
        ShapeError,
        "rnn (RNN): expected sequences (steps, features), got shape (64,)",
    ),
    (
        lambda: m.Dense(3).initialize(m.Adam()),
        BuildError,
        "dense (Dense): expected input_shape, without the batch axis, got none; give it to the first layer: "
        "input_shape=(channels, height, width) or (features,)",
    ),
    (
        lambda: m.Dense(3).forward_pass(normal(2, 3)),
        BuildError,
        "dense (Dense): expected a layer with parameters, got none yet; add it to a network",
    ),
    (
        lambda: alone(m.Dense(3), (2,)).backward_pass(normal(2, 3)),
        BuildError,
        "dense (Dense) backward_pass: expected a forward_pass before it, got none",
    ),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), MESSAGES)
def test_messages(mistake, kind, message):
    with pytest.raises(kind) as caught:
        mistake()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("mistake", "kind", "where"),
    [
        (lambda: alone(m.MaxPooling2D((3, 3)), (1, 2, 8)), ShapeError, "max_pooling2d (MaxPooling2D)"),
        (lambda: alone(m.Dropout(1), (3,)), ArgumentError, "dropout (Dropout)"),
        (lambda: alone(m.Conv2D(0, (3, 3)), (1, 4, 4)), ArgumentError, "conv2d (Conv2D)"),
        (lambda: alone(m.RNN(3, activation="relu6"), (4, 2)), ArgumentError, "rnn (SimpleRNN)"),
        (lambda: alone(m.BatchNormalization(2.0), (4,)), ArgumentError, "batch_normalization (BatchNormal"),
        (lambda: m.Activation("relu6"), ArgumentError, "Activation: expected one of relu, "),
    ],
)
def test_messages_of_the_layers_beneath_name_the_layer(mistake, kind, where):
    with pytest.raises(kind) as caught:
        mistake()
    assert str(caught.value).startswith(where)
