"""Outputs, gradients and running statistics are PyTorch's: kept in golden/layers.npz, or live."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad import layers
from handgrad.layers import Run
from tests.golden import make_layers
from tests.layers.cases import Case, conv, names

GOLDEN = make_layers.load()
MODES = [(case, mode) for case in make_layers.CASES for mode in make_layers.modes(case)]
each_mode = pytest.mark.parametrize(
    ("case", "mode"), MODES, ids=lambda v: v if isinstance(v, str) else names(v)
)


def values(case, arrays, mode, dtype="float64"):
    """Return y, all gradients and the running statistics, for the inputs of `make_layers.problem`."""
    a = {name: value.astype(dtype) for name, value in arrays.items()}
    layer = case.new(dtype)
    for name, p in layer.parameters().items():
        p.assign(a[name])
    found = {}
    if layer.buffers():
        for name, start in (("running_mean", 0.0), ("running_var", 1.0)):
            buffer = layer.buffers()[name]
            buffer.assign(np.full(buffer.shape, start))
        for x in a["batches"]:
            layer.commit(layer.forward(x, Run(training=True))[1])
        found = {name: layer.buffers()[name].value.copy() for name in ("running_mean", "running_var")}
    if mode == "frozen":
        layer.freeze()
    inputs = tuple(a[f"x{i}"] for i in range(sum(name[0] == "x" for name in a)))
    many = isinstance(layer, layers.Merge)
    run = Run(training=mode != "inference")
    y, saved = layer.forward(inputs if many else inputs[0], run)
    dx = layer.backward(a["dy"], saved, run)
    found |= {"y": y} | {f"dx{i}": d for i, d in enumerate(dx if many else (dx,))}
    if mode != "frozen":
        found |= {f"d{name}": p.grad for name, p in layer.parameters().items()}
    return found


def compare(found, expected, *, rtol, atol):
    missing = {name for name in found.keys() - expected.keys() if np.any(found[name])}
    assert not missing  # torch says nothing of a gradient that is zero
    for name, value in expected.items():
        scale = max(1.0, float(np.max(np.abs(value), initial=0.0)))
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=atol * scale, err_msg=name)


@each_mode
def test_agrees_with_kept_values(case, mode):
    golden = GOLDEN[case.name]
    arrays = {name: a.astype(np.float64) for name, a in golden.items() if "/" not in name}
    expected = {name.partition("/")[2]: a for name, a in golden.items() if name.startswith(f"{mode}/")}
    compare(values(case, arrays, mode), expected, rtol=1e-11, atol=1e-13)


@each_mode
def test_agrees_with_kept_values_in_float32(case, mode):
    golden = GOLDEN[case.name]
    arrays = {name: a for name, a in golden.items() if "/" not in name}
    expected = {name.partition("/")[2]: a for name, a in golden.items() if name.startswith(f"{mode}/")}
    compare(values(case, arrays, mode, "float32"), expected, rtol=3e-5, atol=3e-6)


def test_every_kept_case_is_compared():
    assert GOLDEN.keys() == {case.name for case in make_layers.CASES}


@each_mode
def test_agrees_live(case, mode):
    pytest.importorskip("torch")
    for seed in (100, 101):
        arrays = make_layers.problem(case, seed)
        compare(
            values(case, arrays, mode), make_layers.torch_values(case, arrays, mode), rtol=1e-11, atol=1e-13
        )


def random_window(rng, size):
    """Return a random kernel, strides and padding that fit an image of `size`."""
    kernel = tuple(int(rng.integers(1, min(n, 4) + 1)) for n in size)
    strides = tuple(int(s) for s in rng.integers(1, 4, 2))
    paddings = ["valid", "same", tuple(tuple(int(rng.integers(0, k)) for _ in range(2)) for k in kernel)]
    return kernel, strides, paddings[rng.integers(3)]


def random_case(kind, seed):
    rng = np.random.default_rng(seed)
    h, w = (int(n) for n in rng.integers(1, 10, 2))
    kernel, strides, padding = random_window(rng, (h, w))
    if kind == "conv":
        groups = int(rng.integers(1, 4))
        c, k = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
        dilation = tuple(
            int(rng.integers(1, 4)) if (n - 1) // max(s - 1, 1) >= 3 else 1
            for n, s in zip((h, w), kernel, strict=True)
        )
        layer = conv(k, kernel, strides=strides, padding=padding, dilation_rate=dilation, groups=groups)
        return Case(f"{layer}", layer, (h, w, c), int(rng.integers(1, 4)))
    pool = layers.MaxPooling2D if kind == "max" else layers.AveragePooling2D
    options = {"count_padding": bool(rng.integers(2))} if kind == "average" else {}
    layer = pool(kernel, strides, padding, **options)
    return Case(f"{layer}", layer, (h, w, int(rng.integers(1, 4))), int(rng.integers(1, 4)))


@pytest.mark.parametrize("kind", ["conv", "max", "average"])
def test_agrees_live_on_random_shapes(kind):
    pytest.importorskip("torch")
    for seed in range(60):
        case = random_case(kind, seed)
        arrays = make_layers.problem(case, seed)
        expected = make_layers.torch_values(case, arrays, "training")
        compare(values(case, arrays, "training"), expected, rtol=1e-11, atol=1e-13)


def test_pytorch_takes_gradient_of_a_tie_at_the_same_pixel():
    """Of equal maxima the first, row by row."""
    torch = pytest.importorskip("torch")
    x = np.zeros((1, 4, 4, 1))
    pool = layers.MaxPooling2D(3, 1, 1)
    pool.build((4, 4, 1))
    y, saved = pool.forward(x, Run())
    dx = pool.backward(np.ones_like(y), saved, Run())
    t = torch.zeros((1, 1, 4, 4), dtype=torch.float64, requires_grad=True)
    torch.nn.functional.max_pool2d(t, 3, 1, 1).sum().backward()
    np.testing.assert_array_equal(dx[0, :, :, 0], t.grad[0, 0].numpy())
