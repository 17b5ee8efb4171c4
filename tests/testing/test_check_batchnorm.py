"""check_batchnorm passes right implementations of any style and names what is wrong with others."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import ArgumentError
from handgrad.kernels.reference import norm
from handgrad.rng import Stream
from handgrad.testing import BatchNormError, check_batchnorm
from handgrad.testing.batchnorm import formulas
from handgrad.testing.batchnorm.calls import UNKNOWN
from handgrad.testing.batchnorm.terms import take_apart
from tests.testing import planted
from tests.testing.planted import (
    backward,
    forward,
    graph_backward,
    graph_forward,
    inference,
    root,
    seed_backward,
    seed_forward,
    seed_inference,
    update,
    with_dx,
    with_parameters,
    with_s,
    with_terms,
)

ROWS, IMAGES = (13, 3), (3, 5, 4, 2)


def found(*functions, **options):
    """Return the mistakes that are found, and the error."""
    with pytest.raises(BatchNormError) as error:
        check_batchnorm(*functions, **options)
    return error.value.report.mistakes, error.value


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [ROWS, IMAGES, (7, 9, 2), (6, 5)])
@pytest.mark.parametrize("epsilon", [0.1, 1e-5])
def test_a_right_one_passes(seed, shape, epsilon):
    report = check_batchnorm(
        forward, backward, inference=inference, update=update, shape=shape, seed=seed, epsilon=epsilon
    )
    assert report.ok
    assert report.mistakes == ()


def with_layer(training):
    """Return the library's own layer as functions."""

    def run(x, gamma, beta, epsilon, mean=None, var=None):
        layer = hg.layers.BatchNormalization(epsilon=epsilon)
        layer.build(x.shape[1:], hg.layers.Init(dtype=x.dtype))
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
        if mean is not None:
            layer.running_mean.assign(mean)
            layer.running_var.assign(var)
            layer.updates.assign(np.ones((), np.int64))
        y, saved = layer.forward(x, hg.Run(training=training))
        return y, (layer, saved)

    return run


def layer_backward(dy, cache):
    layer, saved = cache
    layer.gamma.zero_grad()
    layer.beta.zero_grad()
    dx = layer.backward(dy, saved, hg.Run(training=True))
    return dx, layer.gamma.grad.copy(), layer.beta.grad.copy()


STYLES = {
    "one operation a line": ((graph_forward, graph_backward), {}),
    "CS231n's interface": (
        (
            lambda x, gamma, beta, epsilon: planted.cs231n_forward(
                x, gamma, beta, {"mode": "train", "eps": epsilon, "running_mean": 0, "running_var": 1}
            ),
            graph_backward,
        ),
        {
            "inference": lambda x, gamma, beta, mean, var, epsilon: planted.cs231n_forward(
                x, gamma, beta, {"mode": "test", "eps": epsilon, "running_mean": mean, "running_var": var}
            )[0]
        },
    ),
    "a class that keeps all on itself": ((seed_forward, seed_backward), {}),
    "three terms": ((forward, with_terms()), {}),
    "handgrad's layer": (
        (with_layer(True), layer_backward),
        {
            "inference": lambda x, gamma, beta, mean, var, epsilon: with_layer(False)(
                x, gamma, beta, epsilon, mean, var
            )
        },
    ),
}


@pytest.mark.parametrize("name", STYLES)
def test_other_styles_pass(name):
    functions, options = STYLES[name]
    assert check_batchnorm(*functions, **options).ok


def test_handgrads_layer_is_checked_frozen_too():
    functions, options = STYLES["handgrad's layer"]
    report = check_batchnorm(*functions, **options, shape=IMAGES)
    assert "frozen" in {check.part for check in report.checks}


