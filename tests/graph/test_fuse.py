"""Fused models: which layers are replaced, and that nothing else is any different."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.graph.fuse import PATTERNS, Match, Uses, fuse
from handgrad.layers import Run
from handgrad.layers.fused import Fused
from handgrad.layers.fused_conv import FusedConv2D
from handgrad.layers.fused_norm import (
    BatchNormalizationAddReLU,
    BatchNormalizationReLU,
    DeferredBatchNormalizationReLU,
    FusedNormalization,
)
from tests.graph.models import MODELS, data

TRAINING = Run(training=True, rng=hg.rng.Stream((3,)))


def bn_relu(h):
    return layers.ReLU()(layers.BatchNormalization(momentum=0.8)(h))


def conv(h, c=3):
    return layers.Conv2D(c, 3, padding="same", use_bias=False)(h)


def blocks(**options):
    """Return two residual blocks, one with a normalized projection, and dropout."""
    h = bn_relu(conv(i := hg.Input((5, 4, 2))))
    for projected in (False, True):
        f = layers.BatchNormalization(momentum=0.8)(conv(layers.Dropout(0.3)(bn_relu(conv(h)))))
        h = layers.ReLU()(layers.Add()(f, layers.BatchNormalization()(conv(h)) if projected else h))
    return hg.Graph(i, layers.Dense(3)(layers.GlobalAveragePooling2D()(h)), **options)


def residual_first(**options):
    """Return a sum of which the second input is normalized."""
    h = conv(i := hg.Input((5, 4, 2)))
    return hg.Graph(i, layers.ReLU()(layers.Add()(h, layers.BatchNormalization()(conv(h)))), **options)


def vectors(**options):
    """Return a chain that ends in ReLU, applied twice, with an axis given by its number."""
    return hg.Sequential(
        [layers.Dense(4), layers.BatchNormalization(axis=1), layers.ReLU(), layers.ReLU()],
        input_shape=(3,),
        **options,
    )


def shared_in_turn(**options):
    """Return a normalization and a ReLU applied after two layers, and the normalization once more alone."""
    bn, relu = layers.BatchNormalization(momentum=0.8), layers.ReLU()
    h = relu(bn(layers.Dense(4)(i := hg.Input((4,)))))
    h = relu(bn(layers.Dense(4)(h)))
    return hg.Graph(i, layers.Dense(2)(bn(h)), **options)


def shared_across(**options):
    """Return one normalization of both inputs of a sum."""
    bn, i = layers.BatchNormalization(momentum=0.8), hg.Input((4,))
    a, b = bn(layers.Dense(4)(i)), bn(layers.Dense(4)(i))
    return hg.Graph(i, layers.Dense(2)(layers.ReLU()(layers.Add()(a, b))), **options)


def shared_between(**options):
    """Return a normalization that is used once more on the way to its sum: fused, it would commit later."""
    bn, i = layers.BatchNormalization(momentum=0.8), hg.Input((4,))
    a, b = bn(layers.Dense(4)(i)), layers.Tanh()(bn(layers.Dense(4)(i)))
    return hg.Graph(i, layers.Dense(2)(layers.ReLU()(layers.Add()(a, b))), **options)


def used_twice(**options):
    """Return a normalization, and a sum, whose outputs go two ways."""
    a = layers.BatchNormalization()(layers.Dense(4)(i := hg.Input((4,))))
    b = layers.Add()(layers.BatchNormalization()(layers.Dense(4)(i)), layers.ReLU()(a))
    return hg.Graph(i, layers.Concatenate()(a, layers.ReLU()(b), b), **options)


def doubled_sum(**options):
    """Return a normalization added to itself."""
    a = layers.BatchNormalization()(layers.Dense(4)(i := hg.Input((4,))))
    return hg.Graph(i, layers.ReLU()(layers.Add()(a, a)), **options)


def three_summands(**options):
    """Return a sum of three."""
    h = layers.Dense(4)(i := hg.Input((4,)))
    return hg.Graph(i, layers.ReLU()(layers.Add()(layers.BatchNormalization()(h), h, i)), **options)


def other_axes(**options):
    """Return a normalization per row of an image."""
    h = layers.BatchNormalization(axis=1)(i := hg.Input((3, 4, 2)))
    return hg.Graph(i, layers.ReLU()(h), **options)


def ends_in_normalization(**options):
    """Return a model whose output is a normalization's, after a ReLU after another."""
    h = bn_relu(layers.Dense(4)(i := hg.Input((3,))))
    return hg.Graph(i, layers.BatchNormalization()(h), **options)


