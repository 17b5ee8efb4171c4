from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses, optim
from handgrad.data import ArrayDataset, ImageFolder, Loader, NpyDataset, RandomCrop
from handgrad.errors import ArgumentError, ShapeError
from handgrad.rng import Stream
from handgrad.train import Callback
from tests.train.parts import Recorder, assert_same, cnn, dense, everything, images, points


def trained(model=None, optimizer=None, seed=0, x=None, y=None, **options):
    if x is None:
        x, y = points()
    trainer = hg.Trainer(model or dense(), "cross_entropy", optimizer or optim.SGD(0.1), seed=seed)
    trainer.fit(x, y, **{"batch_size": 4, **options})
    return trainer


def test_the_loop_runs_in_its_order():
    calls = []

    @dataclasses.dataclass(frozen=True)
    class Loss(losses.CrossEntropy):
        def __call__(self, z, y, kernels=None):
            calls.append("loss")
            return super().__call__(z, y, kernels)

    class Optimizer(optim.SGD):
        def step(self, parameters, kernels=None):
            calls.append("step")
            super().step(parameters, kernels)

    class Told(Callback):
        def on_train_batch_begin(self, batch):
            calls.append("begin")

        def on_train_batch_end(self, batch, logs):
            calls.append("end")

    model = dense()

    def spied(name, method):
        def spy(*args, **options):
            calls.append(name)
            return method(*args, **options)

        return spy

    for name in ("forward", "zero_grad", "backward", "commit"):
        setattr(model, name, spied(name, getattr(model, name)))
    hg.Trainer(model, Loss(), Optimizer(0.1)).fit(*points(8), batch_size=4, callbacks=[Told()])
    step = ["begin", "forward", "loss", "zero_grad", "backward", "commit", "step", "end"]
    assert calls == 2 * step


def test_fit_is_the_loop_anyone_would_write():
    """The same numbers, bit for bit: order, augmentation and dropout are keyed by epoch, batch and step."""
    x, y = images(40)
    trainer = hg.Trainer(cnn(seed=3), losses.CrossEntropy(0.1), optim.AdamW(3e-3), ["accuracy"], seed=5)
    trainer.fit(x, y, epochs=2, batch_size=16, transform=RandomCrop(1))

    model, loss, optimizer = cnn(seed=3), losses.CrossEntropy(0.1), optim.AdamW(3e-3)
    rng, step, history = Stream((5, "train")), 0, []
    for epoch in range(2):
        order, total = rng.child("shuffle", epoch).permutation(40), 0.0
        for i in range(3):
            batch = order[16 * i : 16 * (i + 1)]
            xb = RandomCrop(1)(x[batch], rng.child("augment", epoch, i))
            run = hg.Run(training=True, rng=rng.child("step", step))
            z, trace = model.forward(xb, run)
            value, dz = loss(z, y[batch])
            total += value * len(batch)
            model.zero_grad()
            model.backward(dz, trace, run)
            model.commit(trace)
            optimizer.step(model.parameters())
            step += 1
        history.append(total / 40)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, trainer.model.state()[name])
    np.testing.assert_allclose(trainer.history["loss"], history, rtol=1e-14)
    assert (trainer.progress.epoch, trainer.progress.batch, trainer.progress.step) == (2, 0, 6)


def test_training_learns():
    x, y = points(60)
    trainer = hg.Trainer(dense(), "cross_entropy", optim.Adam(0.05), metrics=["accuracy"])
    history = trainer.fit(x, y, epochs=30, batch_size=16)
    assert history is trainer.history
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert history["accuracy"][-1] > 0.9
    assert history.epochs == 30


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_run(seed):
    assert_same(everything(trained(seed=seed, epochs=2)), everything(trained(seed=seed, epochs=2)))


def test_seeds_differ_and_so_do_epochs():
    class Seen(ArrayDataset):
        def batch(self, indices):
            orders.append(indices.tolist())
            return super().batch(indices)

    runs = []
    for seed in (0, 1):
        orders = []
        trained(seed=seed, x=Seen(*points()), epochs=2, batch_size=12)
        runs.append(orders)
    (a, b), (c, d) = runs
    assert len({tuple(order) for order in (a, b, c, d)}) == 4
    assert all(sorted(order) == list(range(12)) for order in (a, b, c, d))


def test_without_shuffling_the_order_is_that_of_the_data():
    seen = []

    def spy(x, rng):
        seen.append(x.copy())
        return x

    x, y = points()
    trained(x=x, y=y, epochs=2, batch_size=12, shuffle=False, transform=spy)
    np.testing.assert_array_equal(seen[0], x)
    np.testing.assert_array_equal(seen[1], x)