BATCH = "forward y: the batch is normalized by the unbiased variance"
MEAN, VARIANCE = "the term through the mean", "the term through the variance"
FORWARDS = {
    "epsilon outside the root": (
        with_s(lambda var, epsilon: 1 / (np.sqrt(var) + epsilon)),
        ROWS,
        ("forward y: epsilon is added outside the root",),
    ),
    "no epsilon": (
        with_s(lambda var, epsilon: 1 / np.sqrt(var)),
        IMAGES,
        ("forward y: epsilon is forgotten",),
    ),
    "an epsilon of its own": (
        with_s(lambda var, epsilon: 1 / np.sqrt(var + 1e-5)),
        ROWS,
        ("forward y: epsilon is 1e-5 whatever is asked for",),
    ),
    "no root": (
        with_s(lambda var, epsilon: 1 / (var + epsilon)),
        ROWS,
        ("forward y: the root is forgotten: x is divided by the variance",),
    ),
    "unbiased": (with_s(root, ddof=1), IMAGES, (BATCH,)),
    "second moment": (
        planted.uncentred,
        ROWS,
        ("forward y: the variance is the mean of x^2, from which mean^2 is not taken away",),
    ),
    "no gamma": (
        with_s(root, finish=lambda xhat, gamma, beta: xhat + beta),
        ROWS,
        ("forward y: gamma is forgotten",),
    ),
    "no beta": (
        with_s(root, finish=lambda xhat, gamma, beta: gamma * xhat),
        ROWS,
        ("forward y: beta is forgotten",),
    ),
    "batch axis alone": (
        with_s(root, over=0),
        IMAGES,
        ("forward y: every place of the image has its own statistics",),
    ),
    "each image": (
        with_s(root, over=(1, 2)),
        IMAGES,
        ("forward y: every image has its own statistics: that is instance normalization",),
    ),
    "each row": (
        with_s(root, over=1),
        ROWS,
        ("forward y: each row has its own statistics: that is layer normalization",),
    ),
    "one number for all": (
        with_s(root, over=(0, 1, 2, 3)),
        IMAGES,
        ("forward y: all channels together have one mean and one variance",),
    ),
    "three at once": (
        with_s(lambda var, e: 1 / np.sqrt(var), ddof=1, finish=lambda xhat, gamma, beta: xhat + beta),
        ROWS,
        (BATCH, "forward y: epsilon is forgotten", "forward y: gamma is forgotten"),
    ),
    "one pass": (
        planted.one_pass,
        ROWS,
        (
            "forward y at mean 1e8: the variance is a difference of two large numbers, of which no digit is "
            "left far from 0",
        ),
    ),
    "in place": (planted.in_place, ROWS, ("forward leaves its input: forward writes into x",)),
    "float32 always": (
        lambda x, *rest: (forward(x, *rest)[0].astype(np.float32), forward(x, *rest)[1]),
        ROWS,
        ("forward dtype of y: float64 goes in, y comes out as float32",),
    ),
    "float64 always": (
        lambda x, *rest: forward(x.astype(np.float64), *rest),
        ROWS,
        ("float32 stays float32: float32 goes in, y comes out as float64",),
    ),
    "something else": (
        lambda *given: (1.3 * forward(*given)[0], None),
        ROWS,
        (f"forward y: {UNKNOWN}",),
    ),
    "not two values": (lambda *given: forward(*given)[0], ROWS, ("forward y: forward returns one ndarray",)),
    "another shape": (
        lambda *given: (forward(*given)[0].T, None),
        ROWS,
        ("forward y: y has the shape (3, 13)",),
    ),
    "NaN": (lambda *given: (forward(*given)[0] * np.nan, None), ROWS, ("forward y: it holds NaN",)),
    "other arguments": (
        lambda x: x,
        ROWS,
        ("forward y: forward raises TypeError: <lambda>() takes 1 positional argument but 4 were given",),
    ),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_a_mistake_in_forward_is_named(name):
    function, shape, mistakes = FORWARDS[name]
    assert found(function, shape=shape)[0] == mistakes


def dx(text, rule, shape=ROWS):
    return with_dx(rule), shape, (f"backward dx: {text}",)


def terms(text, shape=ROWS, **factors):
    return with_terms(**factors), shape, (f"backward dx: {text}",)


def parameters(rule, *mistakes, shape=ROWS):
    return with_parameters(rule), shape, tuple(f"backward {m}" for m in mistakes)


BACKWARDS = {
    "no mean term": dx(
        f"{MEAN} is missing", lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - xhat * dg / m)
    ),
    "no variance term": dx(
        f"{VARIANCE} is missing", lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - db / m), IMAGES
    ),
    "the direct term alone": (
        with_dx(lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * dy),
        ROWS,
        (f"backward dx: {MEAN} is missing", f"backward dx: {VARIANCE} is missing"),
    ),
    "no gamma": dx(
        "gamma is forgotten", lambda dy, xhat, s, gamma, db, dg, m, n: s * (dy - (db + xhat * dg) / m)
    ),
    "no s": dx(
        "s is forgotten", lambda dy, xhat, s, gamma, db, dg, m, n: gamma * (dy - (db + xhat * dg) / m)
    ),
    "the batch for m": dx(
        "the sums are divided by the batch, n = 3",
        lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - (db + xhat * dg) / n),
        IMAGES,
    ),
    "m - 1": dx(
        "the sums are divided by m - 1",
        lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - (db + xhat * dg) / (m - 1)),
    ),
    "no sum": dx(
        "dy is not summed in the term through the mean",
        lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - (dy + xhat * dg) / m),
    ),
    "sums over the batch": (
        with_dx(
            lambda dy, xhat, s, gamma, db, dg, m, n: (
                gamma * s * (dy - (dy.sum(axis=0) + xhat * (dy * xhat).sum(axis=0)) / n)
            )
        ),
        IMAGES,
        (
            "backward dx: dy is summed over the batch alone",
            "backward dx: dy*xhat is summed over the batch alone",
            "backward dx: the sums are divided by the batch, n = 3",
        ),
    ),
    "without the 2": terms(f"{VARIANCE} is halved", of_var=0.5),
    "without the 1/2": terms(f"{VARIANCE} is doubled", of_var=2.0),
    "wrong sign": terms(f"{MEAN} has the wrong sign", of_mean=-1.0),
    "s^2 for s^3": terms("s is left out of xhat", of_var=lambda gamma, s, m, n: 1 / s),
    "s for s^3": terms(f"{VARIANCE} lacks a factor s^2", of_var=lambda gamma, s, m, n: 1 / s**2),
    "gamma in two of three": terms(f"{MEAN} lacks gamma", of_mean=lambda gamma, s, m, n: 1 / gamma),
    "two in one term": terms(
        f"{VARIANCE} lacks gamma and is doubled", of_var=lambda gamma, s, m, n: 2 / gamma
    ),
    "another factor": terms(f"{MEAN} is 0.7 times what it must be", of_mean=0.7),
    "a factor for each channel": terms(
        f"{MEAN} is 1.2 to 1.5 times what it must be, by the channel",
        of_mean=lambda gamma, s, m, n: np.array([1.5, 1.2, 1.3], s.dtype),
    ),
    "dgamma by x - mean": parameters(
        lambda dy, xhat, s, gamma: ((dy * xhat / s).sum(axis=0), dy.sum(axis=0)),
        "dgamma: s is left out of xhat",
    ),
    "means for sums": parameters(
        lambda dy, xhat, s, gamma: ((dy * xhat).mean(axis=0), dy.mean(axis=0)),
        "dgamma: it is a mean",
        "dbeta: it is a mean",
    ),
    "changed places": parameters(
        lambda dy, xhat, s, gamma: (dy.sum(axis=0), (dy * xhat).sum(axis=0)),
        "dgamma, dbeta: dgamma and dbeta have changed places",
    ),
    "not summed": parameters(
        lambda dy, xhat, s, gamma: (dy * xhat, dy),
        "dgamma: the sum is missing",
        "dbeta: the sum is missing",
        shape=IMAGES,
    ),
    "summed over the batch": parameters(
        lambda dy, xhat, s, gamma: ((dy * xhat).sum(axis=0), dy.sum(axis=0)),
        "dgamma: it is summed over the batch alone",
        "dbeta: it is summed over the batch alone",
        shape=IMAGES,
    ),
    "summed over all": parameters(
        lambda dy, xhat, s, gamma: ((dy * xhat).sum(), dy.sum(axis=0)),
        "dgamma: it is summed over the channels, too",
    ),
    "kept axes": parameters(
        lambda dy, xhat, s, gamma: ((dy * xhat).sum(axis=0, keepdims=True), dy.sum(axis=0)),
        "dgamma: it has the shape (1, 3)",
    ),
    "not three values": (
        lambda dy, cache: dy,
        ROWS,
        ("backward dx, dgamma, dbeta: backward returns one ndarray",),
    ),
}


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_mistake_in_backward_is_named(name):
    function, shape, mistakes = BACKWARDS[name]
    assert found(forward, function, shape=shape)[0] == mistakes


