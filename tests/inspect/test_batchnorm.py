"""What inspect.batchnorm says of a model is what it has, and each problem is found and no other."""

# ruff: noqa: E501 (tables as they are printed)

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import data, layers
from handgrad.errors import ArgumentError, DataError, MissingExtraError, ShapeError
from handgrad.inspect import batchnorm
from handgrad.inspect.problems import AGAIN
from handgrad.rng import Stream

MEANS = np.array([3.0, -1.0, 0.5, 10.0])
STDS = np.array([2.0, 0.1, 1.0, 5.0])


def numbers(n=256, name="x", shape=(3, 2, 4)):
    x = Stream((5,)).child(name).normal((n, *shape), dtype=np.float64)
    return (MEANS + STDS * x).astype(np.float32) if shape[-1] == 4 else x.astype(np.float32)


def model_of(*rest, **arguments):
    """Return a model that begins with a batch normalization of four channels."""
    bn = layers.BatchNormalization(name="bn", **arguments)
    return hg.Sequential([bn, *rest], input_shape=(3, 2, 4))


def fitted(*rest, updates=1000, **arguments):
    """Return one whose running statistics are those of `numbers`."""
    model = model_of(*rest, **arguments)
    bn = model["bn"]
    rows = numbers().reshape(-1, 4).astype(np.float64)
    bn.running_mean.assign(rows.mean(axis=0))
    bn.running_var.assign(rows.var(axis=0))
    bn.updates.assign(np.array(updates))
    return model


def kinds(model, x=None, **options):
    """Return the problems of the first layer."""
    health = batchnorm(model, numbers() if x is None else x, **options)
    return {p.kind: p for p in health.layers[0].problems}