def frozen(**options):
    """Return blocks of which some normalizations are frozen."""
    model = blocks(**options)
    model.commit(model.forward(data(model, seed=5), TRAINING)[1])
    model["batch_normalization"].freeze()
    model["batch_normalization_2"].freeze()
    return model


def chained(**options):
    """Return convolutions one after the other, with normalizations and ReLU between."""
    h = bn_relu(conv(bn_relu(conv(bn_relu(conv(i := hg.Input((5, 4, 2)))), 4))))
    return hg.Graph(i, layers.Dense(3)(layers.GlobalAveragePooling2D()(h)), **options)


def geometries(**options):
    """Return convolutions whose kernels do not read and write a tile at a time, but for the last two."""
    h = bn_relu(layers.Conv2D(3, 3, 3, padding="same")(i := hg.Input((25, 22, 2))))
    h = bn_relu(layers.Conv2D(4, 1)(h))
    h = bn_relu(layers.Conv2D(4, 3, padding="same", groups=2)(h))
    h = bn_relu(layers.Conv2D(4, 3, padding="same", dilation_rate=2)(h))
    h = bn_relu(layers.Conv2D(3, 3, 2, padding="same")(h))
    h = layers.Tanh()(layers.BatchNormalization()(layers.Conv2D(4, (3, 3), padding="same")(h)))
    return hg.Graph(i, layers.Flatten()(h), **options)


def shared_convolution(**options):
    """Return a convolution applied twice, between normalizations of its own the first time."""
    shared = layers.Conv2D(2, 3, padding="same")
    h = bn_relu(shared(bn_relu(i := hg.Input((5, 4, 2)))))
    return hg.Graph(i, layers.Flatten()(layers.Add()(shared(h), h)), **options)


def convolution_and_others(**options):
    """Return a normalization whose output a convolution takes, after another layer."""
    h = bn_relu(i := hg.Input((5, 4, 2)))
    return hg.Graph(i, layers.Flatten()(layers.Add()(layers.Tanh()(h), conv(h, 2))), **options)


def residual_of_convolution(**options):
    """Return a sum whose residual, which is not normalized, is what a convolution computes."""
    h = layers.BatchNormalization()(i := hg.Input((5, 4, 2)))
    return hg.Graph(i, layers.ReLU()(layers.Add()(h, conv(i, 2))), **options)


def of_a_kind(**options):
    """Return layers of subclasses, which may compute something else."""

    class Norm(layers.BatchNormalization):
        pass

    class Rectifier(layers.ReLU):
        pass

    i = hg.Input((3,))
    h = layers.ReLU()(Norm()(layers.Dense(4)(i)))
    return hg.Graph(i, Rectifier()(layers.BatchNormalization()(h)), **options)


