"""Modes of batch normalization: cumulative, without running statistics, ghosts, masks and the others."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import BuildError, ShapeError
from handgrad.graph.fuse import fuse
from handgrad.kernels.select import tables
from handgrad.layers import BatchNormalization, Run
from handgrad.layers.batch_statistics import ghosts
from handgrad.layers.fused_norm import BatchNormalizationAddReLU, BatchNormalizationReLU
from tests.layers.cases import normal
from tests.layers.normalizing import batch_statistics, built, derivative, normalized

TRAINING = Run(training=True)
CLOSE = {"rtol": 1e-11, "atol": 1e-13}


def step(bn, x, dy, run=TRAINING):
    """Return y, dx, dgamma and dbeta; the running statistics have moved."""
    for p in bn.parameters().values():
        p.zero_grad()
    y, saved = bn.forward(x, run)
    dx = bn.backward(dy, saved, run)
    bn.commit(bn.retained(saved))
    return y, dx, *(p.grad.copy() for p in bn.parameters().values())


# --- cumulative average -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unbiased", "biased"])
def test_without_momentum_running_statistics_are_the_mean_over_all_updates(kind):
    bn = built((3, 2), momentum=None, running_variance=kind)
    means, variances = [], []
    for seed, n in enumerate((5, 2, 7, 5)):
        x = 2 + 3 * normal(n, 3, 2, seed=seed)
        bn.commit(bn.forward(x, TRAINING)[1])
        means.append(x.mean(axis=(0, 1)))
        variances.append(x.var(axis=(0, 1), ddof=int(kind == "unbiased")))
        np.testing.assert_allclose(bn.running_mean.value, np.mean(means, axis=0), rtol=1e-13)
        np.testing.assert_allclose(bn.running_var.value, np.mean(variances, axis=0), rtol=1e-13)
    assert bn.updates.value == 4


def test_the_first_update_of_a_cumulative_average_leaves_nothing_of_0_and_1():
    bn = built((2,), momentum=None, debias=True)
    x = normal(5, 2)
    bn.commit(bn.forward(x, TRAINING)[1])
    np.testing.assert_array_equal(bn.running_mean.value, tables()["reference"].batch_norm_statistics(x)[0])
    np.testing.assert_array_equal(bn.inference_statistics()[1], bn.running_var.value)


# --- no running statistics ----------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_without_running_statistics_every_batch_is_normalized_by_itself(training, frozen):
    bn = built((3, 2), running_statistics=False)
    assert bn.buffers() == {}
    if frozen:
        bn.freeze()
    x, u, run = 1 + normal(4, 3, 2), normal(4, 3, 2, seed=1), Run(training=training)
    y, dx, dgamma, _ = step(bn, x, u, run)
    at = [x, bn.gamma.value, bn.beta.value]
    formula = lambda x, gamma, beta: normalized(x, gamma, beta, *batch_statistics(x), bn.epsilon)  # noqa: E731
    np.testing.assert_allclose(y, formula(*at), **CLOSE)
    np.testing.assert_allclose(dx, derivative(lambda z: np.sum(u * formula(z, *at[1:])), x), **CLOSE)
    expected = derivative(lambda z: np.sum(u * formula(x, z, at[2])), at[1])
    np.testing.assert_allclose(dgamma, expected * (not frozen), **CLOSE)


def test_one_value_per_channel_without_running_statistics_is_an_error_in_inference():
    bn = built((2,), running_statistics=False, name="bn")
    with pytest.raises(ShapeError) as error:
        bn.forward(normal(1, 2), Run())
    assert str(error.value) == (
        "bn (BatchNormalization): expected at least 2 values per channel in a batch, got 1; its variance is "
        "0 and the output would not depend on the input: use larger batches or drop_last=True, "
        'on_single="running", freeze() the layer, or normalize over fewer axes'
    )
    assert bn.forward(normal(0, 2), Run())[0].shape == (0, 2)


def test_a_channel_count_that_does_not_fit_is_told_without_running_statistics():
    bn = built((2,), running_statistics=False, name="bn")
    with pytest.raises(ShapeError) as error:
        bn.forward(normal(4, 3), Run())
    assert str(error.value) == "bn (BatchNormalization): expected 2 channels, got 3 (shape (3,))"


# --- batch renormalization ----------------------------------------------------------------------------


def renormalized(bn, x, limits):
    """Return r and d of the paper, for the running statistics as they are."""
    sigma = np.sqrt(bn.running_var.value + bn.epsilon)
    mean, var = batch_statistics(x)
    r = np.sqrt(var + bn.epsilon) / sigma
    d = (mean - bn.running_mean.value) / sigma
    return np.clip(r, 1 / limits[0], limits[0]), np.clip(d, -limits[1], limits[1])


@pytest.mark.parametrize("limits", [(3.0, 5.0), (1.2, 0.3), (1.0, 0.0), (100.0, 100.0)], ids=str)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
@pytest.mark.parametrize(("mean", "std"), [(1, 2), (-5, 0.1)])
def test_renormalization_is_the_paper_s_with_r_and_d_constant_in_backward(limits, options, mean, std):
    bn = built((3, 2), moved=2, renorm=limits, momentum=0.9, **options)
    x, u = mean + std * normal(4, 3, 2), normal(4, 3, 2, seed=1)
    gamma = bn.gamma.value.copy() if bn.gamma else np.ones(2)
    beta = bn.beta.value.copy() if bn.beta else np.zeros(2)
    r, d = renormalized(bn, x, limits)
    running = bn.running_mean.value.copy()

    def formula(x, gamma, beta):
        return gamma * (normalized(x, r, 0, *batch_statistics(x), bn.epsilon) + d) + beta

    y, dx, *gradients = step(bn, x, u)
    at = [x, gamma, beta]
    expected = [
        derivative(lambda z, k=k: np.sum(u * formula(*at[:k], z, *at[k + 1 :])), at[k]) for k in range(3)
    ]
    np.testing.assert_allclose(y, formula(*at), **CLOSE)
    np.testing.assert_allclose(dx, expected[0], **CLOSE)
    there = [k for k, p in ((1, bn.gamma), (2, bn.beta)) if p]
    assert len(gradients) == len(there)
    for found, k in zip(gradients, there, strict=True):
        np.testing.assert_allclose(found, expected[k], **CLOSE)
    np.testing.assert_allclose(bn.running_mean.value, 0.9 * running + 0.1 * batch_statistics(x)[0], **CLOSE)


def test_within_limits_training_computes_what_inference_does():
    bn = built((3, 2), moved=2, renorm=(1e3, 1e3))
    x = 1 + 2 * normal(4, 3, 2)
    inference, _ = bn.forward(x, Run())
    np.testing.assert_allclose(bn.forward(x, TRAINING)[0], inference, **CLOSE)
    bn.renorm = (1.0, 0.0)
    plain = built((3, 2), moved=2)
    for found, expected in zip(step(bn, x, x[::-1]), step(plain, x, x[::-1]), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_there_is_nothing_to_renormalize_by_before_the_first_update():
    one, two = built((2,), renorm=(3.0, 5.0)), built((2,))
    x = 5 + normal(4, 2)
    for found, expected in zip(step(one, x, x[::-1]), step(two, x, x[::-1]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not np.allclose(one.forward(x, TRAINING)[0], two.forward(x, TRAINING)[0])


@pytest.mark.parametrize("kernels", tables().values(), ids=tables().keys())
def test_renormalization_in_float32(kernels):
    x, u = 1 + 2 * normal(40, 3, 5), normal(40, 3, 5, seed=1)
    run = Run(training=True, kernels=kernels)
    wide = step(built((3, 5), moved=2, renorm=(1.5, 0.5)), x, u)
    narrow = built((3, 5), np.float32, moved=2, renorm=(1.5, 0.5))
    for found, expected in zip(step(narrow, x.astype("f4"), u.astype("f4"), run), wide, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_renormalization_keeps_the_contract():
    for shape, options in (((3, 2), {}), ((5,), {"scale": False}), ((2, 3, 2), {"axis": (1, -1)})):
        layer = BatchNormalization(renorm=(1.1, 0.2), **options)
        assert len(hg.testing.check_layer(layer, shape, batch=5)) == 11


# --- ghost batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "size", "parts"),
    [(8, 4, [4, 4]), (70, 32, [35, 35]), (11, 3, [4, 4, 3]), (3, 5, [3]), (5, 1, [1] * 5), (0, 4, [0])],
)
def test_ghost_batches_are_never_smaller_than_asked_for_and_differ_by_one(n, size, parts):
    slices = list(ghosts(n, size))
    assert [s.stop - s.start for s in slices] == parts
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(n))


@pytest.mark.parametrize("axis", [-1, 1])
def test_ghost_batches_are_batches_of_their_own(axis):
    bn, alone = (built((3, 2), axis=axis, momentum=0.9, **o) for o in ({"ghost_size": 3}, {}))
    x, u = 1 + 2 * normal(7, 3, 2), normal(7, 3, 2, seed=1)
    y, dx, dgamma, dbeta = step(bn, x, u)
    expected = [step(alone, x[part], u[part]) for part in (slice(0, 4), slice(4, 7))]
    np.testing.assert_array_equal(y, np.concatenate([e[0] for e in expected]))
    np.testing.assert_array_equal(dx, np.concatenate([e[1] for e in expected]))
    np.testing.assert_array_equal(dgamma, expected[0][2] + expected[1][2])
    np.testing.assert_array_equal(dbeta, expected[0][3] + expected[1][3])


def test_running_statistics_move_once_by_those_of_all_ghost_batches_together():
    bn, whole = built((3, 2), ghost_size=3), built((3, 2))
    x = 1 + 2 * normal(8, 3, 2)
    step(bn, x, x)
    step(whole, x, x)
    assert bn.updates.value == 1
    for name, buffer in whole.buffers().items():
        np.testing.assert_allclose(bn.buffers()[name].value, buffer.value, rtol=1e-13, err_msg=name)


def test_ghost_batches_are_not_looked_for_in_inference():
    bn = built((2,), moved=1, ghost_size=2)
    x = normal(5, 2)
    np.testing.assert_array_equal(bn.forward(x, Run())[0], built((2,), moved=1).forward(x, Run())[0])
    bn.use_batch_statistics = False
    np.testing.assert_array_equal(bn.forward(x, TRAINING)[0], bn.forward(x, Run())[0])


# --- mask ---------------------------------------------------------------------------------------------

ROWS = np.array([True, False, True, True, False, True])
LAYERS = {
    "alone": lambda bn: bn,
    "relu": BatchNormalizationReLU,
    "add": BatchNormalizationAddReLU,
}


@pytest.mark.parametrize(
    ("kind", "renorm"), [("alone", None), ("alone", (1.2, 0.3)), ("relu", None), ("add", None)], ids=str
)
@pytest.mark.parametrize("positions", [False, True])
def test_what_is_masked_counts_in_no_statistic_and_gets_no_gradient_through_one(kind, positions, renorm):
    bn = built((3, 2), moved=2, momentum=0.9, renorm=renorm)
    layer = LAYERS[kind](bn)
    x, r, u = 1 + 2 * normal(6, 3, 2), normal(6, 3, 2, seed=1), normal(6, 3, 2, seed=2)
    mask = ROWS[:, None] & (np.arange(3) < 2) if positions else ROWS
    over = np.broadcast_to(mask if positions else mask[:, None], (6, 3)).reshape(-1)
    gamma, beta, running = bn.gamma.value.copy(), bn.beta.value.copy(), bn.running_mean.value.copy()
    r_, d_ = (1, 0) if renorm is None else renormalized(bn, x.reshape(18, 2)[over], renorm)

    def formula(x, gamma, beta):
        z = gamma * (normalized(x, r_, 0, *batch_statistics(x, over), bn.epsilon) + d_) + beta
        z = z + r if kind == "add" else z
        return z if kind == "alone" else z * (z.real > 0)

    run = Run(training=True, mask=mask)
    y, saved = layer.forward((x, r) if kind == "add" else x, run)
    dx = layer.backward(u, saved, run)
    layer.commit(layer.retained(saved))
    at = [x, gamma, beta]
    expected = [
        derivative(lambda z, k=k: np.sum(u * formula(*at[:k], z, *at[k + 1 :])), at[k]) for k in range(3)
    ]
    np.testing.assert_allclose(y, formula(*at), **CLOSE)
    np.testing.assert_allclose(dx[0] if kind == "add" else dx, expected[0], **CLOSE)
    np.testing.assert_allclose(bn.gamma.grad, expected[1], **CLOSE)
    np.testing.assert_allclose(bn.beta.grad, expected[2], **CLOSE)
    mean, _ = batch_statistics(x, over)
    np.testing.assert_allclose(bn.running_mean.value, 0.9 * running + 0.1 * mean, **CLOSE)


@pytest.mark.parametrize("kernels", tables().values(), ids=tables().keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_padded_batch_trains_as_the_batch_does(kernels, dtype):
    x, u = (normal(6, 4, 3, 5, seed=s, dtype=dtype) for s in (0, 1))
    padded = np.concatenate([x, np.full((3, 4, 3, 5), 1e4, dtype)])
    upstream = np.concatenate([u, np.zeros((3, 4, 3, 5), dtype)])
    run = Run(training=True, kernels=kernels)
    alone, bn = built((4, 3, 5), dtype), built((4, 3, 5), dtype)
    expected = step(alone, x, u, run)
    found = step(bn, padded, upstream, Run(training=True, kernels=kernels, mask=np.arange(9) < 6))
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a[: len(b)], b, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found[1][6:], 0)
    for name, buffer in alone.buffers().items():
        np.testing.assert_array_equal(bn.buffers()[name].value, buffer.value)


def test_a_mask_of_all_is_none_and_one_of_nothing_moves_nothing():
    x, u = normal(5, 3, 2), normal(5, 3, 2, seed=1)
    expected = step(built((3, 2)), x, u)
    found = step(built((3, 2)), x, u, Run(training=True, mask=np.ones(5, bool)))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    bn = built((3, 2))
    y, dx, *_ = step(bn, x, u, Run(training=True, mask=np.zeros(5, bool)))
    assert np.isfinite(y).all()
    np.testing.assert_allclose(dx, bn.gamma.value * u / np.sqrt(1 + bn.epsilon), rtol=1e-13)
    assert bn.updates.value == 0


def test_a_mask_does_not_matter_where_statistics_are_the_running_ones():
    bn, x = built((3, 2), moved=1), normal(5, 3, 2)
    plain = bn.forward(x, Run())[0]
    np.testing.assert_array_equal(bn.forward(x, Run(mask=ROWS[:5]))[0], plain)
    bn.freeze()
    np.testing.assert_array_equal(bn.forward(x, Run(training=True, mask=ROWS[:5]))[0], plain)


def test_ghost_batches_are_masked_each_by_its_part():
    bn, alone = built((3, 2), ghost_size=3), built((3, 2))
    x, u = normal(6, 3, 2), normal(6, 3, 2, seed=1)
    mask = np.array([True, True, False, False, True, True])
    y, dx, dgamma, _ = step(bn, x, u, Run(training=True, mask=mask))
    parts = [
        step(alone, x[i : i + 3], u[i : i + 3], Run(training=True, mask=mask[i : i + 3])) for i in (0, 3)
    ]
    np.testing.assert_array_equal(y, np.concatenate([p[0] for p in parts]))
    np.testing.assert_array_equal(dx, np.concatenate([p[1] for p in parts]))
    np.testing.assert_array_equal(dgamma, parts[0][2] + parts[1][2])
    np.testing.assert_allclose(bn.running_mean.value, 0.01 * x[mask].mean(axis=(0, 1)), rtol=1e-12)


@pytest.mark.parametrize(
    ("mask", "got"),
    [
        (np.ones(6), "float64 of shape (6,)"),
        (np.ones(5, bool), "bool of shape (5,)"),
        (np.ones((6, 4), bool), "bool of shape (6, 4)"),
        (np.ones((6, 3, 2), bool), "bool of shape (6, 3, 2)"),
        (np.bool_(True), "bool of shape ()"),
    ],
    ids=str,
)
def test_masks_that_do_not_fit(mask, got):
    bn = built((3, 2), name="bn")
    with pytest.raises(ShapeError) as error:
        bn.forward(normal(6, 3, 2), Run(training=True, mask=mask))
    assert str(error.value) == (
        "bn (BatchNormalization) mask: expected bools of shape (6,) or (6, 3) for inputs of (6, 3, 2), "
        f"got {got}; one for each sample fits every layer"
    )


def test_a_mask_of_samples_reaches_every_layer_of_a_model_fused_or_not():
    i = hg.Input((6, 6, 3))
    h = layers.ReLU()(BatchNormalization()(layers.Conv2D(4, 3, padding="same")(i)))
    h = layers.ReLU()(BatchNormalization()(layers.Conv2D(4, 3, padding="same")(h)))
    h = layers.MaxPooling2D(2)(h)
    h = BatchNormalization()(layers.Dense(5)(layers.Flatten()(h)))
    model = hg.Graph(i, h, dtype="float64")
    x = np.concatenate([normal(5, 6, 6, 3), np.full((2, 6, 6, 3), 9.0)])
    u = np.concatenate([normal(5, 5, seed=1), np.zeros((2, 5))])

    def stepped(graph, x, u, run):
        model.zero_grad()
        y, trace = graph.forward(x, run)
        graph.backward(u, trace, run)
        return [y[:5], *(p.grad.copy() for p in model.parameters().values())]

    expected = stepped(model, x[:5], u[:5], TRAINING)
    for graph in (model, fuse(model)):
        found = stepped(graph, x, u, Run(training=True, mask=np.arange(7) < 5))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
    assert len(fuse(model).nodes) < len(model.nodes)


# --- one value per channel ----------------------------------------------------------------------------


def test_one_value_per_channel_can_be_normalized_by_the_running_statistics():
    bn, frozen = built((2,), moved=3, on_single="running"), built((2,), moved=3)
    frozen.use_batch_statistics = frozen.update_running_statistics = False
    x, u = normal(1, 2), normal(1, 2, seed=1)
    for found, expected in zip(step(bn, x, u), step(frozen, x, u), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert bn.updates.value == 3
    step(bn, normal(2, 2), normal(2, 2))
    assert bn.updates.value == 4


def test_a_last_batch_of_one_sample_can_be_trained_on():
    x, y = normal(9, 4, dtype=np.float32), np.arange(9) % 2
    chain = [layers.Dense(3), BatchNormalization(on_single="running"), layers.ReLU(), layers.Dense(2)]
    model = hg.Sequential(chain, input_shape=(4,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hg.Trainer(model, "cross_entropy", "sgd").fit(x, y, batch_size=4)
    assert model["batch_normalization"].updates.value == 2


def test_with_running_statistics_kept_up_one_value_moves_nothing_and_is_no_error():
    bn = built((2,), moved=1, use_batch_statistics=False)
    step(bn, normal(1, 2), normal(1, 2))
    assert bn.updates.value == 1


# --- in models ----------------------------------------------------------------------------------------

MODES = {
    "cumulative": {"momentum": None},
    "debiased": {"debias": True},
    "no running statistics": {"running_statistics": False},
    "renormalized": {"renorm": (2.0, 3.0)},
    "ghosts": {"ghost_size": 3},
    "single": {"on_single": "running"},
}
each_mode = pytest.mark.parametrize("mode", MODES)


def network(mode, dtype="float64"):
    options = MODES[mode]
    return hg.Sequential(
        [
            layers.Conv2D(3, 3, padding="same", use_bias=False),
            BatchNormalization(**options),
            layers.ReLU(),
            layers.Conv2D(3, 3),
            BatchNormalization(**options),
            layers.ReLU(),
        ],
        input_shape=(5, 4, 2),
        dtype=dtype,
    )


def trained(model, graph=None, steps=3):
    """Return output and gradients of the last of a few forwards, backwards and commits."""
    graph = graph or model
    for seed in range(steps):
        model.zero_grad()
        y, trace = graph.forward(1 + normal(7, 5, 4, 2, seed=seed), TRAINING)
        graph.backward(normal(*y.shape, seed=9), trace, TRAINING, release=True)
        graph.commit(trace)
    return y, {name: p.grad.copy() for name, p in model.parameters().items()}


@each_mode
def test_fused_in_training_it_is_what_it_is_alone(mode):
    one, two = network(mode), network(mode)
    (y, grads), (z, others) = trained(one), trained(two, fuse(two))
    np.testing.assert_allclose(z, y, rtol=1e-11, atol=1e-12)
    for name, g in grads.items():
        np.testing.assert_allclose(others[name], g, rtol=1e-10, atol=1e-10, err_msg=name)
    for name, b in one.buffers().items():
        np.testing.assert_allclose(two.buffers()[name].value, b.value, rtol=1e-12, err_msg=name)
    assert (len(fuse(one).nodes) == 6) == (mode in ("renormalized", "ghosts"))


@each_mode
def test_it_is_saved_loaded_summarized_and_looked_into(mode, tmp_path):
    model = network(mode)
    trained(model)
    hg.save(model, tmp_path / "m.safetensors")
    again = hg.load(tmp_path / "m.safetensors")
    assert again["batch_normalization"].config() == model["batch_normalization"].config()
    x = normal(4, 5, 4, 2)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.summary() == model.summary()
    for name, y in model.intermediates(x).items():
        np.testing.assert_array_equal(again.intermediates(x)[name], y)
    trained(model, steps=1)
    trained(again, steps=1)
    for name, value in model.state().items():
        np.testing.assert_array_equal(again.state()[name], value)


@each_mode
def test_folded_it_is_what_inference_computes_or_is_left_alone(mode):
    model = network(mode)
    trained(model)
    folded = hg.fold(model)
    x = normal(4, 5, 4, 2, seed=7)
    np.testing.assert_allclose(folded.predict(x), model.predict(x), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(hg.Predictor(model, 4).predict(x), model.predict(x), rtol=1e-11, atol=1e-12)
    left = [n.name for n in folded.nodes if isinstance(n.layer, BatchNormalization)]
    assert (left == []) == (mode != "no running statistics")
    before = folded if left else folded.unfold()
    for name, value in model.state().items():
        np.testing.assert_array_equal(before.state()[name], value)


@pytest.mark.parametrize("change", [{"renorm": (2.0, 1.0)}, {"ghost_size": 2}], ids=str)
def test_a_mode_that_is_not_fused_cannot_be_turned_on_in_a_fused_model(change):
    model = network("single", "float32")
    graph = fuse(model)
    for name, value in change.items():
        setattr(model["batch_normalization"], name, value)
    with pytest.raises(BuildError) as error:
        graph.forward(normal(4, 5, 4, 2), TRAINING)
    got = {"renorm": None, "ghost_size": None} | change
    assert str(error.value) == (
        "batch_normalization (BatchNormalization): expected renorm and ghost_size to be None, as when the "
        f"model was fused, got renorm={got['renorm']}, ghost_size={got['ghost_size']}; make a new Trainer, "
        "or set them before the first"
    )


# --- as PyTorch computes ------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({"momentum": None}, {"momentum": None}),
        ({"momentum": 0.75}, {"momentum": 0.25}),
        ({"running_statistics": False}, {"track_running_stats": False}),
    ],
    ids=["cumulative", "momentum", "no running statistics"],
)
def test_pytorch_computes_the_same(options, theirs, training):
    torch = pytest.importorskip("torch")
    bn = built((4, 3, 2), **options)
    module = torch.nn.BatchNorm2d(2, dtype=torch.float64, **theirs)
    with torch.no_grad():
        module.weight.copy_(torch.tensor(bn.gamma.value))
        module.bias.copy_(torch.tensor(bn.beta.value))
    for seed in range(3):
        x = 1 + 2 * normal(5, 4, 3, 2, seed=seed)
        bn.commit(bn.forward(x, TRAINING)[1])
        module(torch.tensor(x).permute(0, 3, 1, 2))
    module.train(training)
    x, u = normal(5, 4, 3, 2, seed=7), normal(5, 4, 3, 2, seed=8)
    t = torch.tensor(x, requires_grad=True)
    z = module(t.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    z.backward(torch.tensor(u))
    y, dx, dgamma, dbeta = step(bn, x, u, Run(training=training))
    wanted = z, t.grad, module.weight.grad, module.bias.grad
    for found, expected in zip((y, dx, dgamma, dbeta), wanted, strict=True):
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-11, atol=1e-12)
    for name in ("running_mean", "running_var") if bn.buffers() else ():
        np.testing.assert_allclose(
            bn.buffers()[name].value, getattr(module, name).numpy(), rtol=1e-12, err_msg=name
        )