class TestNumbers:
    def test_statistics_of_the_data(self):
        seen = batchnorm(fitted(), numbers(100), batch_size=32)["bn"]
        rows = numbers(100).reshape(-1, 4).astype(np.float64)
        np.testing.assert_allclose(seen.mean, rows.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(seen.var, rows.var(axis=0), rtol=1e-5)  # of four batches, one smaller
        assert seen.count == 600
        assert len(seen) == 4

    def test_the_gap_is_the_difference_of_normalized_values(self):
        model = fitted()
        bn = model["bn"]
        bn.running_mean.assign(MEANS + np.array([0.3, 0.3, -2.0, 0.0]))
        bn.running_var.assign(STDS**2 * np.array([1.0, 2.0, 0.3, 1.5]))
        seen = batchnorm(model, numbers())["bn"]
        x = numbers().reshape(-1, 4).astype(np.float64)
        ours = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + bn.epsilon)
        inference = (x - bn.running_mean.value) / np.sqrt(bn.running_var.value + bn.epsilon)
        np.testing.assert_allclose(seen.gap, np.sqrt(((inference - ours) ** 2).mean(axis=0)), rtol=1e-5)
        np.testing.assert_allclose(
            seen.shift, (bn.running_mean.value - x.mean(axis=0)) / x.std(axis=0), rtol=2e-3
        )
        ratio = np.sqrt((bn.running_var.value + bn.epsilon) / (x.var(axis=0) + bn.epsilon))
        np.testing.assert_allclose(seen.ratio, ratio, rtol=1e-5)

    def test_noise_is_the_gap_between_batches(self):
        seen = batchnorm(fitted(), numbers(90), batch_size=30)["bn"]
        x = numbers(90).reshape(-1, 4).astype(np.float64)
        ours = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
        squares = []
        for batch in np.split(x, 3):
            by_batch = (x - batch.mean(axis=0)) / np.sqrt(batch.var(axis=0) + 1e-5)
            squares.append(((by_batch - ours) ** 2).mean(axis=0))
        np.testing.assert_allclose(seen.noise, np.sqrt(np.mean(squares, axis=0)), rtol=1e-4)
        assert batchnorm(fitted(), numbers(90))["bn"].noise is not None
        assert batchnorm(fitted(), numbers(64))["bn"].noise is None

    def test_activity(self):
        model = fitted(layers.ReLU())
        model["bn"].beta.assign(np.array([0, 1, -1, 0], np.float32))
        seen = batchnorm(model, numbers(64))["bn"]
        y = batch_output(model, numbers(64))
        np.testing.assert_allclose(seen.active, (y > 0).mean(axis=0), atol=1e-12)

    @pytest.mark.parametrize("rest", [(), (layers.Flatten(), layers.Dense(2)), (layers.LeakyReLU(),)])
    def test_no_activity_without_relu(self, rest):
        assert batchnorm(fitted(*rest), numbers())["bn"].active is None

    def test_no_activity_where_something_else_takes_it_too(self):
        i = hg.Input((3, 2, 4))
        h = layers.BatchNormalization(name="bn")(i)
        model = hg.Graph(i, layers.Add()(layers.ReLU()(h), h))
        assert batchnorm(model, numbers())["bn"].active is None

    def test_layers_behind_see_what_they_see_in_training(self):
        model = hg.Sequential(
            [layers.BatchNormalization(name="a"), layers.BatchNormalization(name="b")], input_shape=(3, 2, 4)
        )
        seen = batchnorm(model, numbers())
        assert list(seen) == ["a", "b"]
        np.testing.assert_allclose(seen["b"].mean, 0, atol=1e-5)  # though a has never been fitted
        np.testing.assert_allclose(seen["b"].var, 1, rtol=2e-3)

    def test_a_shared_layer_is_one(self):
        bn = layers.BatchNormalization(name="bn")
        i = hg.Input((3, 2, 4))
        model = hg.Graph(i, layers.Add()(bn(i), bn(layers.ReLU()(i))))
        seen = batchnorm(model, numbers(64))
        assert list(seen) == ["bn"]
        assert seen["bn"].count == 2 * 64 * 6
        both = np.concatenate([numbers(64), np.maximum(numbers(64), 0)]).reshape(-1, 4)
        np.testing.assert_allclose(seen["bn"].mean, both.mean(axis=0), rtol=1e-4)

    def test_without_gamma_and_beta(self):
        seen = batchnorm(fitted(layers.ReLU(), scale=False, center=False), numbers())["bn"]
        assert (seen.gamma, seen.beta, seen.problems) == (None, None, ())
        assert "gamma" not in seen.channel(0)

    def test_of_other_axes(self):
        seen = batchnorm(model_of(axis=(1, 2, 3)), numbers())["bn"]
        np.testing.assert_allclose(seen.mean, numbers().reshape(256, -1).mean(axis=0), rtol=1e-3)

    def test_the_model_is_left_as_it_is(self):
        model = fitted(layers.Dropout(0.5), layers.ReLU())
        before = model.state()
        batchnorm(model, numbers())
        for name, value in model.state().items():
            np.testing.assert_array_equal(value, before[name])

    def test_twice_is_the_same(self):
        model = fitted(layers.Dropout(0.5), layers.BatchNormalization(name="b"))
        a, b = (batchnorm(model, numbers())["b"] for _ in range(2))
        np.testing.assert_array_equal(a.mean, b.mean)

    def test_debiased_statistics_are_those_of_inference(self):
        model = model_of(debias=True)
        run = hg.Run(training=True)
        _, trace = model.forward(numbers(), run)
        model.commit(trace)
        assert batchnorm(model, numbers(), batch_size=256)["bn"].ok


def batch_output(model, x):
    y, _ = model["bn"].forward(x, hg.Run(training=True))
    return y.reshape(-1, 4)