class TestTheLastBatch:
    """Of one sample it has no variance."""

    @staticmethod
    def trainer():
        chain = [layers.Dense(3, name="a"), layers.BatchNormalization(name="bn")]
        return hg.Trainer(hg.Sequential(chain, input_shape=(4,)), "cross_entropy", "sgd")

    def test_is_a_clear_error(self):
        with pytest.raises(ShapeError) as error:
            self.trainer().fit(*points(9), batch_size=4)
        assert str(error.value) == (
            "bn (BatchNormalization): expected at least 2 values per channel in training, got 1; its "
            "variance is 0 "
            "and the output would not depend on the input: use larger batches or drop_last=True, "
            'on_single="running", freeze() the layer, or normalize over fewer axes'
        )

    def test_can_be_left_out(self):
        trainer, recorder = self.trainer(), Recorder()
        trainer.fit(*points(9), batch_size=4, drop_last=True, callbacks=[recorder])
        assert recorder.names().count("batch_end") == 2
        assert trainer.model["bn"].updates.value == 2
        assert trainer.progress.batches == 2

    def test_can_be_left_out_after_the_error(self):
        trainer = self.trainer()
        with pytest.raises(ShapeError):
            trainer.fit(*points(9), batch_size=4)
        trainer.fit(*points(9), batch_size=4, drop_last=True)
        assert trainer.history.epochs == 1
        assert trainer.progress.step == 2

    def test_counts_by_its_samples(self):
        x, y = points(9)
        trainer = hg.Trainer(dense(), "cross_entropy", optim.SGD(0.0), metrics=["accuracy"])
        history = trainer.fit(x, y, batch_size=4)
        whole = trainer.evaluate(x, y)
        np.testing.assert_allclose(history["loss"][0], whole["loss"], rtol=1e-6)
        assert history["accuracy"][0] == whole["accuracy"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_are_kept(dtype):
    x, y = points(dtype=np.float64)
    model = dense(dtype=dtype)
    trainer = hg.Trainer(model, "cross_entropy", "adam")
    trainer.fit(x, y, epochs=2, batch_size=4, validation=(x, y))
    assert {p.value.dtype.name for p in model.parameters().values()} == {dtype}
    assert {p.grad.dtype.name for p in model.parameters().values()} == {dtype}
    assert model.predict(x).dtype == dtype
    assert all(type(v) is float for values in trainer.history.values() for v in values)


def test_float64_is_not_rounded_to_float32():
    x, y = points(dtype=np.float64)
    a, b = (trained(model=dense(dtype="float64"), x=data, y=y) for data in (x, x.astype(np.float32)))
    assert not np.array_equal(a.model["a"].weight.value, b.model["a"].weight.value)


def test_bytes_are_pixels_everywhere():
    x, y = images(32)
    as_bytes = np.rint(x * 255).astype(np.uint8)
    as_floats = as_bytes / np.float32(255)
    model = cnn()
    trainer = hg.Trainer(model, "cross_entropy", "sgd")
    trainer.fit(as_bytes, y, batch_size=16)
    assert_same(everything(trainer), everything(trained(cnn(), "sgd", x=as_floats, y=y, batch_size=16)))
    np.testing.assert_array_equal(model.predict(as_bytes), model.predict(as_floats))
    assert trainer.evaluate(as_bytes, y) == trainer.evaluate(as_floats, y)


def test_one_hot_labels_train_like_integers():
    x, y = points()
    for name, value in trained(x=x, y=np.eye(3)[y]).model.state().items():
        np.testing.assert_allclose(value, trained(x=x, y=y).model.state()[name], rtol=1e-5, atol=1e-7)


def test_lists_will_do():
    x, y = points()
    assert_same(everything(trained(x=x.tolist(), y=y.tolist())), everything(trained(x=x, y=y)))


class TestDatasets:
    def test_an_array_dataset_trains_like_its_arrays(self):
        x, y = points()
        assert_same(everything(trained(x=ArrayDataset(x, y))), everything(trained(x=x, y=y)))

    def test_a_pair_trains_like_its_arrays(self):
        x, y = points()
        assert_same(everything(trained(x=(x, y))), everything(trained(x=x, y=y)))

    def test_memory_mapped_files_train_like_their_arrays(self, tmp_path):
        x, y = points()
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "y.npy", y)
        files = NpyDataset(tmp_path / "x.npy", tmp_path / "y.npy")
        trainer = trained(x=files, epochs=2, validation=files)
        arrays = trained(x=x, y=y, epochs=2, validation=(x, y))
        assert_same(everything(trainer), everything(arrays))
        assert trainer.evaluate(files) == arrays.evaluate(x, y)

    def test_a_folder_of_images_trains_and_is_evaluated(self, tmp_path):
        from PIL import Image

        x, y = images(20)
        for i, (image, label) in enumerate(zip(x, y, strict=True)):
            (tmp_path / str(label)).mkdir(exist_ok=True)
            Image.fromarray(np.rint(image[..., 0] * 255).astype(np.uint8)).save(
                tmp_path / str(label) / f"{i}.png"
            )
        folder = ImageFolder(tmp_path, 8, mode="L")
        trainer = trained(model=cnn(), x=folder, batch_size=8, validation=folder)
        read, labels = folder.batch(np.arange(20))
        arrays = trained(model=cnn(), x=read, y=labels, batch_size=8, validation=(read, labels))
        assert_same(everything(trainer), everything(arrays))
        assert trainer.evaluate(folder) == trainer.evaluate(read, labels)

    def test_any_object_with_the_three_members_will_do(self):
        x, y = points()

        class Own:
            shape = (4,)

            def __len__(self):
                return 12

            def batch(self, indices):
                return x[indices], y[indices]

        assert_same(
            everything(trained(x=Own(), validation=Own())), everything(trained(x=x, y=y, validation=(x, y)))
        )