def test_dx_made_of_a_wrong_dgamma_is_told():
    def by_x(dy, cache):
        xhat, s, gamma, x = cache
        dbeta, dgamma = dy.sum(axis=0), (dy * x).sum(axis=0)
        return gamma * s * (dy - (dbeta + xhat * dgamma) / len(dy)), dgamma, dbeta

    def keeping_x(x, *rest):
        y, cache = forward(x, *rest)
        return y, (*cache, x)

    assert found(keeping_x, by_x)[0] == (
        "backward dgamma: x stands in place of xhat",
        "backward dx: dx is made of your dgamma, which is wrong",
    )


def test_writing_into_the_cache_and_into_dy_is_seen():
    def careless(dy, cache):
        dx, dgamma, dbeta = backward(dy, cache)
        cache[0][...] *= 2
        dy *= 2
        return dx, dgamma, dbeta

    assert found(forward, careless)[0] == (
        "backward leaves its input: backward writes into dy",
        "backward leaves its input: a second backward with the same cache gives other values",
    )


class TestAfterAWrongForward:
    def test_the_same_mistake_is_told_once(self):
        mistaken = with_s(lambda var, epsilon: 1 / (np.sqrt(var) + epsilon))
        mistakes, error = found(mistaken, backward)
        assert mistakes == ("forward y: epsilon is added outside the root",)
        (dx,) = (c for c in error.report.checks if c.quantity == "dx")
        assert dx.note == "by your forward: right once that is"

    def test_so_is_one_of_its_derivative(self):
        def of_unbiased(dy, cache):
            xhat, s, gamma = cache
            dbeta, dgamma, m = dy.sum(axis=0), (dy * xhat).sum(axis=0), len(dy)
            return gamma * s * (dy - dbeta / m - xhat * dgamma / (m - 1)), dgamma, dbeta

        mistakes, error = found(with_s(root, ddof=1), of_unbiased)
        assert mistakes == (BATCH,)
        (dx,) = (c for c in error.report.checks if c.quantity == "dx")
        assert dx.note == "the derivative of your forward: right once that is"

    def test_another_mistake_is_found(self):
        wrong = with_dx(lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - xhat * dg / m))
        assert found(with_s(root, ddof=1), wrong)[0] == (BATCH, f"backward dx: {MEAN} is missing")

    def test_one_that_is_not_known_is_differentiated(self):
        def scaled(*given):
            y, cache = forward(*given)
            return 1.3 * y, cache

        def its_backward(dy, cache):
            return backward(1.3 * dy, cache)

        assert found(scaled, its_backward)[0] == (f"forward y: {UNKNOWN}",)
        text = "it is not the derivative of your forward: repair that first"
        assert found(scaled, backward)[0][1:] == tuple(
            f"backward {n}: {text}" for n in ("dgamma", "dbeta", "dx")
        )


