"""explain shows the numbers that the layer computes with, and its terms add up to what the layer returns."""

from __future__ import annotations

import html.parser
import math
import re
from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, ShapeError
from handgrad.inspect import explain
from handgrad.inspect.mathml import row
from handgrad.inspect.page import EDGES, LIT, NODES
from handgrad.kernels.reference import REFERENCE
from handgrad.rng import Stream


def built(shape, dtype=np.float64, **arguments):
    """Return a layer whose gamma, beta and running statistics are not trivial."""
    layer = layers.BatchNormalization(**arguments)
    layer.build(shape, layers.Init(dtype=dtype))
    for name, p in layer.parameters().items():
        p.assign(Stream((1,)).child(name).uniform(p.shape, 0.5, 2.0, dtype))
    _, saved = layer.forward(numbers((16, *shape), "before", dtype), hg.Run(training=True))
    layer.commit(saved)
    return layer


def numbers(shape, name="x", dtype=np.float64):
    return 1 + 2 * Stream((2,)).child(name).normal(shape, dtype=dtype)


CASES = {
    "rows": ((5, 3), {}),
    "images": ((2, 3, 2, 4), {}),
    "no gamma": ((5, 3), {"scale": False}),
    "no beta": ((5, 3), {"center": False}),
    "neither": ((5, 3), {"scale": False, "center": False}),
    "first axis of images": ((3, 2, 3, 4), {"axis": 1}),
    "per feature": ((4, 2, 3, 2), {"axis": (1, 2, 3)}),
    "one channel": ((6, 1), {}),
    "large epsilon": ((5, 3), {"epsilon": 0.5}),
}