RELU, ADD, LATER = BatchNormalizationReLU, BatchNormalizationAddReLU, DeferredBatchNormalizationReLU
CONV = FusedConv2D
FUSED = {
    blocks: {
        "conv2d": CONV,
        "batch_normalization": RELU,
        "conv2d_1": CONV,
        "batch_normalization_1": RELU,
        "conv2d_2": CONV,
        "batch_normalization_2": ADD,
        "conv2d_3": CONV,
        "batch_normalization_3": RELU,
        "conv2d_5": CONV,
        "batch_normalization_5": ADD,
    },
    residual_first: {"conv2d_1": CONV, "batch_normalization": ADD},
    vectors: {"batch_normalization": RELU},
    shared_in_turn: {"batch_normalization": RELU, "batch_normalization_1": RELU},
    shared_across: {"batch_normalization_1": ADD},
    shared_between: {},
    used_twice: {},
    doubled_sum: {},
    three_summands: {},
    other_axes: {},
    ends_in_normalization: {"batch_normalization": RELU},
    frozen: {
        "conv2d": CONV,
        "batch_normalization": RELU,
        "conv2d_1": CONV,
        "batch_normalization_1": RELU,
        "conv2d_2": CONV,
        "batch_normalization_2": ADD,
        "conv2d_3": CONV,
        "batch_normalization_3": RELU,
        "conv2d_5": CONV,
        "batch_normalization_5": ADD,
    },
    of_a_kind: {},
    chained: {
        "conv2d": CONV,
        "batch_normalization": LATER,
        "conv2d_1": CONV,
        "batch_normalization_1": LATER,
        "conv2d_2": CONV,
        "batch_normalization_2": RELU,
    },
    geometries: {
        "batch_normalization": RELU,
        "batch_normalization_1": RELU,
        "batch_normalization_2": RELU,
        "batch_normalization_3": LATER,
        "conv2d_4": CONV,
        "batch_normalization_4": LATER,
        "conv2d_5": CONV,
    },
    shared_convolution: {
        "batch_normalization": LATER,
        "conv2d": CONV,
        "batch_normalization_1": RELU,
        "conv2d_1": CONV,
    },
    convolution_and_others: {"batch_normalization": RELU, "conv2d": CONV},
    residual_of_convolution: {"conv2d": CONV, "batch_normalization": ADD},
}
each_model = pytest.mark.parametrize("build", [*FUSED, *MODELS.values()], ids=lambda f: f.__name__)


@pytest.mark.parametrize(("build", "expected"), FUSED.items(), ids=lambda f: getattr(f, "__name__", ""))
def test_what_is_fused(build, expected):
    model = build()
    fused = fuse(model)
    layers_of = {n.name: n.layer for n in fused.nodes}
    assert {name: type(layer) for name, layer in layers_of.items() if isinstance(layer, Fused)} == expected
    normalizations = {n.layer.layer: n for n in fused.nodes if isinstance(n.layer, FusedNormalization)}
    for k, node in enumerate(fused.nodes):
        if type(node.layer) is CONV and (bn := node.layer.measures_for) is not None:
            assert [n for n in fused.nodes if k + 1 in n.inputs] == [normalizations[bn]]
    assert (fused is model) == (not expected)
    others = [n for n in fused.nodes if n.name not in expected]
    assert all(model[n.name] is n.layer for n in others)
    assert len({n.name for n in fused.nodes}) == len(fused.nodes)


@each_model
def test_parameters_and_buffers_are_the_same_by_the_same_paths(build):
    model = build()
    before = {name: id(p.value.base) for name, p in model.parameters().items()}
    paths = [layer.path for layer in model.layers]
    fused = fuse(model)
    for of in (hg.Graph.parameters, hg.Graph.trainable_parameters, hg.Graph.buffers):
        mine, theirs = of(model), of(fused)
        assert mine.keys() == theirs.keys()
        assert all(mine[name] is theirs[name] for name in mine)
    assert {name: id(p.value.base) for name, p in fused.parameters().items()} == before
    assert [layer.path for layer in model.layers] == paths
    assert all(p.name == name for name, p in model.parameters().items())
    assert (fused.input_shape, fused.output_shape) == (model.input_shape, model.output_shape)
    assert (fused.dtype, fused.seed, fused.name) == (model.dtype, model.seed, model.name)


@each_model
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_the_same(build, training):
    model = build(dtype="float64")
    model.commit(model.forward(data(model, seed=4), TRAINING)[1])
    fused, run, x = fuse(model), Run(training=training, rng=hg.rng.Stream((3,))), data(model)
    results = []
    for graph in (model, fused):
        model.zero_grad()
        y, trace = graph.forward(x, run)
        dy = np.random.default_rng(1).normal(size=y.shape)
        dx = graph.backward(dy, trace, run, need_dx=True)
        before = model.state()
        graph.commit(trace)
        after = {name: model.state()[name] for name in model.buffers()}
        model.load_state(before)
        results.append(
            {"y": y, "dx": dx, **after, **{n: p.grad.copy() for n, p in model.parameters().items()}}
        )
    for name, value in results[0].items():
        np.testing.assert_allclose(results[1][name], value, rtol=1e-12, atol=1e-14, err_msg=name)
        if name in model.buffers():
            np.testing.assert_array_equal(results[1][name], value, err_msg=name)