class TestData:
    labels = np.zeros(256, int)

    @pytest.mark.parametrize(
        "given",
        [
            (numbers(),),
            (numbers(), labels),
            ((numbers(), labels),),
            (data.ArrayDataset(numbers(), labels),),
            (data.Loader(data.ArrayDataset(numbers(), labels), 64, shuffle=False),),
        ],
    )
    def test_whatever_a_trainer_takes(self, given):
        seen = batchnorm(fitted(), *given)
        assert (seen.samples, seen.batches) == (256, 4)
        np.testing.assert_allclose(seen["bn"].mean, numbers().reshape(-1, 4).mean(axis=0), rtol=1e-5)

    def test_bytes(self):
        images = np.arange(64 * 24, dtype=np.uint8).reshape(64, 3, 2, 4)
        seen = batchnorm(model_of(), images)["bn"]
        np.testing.assert_allclose(seen.mean, (images / 255).reshape(-1, 4).mean(axis=0), rtol=1e-5)

    def test_a_last_batch_of_one_is_left_out(self):
        model = hg.Sequential([layers.BatchNormalization(name="bn")], input_shape=(3,))
        seen = batchnorm(model, numbers(65, shape=(3,)), batch_size=32)
        assert (seen.samples, seen.batches) == (64, 2)

    def test_a_single_sample_has_no_variance(self):
        model = hg.Sequential([layers.BatchNormalization(name="bn")], input_shape=(3,))
        with pytest.raises(ShapeError, match="at least 2 values per channel"):
            batchnorm(model, numbers(1, shape=(3,)))

    def test_nothing(self):
        with pytest.raises(DataError):
            batchnorm(fitted(), numbers(0))

    def test_another_shape(self):
        with pytest.raises(ShapeError):
            batchnorm(fitted(), numbers(shape=(3, 3, 4)))

    def test_a_model_without_one(self):
        with pytest.raises(ArgumentError) as error:
            batchnorm(hg.Sequential([layers.ReLU()], input_shape=(3,)), numbers(shape=(3,)))
        assert str(error.value) == "batchnorm model: expected one with a BatchNormalization, got none"

    def test_a_folded_model(self):
        model = hg.Sequential([layers.Conv2D(2, 1), layers.BatchNormalization()], input_shape=(3, 2, 4))
        _, trace = model.forward(numbers(), hg.Run(training=True))
        model.commit(trace)
        with pytest.raises(ArgumentError) as error:
            batchnorm(model.fold(), numbers())
        assert str(error.value) == (
            "batchnorm model: expected one with a BatchNormalization, got none; look at the model "
            "that it was folded of"
        )

    def test_a_layer(self):
        with pytest.raises(ArgumentError) as error:
            batchnorm(layers.BatchNormalization(), numbers())
        assert str(error.value) == "batchnorm model: expected a Graph or Sequential, got BatchNormalization"


@dataclass(eq=False)
class FromTheFirst(layers.BatchNormalization):
    """Its running statistics begin as those of the first batch."""

    def commit(self, saved):
        super().commit(saved)