@pytest.mark.parametrize("mode", ["training", "inference", "frozen"])
@pytest.mark.parametrize("name", CASES)
def test_the_terms_are_those_of_the_layer(name, mode):
    shape, arguments = CASES[name]
    layer = built(shape[1:], **arguments)
    if mode == "frozen":
        layer.freeze()
    x, dy = numbers(shape), numbers(shape, "dy")
    run = hg.Run(training=mode != "inference", kernels=REFERENCE)
    e = explain(layer, x, dy, training=run.training)
    assert e.constant is (mode != "training")
    y, saved = layer.forward(x, run)
    dx = layer.backward(dy, saved, run)
    np.testing.assert_array_equal(e["y"].value, layer.rows(y))
    np.testing.assert_array_equal(e["dx"].value, layer.rows(dx))
    for name, p in layer.parameters().items():
        if mode != "frozen":
            np.testing.assert_allclose(e[f"d{name}"].value, p.grad.reshape(-1), rtol=1e-12)
    if mode == "training":
        total = e["direct"].value + e["through_var"].value + e["through_mean"].value
        np.testing.assert_allclose(total, layer.rows(dx), rtol=1e-10, atol=1e-13)
        assert "the sum of the three terms" in e.errors
    assert {"the layer's own backward", "a complex-step derivative"} <= set(e.errors)
    assert max(e.errors.values()) < 1e-12


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_the_terms_are_derivatives(name, mode):
    """Each way back to x is the derivative where the other two are closed."""
    shape, arguments = CASES[name]
    layer = built(shape[1:], **arguments)
    e = explain(layer, numbers(shape), numbers(shape, "dy"), training=mode)
    x, dy = e["x"].value, e["dy"].value
    gamma, beta = layer.scale_and_shift()

    def loss(x, of_mean, of_var):
        if not mode:
            mean, var = e["mean"].value, e["var"].value
        else:
            mean = of_mean.mean(axis=0)
            var = ((of_var - of_var.mean(axis=0)) ** 2).mean(axis=0)
        y = REFERENCE.batch_norm(x, mean, 1 / np.sqrt(var + layer.epsilon), gamma, beta)
        return np.sum(dy * y)

    names = ("direct", "through_mean", "through_var") if mode else ("dx",)
    for place, name in enumerate(names):
        value = np.broadcast_to(e[name].value, x.shape)
        for index in ((0, 0), (x.shape[0] - 1, x.shape[1] - 1)):
            arrays = [x.astype(complex) for _ in range(3)]
            arrays[place][index] += 1e-30j
            derivative = loss(*arrays).imag / 1e-30
            np.testing.assert_allclose(value[index], derivative, rtol=1e-10, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_the_numbers_written_out_give_the_result(name, training):
    shape, arguments = CASES[name]
    shape = (4, *shape[1:]) if len(shape) == 2 or name == "per feature" else shape
    e = explain(built(shape[1:], **arguments), numbers(shape), numbers(shape, "dy"), training=training)
    looked_at = 0
    for step in e:
        rows, columns = step.value.shape if step.value.ndim == 2 else (1, len(step.value))
        for i, k in np.ndindex(rows, columns):
            worked = step.with_numbers(i, k)
            if not worked or "..." in worked:
                continue
            left, right = worked.split(" = ")
            value = eval(left.replace("^", "**"), {"sqrt": math.sqrt})
            largest = float(np.abs(step.value).max())
            shown = float(step.value[i, k] if step.value.ndim == 2 else step.value[k])
            assert value == pytest.approx(shown, rel=2e-2, abs=4e-3 * max(largest, 1)), (step.name, worked)
            assert float(right) == pytest.approx(shown, rel=1e-3, abs=1e-11)
            looked_at += 1
    assert looked_at > 20


def test_a_long_sum_is_shortened():
    e = explain(layers.BatchNormalization(), np.arange(1.0, 7.0).reshape(6, 1), np.ones((6, 1)))
    assert e["mean"].with_numbers(0, 0) == "(1 + 2 + ... + 6)/6 = 3.5"
    assert e["centred"].with_numbers(1, 0) == "2 - 3.5 = -1.5"
    assert e["var"].with_numbers(0, 0) == "((-2.5)^2 + (-1.5)^2 + ... + 2.5^2)/6 = 2.917"
    assert e["s"].with_numbers(0, 0) == "1/sqrt(2.917 + 1e-5) = 0.5855"
    assert e["x"].with_numbers(0, 0) == ""


def test_float32_is_explained_in_float64():
    layer = built((3,), np.float32)
    e = explain(layer, numbers((5, 3), dtype=np.float32))
    assert e["y"].value.dtype == np.float64
    assert max(e.errors.values()) < 1e-6  # parameters' gradients are float32, dx is not
    assert e.errors["a complex-step derivative"] < 1e-12


def test_the_layer_is_left_as_it_is():
    layer = built((3,))
    before = {name: (p.value.copy(), p.grad.copy()) for name, p in layer.parameters().items()}
    explain(layer, numbers((5, 3)))
    for name, p in layer.parameters().items():
        np.testing.assert_array_equal(p.value, before[name][0])
        np.testing.assert_array_equal(p.grad, before[name][1])
    fresh = layers.BatchNormalization()
    explain(fresh, numbers((5, 3)))
    assert not fresh.built


@dataclass(eq=False)
class Forgetful(layers.BatchNormalization):
    """Its backward knows the direct term alone."""

    def backward(self, dy, saved, run, *, need_dx=True):
        super().backward(dy, saved, run)
        return self.gamma.value * saved.s * dy


@dataclass(eq=False)
class Shifted(layers.BatchNormalization):
    """It computes something else."""

    momentum: float = 0.5

    def forward(self, x, run):
        y, saved = super().forward(x, run)
        return y + 1, saved


def test_a_wrong_backward_is_seen():
    layer = Forgetful()
    assert explain(layer, numbers((5, 3))).errors["the layer's own backward"] > 0.05


class TestErrors:
    def test_another_layer(self):
        with pytest.raises(ArgumentError) as error:
            explain(layers.ReLU(), numbers((5, 3)))
        assert str(error.value) == "explain layer: expected a BatchNormalization, got ReLU"

    def test_a_layer_that_computes_more(self):
        with pytest.raises(ArgumentError) as error:
            explain(Shifted(name="bn"), numbers((5, 3)))
        assert str(error.value) == (
            "explain layer: expected one that computes gamma*(x - mean)/sqrt(var + epsilon) + beta and "
            "nothing else, got bn (Shifted) with name='bn', momentum=0.5"
        )

    def test_a_gradient_of_another_shape(self):
        with pytest.raises(ShapeError) as error:
            explain(layers.BatchNormalization(), numbers((5, 3)), numbers((5, 2)))
        assert str(error.value) == "explain dy: expected the shape of x, (5, 3), got (5, 2)"

    def test_an_unknown_step(self):
        with pytest.raises(ArgumentError) as error:
            explain(layers.BatchNormalization(scale=False), numbers((5, 3)), training=True)["dvariance"]
        assert str(error.value) == (
            "step: expected one of x, mean, centred, var, s, xhat, y, dy, dbeta, dgamma, direct, dvar, "
            "through_var, dmean, through_mean, dx, got 'dvariance'"
        )


class TestText:
    def test_all_of_it(self):
        e = explain(built((3,), name="bn"), numbers((5, 3)))
        text = str(e)
        assert text.startswith(
            "bn (BatchNormalization) in training: m = 5 values in each of 3 channels, in float64\n\n── f"
        )
        for i, step in enumerate(e, 1):
            assert f"{i:2}  {step.formula}" in text
        assert text.count("── ") == 2
        assert max(map(len, text.split("\n"))) <= 88
        assert re.search(r"    a complex-step derivative +(0|\d\.\de-1\d)$", text)

    def test_one_step(self):
        x = np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]])
        assert explain(layers.BatchNormalization(), x).text("centred") == (
            " 3  x - mean                                                                      (2, 2)\n"
            "    What is left without it. Each column adds up to 0.\n"
            "\n"
            "               c0       c1\n"
            "      0   -1.0000  -1.0000\n"
            "      1    1.0000   1.0000\n"
            "        ──────────────────\n"
            "    sum    0.0000   0.0000\n"
            "\n"
            "    0, c0: 1 - 2 = -1"
        )

    def test_a_large_batch_is_cut(self):
        lines = explain(layers.BatchNormalization(), numbers((30, 9))).text("x").split("\n")
        assert lines[5].endswith("c5   and 3 more")
        assert [line.split()[0] for line in lines[6:]] == [*map(str, range(10)), "...", "29"]
        assert lines[-2].endswith("19 more")

    def test_rows_of_images_have_their_indices(self):
        e = explain(layers.BatchNormalization(), numbers((2, 3, 2, 4)))
        assert e.row_labels[:3] == ["0,0,0", "0,0,1", "0,1,0"]
        assert e.column_labels == ["c0", "c1", "c2", "c3"]
        e = explain(layers.BatchNormalization(axis=(1, 2)), numbers((2, 3, 2, 4)))
        assert e.row_labels[:5] == ["0,0", "0,1", "0,2", "0,3", "1,0"]
        assert e.column_labels == ["c0,0", "c0,1", "c1,0", "c1,1", "c2,0", "c2,1"]

    def test_very_small_and_large_numbers(self):
        e = explain(layers.BatchNormalization(), 1e7 * numbers((5, 2)))
        assert "e+07" in e.text("mean")
        assert "e-" in e.text("s")


