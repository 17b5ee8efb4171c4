"""The network, as programs use it."""

import copy

import numpy as np
import pytest

from handgrad import data
from handgrad.compat import mlfromscratch as m
from handgrad.errors import NonFiniteError
from handgrad.train import Trainer
from tests.compat.networks import convnet, images, network, normal, one_hot


def test_a_program_learns_the_digits():
    digits = data.digits(test_size=719)
    X, y = digits.x_train[:, None, :, :, 0], m.to_categorical(digits.y_train)
    X_test, y_test = digits.x_test[:, None, :, :, 0], m.to_categorical(digits.y_test)
    clf = m.NeuralNetwork(optimizer=m.Adam(0.005), loss=m.CrossEntropy, validation_data=(X_test, y_test))
    clf.add(m.Conv2D(n_filters=8, filter_shape=(3, 3), stride=2, input_shape=(1, 8, 8), padding="same"))
    clf.add(m.Activation("relu"))
    clf.add(m.BatchNormalization())
    clf.add(m.Flatten())
    clf.add(m.Dropout(0.25))
    clf.add(m.Dense(10))
    clf.add(m.Activation("softmax"))
    training, validation = clf.fit(X, y, n_epochs=12, batch_size=64)
    assert len(training) == len(validation) == 12
    assert training[-1] < training[0] / 5
    loss, accuracy = clf.test_on_batch(X_test, y_test)
    assert loss == pytest.approx(validation[-1], rel=1e-6)
    assert accuracy > 0.95
    p = clf.predict(X_test)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert m.accuracy_score(np.argmax(y_test, axis=1), np.argmax(p, axis=1)) == pytest.approx(accuracy)


def test_summary(capsys):
    convnet().summary(name="ConvNet")
    assert capsys.readouterr().out == (
        "ConvNet\n"
        "=======\n"
        "Input Shape: (2, 6, 5)\n"
        "\n"
        "Layer Type            Parameters  Output Shape\n"
        "----------------------------------------------\n"
        "Conv2D                        76  (4, 6, 5)\n"
        "Activation (ReLU)              0  (4, 6, 5)\n"
        "BatchNormalization           240  (4, 6, 5)\n"
        "MaxPooling2D                   0  (4, 3, 2)\n"
        "Flatten                        0  (24,)\n"
        "Dense                         75  (3,)\n"
        "Activation (Softmax)           0  (3,)\n"
        "----------------------------------------------\n"
        "Total Parameters: 391\n"
    )


def test_the_same_seed_gives_the_same_training_and_another_one_another():
    X, y = images()
    losses = [convnet(seed=seed).fit(X, y, n_epochs=3, batch_size=6)[0] for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_the_seed_is_also_that_of_the_order_of_samples():
    X, y = images()
    losses = []
    for seed in (0, 1):
        clf = convnet()
        clf.seed = seed
        losses.append(clf.fit(X, y, n_epochs=2, batch_size=6)[0])
    assert losses[0] != losses[1]


def test_the_order_of_samples_is_new_in_every_epoch():
    seen = []

    class Recording(m.SquareLoss):
        def after(self, activation):
            loss, fused = super().after(activation)
            compute = loss.compute
            object.__setattr__(loss, "compute", lambda z, y, k: (seen.append(y[:, 0]), compute(z, y, k))[1])
            return loss, fused

    clf = network(m.Dense(1, input_shape=(2,)), loss=Recording)
    clf.fit(normal(10, 2), np.arange(10.0)[:, None], n_epochs=2, batch_size=4)
    epochs = [np.concatenate(seen[:3]), np.concatenate(seen[3:])]
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(e) for e in [*epochs, range(10)]}) == 3


def test_fits_add_up():
    X, y = images()
    once, twice = convnet(validation_data=(X, y)), convnet(validation_data=(X, y))
    wanted = once.fit(X, y, n_epochs=4, batch_size=7)
    twice.fit(X, y, n_epochs=3, batch_size=7)
    assert twice.fit(X, y, n_epochs=1, batch_size=7) == wanted
    assert twice.errors == {"training": wanted[0], "validation": wanted[1]}