def test_a_transform_changes_training_batches_and_no_others():
    keys = []

    def shift(x, rng):
        keys.append(rng.key)
        return x + 1

    x, y = points()
    trainer = trained(x=x, y=y, epochs=2, batch_size=6, transform=shift, validation=(x, y), seed=4)
    assert keys == [(4, "train", "augment", epoch, batch) for epoch in (0, 1) for batch in (0, 1)]
    shifted = trained(x=x + 1, y=y, epochs=2, batch_size=6, validation=(x, y), seed=4)
    assert_same(everything(trainer), everything(shifted))


def test_frozen_layers_stay_as_they_are():
    x, y = images(32)
    model = cnn()
    trainer = hg.Trainer(model, "cross_entropy", optim.Adam(0.01, weight_decay=0.1))
    trainer.fit(x, y, batch_size=16)
    before = model.state()
    for name in ("conv", "bn"):
        model[name].freeze()
    trainer.fit(x, y, epochs=2, batch_size=16)
    moved = {name for name, value in model.state().items() if not np.array_equal(value, before[name])}
    assert moved == {"logits.weight", "logits.bias"}
    model.unfreeze()
    trainer.fit(x, y, batch_size=16)
    moved = {name for name, value in model.state().items() if not np.array_equal(value, before[name])}
    assert moved == set(before)


def test_a_group_may_wait_for_frozen_layers():
    model = dense()
    model["a"].freeze()
    optimizer = optim.SGD(0.1, groups=[optim.Group("a.*", lr_scale=0.0), optim.Group("b.bias", lr_scale=0.0)])
    before = model.state()
    trained(model, optimizer)
    moved = {name for name, value in model.state().items() if not np.array_equal(value, before[name])}
    assert moved == {"b.weight"}


def test_a_model_that_is_frozen_or_has_no_parameters_is_left_alone_and_said_to_be():
    x, _ = points()
    model = dense()
    model.freeze()
    before = model.state()
    with pytest.warns(UserWarning, match="^Sequential: training moves no parameter") as said:
        assert trained(model, "adam").history.epochs == 1
    assert str(said[0].message) == (
        "Sequential: training moves no parameter, as all its layers with parameters are frozen"
    )
    assert said[0].filename == __file__
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])
    empty = hg.Sequential([layers.ReLU()], input_shape=(4,))
    with pytest.warns(UserWarning, match="training moves no parameter, as it has no parameters$"):
        hg.Trainer(empty, "mean_squared_error").fit(x, x)


def test_a_schedule_gives_each_step_its_learning_rate():
    schedule = optim.schedules.OneCycle(0.1, steps=6)
    rates = []

    class Rates(Callback):
        def on_train_batch_begin(self, batch):
            rates.append(self.trainer.optimizer.learning_rate)

    trained(optimizer=optim.SGD(schedule), epochs=2, callbacks=[Rates()])
    assert rates == [schedule(step) for step in range(6)]
    assert len(set(rates)) == 6