class TestStep:
    def go(self, capsys, *typed):
        """Return the numbers of the steps shown, and all that was printed."""
        answers = iter(typed)

        def ask(prompt):
            try:
                return next(answers)
            except StopIteration:
                raise EOFError from None

        e = explain(layers.BatchNormalization(), numbers((5, 3)))
        e.step(ask)
        out = capsys.readouterr().out
        return [int(n) for n in re.findall(r"^ ?(\d+)  \S", out, re.M)], out

    def test_enter_goes_on(self, capsys):
        assert self.go(capsys, "", "")[0] == [1, 2, 3]

    def test_back(self, capsys):
        assert self.go(capsys, "", "b", "b")[0] == [1, 2, 1, 1]

    def test_to_a_letter_or_a_number(self, capsys):
        assert self.go(capsys, "xhat", "2")[0] == [1, 6, 2]

    def test_all_that_is_left(self, capsys):
        shown, out = self.go(capsys, "16", "a")
        assert shown == [1, 16, 17, 18]
        assert "How far dx is" in out

    def test_the_end(self, capsys):
        shown, out = self.go(capsys, "dx")
        assert shown == [1, 18]
        assert "How far dx is" in out

    def test_quitting(self, capsys):
        shown, out = self.go(capsys, "q", "")
        assert shown == [1]
        assert "How far dx is" not in out

    def test_what_is_not_there(self, capsys):
        shown, out = self.go(capsys, "zhat")
        assert shown == [1, 1]
        assert "there is no step zhat: x, mean, centred, var, s, xhat, scaled, y, dy, dbeta," in out


