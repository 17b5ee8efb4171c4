"""Contracts of the kernels of elements, rows and sequences, and of those that move parameters."""

# ruff: noqa: ARG001, D103 (a contract has the arguments of its kernel, whose docstring says them)

from __future__ import annotations

from typing import Any

from handgrad.errors import ShapeError
from handgrad.kernels.contracts.checks import (
    check_array,
    check_columns,
    check_floats,
    check_rank,
    check_shape,
    given,
)


def of_dy(where: str, dy: Any, x: Any, *_: Any, **__: Any) -> None:
    check_floats(where, dy=dy, x=x)
    check_shape(f"{where} dy", dy, x.shape)


def softmax(where: str, x: Any) -> None:
    check_floats(where, x=x)
    if not x.shape:
        raise ShapeError(f"{where} x", expected="rows", got="a single number")


def softmax_backward(where: str, dy: Any, y: Any) -> None:
    of_dy(where, dy, y)
    softmax(where, y)


def dropout_backward(where: str, dy: Any, mask: Any, rate: float) -> None:
    check_floats(where, dy=dy)
    check_array(f"{where} mask", mask)
    check_shape(f"{where} dy", dy, mask.shape)


def add(where: str, a: Any, b: Any) -> None:
    check_floats(where, a=a, b=b)
    check_shape(f"{where} b", b, a.shape)


def dense(where: str, x: Any, w: Any, b: Any) -> None:
    check_floats(where, x=x, w=w)
    (m, _), (c, k) = check_rank(f"{where} x", x, "m, c"), check_rank(f"{where} w", w, "c, k")
    check_shape(f"{where} x", x, (m, c))
    check_columns(where, k, b=b)


def dense_backward_input(where: str, dy: Any, w: Any) -> None:
    check_floats(where, dy=dy, w=w)
    (m, _), (_, k) = check_rank(f"{where} dy", dy, "m, k"), check_rank(f"{where} w", w, "c, k")
    check_shape(f"{where} dy", dy, (m, k))


def dense_backward_weight(where: str, dy: Any, x: Any) -> None:
    check_floats(where, dy=dy, x=x)
    (_, k), (m, _) = check_rank(f"{where} dy", dy, "m, k"), check_rank(f"{where} x", x, "m, c")
    check_shape(f"{where} dy", dy, (m, k))


def bias_backward(where: str, dy: Any) -> None:
    check_floats(where, dy=dy)
    if not dy.shape:
        raise ShapeError(f"{where} dy", expected="axes (..., k)", got="a single number")


def statistics(where: str, x: Any) -> None:
    check_floats(where, x=x)
    check_rank(f"{where} x", x, "m, c")


def batch_norm(where: str, x: Any, mean: Any, s: Any, gamma: Any, beta: Any, residual: Any = None) -> None:
    statistics(where, x)
    check_columns(where, x.shape[1], mean=given(where, mean), s=given(where, s), gamma=gamma, beta=beta)
    if residual is not None:
        check_floats(where, residual=residual)
        check_shape(f"{where} residual", residual, x.shape)


def batch_norm_backward(
    where: str, dy: Any, x: Any, mean: Any, s: Any, gamma: Any, m: int | None = None
) -> None:
    batch_norm_relu_backward(where, dy, x, None, mean, s, gamma, None, m)


def batch_norm_relu_backward(
    where: str,
    dy: Any,
    x: Any,
    y: Any,
    mean: Any,
    s: Any,
    gamma: Any,
    beta: Any,
    m: int | None = None,
) -> None:
    batch_norm(where, x, mean, s, gamma, beta)
    of_dy(where, dy, x)
    if y is not None:
        check_floats(where, y=y)
        check_shape(f"{where} y", y, x.shape)


def group_norm(where: str, x: Any, gamma: Any, beta: Any, groups: int, epsilon: float) -> None:
    check_floats(where, x=x)
    _, m, c = check_rank(f"{where} x", x, "n, m, c")
    if m < 1 or c < 1:
        raise ShapeError(f"{where} x", expected="samples of numbers", got=f"shape {x.shape}")
    if groups < 1 or c % groups:
        raise ShapeError(where, expected=f"channels that groups={groups} divides", got=f"{c}")
    check_columns(where, c, gamma=gamma, beta=beta)


def group_norm_backward(where: str, dy: Any, x: Any, mean: Any, s: Any, gamma: Any) -> None:
    check_floats(where, x=x, mean=mean, s=s)
    (n, _, _), (_, groups) = check_rank(f"{where} x", x, "n, m, c"), check_rank(f"{where} s", s, "n, groups")
    group_norm(where, x, gamma, None, groups, 0)
    of_dy(where, dy, x)
    for name, a in (("mean", mean), ("s", s)):
        check_shape(f"{where} {name}", a, (n, groups))


def rms_norm(where: str, x: Any, gamma: Any, epsilon: float) -> None:
    check_floats(where, x=x)
    check_columns(where, check_rank(f"{where} x", x, "n, c")[1], gamma=gamma)


def rms_norm_backward(where: str, dy: Any, x: Any, s: Any, gamma: Any) -> None:
    rms_norm(where, x, gamma, 0)
    of_dy(where, dy, x)
    check_floats(where, s=s)
    check_shape(f"{where} s", s, (x.shape[0],))


def simple_rnn(where: str, x: Any, W: Any, U: Any, b: Any, f: str) -> None:
    check_floats(where, x=x, W=W, U=U)
    c, (_, k) = check_rank(f"{where} x", x, "n, t, c")[2], check_rank(f"{where} W", W, "c, k")
    check_shape(f"{where} W", W, (c, k))
    check_shape(f"{where} U", U, (k, k))
    check_columns(where, k, b=b)


def simple_rnn_backward(
    where: str,
    dh: Any,
    x: Any,
    h: Any,
    W: Any,
    U: Any,
    f: str,
    truncate: int | None = None,
) -> None:
    simple_rnn(where, x, W, U, None, f)
    check_floats(where, dh=dh, h=h)
    for name, a in (("h", h), ("dh", dh)):
        check_shape(f"{where} {name}", a, (*x.shape[:2], W.shape[1]))


def cross_entropy(where: str, z: Any, labels: Any, *, smoothing: float = 0.0) -> None:
    check_floats(where, z=z)
    n, k = check_rank(f"{where} z", z, "n, k")
    check_array(f"{where} labels", labels)
    if tuple(labels.shape) not in ((n,), (n, k)):
        expected = f"shape {(n,)}, or {(n, k)} of targets"
        raise ShapeError(f"{where} labels", expected=expected, got=f"{tuple(labels.shape)}")


def of_targets(where: str, z: Any, t: Any) -> None:
    check_floats(where, z=z)
    check_array(f"{where} t", t)
    check_shape(f"{where} t", t, z.shape)


def update(where: str, p: Any, g: Any, *state: Any, **options: Any) -> None:
    given = [a for a in (*state, *options.values()) if hasattr(a, "shape") and a.shape]
    check_floats(where, p=p, g=g)
    for name, a in (("g", g), *(("state", a) for a in given)):
        check_shape(f"{where} {name}", a, p.shape)
