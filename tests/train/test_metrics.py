from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.train import Accuracy, MeanAbsoluteError, TopKAccuracy
from handgrad.train.totals import Totals
from tests.train.parts import dense, points

NAN = float("nan")


def right(metric, z, y):
    return metric(np.asarray(z, float), np.asarray(y)).astype(int).tolist()


Z = [[1, 3, 2], [5, 0, 0], [0, 0, 9]]


def test_accuracy_by_integers():
    assert right(Accuracy(), Z, [1, 1, 2]) == [1, 0, 1]
    assert right(Accuracy(), Z, [[1], [1], [2]]) == [1, 0, 1]


def test_accuracy_by_one_hot_labels():
    assert right(Accuracy(), Z, np.eye(3)[[1, 1, 2]]) == [1, 0, 1]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("labels", [(-1,), (-1, 1)])
def test_accuracy_of_one_output_is_its_sign(shape, labels):
    z, y = np.array([2.0, -1.0, 0.5, -3.0]).reshape(shape), np.array([1, 1, 0, 0]).reshape(labels)
    assert right(Accuracy(), z, y) == [1, 0, 0, 1]


def test_an_output_that_is_nan_is_never_right():
    assert right(Accuracy(), [[NAN, NAN], [NAN, 1], [0, 1]], [0, 1, 1]) == [0, 0, 1]
    assert right(Accuracy(), [[NAN], [NAN]], [0, 1]) == [0, 0]
    assert right(TopKAccuracy(2), [[NAN, NAN, NAN], [1, NAN, 0]], [0, 0]) == [0, 0]


def test_top_k():
    z = np.arange(7.0)[None].repeat(7, 0)
    assert right(TopKAccuracy(5), z, range(7)) == [0, 0, 1, 1, 1, 1, 1]
    assert right(TopKAccuracy(1), z, range(7)) == [0, 0, 0, 0, 0, 0, 1]
    assert right(TopKAccuracy(7), z, range(7)) == [1] * 7
    assert right(TopKAccuracy(5), z, np.eye(7)) == [0, 0, 1, 1, 1, 1, 1]
    assert TopKAccuracy(3).name == "top3_accuracy"


def test_top_one_is_accuracy():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    assert right(TopKAccuracy(1), z, y) == right(Accuracy(), z, y)


def test_mean_absolute_error():
    z, y = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[1.0, 4.0], [1.0, -2.0]])
    np.testing.assert_array_equal(MeanAbsoluteError()(z, y), [1.0, 1.5])
    np.testing.assert_array_equal(MeanAbsoluteError()(z[:, :1], y[:, 0]), [0.0, 1.0])


def test_metrics_by_name_and_function():
    def margin(z, y):
        return z.max(-1) - z.min(-1)

    x, y = points()
    trainer = hg.Trainer(dense(), "cross_entropy", metrics=["accuracy", margin, TopKAccuracy(2)])
    z = trainer.model.predict(x)
    result = trainer.evaluate(x, y, batch_size=5)
    assert list(result) == ["loss", "accuracy", "margin", "top2_accuracy"]
    np.testing.assert_allclose(result["margin"], np.mean(z.max(-1) - z.min(-1)), rtol=1e-6)
    history = trainer.fit(x, y, validation=(x, y))
    assert list(history) == [*result, *(f"val_{name}" for name in result)]


@pytest.mark.parametrize("metrics", ["accuracy", ["accuracy"], ("accuracy",), Accuracy(), iter(["accuracy"])])
def test_one_metric_needs_no_list(metrics):
    assert list(hg.Trainer(dense(), "cross_entropy", metrics=metrics).metrics) == ["accuracy"]


def test_totals_weigh_batches_by_their_samples():
    totals = Totals({"accuracy": Accuracy()})
    assert np.isnan(list(totals.means().values())).all()
    totals.add(1.0, np.array([[0.0, 1.0]]), np.array([1]))
    totals.add(4.0, np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([0, 0]))
    assert totals.means() == {"loss": 3.0, "accuracy": 1 / 3}
    again = Totals(totals.metrics)
    again.load_state(totals.state())
    again.add(0.0, np.array([[0.0, 1.0]]), np.array([1]))
    assert again.means() == {"loss": 2.25, "accuracy": 0.5}
    assert totals.means() == {"loss": 3.0, "accuracy": 1 / 3}