class Reader(html.parser.HTMLParser):
    """What is in a page; raises where tags do not close."""

    VOID = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


class TestPage:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("name", CASES)
    def test_it_is_whole(self, name, training):
        shape, arguments = CASES[name]
        e = explain(built(shape[1:], **arguments), numbers(shape), training=training)
        page = Reader(e.html())
        sections = page.of("section")
        assert [s["data-name"] for s in sections] == [step.name for step in e]
        assert len(page.of("math")) == len(e)
        assert "{{" not in e.html()
        assert [a["href"] for a in page.of("a")] == [f"#step-{step.name}" for step in e]

    def test_nothing_comes_from_elsewhere(self):
        text = explain(layers.BatchNormalization(), numbers((5, 3))).html()
        assert "://" not in text
        assert not re.search(r"@import|url\((?!#)|<link|<script src|<img", text)

    def test_names_are_escaped(self):
        e = explain(built((3,), name="<b>"), numbers((5, 3)))
        assert "<b> (Batch" not in e.html()
        assert "&lt;b&gt; (BatchNormalization) in training" in e.html()

    def test_what_a_step_lights_is_in_the_picture(self):
        names = {*NODES, *(f"{a}-{b}" for a, b in EDGES)}
        assert {lit for text in LIT.values() for lit in text.split()} <= names
        e = explain(built((3,)), numbers((5, 3)))
        assert {step.name for step in e} == set(LIT)
        drawn = {
            a["data-name"] for tag in ("circle", "path") for a in Reader(e.html()).of(tag) if "data-name" in a
        }
        assert drawn == names

    def test_of_constants_x_is_no_part(self):
        page = Reader(explain(built((3,), center=False), numbers((5, 3)), training=False).html())
        drawn = {a.get("data-name") for a in page.of("path")}
        assert "x-xhat" in drawn
        assert not drawn & {"x-mean", "x-var", "mean-var", "beta-y"}

    def test_every_number_is_worked_out(self):
        page = Reader(explain(built((3,)), numbers((4, 3))).html())
        worked = [a["data-w"] for a in page.of("td") if "data-w" in a]
        assert "<b>0, c0:</b>" in worked[3]
        assert len(worked) == 8 * 12 + 8 * 3

    def test_a_file(self, tmp_path):
        e = explain(layers.BatchNormalization(), numbers((5, 3)))
        e.save(tmp_path / "page.html")
        assert (tmp_path / "page.html").read_text(encoding="utf-8") == e.html()

    def test_a_notebook(self):
        text = explain(layers.BatchNormalization(), numbers((5, 3)))._repr_html_()
        (frame,) = Reader(text).of("iframe")
        assert frame["srcdoc"].startswith("<!DOCTYPE html>")


def test_formulas_of_text():
    assert row("γ(x+2)") == "<mrow><mi>γ</mi><mo>(</mo><mi>x</mi><mo>+</mo><mn>2</mn><mo>)</mo></mrow>"
