from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import ArgumentError, ShapeError
from handgrad.train import Views


def test_weights_add_up_to_one_and_views_are_what_they_say():
    x = np.random.default_rng(0).random((2, 5, 4, 3)).astype(np.float32)
    views = list(Views(shift=1)(x))
    assert [w for w, _ in views] == [0.25, 0.25, 0.125, 0.125, 0.125, 0.125]
    assert all(v.shape == x.shape and v.dtype == x.dtype for _, v in views)
    down_right, up_left = views[2][1], views[4][1]
    np.testing.assert_array_equal(down_right[:, 1:, 1:], x[:, :-1, :-1])
    np.testing.assert_array_equal(down_right[:, 0, 1:], x[:, 1, :-1])  # reflected, without the border itself
    np.testing.assert_array_equal(up_left[:, :-1, :-1], x[:, 1:, 1:])
    np.testing.assert_array_equal(up_left[:, -1, :-1], x[:, -2, 1:])
    for i in (0, 2, 4):
        np.testing.assert_array_equal(views[i + 1][1], views[i][1][:, :, ::-1])


@pytest.mark.parametrize(("views", "count"), [(Views(), 2), (Views(flip=False), 1), (Views(False, 2), 3)])
def test_evaluation_is_of_the_mean_of_the_outputs(views, count):
    rng = np.random.default_rng(1)
    x, y = rng.random((20, 8, 8, 1)).astype(np.float32), rng.integers(0, 3, 20)
    model = hg.models.small_cnn((8, 8, 1), 3, width=4)
    trainer = hg.Trainer(model, "cross_entropy", "sgd", metrics=["accuracy"])
    trainer.fit(x, y)
    made = list(views(x))
    assert len(made) == count
    z = sum(weight * model.predict(view) for weight, view in made)
    loss, _ = hg.losses.CrossEntropy()(z, y)
    measured = trainer.evaluate(x, y, batch_size=7, views=views)
    assert measured["loss"] == pytest.approx(loss, rel=1e-5)
    assert measured["accuracy"] == np.mean(z.argmax(1) == y)
    if views.flip:
        assert measured["loss"] != pytest.approx(trainer.evaluate(x, y)["loss"], rel=1e-5)


def test_config_and_errors():
    assert Views.from_config(Views(False, 2).config()) == Views(False, 2)
    with pytest.raises(ArgumentError) as error:
        Views(shift=-1)
    assert str(error.value) == "Views: expected a shift of at least 0, got -1"
    with pytest.raises(ShapeError) as error:
        list(Views(shift=3)(np.zeros((1, 3, 8, 1))))
    assert str(error.value) == (
        "Views: expected images (n, h, w, c) larger than the shift 3, got shape (1, 3, 8, 1)"
    )
