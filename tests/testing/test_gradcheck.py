"""gradcheck finds wrong gradients, passes right ones, and knows kinks and functions of real numbers alone."""

# ruff: noqa: RUF009 (layers take what layers are given)

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.layers import Layer, Parameter, owned
from handgrad.testing import GradientError, GradientReport, gradcheck
from tests.layers.cases import normal


class Saved(NamedTuple):
    x: np.ndarray


@dataclass(eq=False)
class Function(Layer):
    """An elementwise function whose derivative may be wrong."""

    kind: str = "square"
    error: float = 0.0

    def output_shape(self, shape):
        return shape

    def forward(self, x, run):
        functions = {
            "square": lambda: x * x,
            "abs": lambda: np.abs(x),
            "float": lambda: np.asarray(x, np.float64) ** 2,
            "sawtooth": lambda: np.abs(np.mod(1e6 * x, 1.0) - 0.5),
        }
        return functions[self.kind](), Saved(x)

    def backward(self, dy, saved, run, *, need_dx=True):
        x = saved.x
        derivative = {"abs": np.sign(x), "sawtooth": 0 * x}.get(self.kind, 2 * x)
        return (1 + self.error) * dy * derivative


@dataclass(eq=False)
class Gain(Layer):
    """``y = a*x`` with a = 1 at first; `mistake` says what its backward gets wrong."""

    mistake: str = ""

    gain: Parameter = owned()

    def output_shape(self, shape):
        return shape

    def create(self, shape, init):
        self.gain = init.parameter("gain", shape, "ones")

    def forward(self, x, run):
        return x * self.gain.value, Saved(x)

    def backward(self, dy, saved, run, *, need_dx=True):
        if self.trainable:
            dgain = np.sum(dy * saved.x, axis=0)
            self.gain.accumulate(dgain / len(dy) if self.mistake == "mean" else dgain)
        return dy if self.mistake == "forgets the gain" else dy * self.gain.value


@dataclass(eq=False)
class Normalization(layers.BatchNormalization):
    """A batch normalization whose backward leaves terms out."""

    left_out: str = ""

    def backward(self, dy, saved, run, *, need_dx=True):
        super().backward(dy, saved, run)
        s, gamma = saved.s, self.gamma.value
        xhat = (saved.x - saved.mean) * s
        mean = 0 if "mean" in self.left_out else dy.mean(axis=0)
        variance = 0 if "variance" in self.left_out else xhat * np.mean(dy * xhat, axis=0)
        return gamma * s * (dy - mean - variance)


X = normal(5, 3)


@pytest.mark.parametrize(("method", "error"), [*itertools.product(["complex", "central"], [1.0, 1e-2, 1e-4])])
def test_a_wrong_gradient_is_found(method, error):
    with pytest.raises(GradientError):
        gradcheck(Function(error=error), X, method=method)
    assert gradcheck(Function(), X, method=method).ok


def test_the_complex_step_finds_errors_far_below_those_of_differences():
    with pytest.raises(GradientError):
        gradcheck(Function(error=1e-8), X, method="complex")
    assert gradcheck(Function(error=1e-8), X, method="central").ok


def test_the_message_says_where_what_and_the_worst_element():
    layer = Function(error=0.5, name="mine")
    with pytest.raises(GradientError) as error:
        gradcheck(layer, np.array([[1.0, 3.0]]), training=False, method="complex")
    text = str(error.value)
    assert text.startswith(
        "mine (Function) in inference: expected dL/dx within 1e-10 of the complex derivative"
    )
    _, _, numbers = text.partition("; worst at (0, 1): the derivative is ")
    derivative, _, said = numbers.partition(", backward says ")
    assert float(said) == pytest.approx(1.5 * float(derivative), rel=1e-5)


@pytest.mark.parametrize("mistake", ["forgets the gain", "mean"])
def test_mistakes_that_hide_behind_parameters_of_one_value_are_found(mistake):
    assert gradcheck(Gain(), X).ok
    with pytest.raises(GradientError):
        gradcheck(Gain(mistake), X)


@pytest.mark.parametrize("left_out", ["mean", "variance", "mean and variance"])
def test_terms_that_vanish_under_an_upstream_gradient_of_ones_are_found(left_out):
    assert gradcheck(Normalization(), X).ok
    with pytest.raises(GradientError, match="dL/dx within"):
        gradcheck(Normalization(left_out=left_out), X)


def test_buffers_are_not_trivial_in_the_check():
    """With running statistics of 0 and 1, a backward that forgets them in inference would pass."""
    with pytest.raises(GradientError, match="in inference"):
        gradcheck(Normalization(epsilon=1e-12), X, training=False)


def test_auto_takes_differences_where_complex_numbers_do_not_pass():
    assert gradcheck(Function("square"), X).method == "complex"
    assert gradcheck(Function("abs"), X).method == "central"
    assert gradcheck(Function("float"), X).method == "central"
    with pytest.raises(GradientError, match="central derivative"):
        gradcheck(Function("float", error=1e-3), X)