def test_steps_by_hand_are_not_epochs():
    X, y = images()
    clf = convnet()
    assert len(clf.train_on_batch(X, y)) == 2
    training, validation = clf.fit(X, y, n_epochs=2, batch_size=5)
    assert (len(training), validation) == (2, [])
    clf.validation_data = X, y
    clf.train_on_batch(X, y)
    training, validation = clf.fit(X, y, n_epochs=2, batch_size=5)
    assert (len(training), len(validation)) == (4, 2)
    assert np.isfinite(training + validation).all()


def test_a_validation_set_larger_than_a_batch_is_one_mean():
    X, y = images()
    many = np.concatenate([X] * 30), np.concatenate([y] * 30)
    clf = convnet(validation_data=many)
    _, validation = clf.fit(X, y, n_epochs=1, batch_size=5)
    loss, accuracy = clf.test_on_batch(X, y)
    assert validation == [pytest.approx(loss, rel=1e-12)]
    assert clf.test_on_batch(*many) == (pytest.approx(loss, rel=1e-12), pytest.approx(accuracy, rel=1e-12))


def test_numbers_of_any_kind_are_the_same_inputs():
    X = np.arange(2 * 60).reshape(2, 2, 6, 5) % 200
    y = one_hot(2, 3)
    results = []
    for kind in (float, np.float32, int, np.uint8):
        clf = convnet(dtype=np.float32)
        results.append((clf.train_on_batch(X.astype(kind), y), clf.predict(X.astype(kind)).tolist()))
    assert all(r == results[0] for r in results)


def test_float32_by_default_and_float64_on_demand():
    clf = m.NeuralNetwork(m.Adam(), m.SquareLoss)
    clf.add(m.Dense(2, input_shape=(3,)))
    assert clf.predict(normal(1, 3)).dtype == clf.layers[0].W.dtype == np.float32
    assert network(m.Dense(2, input_shape=(3,))).predict(normal(1, 3)).dtype == np.float64


def test_frozen_layers_stay_and_the_others_learn_through_them():
    X, y = images()
    clf = convnet()
    clf.fit(X, y, n_epochs=1, batch_size=5)
    clf.set_trainable(False)
    clf.layers[0].trainable = True
    before = [clf.layers[i].W.copy() for i in (0, 5)], clf.layers[2].running_mean.copy()
    clf.train_on_batch(X, y)
    assert (before[0][0] != clf.layers[0].W).any()
    np.testing.assert_array_equal(clf.layers[5].W, before[0][1])
    np.testing.assert_array_equal(clf.layers[2].running_mean, before[1])
    clf.set_trainable(True)
    clf.train_on_batch(X, y)
    assert (before[0][1] != clf.layers[5].W).any()


def test_layers_stand_in_several_networks_as_in_an_adversarial_pair():
    optimizer = m.Adam(0.01, b1=0.5)

    generator = network(m.Dense(8, input_shape=(3,)), optimizer=optimizer)
    generator.add(m.Activation("leaky_relu"))
    generator.add(m.BatchNormalization(momentum=0.8))
    generator.add(m.Dense(2 * 4 * 4))
    generator.add(m.Activation("tanh"))
    generator.add(m.Reshape((2, 4, 4)))
    discriminator = network(m.Conv2D(3, (3, 3), stride=2, input_shape=(2, 4, 4)), optimizer=optimizer, seed=1)
    discriminator.add(m.ZeroPadding2D(padding=((0, 1), (0, 1))))
    discriminator.add(m.UpSampling2D())
    discriminator.add(m.Flatten())
    discriminator.add(m.Dense(2))
    discriminator.add(m.Activation("softmax"))
    combined = network(optimizer=optimizer)
    combined.layers.extend(generator.layers)
    combined.layers += discriminator.layers[:]

    noise, valid = normal(6, 3), np.tile([1.0, 0.0], (6, 1))
    with pytest.warns(UserWarning, match="running statistics"):
        fakes = generator.predict(noise)
    assert fakes.shape == (6, 2, 4, 4)
    d_W, g_W = discriminator.layers[0].W.copy(), generator.layers[0].W.copy()
    discriminator.train_on_batch(fakes, valid[:, ::-1])
    assert (d_W != discriminator.layers[0].W).any()
    np.testing.assert_array_equal(generator.layers[0].W, g_W)

    discriminator.set_trainable(False)
    d_W = discriminator.layers[0].W.copy()
    first = [combined.train_on_batch(noise, valid)[0] for _ in range(20)]
    np.testing.assert_array_equal(discriminator.layers[0].W, d_W)
    assert (g_W != generator.layers[0].W).any()
    assert first[-1] < first[0]
    np.testing.assert_array_equal(combined.predict(noise), discriminator.predict(generator.predict(noise)))


