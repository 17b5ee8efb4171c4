"""Running a model in inference: in batches, in threads, and looking inside."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import DataError, ShapeError
from handgrad.layers import Run
from tests.graph import models
from tests.graph.models import data

TRAINING = Run(training=True)


def fitted(**options):
    model = models.chain(**options)
    _, trace = model.forward(data(model, 32), TRAINING)
    model.commit(trace)
    return model


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, 100])
def test_predictions_do_not_depend_on_the_batch_size(batch_size):
    model = fitted(dtype=np.float64)
    x = data(model, 7)
    np.testing.assert_allclose(
        model.predict(x, batch_size=batch_size), model.predict(x), rtol=1e-13, atol=1e-15
    )


def test_batches_are_as_large_as_asked_for():
    sizes = []
    kernels = Run().kernels

    def relu(x):
        sizes.append(len(x))
        return kernels.relu(x)

    model = hg.Sequential([layers.ReLU()], input_shape=(3,))
    model.predict(np.zeros((10, 3)), batch_size=4, run=Run(kernels=replace(kernels, relu=relu)))
    assert sizes == [4, 4, 2]


def test_no_inputs_give_no_outputs():
    model = fitted()
    y = model.predict(np.zeros((0, 5, 4, 2)))
    assert y.shape == (0, 4)
    assert y.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.float64])
def test_inputs_of_any_real_dtype_are_converted(dtype):
    model = fitted()
    x = np.arange(3 * 40).reshape(3, 5, 4, 2) % 7
    np.testing.assert_array_equal(model.predict(x.astype(dtype)), model.predict(x.astype(np.float32)))


def test_bytes_are_numbers_in_0_to_1():
    model = fitted()
    x = np.arange(3 * 40, dtype=np.uint8).reshape(3, 5, 4, 2)
    np.testing.assert_array_equal(model.predict(x), model.predict(x.astype(np.float32) / 255))


def test_memory_mapped_inputs_are_read_batch_by_batch(tmp_path):
    model = fitted()
    x = data(model, 9, dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(model.predict(mapped, batch_size=4), model.predict(x, batch_size=4))
    mapped._mmap.close()


def test_predicting_changes_nothing():
    model = fitted()
    before = model.state()
    model.predict(data(model))
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])
    assert not any(np.any(p.grad) for p in model.parameters().values())


def test_an_output_can_be_written_without_changing_the_input():
    model = hg.Sequential([layers.Dropout(0.5), layers.Flatten()], input_shape=(2, 2))
    x = np.ones((3, 2, 2), np.float32)
    y = model.predict(x)
    y[...] = 5
    np.testing.assert_array_equal(x, 1)


def test_intermediates_are_the_outputs_of_all_nodes():
    model = fitted()
    x = data(model)
    found = model.intermediates(x)
    assert list(found) == [node.name for node in model.nodes]
    np.testing.assert_array_equal(found["dense"], model.predict(x))
    np.testing.assert_array_equal(found["relu"], np.maximum(found["batch_normalization"], 0))


def test_a_value_is_let_go_after_its_last_use():
    """At the last of ten layers no more than two values are alive."""
    model = hg.Sequential([layers.Sigmoid() for _ in range(10)], input_shape=(4,))
    alive = []

    def watch(node, y):
        alive.append(weakref.ref(y))
        assert sum(r() is not None for r in alive) <= 2

    model.forward(np.ones((2, 4), np.float32), Run(), keep=False, watch=watch)
    assert len(alive) == 10


def test_threads_can_share_a_model():
    model = fitted()
    xs = [data(model, 20, seed=k) for k in range(4)]
    alone = [model.predict(x, batch_size=5) for x in xs]
    wrong, barrier = [], threading.Barrier(4)

    def work(k):
        barrier.wait()
        found = [model.predict(xs[k], batch_size=5) for _ in range(25)]
        wrong.extend(k for y in found if not np.array_equal(y, alone[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_training_forward_does_not_disturb_predictions():
    model = fitted()
    x = data(model)
    before = model.predict(x)
    model.forward(100 + data(model, seed=3), TRAINING)
    np.testing.assert_array_equal(model.predict(x), before)


def test_commit_moves_every_normalization_once():
    model = models.residual()
    _, trace = model.forward(data(model), TRAINING)
    model.commit(trace)
    counts = {name: int(b.value) for name, b in model.buffers().items() if name.endswith("updates")}
    assert counts == {"batch_normalization.updates": 1, "batch_normalization_1.updates": 1}


def test_a_shared_normalization_is_moved_once_by_each_use():
    i = hg.Input((3,))
    bn = layers.BatchNormalization(momentum=0.5)
    model = hg.Graph(i, bn(layers.Dense(3)(bn(i))), dtype=np.float64)
    x = data(model, 50)
    _, trace = model.forward(x, TRAINING)
    model.commit(trace)
    assert bn.updates.value == 2
    first = 0.5 * x.mean(axis=0)
    second = model.intermediates(x, TRAINING)["dense"].mean(axis=0)
    np.testing.assert_allclose(bn.running_mean.value, 0.5 * first + 0.5 * second, rtol=1e-12)


def test_random_layers_draw_anew_for_each_batch():
    model = hg.Sequential([layers.Dropout(0.5)], input_shape=(50,))
    run, x = Run(training=True), np.ones((6, 50), np.float32)
    parts = np.split(model.predict(x, batch_size=2, run=run) != 0, 3)
    assert not np.array_equal(parts[0], parts[1])
    assert not np.array_equal(parts[1], parts[2])
    np.testing.assert_array_equal(
        model.predict(x, batch_size=2, run=run), model.predict(x, batch_size=2, run=run)
    )
    whole, _ = model.forward(x, run)
    np.testing.assert_array_equal(model.predict(x, run=run), whole)


class TestDatasets:
    """What has a method ``batch`` gives inputs; graphs know nothing else of data sets."""

    def test_the_samples_of_a_data_set_are_predicted(self):
        model = fitted()
        x = data(model, 7)
        dataset = hg.data.ArrayDataset(x, np.arange(7))
        for batch_size in (3, 100):
            np.testing.assert_array_equal(
                model.predict(dataset, batch_size), model.predict(x, batch_size=batch_size)
            )
        predictor = hg.Predictor(model, batch_size=3)
        np.testing.assert_array_equal(predictor.predict(dataset), predictor.predict(x))

    def test_it_is_asked_for_a_batch_at_a_time(self):
        asked = []

        class Counting(hg.data.ArrayDataset):
            def batch(self, indices):
                asked.append(indices.tolist())
                return super().batch(indices)

        model = fitted()
        model.predict(Counting(data(model, 5), np.arange(5)), batch_size=2)
        assert asked == [[0, 1], [2, 3], [4]]

    def test_samples_of_another_shape_are_refused(self):
        model = fitted()
        shape = model.input_shape
        dataset = hg.data.ArrayDataset(np.zeros((5, 2, *shape)), np.arange(5))
        wanted = ", ".join(map(str, shape))
        for predict in (model.predict, hg.Predictor(model).predict):
            with pytest.raises(ShapeError) as error:
                predict(dataset)
            assert str(error.value).endswith(
                f": expected a batch of shape (n, {wanted}), got shape {(5, 2, *shape)}"
            )

    def test_a_known_set_has_two_parts_of_which_one_is_asked_for(self):
        model = fitted()
        for predict in (model.predict, hg.Predictor(model).predict):
            with pytest.raises(DataError) as error:
                predict(hg.data.digits())
            assert str(error.value).endswith(
                ": expected images, or a Dataset, got ImageSet, which has images for training and for "
                "testing; give one of them, as its x_test"
            )