class TestHidden:
    """Reports say which easier checks would not have seen a mistake; that is found by making them."""

    def details(self, rule):
        _, error = found(forward, with_dx(rule))
        (dx,) = (c for c in error.report.checks if c.quantity == "dx")
        return dx.details[1:]

    def test_by_a_gradient_of_ones(self):
        assert self.details(lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - db / m)) == (
            "With dy = 1, which is the loss sum(y), it does not show.",
        )

    def test_by_both(self):
        assert (
            len(self.details(lambda dy, xhat, s, gamma, db, dg, m, n: s * (dy - (db + xhat * dg) / m))) == 2
        )

    def test_by_none(self):
        assert self.details(lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - xhat * dg / m)) == ()

    def test_by_gamma_of_ones_in_forward(self):
        _, error = found(with_s(root, finish=lambda xhat, gamma, beta: gamma * (xhat + beta)))
        (y,) = (c for c in error.report.checks if c.quantity == "y")
        assert y.details[1] == "With gamma = 1 and beta = 0, as they begin, it does not show."


class TestRunningStatistics:
    def test_the_batchs_in_inference(self):
        assert found(forward, inference=lambda x, gamma, beta, mean, var, e: forward(x, gamma, beta, e)[0])[
            0
        ] == (
            "inference y: the mean of the batch is used in inference",
            "inference y: the variance of the batch is used in inference",
        )

    def test_a_variance_taken_for_a_deviation(self):
        mistakes, _ = found(
            forward, inference=lambda x, gamma, beta, mean, var, e: gamma * (x - mean) / (var + e) + beta
        )
        assert mistakes == ("inference y: the root is forgotten: x is divided by the variance",)

    def test_the_seeds_backward_of_a_frozen_layer(self):
        mistakes, _ = found(seed_forward, seed_backward, inference=seed_inference)
        assert mistakes == (
            "frozen dx: mean and variance are taken to depend on x, but they are constants here",
        )

    def test_a_frozen_backward_without_gamma(self):
        def with_cache(x, gamma, beta, mean, var, epsilon):
            s = 1 / np.sqrt(var + epsilon)
            return inference(x, gamma, beta, mean, var, epsilon), ((x - mean) * s, s, None)

        def of_both(dy, cache):
            xhat, s, gamma = cache
            if gamma is not None:
                return backward(dy, cache)
            return s * dy, (dy * xhat).sum(axis=0), dy.sum(axis=0)

        mistakes, _ = found(forward, of_both, inference=with_cache)
        assert mistakes == ("frozen dx: the direct term lacks gamma",)

    @pytest.mark.parametrize(
        ("mistaken", "options", "mistakes"),
        [
            (
                lambda mean, var, x, momentum: update(mean, var, x, 1 - momentum),
                {},
                ("running_mean: momentum weighs the batch", "running_var: momentum weighs the batch"),
            ),
            (
                lambda mean, var, x, momentum: (
                    update(mean, var, x, momentum)[0],
                    momentum * var + (1 - momentum) * x.std(axis=0),
                ),
                {},
                ("running_var: a standard deviation is kept in place of the variance",),
            ),
            (update, {"running_variance": "unbiased"}, ("running_var: the biased estimate is kept",)),
            (
                lambda mean, var, x, momentum: (mean, var),
                {},
                ("running_mean: it does not move", "running_var: it does not move"),
            ),
            (
                lambda mean, var, x, momentum: (x.mean(axis=0), update(mean, var, x, momentum)[1]),
                {},
                ("running_mean: the batch takes its place",),
            ),
            (
                lambda mean, var, x, momentum: (mean[:1], update(mean, var, x, momentum)[1]),
                {},
                ("running_mean: it has the shape (1,)",),
            ),
            (
                lambda mean, var, x, momentum: None,
                {},
                ("running_mean, running_var: update returns nothing",),
            ),
        ],
    )
    def test_an_update(self, mistaken, options, mistakes):
        assert found(forward, update=mistaken, **options)[0] == tuple(f"update {m}" for m in mistakes)

    @pytest.mark.parametrize(
        ("ddof", "note"), [(0, "biased, /m, as Keras"), (1, "unbiased, /(m - 1), as PyTorch")]
    )
    def test_either_estimate_is_right_and_told(self, ddof, note):
        def moved(mean, var, x, momentum):
            return update(mean, var, x, momentum)[0], momentum * var + (1 - momentum) * x.var(
                axis=0, ddof=ddof
            )

        assert check_batchnorm(forward, update=moved).checks[-1].note == note