def test_weights_are_inherited_and_mutated_as_in_evolution():
    parent = network(m.Dense(4, input_shape=(3,)), m.Activation("softmax"))
    child = network(m.Dense(4, input_shape=(3,)), m.Activation("softmax"), seed=1)
    X = normal(5, 3)
    child.predict(X)
    for one, other in zip(child.layers, parent.layers, strict=True):
        if hasattr(one, "W"):
            one.W = other.W.copy()
            one.w0 = other.w0.copy()
    np.testing.assert_array_equal(child.predict(X), parent.predict(X))
    child.layers[0].W[:, 2:] += 1
    assert (child.predict(X) != parent.predict(X)).all()
    child.train_on_batch(X, one_hot(5, 4))


def test_a_layer_added_later_counts():
    X = normal(5, 3)
    clf = network(m.Dense(4, input_shape=(3,)), loss=m.SquareLoss)
    hidden = clf.predict(X)
    clf.add(m.Activation("tanh"))
    np.testing.assert_allclose(clf.predict(X), np.tanh(hidden), rtol=1e-12)


def test_a_step_that_is_not_finite_changes_nothing():
    X, y = images()
    clf = convnet()
    before = clf.layers[0].W.copy()
    with pytest.raises(NonFiniteError):
        clf.fit(np.where(X > 1, np.nan, X), y, n_epochs=1, batch_size=5)
    np.testing.assert_array_equal(clf.layers[0].W, before)
    assert (clf.layers[2].running_mean == 0).all()


@pytest.mark.parametrize("how", ["fit", "train_on_batch"])
def test_after_a_fit_that_was_broken_off_training_goes_on(how):
    X, y = images()
    X[-1] = np.nan
    clf = convnet()
    with pytest.raises(NonFiniteError):
        clf.fit(X, y, n_epochs=5, batch_size=2)
    assert clf.errors == {"training": [], "validation": []}
    W = clf.layers[0].W.copy()
    X, y = X[:3], y[:3]
    result = (
        clf.train_on_batch(X, y) if how == "train_on_batch" else clf.fit(X, y, n_epochs=1, batch_size=3)[0]
    )
    assert np.isfinite(result).all()
    assert (clf.layers[0].W != W).any()


def test_epochs_before_an_interruption_are_kept(monkeypatch):
    X, y = images()
    clf = convnet(validation_data=(X, y))
    evaluate, calls = Trainer.evaluate, []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(self, *arguments)

    monkeypatch.setattr(Trainer, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y, n_epochs=5, batch_size=5)
    assert [len(losses) for losses in clf.errors.values()] == [2, 2]


def test_a_copy_trains_like_the_original_and_by_itself():
    X, y = images()
    clf = convnet()
    clf.fit(X, y, n_epochs=2, batch_size=5)
    other = copy.deepcopy(clf)
    wanted = clf.fit(X, y, n_epochs=2, batch_size=5)
    W = clf.layers[0].W.copy()
    assert other.fit(X, y, n_epochs=2, batch_size=5) == wanted
    other.fit(X, y, n_epochs=1, batch_size=5)
    np.testing.assert_array_equal(clf.layers[0].W, W)


def test_inputs_are_not_written():
    X, y = images()
    kept = X.copy(), y.copy()
    X.setflags(write=False)
    y.setflags(write=False)
    clf = convnet(validation_data=(X, y))
    clf.fit(X, y, n_epochs=1, batch_size=5)
    clf.predict(X)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_progress_is_shown_in_a_terminal_only(monkeypatch, capsys):
    X, y = images()
    convnet().fit(X, y, n_epochs=2, batch_size=5)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    convnet().fit(X, y, n_epochs=2, batch_size=5)
    assert "epoch 2/2" in capsys.readouterr().err