@pytest.mark.parametrize("build", [b for b, expected in FUSED.items() if expected], ids=lambda f: f.__name__)
@pytest.mark.parametrize("training", [True, False])
def test_gradients_by_complex_step(build, training):
    model = fuse(build())
    report = hg.testing.gradcheck(model, data(model), training=training, method="complex")
    assert max(report.errors.values()) <= 1e-10


def test_nothing_needed_is_computed_where_nothing_is_trained():
    """A frozen normalization at the beginning needs no gradient, fused or not."""
    model = hg.Sequential(
        [layers.BatchNormalization(), layers.ReLU(), layers.Dense(2)], input_shape=(3,), dtype="float64"
    )
    model.commit(model.forward(data(model), TRAINING)[1])
    model["batch_normalization"].freeze()
    seen, fused = [], fuse(model)
    y, trace = fused.forward(data(model), TRAINING)
    fused.backward(np.ones_like(y), trace, TRAINING, watch=lambda node, dy: seen.append(node.name))
    assert seen == ["dense"]
    assert not model["batch_normalization"].gamma.grad.any()


def test_freezing_later_counts():
    model = vectors()
    fused, x = fuse(model), data(model, dtype=np.float32)
    _, trace = fused.forward(x, TRAINING)
    fused.commit(trace)
    assert model["batch_normalization"].updates.value == 1
    model["batch_normalization"].freeze()
    assert "batch_normalization.gamma" not in fused.trainable_parameters()
    _, trace = fused.forward(x, TRAINING)
    fused.commit(trace)
    assert model["batch_normalization"].updates.value == 1


def test_errors_and_warnings_name_the_layers_of_the_model():
    model = vectors()
    for graph in (model, fuse(model)):
        with pytest.raises(
            hg.errors.ShapeError, match=r"^batch_normalization \(BatchNormalization\): expected at"
        ):
            graph.forward(np.ones((1, 3), np.float32), TRAINING)
        with pytest.warns(UserWarning, match=r"^batch_normalization \(BatchNormalization\): the running"):
            graph.forward(np.ones((1, 3), np.float32), Run())


def test_the_given_model_is_left_as_it_is():
    model = blocks()
    nodes = model.nodes
    fuse(model)
    assert model.nodes is nodes
    assert model["relu"]
    assert "BatchNormalizationReLU" not in model.summary()


def test_a_fused_model_is_of_its_class():
    class Counted(hg.Sequential):
        calls = 0

        def forward(self, *args, **kwargs):
            type(self).calls += 1
            return super().forward(*args, **kwargs)

    model = Counted([layers.BatchNormalization(), layers.ReLU()], input_shape=(3,))
    fused = fuse(model)
    fused.forward(data(model), TRAINING)
    assert len(fused.nodes) == 1
    assert Counted.calls == 1


def test_patterns_are_looked_for_in_what_those_before_left():
    """A pattern of one's own, on top of those here."""

    class Scaled(layers.Layer):
        pass

    def after_fused(uses: Uses, k: int) -> Match | None:
        bn = uses.sole(uses.nodes[k].inputs[0], BatchNormalizationReLU)
        if bn is None or type(uses.nodes[k].layer) is not layers.Dense:
            return None
        return Match((bn, k), uses.nodes[k].name, Scaled(), uses.nodes[bn].inputs)

    model = hg.Sequential(
        [layers.Dense(4), layers.BatchNormalization(), layers.ReLU(), layers.Dense(2)], input_shape=(3,)
    )
    assert [n.name for n in fuse(model, (*PATTERNS, after_fused)).nodes] == ["dense", "dense_1"]
    assert fuse(model, ()) is model