@pytest.mark.parametrize("kind", ["abs", "float"])
def test_the_complex_method_says_so_where_it_cannot_be_used(kind):
    with pytest.raises(ArgumentError) as error:
        gradcheck(Function(kind), X, method="complex")
    assert str(error.value) == (
        "gradcheck of Function in training: expected a function that takes complex numbers, got one that "
        'drops the imaginary part; use method="central"'
    )


def test_the_complex_step_follows_the_branch_taken_at_a_kink():
    x = np.array([[0.0, 1.0, -1.0, 0.0]])
    assert gradcheck(layers.ReLU(), x, method="complex").ok
    assert gradcheck(layers.LeakyReLU(), x, method="complex").ok
    assert gradcheck(layers.MaxPooling2D(2), np.zeros((1, 4, 4, 1)), method="complex").ok


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (layers.ReLU(), np.array([[0.0, 1.0, -1.0]])),
        (layers.ELU(0.5), np.zeros((2, 3))),
        (layers.MaxPooling2D(2), np.ones((1, 4, 4, 1))),
    ],
    ids=["relu", "elu", "equal maxima"],
)
def test_differences_move_off_a_kink_and_say_so(layer, x):
    report = gradcheck(layer, x, method="central")
    assert report.ok
    assert report.nudged
    assert str(report).endswith("the input lay on a kink and was moved by about 1e-3")
    assert not gradcheck(layer, x + normal(*x.shape), method="central").nudged


def test_a_function_that_is_all_kinks_is_an_error():
    with pytest.raises(ArgumentError) as error:
        gradcheck(Function("sawtooth"), X)
    assert str(error.value) == (
        "gradcheck of Function in training: expected a smooth place, got a kink that moving x does not "
        "leave; check at another x"
    )


def test_an_unknown_method_is_an_error():
    with pytest.raises(ArgumentError) as error:
        gradcheck(Function(), X, method="exact")
    assert str(error.value) == 'gradcheck method: expected "auto", "complex" or "central", got \'exact\''


def test_nothing_is_changed():
    model = hg.Sequential([layers.Dense(4), layers.BatchNormalization(), Gain()], input_shape=(3,))
    before = {name: (p.value.copy(), p.grad.copy()) for name, p in model.parameters().items()}
    state, dtype, x = model.state(), model.dtype, X.copy()
    gradcheck(model, x)
    for name, p in model.parameters().items():
        assert p.value.dtype == np.float32
        np.testing.assert_array_equal(p.value, before[name][0])
        np.testing.assert_array_equal(p.grad, before[name][1])
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, state[name])
    assert model.dtype == dtype
    np.testing.assert_array_equal(x, X)
    layer = layers.Dense(2)
    gradcheck(layer, X)
    assert not layer.built


def test_a_merge_takes_a_tuple_and_reports_each_input():
    report = gradcheck(layers.Add(), (X, X + 1))
    assert list(report.errors) == ["x0", "x1"]


def test_a_frozen_layer_reports_its_input_alone():
    layer = layers.Dense(2)
    layer.freeze()
    assert list(gradcheck(layer, X).errors) == ["x"]


def test_the_same_seed_gives_the_same_report():
    assert gradcheck(layers.Dense(2), X, seed=3) == gradcheck(layers.Dense(2), X, seed=3)
    assert gradcheck(layers.Tanh(), X, seed=3) != gradcheck(layers.Tanh(), X, seed=4)


def test_inputs_of_lists_and_float32_are_taken():
    assert gradcheck(layers.Dense(2), [[1.0, 2.0], [3.0, 4.0]]).ok
    assert gradcheck(layers.Tanh(), X.astype(np.float32)).ok


def test_the_tolerance_can_be_chosen():
    assert gradcheck(Function(error=1e-3), X, tolerance=1e-2).ok


def test_a_report_prints_a_line_for_every_array():
    report = GradientReport("conv (Conv2D)", "complex", {"x": 1.5e-16, "weight": 0.25}, 1e-10)
    assert not report.ok
    assert str(report) == (
        "conv (Conv2D): gradients against complex step, tolerance 1e-10\n"
        "  x        1.5e-16  ok\n"
        "  weight   2.5e-01  WRONG"
    )


