"""Batch normalization of a batch that lies in shares, in threads: as if it were in one place."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ShapeError
from handgrad.graph.fuse import fuse
from handgrad.kernels.select import tables
from handgrad.layers import BatchNormalization, Run
from handgrad.layers.batch_statistics import Moments, pooled
from handgrad.layers.fused_norm import BatchNormalizationAddReLU, BatchNormalizationReLU
from tests.layers.cases import normal
from tests.layers.normalizing import Threads, built

SHARES = {
    "two": [3, 3],
    "uneven": [1, 4, 2],
    "one is empty": [0, 3, 4],
    "all but one are empty": [0, 0, 5, 0],
    "four of one": [1, 1, 1, 1],
    "one": [6],
}
each_division = pytest.mark.parametrize("sizes", SHARES.values(), ids=SHARES)
LAYERS = {
    "alone": lambda bn: bn,
    "relu": BatchNormalizationReLU,
    "add": BatchNormalizationAddReLU,
}


def cut(a, sizes):
    ends = np.cumsum(sizes)[:-1]
    return np.split(a, ends)


def step(layer, x, u, run):
    y, saved = layer.forward(x, run)
    dx = layer.backward(u, saved, run)
    layer.commit(layer.retained(saved))
    dx = dx if isinstance(dx, tuple) else (dx,)
    gradients = {f"d{name}": p.grad.copy() for name, p in layer.parameters().items()}
    return {"y": y} | {f"dx{i}": d for i, d in enumerate(dx)}, gradients, layer.buffers()


def whole_and_shares(make, x, u, sizes, **options):
    """Return what the batch gives in one place, and what its shares give, put together."""
    whole = step(make(), x, u, Run(training=True, **options))
    parts = list(zip(*(cut(a, sizes) for a in x), strict=True)) if isinstance(x, tuple) else cut(x, sizes)
    us = cut(u, sizes)
    models = [make() for _ in sizes]

    def share(rank, comm):
        return step(models[rank], parts[rank], us[rank], Run(training=True, comm=comm, **options))

    found = Threads(len(sizes)).run(share)
    arrays = {name: np.concatenate([f[0][name] for f in found]) for name in whole[0]}
    sums = {name: sum(f[1][name] for f in found) for name in whole[1]}
    return whole, (arrays, sums, [f[2] for f in found])


@each_division
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("kernels", tables().values(), ids=tables().keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_give_what_the_whole_batch_gives(sizes, kind, kernels, dtype):
    n = sum(sizes)
    x, r, u = (1 + 2 * normal(n, 4, 3, seed=s, dtype=dtype) for s in range(3))
    whole, shares = whole_and_shares(
        lambda: LAYERS[kind](built((4, 3), dtype, momentum=0.9)),
        (x, r) if kind == "add" else x,
        u,
        sizes,
        kernels=kernels,
    )
    tolerance = 3e-6 if dtype == np.float32 else 1e-13
    for expected, found in zip(whole[:2], shares[:2], strict=True):
        for name, value in expected.items():
            assert found[name].dtype == dtype
            np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=4 * tolerance, err_msg=name)
    for buffers in shares[2]:
        for name, buffer in whole[2].items():
            np.testing.assert_allclose(
                buffers[name].value, buffer.value, rtol=1e-6 if dtype == np.float32 else 1e-13
            )
            np.testing.assert_array_equal(buffers[name].value, shares[2][0][name].value)


@pytest.mark.parametrize(
    "options",
    [{"renorm": (1.2, 0.3)}, {"momentum": None}, {"axis": 1}, {"use_batch_statistics": False}],
    ids=str,
)
def test_shares_in_other_modes(options):
    x, u = 1 + 2 * normal(7, 4, 3), normal(7, 4, 3, seed=1)
    whole, shares = whole_and_shares(lambda: built((4, 3), moved=2, **options), x, u, [3, 0, 4])
    for expected, found in zip(whole[:2], shares[:2], strict=True):
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-13, err_msg=name)
    for name, buffer in whole[2].items():
        np.testing.assert_allclose(shares[2][1][name].value, buffer.value, rtol=1e-13)


def test_masked_rows_of_a_share_do_not_count():
    x, u = 1 + 2 * normal(6, 4, 3), normal(6, 4, 3, seed=1)
    mask = np.array([True, False, True, True, True, False])
    whole = step(built((4, 3)), x, u, Run(training=True, mask=mask))
    models, parts, us, masks = (
        [built((4, 3)) for _ in range(2)],
        cut(x, [2, 4]),
        cut(u, [2, 4]),
        cut(mask, [2, 4]),
    )

    def share(rank, comm):
        return step(models[rank], parts[rank], us[rank], Run(training=True, comm=comm, mask=masks[rank]))

    found = Threads(2).run(share)
    for name, value in whole[0].items():
        np.testing.assert_allclose(np.concatenate([f[0][name] for f in found]), value, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found[1][2]["running_mean"].value, whole[2]["running_mean"].value, rtol=1e-13)


def test_ghost_batches_stay_in_their_share_and_move_the_running_statistics_together():
    x, u = 1 + 2 * normal(8, 4, 3), normal(8, 4, 3, seed=1)
    whole, shares = whole_and_shares(lambda: built((4, 3), ghost_size=2), x, u, [4, 4])
    for name, value in whole[0].items():
        np.testing.assert_array_equal(shares[0][name], value)
    for buffers in shares[2]:
        np.testing.assert_allclose(buffers["running_var"].value, whole[2]["running_var"].value, rtol=1e-13)


def network():
    i = hg.Input((4, 4, 3))
    h = layers.ReLU()(BatchNormalization()(i))
    z = BatchNormalization()(layers.Conv2D(3, 3, padding="same", use_bias=False)(h))
    z = layers.ReLU()(layers.Add()(z, h))
    z = layers.ReLU()(BatchNormalization()(layers.Conv2D(3, 3)(z)))
    return hg.Graph(i, z, dtype="float64", seed=1)


@pytest.mark.parametrize("fused", [False, True])
def test_a_model_in_shares_and_again_bit_for_bit(fused):
    x, u = normal(7, 4, 4, 3), normal(7, 2, 2, 3, seed=1)
    sizes, threads = [2, 0, 4, 1], Threads(4)

    def stepped(model, x, u, run):
        graph = fuse(model) if fused else model
        y, trace = graph.forward(x, run)
        dx = graph.backward(u, trace, run, need_dx=True, release=True)
        graph.commit(trace)
        return y, dx, {n: p.grad.copy() for n, p in model.parameters().items()}, model.buffers()

    expected = stepped(network(), x, u, Run(training=True))
    xs, us = cut(x, sizes), cut(u, sizes)

    def share(rank, comm):
        return stepped(network(), xs[rank], us[rank], Run(training=True, comm=comm))

    found, again = threads.run(share), threads.run(share)
    assert threads.calls == 12  # a forward and a backward of three layers, twice
    for k in range(2):
        np.testing.assert_allclose(np.concatenate([f[k] for f in found]), expected[k], rtol=1e-10, atol=1e-12)
    for name, g in expected[2].items():
        np.testing.assert_allclose(sum(f[2][name] for f in found), g, rtol=1e-10, atol=1e-12, err_msg=name)
    for one, two in zip(found, again, strict=True):
        for a, b in zip((*one[:2], *one[2].values()), (*two[:2], *two[2].values()), strict=True):
            np.testing.assert_array_equal(a, b)
        for name, buffer in one[3].items():
            np.testing.assert_array_equal(buffer.value, two[3][name].value)
            np.testing.assert_array_equal(buffer.value, found[0][3][name].value)


def test_one_value_per_channel_in_all_shares_is_every_share_s_error():
    models = [built((3,), name="bn") for _ in range(3)]

    def share(rank, comm):
        with pytest.raises(
            ShapeError, match=r"^bn .BatchNormalization.: expected at least 2 values per channel"
        ):
            models[rank].forward(normal(int(rank == 1), 3), Run(training=True, comm=comm))
        return True

    assert Threads(3).run(share) == [True] * 3


def test_no_values_anywhere_move_nothing():
    models = [built((3,)) for _ in range(2)]

    def share(rank, comm):
        run = Run(training=True, comm=comm)
        y, saved = models[rank].forward(normal(0, 3), run)
        dx = models[rank].backward(y, saved, run)
        models[rank].commit(saved)
        return y.shape, dx.shape, int(models[rank].updates.value)

    assert Threads(2).run(share) == [((0, 3), (0, 3), 0)] * 2


def test_a_share_alone_is_the_batch_bit_for_bit():
    x = 1e6 + normal(9, 3)
    whole, shares = whole_and_shares(lambda: built((3,)), x, x[::-1] - 1e6, [9])
    np.testing.assert_array_equal(shares[0]["y"], whole[0]["y"])
    for name, buffer in whole[2].items():
        np.testing.assert_array_equal(shares[2][0][name].value, buffer.value)


def test_in_inference_nothing_is_exchanged():
    class Silent:
        def all_gather(self, vector):
            raise AssertionError

    bn = built((3,), moved=1)
    y, saved = bn.forward(normal(4, 3), Run(comm=Silent()))
    bn.backward(y, saved, Run(comm=Silent()))
    bn.freeze()
    y, saved = bn.forward(normal(4, 3), Run(training=True, comm=Silent()))
    bn.backward(y, saved, Run(training=True, comm=Silent()))


@pytest.mark.parametrize("mean", [0.0, 1e6, 1e12])
def test_moments_of_parts_are_those_of_all(mean):
    """As exact as of all values at once: differences of means are small where means are not."""
    x = mean + normal(50, 4)
    parts = [Moments(len(p), p.mean(axis=0), p.var(axis=0)) for p in cut(x, [7, 1, 30, 12])]
    empty = Moments(0, np.zeros(4), np.zeros(4))
    found = pooled([empty, *parts[:2], empty, *parts[2:], empty])
    assert found.m == 50
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=8e-16, atol=2e-16)
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(found.var, (centred**2).mean(axis=0), rtol=1e-12 + 1e-15 * mean)
    assert pooled([empty, empty]).m == 0
    one = pooled([empty, parts[0], empty])
    np.testing.assert_array_equal(one.var, parts[0].var)