class TestProblems:
    def test_none(self):
        health = batchnorm(fitted(layers.ReLU()), numbers())
        assert health.ok
        assert health["bn"].dead == ()
        assert str(health).endswith("\n\nNothing is wrong.")

    def test_unfitted(self):
        found = kinds(model_of())
        assert list(found) == ["unfitted"]
        assert found["unfitted"].channels == (0, 1, 2, 3)
        assert found["unfitted"].text == (
            "the running statistics were never moved: inference takes a mean of 0 and a variance of 1"
        )
        assert found["unfitted"].do == f"train it; or fit them alone with {AGAIN}"

    def test_statistics_from_elsewhere_are_not_unfitted(self):
        model, like = model_of(), fitted()
        for name, buffer in like.buffers().items():
            if not name.endswith("updates"):
                model.buffers()[name].assign(buffer.value)
        assert kinds(model) == {}

    def test_what_it_advises_helps(self):
        model = model_of(layers.BatchNormalization(name="b"))
        hg.precise_statistics(model, numbers())
        assert batchnorm(model, numbers()).ok  # momentum 0.99 and one update, but they are right

    @pytest.mark.parametrize("updates", [1, 50])
    def test_the_mean_of_all_batches_has_no_momentum(self, updates):
        model = fitted(momentum=None, updates=updates)
        assert str(batchnorm(model, numbers())["bn"]).startswith(
            f"bn: 4 channels, {updates} updates, momentum average\n"
        )
        model["bn"].running_mean.assign(np.zeros(4))
        assert list(kinds(model)) == ["gap"]

    def test_a_layer_without_running_statistics_has_no_gap(self):
        seen = batchnorm(model_of(running_statistics=False), numbers())["bn"]
        assert (seen.updates, seen.problems, float(seen.gap.max())) == (None, (), 0.0)
        assert str(seen).startswith("bn: 4 channels, no updates, ")

    def test_momentum_too_long(self):
        model = fitted(updates=69)
        model["bn"].running_mean.assign(np.zeros(4))
        found = kinds(model)
        assert list(found) == ["momentum", "gap"]
        assert found["momentum"].text == (
            "momentum 0.99 is too long for 69 updates: it averages over about 1/(1 - momentum) = 100, and "
            "50% of the running statistics are the mean 0 and variance 1 that they began with"
        )
        assert found["momentum"].do == (
            "momentum=0.93 would leave 1% of that in a run of this length; debias=True takes it out"
        )
        assert 0.93**69 < 0.01 < 0.94**69

    @pytest.mark.parametrize(("updates", "long"), [(298, True), (299, False)])
    def test_five_percent_of_what_they_began_with(self, updates, long):
        model = fitted(updates=updates)
        model["bn"].running_mean.assign(np.zeros(4))
        assert ("momentum" in kinds(model)) is long

    def test_debiased_ones_hold_nothing_of_it(self):
        model = fitted(updates=69, debias=True)
        bn, left = model["bn"], 0.99**69
        bn.running_mean.assign(bn.running_mean.value * (1 - left))
        bn.running_var.assign(bn.running_var.value * (1 - left) + left)
        assert kinds(model) == {}

    def test_nor_do_those_of_a_layer_that_moves_them_otherwise(self):
        model = hg.Sequential([FromTheFirst(name="bn")], input_shape=(3, 2, 4))
        bn, rows = model["bn"], numbers().reshape(-1, 4)
        bn.running_mean.assign(rows.mean(axis=0))
        bn.running_var.assign(rows.var(axis=0))
        bn.updates.assign(np.array(1))
        assert kinds(model) == {}

    @pytest.mark.parametrize(
        ("mean", "var", "text"),
        [
            (0.5, 1.0, "c2, by 0.5: its running mean is 0.5 standard deviations too high"),
            (-0.5, 1.0, "c2, by 0.5: its running mean is 0.5 standard deviations too low"),
            (0.0, 4.0, "c2, by 0.5: its running standard deviation is 2 times the data's"),
            (
                1.0,
                0.25,
                "c2, by 2.2: its running mean is 1 standard deviations too high, and its running standard "
                "deviation is 0.5 times the data's",
            ),
        ],
    )
    def test_a_gap(self, mean, var, text):
        model = fitted()
        bn, scale = model["bn"], np.array([0, 0, 1.0, 0])
        bn.running_mean.assign(bn.running_mean.value + mean * scale * np.sqrt(bn.running_var.value))
        bn.running_var.assign(bn.running_var.value * (1 + (var - 1) * scale))
        found = kinds(model)
        assert list(found) == ["gap"]
        assert found["gap"].channels == (2,)
        head = "inference normalizes otherwise than training does, in 1 of 4 channels; the worst is "
        assert found["gap"].text == head + text
        assert found["gap"].do == (
            f"if it was trained on data like these, its weights have moved since: {AGAIN} measures again; "
            "if not, the data have changed"
        )

    def test_a_gap_after_too_few_updates_has_another_reason(self):
        model = fitted(updates=69)
        model["bn"].running_mean.assign(np.zeros(4))
        found = kinds(model)
        assert list(found) == ["momentum", "gap"]
        assert found["gap"].do == (
            f"they have not had the time that this momentum needs: {AGAIN} measures again"
        )

    def test_a_gap_that_is_no_larger_than_between_batches(self):
        model = fitted()
        bn = model["bn"]
        bn.running_mean.assign(bn.running_mean.value + 0.3 * np.sqrt(bn.running_var.value))
        assert "gap" in kinds(model, batch_size=64)
        assert "gap" not in kinds(model, batch_size=2)

    def test_gamma_of_zero(self):
        model = fitted(layers.ReLU())
        model["bn"].gamma.assign(np.array([1, -0.001, 1, 0], np.float32))
        model["bn"].beta.assign(np.array([0, 1, 0, 0], np.float32))
        found = kinds(model)
        assert list(found) == ["gamma"]  # that ReLU gives 0 for c3 is the same once more
        assert found["gamma"].channels == (1, 3)
        assert found["gamma"].text == "gamma is about 0, and the output beta whatever comes: c1, c3"
        assert batchnorm(model, numbers())["bn"].dead == (1, 3)

    def test_small_gammas_together_are_none(self):
        model = fitted()
        model["bn"].gamma.assign(np.full(4, 1e-4, np.float32))
        assert kinds(model) == {}

    def test_a_channel_that_is_never_active(self):
        model = fitted(layers.ReLU())
        model["bn"].beta.assign(np.array([0, -6, 0, 0], np.float32))
        found = kinds(model)
        assert list(found) == ["silent"]
        assert found["silent"].text == (
            "the ReLU after it is 0 for all 1,536 values: c1; of c1 only values 6.0 standard deviations "
            "above the mean would pass"
        )
        assert batchnorm(model, numbers())["bn"].dead == (1,)

    def test_a_channel_that_is_rarely_active(self):
        model = fitted(layers.ReLU())
        y = batch_output(model, numbers())[:, 3]
        model["bn"].beta.assign(np.array([0, 0, 0, -0.5 * (np.sort(y)[-1] + np.sort(y)[-2])], np.float32))
        found = kinds(model, batch_size=256)
        assert list(found) == ["rare"]
        assert found["rare"].channels == (3,)
        assert batchnorm(model, numbers())["bn"].dead == ()

    def test_an_input_that_does_not_change(self):
        x = numbers()
        x[..., 1] = 0.25
        found = kinds(fitted(layers.ReLU()), x)
        assert list(found) == ["constant"]  # and no gap besides
        assert (
            found["constant"].text
            == "the input hardly changes, its variance is at most 0 and epsilon 1e-5: c1"
        )

    @pytest.mark.parametrize("what", ["gamma", "beta", "running_mean", "running_var"])
    def test_not_finite(self, what):
        model = fitted()
        owned = getattr(model["bn"], what)
        owned.value[2] = np.nan
        problem = kinds(model)["not finite"]
        name = {"running_mean": "running mean", "running_var": "running variance"}.get(what, what)
        assert (problem.text, problem.channels) == (f"{name} is NaN or infinite: c2", (2,))
        assert "nan" in str(batchnorm(model, numbers()))

    def test_data_that_are_not_finite(self):
        x = numbers()
        x[0, 0, 0, 3] = np.inf
        assert kinds(fitted(), x)["not finite"].text == "input is NaN or infinite: c3"

    def test_a_frozen_layer(self):
        model = model_of()
        model.freeze()
        seen = batchnorm(model, numbers())["bn"]  # no warning that it was never fitted
        assert seen.frozen
        assert str(seen).startswith("bn: 4 channels, 0 updates, momentum 0.99, frozen\n")