@pytest.mark.parametrize("method", ["auto", "complex", "central"])
@pytest.mark.parametrize("error", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_wrong(method, error):
    with np.errstate(invalid="ignore"), pytest.raises(GradientError, match="got a relative error of inf"):
        gradcheck(Function(error=error), X, method=method)


class SumOverTheBatch(layers.Dense):
    def backward(self, dy, saved, run, *, need_dx=True):
        return super().backward(dy, saved, run).sum(axis=0, keepdims=True)


class NoGradient(layers.Dense):
    def backward(self, dy, saved, run, *, need_dx=True):
        super().backward(dy, saved, run)


@pytest.mark.parametrize(("kind", "got"), [(SumOverTheBatch, "shape (1, 3)"), (NoGradient, "None")])
def test_a_gradient_of_another_shape_is_wrong(kind, got):
    with pytest.raises(GradientError) as error:
        gradcheck(kind(2), normal(4, 3))
    assert str(error.value) == (
        f"{kind.__name__} in training: expected dL/dx of x's shape (4, 3), got {got}; "
        "backward returns a gradient for every number of its input"
    )


class SlightlyOff(layers.Dense):
    def backward(self, dy, saved, run, *, need_dx=True):
        return super().backward(dy, saved, run) * (1 + 1e-8)


def test_an_error_in_the_eighth_digit_is_found():
    with pytest.raises(GradientError):
        gradcheck(SlightlyOff(2), normal(4, 3))


def test_a_frozen_normalization_is_checked_with_statistics_that_are_not_those_it_began_with():
    class WithoutS(layers.BatchNormalization):
        def backward(self, dy, saved, run, *, need_dx=True):
            return super().backward(dy, saved._replace(s=np.ones_like(saved.s)), run)

    bn = WithoutS(epsilon=1e-12)
    bn.freeze()
    with pytest.raises(GradientError):
        gradcheck(bn, normal(4, 3))


class TestALoss:
    LOSSES = (
        (hg.losses.CrossEntropy(label_smoothing=0.1), (5, 3), np.array([0, 2, 1, 1, 0])),
        (hg.losses.CrossEntropy(), (2, 3), np.array([[0.2, 0.3, 0.5], [1, 0, 0]])),
        (hg.losses.BinaryCrossEntropy(), (4, 1), np.array([0, 1, 1, 0])),
        (hg.losses.MeanSquaredError(), (4, 2, 2), np.arange(16.0).reshape(4, 2, 2)),
    )

    @pytest.mark.parametrize(("loss", "shape", "labels"), LOSSES, ids=lambda value: type(value).__name__)
    def test_has_the_right_gradient(self, loss, shape, labels):
        report = gradcheck(loss, normal(*shape), labels)
        assert report.ok
        assert report.method == "complex"
        assert list(report.errors) == ["z"]
        assert str(report).startswith(f"{type(loss).__name__}: gradients against complex step")

    def test_is_found_wrong(self):
        class Forgets(hg.losses.MeanSquaredError):
            def compute(self, z, y, kernels):
                value, dz = super().compute(z, y, kernels)
                return value, dz / 2

        with pytest.raises(
            GradientError, match=r"^Forgets: expected dL/dz within 1e-10 of the complex derivative"
        ):
            gradcheck(Forgets(), normal(4, 2), np.zeros((4, 2)))

    def test_needs_labels(self):
        with pytest.raises(ArgumentError) as error:
            gradcheck(hg.losses.MeanSquaredError(), normal(4, 2))
        assert str(error.value) == (
            "gradcheck of MeanSquaredError: expected labels, got none; gradcheck(loss, z, y) checks a loss "
            "at outputs z "
            "of a model and labels y"
        )


REFUSED = {
    "labels for a layer": (
        lambda: gradcheck(layers.ReLU(), normal(2, 3), [0, 1]),
        "gradcheck of ReLU: expected no labels, got some; labels are for a loss; a tuple x holds the inputs "
        "of a Merge",
    ),
    "a class": (
        lambda: gradcheck(layers.ReLU, normal(2, 3)),
        "gradcheck: expected a layer, a model or a loss, got the class ReLU; create it: ReLU(...)",
    ),
    "several inputs for one": (
        lambda: gradcheck(layers.ReLU(), (normal(2, 3), normal(2, 3))),
        "gradcheck of ReLU: expected one input, got 2 in a tuple; a tuple is for the inputs of a Merge",
    ),
    "no sample": (
        lambda: gradcheck(layers.ReLU(), np.ones((0, 3))),
        "gradcheck x: expected a batch of finite numbers, got shape (0, 3)",
    ),
    "a NaN": (
        lambda: gradcheck(layers.ReLU(), np.full((2, 3), np.nan)),
        "gradcheck x: expected a batch of finite numbers, got NaN or infinity",
    ),
    "a function": (
        lambda: gradcheck(np.sin, normal(2, 3)),
        "gradcheck: expected a layer, a model or a loss, got ufunc",
    ),
    "words": (
        lambda: gradcheck(layers.ReLU(), "x"),
        "gradcheck x: expected an array of numbers, got 'x'",
    ),
    "no direction": (
        lambda: gradcheck(layers.ReLU(), normal(2, 3), directions=0),
        "gradcheck: expected directions to be a whole number of at least 1, got 0",
    ),
    "a mode": (
        lambda: gradcheck(layers.ReLU(), normal(2, 3), training="inference"),
        "gradcheck: expected training to be True or False, got 'inference'",
    ),
    "a seed": (
        lambda: gradcheck(layers.ReLU(), normal(2, 3), seed=1.5),
        "gradcheck seed: expected an int, at least 0, got 1.5",
    ),
    "a tolerance": (
        lambda: gradcheck(layers.ReLU(), normal(2, 3), tolerance="small"),
        "gradcheck: expected tolerance of at least 0, got 'small'",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_checked_is_refused(call, message):
    with pytest.raises(ArgumentError) as error:
        call()
    assert str(error.value) == message