def test_the_report():
    rule = lambda dy, xhat, s, gamma, db, dg, m, n: gamma * s * (dy - db / m)  # noqa: E731
    _, error = found(forward, with_dx(rule))
    text = str(error.report)
    # what is right is right to a rounding that differs between machines
    assert re.sub(r" +(0|\d\.\de-\d\d)  ok", "  #  ok", text) == (
        "batch normalization of x (13 x 3), epsilon 0.1: 1 of 8 checks found a mistake\n"
        "  forward   leaves its input           ok\n"
        "  forward   y  #  ok\n"
        "  forward   y at mean 1e8  #  ok\n"
        "  backward  leaves its input           ok\n"
        "  backward  dgamma  #  ok\n"
        "  backward  dbeta  #  ok\n"
        "  backward  dx                2.2e-01  WRONG  the term through the variance is missing\n"
        "  float32   stays float32              ok\n"
        "\n"
        "backward, dx\n"
        "  the term through the variance is missing\n"
        "    right dx = gamma*s*(dy - (dbeta + xhat*dgamma)/m)\n"
        "    yours dx = gamma*s*(dy - dbeta/m)\n"
        "    why   x moves the variance, and with it every y of the channel: dvar = -1/2*s^2*"
        "gamma*dgamma, of\n"
        "          which each x has 2*(x - mean)/m\n"
        "          worst at (6, 1): 0.289314 in place of -0.530028\n"
        "          With dy = 1, which is the loss sum(y), it does not show."
    )
    assert str(error) == (
        "backward dx: expected dx = gamma*s*(dy - (dbeta + xhat*dgamma)/m), got dx = gamma*s*(dy - dbeta/m); "
        f"the term through the variance is missing\n\n{text}"
    )