class TestResult:
    def test_many_channels_are_cut(self):
        model = hg.Sequential([layers.BatchNormalization(), layers.ReLU()], input_shape=(20,))
        model["batch_normalization"].gamma.assign(np.array([1] * 11 + [0] * 9, np.float32))
        problem = kinds(model, numbers(shape=(20,)))["gamma"]
        assert problem.text.endswith(": c11, c12, c13, c14, c15, c16 and 3 more")

    def test_the_worst_channels_are_the_dead_and_then_those_that_are_far_off(self):
        model = fitted()
        bn = model["bn"]
        bn.gamma.assign(np.array([1, 1, 0, 1], np.float32))
        bn.running_mean.assign(bn.running_mean.value + np.array([0.4, 0.1, 0, 1.5]))  # 0.2, 1, 0, 0.3
        assert batchnorm(model, numbers())["bn"].worst(3) == [2, 1, 3]

    def test_one_channel(self):
        model = fitted(layers.ReLU())
        model["bn"].beta.assign(np.array([0, -6, 0, 0], np.float32))
        channel = batchnorm(model, numbers())["bn"].channel(1)
        assert channel["problems"] == "silent"
        assert channel["beta"] == -6
        assert channel["active"] == 0
        assert {"mean", "running_mean", "var", "running_var", "shift", "ratio", "gap", "noise"} < set(channel)
        with pytest.raises(ArgumentError) as error:
            batchnorm(model, numbers())["bn"].channel(4)
        assert str(error.value) == "bn channel: expected 0..3, got 4"

    def test_an_unknown_layer(self):
        health = batchnorm(model_of(), numbers())
        assert "bn" in health
        assert "bn1" not in health
        with pytest.raises(ArgumentError) as error:
            health["bn1"]
        assert str(error.value) == "layer: expected one of bn, got 'bn1'"

    def test_the_table(self):
        model = fitted(layers.ReLU(), momentum=0.9, updates=1234)
        bn = model["bn"]
        bn.running_mean.assign(np.zeros(4))
        bn.beta.assign(np.array([0, -6, 0, 0], np.float32))
        x = np.broadcast_to(np.array([-1.0, 1.0], np.float32)[:, None, None, None], (2, 3, 2, 4)).copy()
        bn.running_var.assign(np.array([1, 1, 0.25, 1.0]))
        assert str(batchnorm(model, x)) == (
            "batch normalization on 2 samples, in 1 batch\n"
            "\n"
            "layer  channels  updates  momentum  gap: median     worst  noise  dead\n"
            "───────────────────────────────────────────────────────────────────────────────────\n"
            "bn            4    1,234       0.9        0.000  1.000 c2            1  gap, silent\n"
            "───────────────────────────────────────────────────────────────────────────────────\n"
            "gap: how far the normalized values of inference are from those by the data's own statistics, whose\n"
            "standard deviation is 1; noise: the same for the statistics of single batches.\n"
            "\n"
            "bn\n"
            "  - inference normalizes otherwise than training does, in 1 of 4 channels; the worst is c2, by 1:\n"
            "    its running standard deviation is 0.5 times the data's\n"
            "    → if it was trained on data like these, its weights have moved since:\n"
            "      hg.precise_statistics(model, x) measures again; if not, the data have changed\n"
            "  - the ReLU after it is 0 for all 12 values: c1; of c1 only values 6.0 standard deviations above\n"
            "    the mean would pass\n"
            "    → no gradient reaches them any more: begin again with a lower learning rate or a warm-up\n"
            "\n"
            "        running mean  data's  running std  data's    gap  noise  gamma    beta  active\n"
            "    ──────────────────────────────────────────────────────────────────────────────────────────\n"
            "    c1             0       0        1.000   1.000  0.000         1.000  -6.000    0.0%  silent\n"
            "    c2             0       0        0.500   1.000  1.000         1.000       0   50.0%  gap\n"
            "    c0             0       0        1.000   1.000  0.000         1.000       0   50.0%\n"
            "    c3             0       0        1.000   1.000  0.000         1.000       0   50.0%\n"
            "    ──────────────────────────────────────────────────────────────────────────────────────────"
        )

    def test_what_all_layers_have_is_told_once(self):
        bns = [layers.BatchNormalization(name=f"bn{i}") for i in range(5)]
        text = str(batchnorm(hg.Sequential(bns, input_shape=(3, 2, 4)), numbers()))
        assert text.count("were never moved") == 1
        assert "\nall 5 layers\n  - the running statistics were never moved" in text
        assert text.endswith("and 2 more with problems; a layer is printed by print(health[name])")
        assert max(map(len, text.split("\n"))) <= 100


class TestFigure:
    @pytest.mark.parametrize("count", [1, 3, 9])
    def test_a_picture(self, tmp_path, count):
        pytest.importorskip("matplotlib")
        rest = [layers.BatchNormalization(name=f"bn{i}") for i in range(count - 1)]
        model = fitted(layers.ReLU(), *rest)
        model["bn"].gamma.value[1] = 0
        path = tmp_path / "health.png"
        batchnorm(model, numbers()).plot(path)
        content = path.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert (width, height) == (1200, 120 * (3 + 2.5 * min(count, 3) if count > 1 else 5.5))

    def test_numbers_that_are_not_finite_are_drawn(self, tmp_path):
        pytest.importorskip("matplotlib")
        model = fitted()
        model["bn"].running_var.value[0] = np.nan
        model["bn"].gamma.value[1] = np.inf
        batchnorm(model, numbers()).plot(tmp_path / "health.png")
        assert (tmp_path / "health.png").exists()

    def test_without_matplotlib(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(MissingExtraError):
            batchnorm(fitted(), numbers()).plot(tmp_path / "health.png")