def test_a_learning_rate_of_zero_moves_nothing():
    model = dense()
    before = model.state()
    trained(model, optim.SGD(optim.schedules.Constant(0.0)))
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_second_fit_goes_on_where_the_first_ended():
    twice = trained(epochs=2)
    twice.fit(*points(), epochs=3, batch_size=4)
    assert_same(everything(twice), everything(trained(epochs=5)))


def test_initial_epoch_says_what_epochs_count_from():
    trainer = trained(epochs=2)
    trainer.fit(*points(), epochs=5, batch_size=4, initial_epoch=0)
    assert_same(everything(trainer), everything(trained(epochs=5)))
    trainer.fit(*points(), epochs=5, batch_size=4, initial_epoch=0)
    assert trainer.history.epochs == 5


def test_an_epoch_that_was_broken_off_goes_on_at_its_next_batch():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs):
            self.trainer.stop_training = self.trainer.progress.epoch == 1 and batch == 1

    trainer = trained(epochs=3, callbacks=[Stop()])
    assert (trainer.progress.epoch, trainer.progress.batch) == (1, 2)
    assert trainer.history.epochs == 1
    trainer.fit(*points(), epochs=3, batch_size=4, initial_epoch=0)
    assert_same(everything(trainer), everything(trained(epochs=3)))


def test_an_epoch_that_was_broken_off_begins_anew_with_other_batches():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs):
            self.trainer.stop_training = True

    trainer, recorder = trained(callbacks=[Stop()]), Recorder()
    trainer.fit(*points(), batch_size=6, callbacks=[recorder])
    assert [call[2] for call in recorder.calls if call[1] == "batch_begin"] == [0, 1]
    assert trainer.progress.epoch == trainer.history.epochs == 1


def test_train_step_does_one_step_and_returns_the_loss_before_it():
    x, y = points()
    trainer = hg.Trainer(dense(), "cross_entropy", optim.SGD(0.5))
    before = trainer.evaluate(x, y)["loss"]
    np.testing.assert_allclose(trainer.train_step(x, y), before, rtol=1e-6)
    assert trainer.evaluate(x, y)["loss"] < before
    assert trainer.progress.step == trainer.optimizer.iterations == 1
    assert trainer.history == {}


def test_train_step_keeps_the_models_dtype():
    x, _ = points(dtype=np.float64)
    trainer = hg.Trainer(dense(), "mean_squared_error", "sgd")
    trainer.train_step(x, x[:, :3])
    assert trainer.model["a"].weight.value.dtype == np.float32


def test_dropout_is_drawn_anew_in_every_step_and_repeats_with_the_seed():
    def run(seed):
        model = hg.Sequential([layers.Dropout(0.5), layers.Dense(3)], input_shape=(4,))
        trainer = hg.Trainer(model, "cross_entropy", optim.SGD(0.0), seed=seed)
        x, y = points()
        return [trainer.train_step(x, y) for _ in range(3)]

    assert len({*run(0), *run(1)}) == 6
    assert run(0) == run(0)


def test_numpy_integers_will_do(tmp_path):
    trainer = trained(seed=np.int64(3), epochs=np.int64(2), batch_size=np.int64(4))
    trainer.save(tmp_path / "c.safetensors")
    assert_same(everything(trainer), everything(trained(seed=3, epochs=2)))


def test_kernels_are_those_given():
    from handgrad.kernels import select_kernels

    reference, used = select_kernels("reference"), []

    def dense_kernel(*args):
        used.append(args)
        return reference.dense(*args)

    kernels = dataclasses.replace(reference, dense=dense_kernel)
    trainer = hg.Trainer(dense(), "cross_entropy", kernels=kernels)
    trainer.train_step(*points())
    trainer.evaluate(*points())
    assert len(used) == 4


def test_a_trainer_wants_a_model():
    with pytest.raises(ArgumentError) as error:
        hg.Trainer(layers.Dense(3), "cross_entropy")
    assert str(error.value) == "Trainer model: expected a Graph or Sequential, got Dense"


def test_the_loader_is_the_one_of_data():
    """What fit draws its batches from can be had outside of it."""
    seen = []

    class Seen(ArrayDataset):
        def batch(self, indices):
            seen.append(indices.tolist())
            return super().batch(indices)

    trained(x=Seen(*points()), seed=7)
    loader = Loader(ArrayDataset(*points()), 4, rng=Stream((7, "train")))
    assert seen == [indices.tolist() for indices in loader.sampler.batches(0)]