def test_the_error_can_be_pickled():
    _, error = found(planted.uncentred)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.report) == (str(error), error.report)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"shape": (4, 3)},
            "check_batchnorm shape: expected (m, c) or (n, h, w, c) with at least 5 values in each of "
            "at least 2 channels, got (4, 3)",
        ),
        (
            {"running_variance": "n"},
            'check_batchnorm running_variance: expected "biased", "unbiased" or None, got \'n\'',
        ),
        ({"epsilon": 0}, "check_batchnorm: expected epsilon greater than 0, got 0"),
    ],
)
def test_arguments(options, text):
    with pytest.raises(ArgumentError) as error:
        check_batchnorm(forward, **options)
    assert str(error.value) == text


def test_the_right_formulas_are_those_of_the_reference_kernel():
    rng = Stream((3,))
    x, dy = (rng.child(name).normal((9, 4), dtype=np.float64) + 1 for name in ("x", "dy"))
    gamma, beta = (rng.child(name).normal((4,), dtype=np.float64) for name in ("gamma", "beta"))
    given = {"x": x, "dy": dy, "gamma": gamma, "beta": beta, "epsilon": 0.1, "values": lambda axes: 9}
    letters = formulas.forward(x.shape).evaluate(given)
    for name in ("dgamma", "dbeta"):
        letters = formulas.parameter(name, images=True).evaluate(letters)
    letters = formulas.input_gradient(x.shape).evaluate(letters)
    mean, var = norm.batch_norm_statistics(x)
    s = 1 / np.sqrt(var + 0.1)
    dx, dgamma, dbeta = norm.batch_norm_backward(dy, x, mean, s, gamma)
    right = {"mean": mean, "var": var, "s": s, "y": norm.batch_norm(x, mean, s, gamma, beta)}
    for name, value in (right | {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}).items():
        np.testing.assert_allclose(
            letters[name].reshape(value.shape), value, rtol=1e-12, atol=1e-14, err_msg=name
        )


def test_taking_apart_a_right_dx_finds_nothing():
    x = Stream((4,)).normal((9, 4), dtype=np.float64)
    dy = Stream((5,)).normal((9, 4), dtype=np.float64)
    gamma = np.array([0.5, 1.5, -2.0, 3.0])
    mean, var = norm.batch_norm_statistics(x)
    s = 1 / np.sqrt(var + 0.1)
    dx, _, _ = norm.batch_norm_backward(dy, x, mean, s, gamma)
    assert take_apart(dx, dy, (x - mean) * s, s, var, gamma) == ()


@pytest.mark.parametrize(
    ("forward", "got"),
    [
        (None, "NoneType"),
        (hg.layers.BatchNormalization(), "BatchNormalization; check_layer checks a layer"),
        (hg.layers.BatchNormalization, "the class BatchNormalization; check_layer checks a layer"),
    ],
)
def test_what_is_no_function_is_refused(forward, got):
    with pytest.raises(ArgumentError) as error:
        check_batchnorm(forward)
    assert str(error.value) == (
        f"check_batchnorm forward: expected a function forward(x, gamma, beta, epsilon), got {got}"
    )
