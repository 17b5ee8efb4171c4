"""What a trainer keeps with a model: what its outputs mean, and what its inputs have passed through."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses
from handgrad.data import ArrayDataset, Compose, MappedDataset, Normalize, RandomFlip, Subset, to_config
from handgrad.errors import CheckpointError, DataError
from handgrad.io import read_tensors, write_tensors
from handgrad.train.outputs import model_info

NORMALIZE = Normalize((0.5,), (0.25,))


def dense(units, *end, shape=(4,)):
    return hg.Sequential([layers.Dense(units), *end], input_shape=shape)


@dataclass(frozen=True)
class Own(losses.Loss):
    """One that handgrad does not know."""

    def check(self, z_shape, y):
        pass

    def compute(self, z, y, kernels):
        return losses.MeanSquaredError().compute(z, y, kernels)


class OwnEntropy(losses.CrossEntropy):
    """One of a known kind that computes something else."""


BCE, CE, MSE = losses.BinaryCrossEntropy(), losses.CrossEntropy(), losses.MeanSquaredError()
YES_OR_NO = ArrayDataset(np.zeros((4, 4)), np.array([[0, 1]] * 4))
NUMBERS = ArrayDataset(np.zeros((4, 4)), np.array([[0.0, 1.0]] * 4))


class TestKind:
    @pytest.mark.parametrize(
        ("model", "loss", "expected"),
        [
            (dense(3), CE, ("classification", True)),
            (dense(3, layers.Softmax()), CE, ("classification", False)),
            (dense(3, layers.Softmax(), layers.Dropout(0.5)), CE, ("classification", False)),
            (dense(3), OwnEntropy(), ("classification", True)),
            (dense(1), BCE, ("binary", True)),
            (dense(1, layers.Sigmoid()), BCE, ("binary", False)),
            (dense(3), BCE, ("multi_label", True)),
            (dense(3, layers.Sigmoid()), BCE, ("multi_label", False)),
            (dense(1, shape=(5, 6, 2)), BCE, ("binary", True)),
            (dense(3, shape=(5, 6, 2)), BCE, ("multi_label", True)),
            (dense(3, layers.Softmax(), shape=(5, 6, 2)), Own(), ("classification", False)),
            (dense(3, layers.Softmax()), MSE, ("classification", False)),
            (dense(3), MSE, ("regression", True)),
            (dense(1), MSE, ("regression", True)),
            (dense(1, layers.Softmax()), MSE, ("regression", False)),
            (dense(3, layers.Sigmoid()), MSE, ("regression", False)),
        ],
    )
    def test_it_follows_from_loss_outputs_and_last_layer(self, model, loss, expected):
        info = model_info(model, loss)
        assert (info.kind, info.from_logits) == expected

    def test_of_probabilities_that_approximate_labels_the_labels_decide(self):
        model = dense(2, layers.Sigmoid())
        assert model_info(model, MSE, YES_OR_NO).kind == "multi_label"
        assert model_info(model, MSE, NUMBERS).kind == "regression"
        assert model_info(dense(2), MSE, YES_OR_NO).kind == "regression"

    def test_a_loss_of_ones_own_leaves_what_was_known(self):
        model = dense(3)
        assert model_info(model, Own()) == hg.ModelInfo()
        model.info = hg.ModelInfo("multi_label", classes=("a", "b", "c"))
        assert model_info(model, Own()) == model.info

    def test_the_loss_is_kept_where_its_configuration_makes_it_again(self):
        assert model_info(dense(3), losses.CrossEntropy(0.1)).loss == {
            "class": "CrossEntropy",
            "label_smoothing": 0.1,
        }
        assert model_info(dense(3), OwnEntropy()).loss is None


class TestTrainer:
    x, y = np.zeros((4, 3, 3, 1), np.uint8), np.array([0, 1, 1, 0])

    def model(self):
        return hg.Sequential([layers.Flatten(), layers.Dense(2)], input_shape=(3, 3, 1))

    def trainer(self, **options):
        return hg.Trainer(self.model(), "cross_entropy", **options)

    def test_a_fit_sets_it_and_making_a_trainer_does_not(self):
        trainer = self.trainer()
        assert trainer.model.info == hg.ModelInfo()
        trainer.fit(ArrayDataset(self.x, self.y, class_names=["no", "yes"]))
        assert trainer.model.info == hg.ModelInfo(
            "classification", classes=("no", "yes"), preprocessing=(), loss=CE.config()
        )

    def test_a_fit_that_is_refused_sets_nothing(self):
        trainer = self.trainer()
        with pytest.raises(DataError):
            trainer.fit(self.x, self.y + 1)
        assert trainer.model.info == hg.ModelInfo()

    def test_a_step_sets_what_outputs_mean(self):
        trainer = self.trainer()
        trainer.train_step(self.x, self.y)
        assert trainer.model.info == hg.ModelInfo("classification", loss=CE.config())

    def test_names_that_data_lack_stay(self):
        trainer = self.trainer()
        trainer.model.info = hg.ModelInfo(classes=("cat", "dog"))
        trainer.fit(self.x, self.y)
        assert trainer.model.info.classes == ("cat", "dog")

    def test_it_keeps_what_all_images_pass_through(self):
        mapped = MappedDataset(ArrayDataset(self.x, self.y), NORMALIZE)
        for fit in (
            lambda trainer: trainer.fit(mapped),
            lambda trainer: trainer.fit(Subset(mapped, [0, 1])),
            lambda trainer: trainer.fit(self.x, self.y, transform=Compose([RandomFlip(), NORMALIZE])),
            lambda trainer: trainer.fit(self.x / 255, self.y, transform=NORMALIZE),
        ):
            trainer = self.trainer()
            fit(trainer)
            assert trainer.model.info.preprocessing == (to_config(NORMALIZE),)

    def test_it_keeps_in_what_range_numbers_were_before(self):
        x = np.linspace(-3, 5, 36, dtype=np.float32).reshape(4, 3, 3, 1)
        for data, expected in (
            (ArrayDataset(x, self.y), (-3.0, 5.0)),
            (ArrayDataset(x, self.y, scale=2), (-6.0, 10.0)),
            (MappedDataset(Subset(ArrayDataset(x, self.y), [3, 0]), NORMALIZE), (-3.0, 5.0)),
            (ArrayDataset(np.where(x > 4, np.nan, x), self.y), None),
            (ArrayDataset(self.x, self.y), None),
        ):
            info = model_info(self.model(), CE, data)
            if expected is None:
                assert info.input_range is None or info.input_range[1] < 4
            else:
                assert info.input_range == expected

    def test_both_kinds_of_steps_are_kept_in_order(self):
        trainer, second = self.trainer(), Normalize((1.0,), (2.0,))
        trainer.fit(MappedDataset(ArrayDataset(self.x, self.y), NORMALIZE), transform=second)
        assert trainer.model.info.preprocessing == (to_config(NORMALIZE), to_config(second))

    def test_numbers_may_have_passed_through_what_is_recorded(self):
        trainer = self.trainer()
        trainer.model.info = hg.ModelInfo(preprocessing=[to_config(NORMALIZE)])
        trainer.fit(self.x / 255, self.y)
        assert trainer.model.info.preprocessing == (to_config(NORMALIZE),)
        trainer.fit(self.x, self.y)  # bytes have not
        assert trainer.model.info.preprocessing == ()

    def test_a_resumed_trainer_has_it_before_its_first_step(self, tmp_path):
        trainer = self.trainer()
        trainer.fit(ArrayDataset(self.x, self.y, class_names=["no", "yes"]))
        trainer.save(tmp_path / "last")
        again = self.trainer()
        again.load(tmp_path / "last")
        assert again.model.info == hg.load(tmp_path / "last").info == trainer.model.info

    def test_a_checkpoint_from_before_leaves_it(self, tmp_path):
        trainer = self.trainer()
        trainer.fit(self.x, self.y)
        trainer.save(tmp_path / "last")
        tensors, header = read_tensors(tmp_path / "last")
        del header["model"]["info"]
        write_tensors(tmp_path / "last", tensors, header)
        trainer.load(tmp_path / "last")
        assert trainer.model.info.kind == "classification"

    def test_a_checkpoint_with_something_else_changes_nothing(self, tmp_path):
        trainer = self.trainer()
        trainer.fit(self.x, self.y)
        trainer.save(tmp_path / "last")
        tensors, header = read_tensors(tmp_path / "last")
        header["model"]["info"] = {"kind": "fish"}
        write_tensors(tmp_path / "last", tensors, header)
        trainer.fit(self.x, self.y)
        before = trainer.model.state()
        with pytest.raises(CheckpointError) as error:
            trainer.load(tmp_path / "last")
        assert str(error.value).startswith(
            f"{tmp_path / 'last'}: expected what the model's outputs mean, got something else (ModelInfo "
        )
        for name, value in trainer.model.state().items():
            np.testing.assert_array_equal(value, before[name])


class TestSamplesThatPassedThroughSomethingElse:
    """Measured on other samples than those it is trained on, a model is worse than it is."""

    x, y = TestTrainer.x, TestTrainer.y
    message = (
        "the model is trained on samples that passed through Normalize, and these passed through nothing: "
        "let them pass through handgrad.data.preprocess(x, model)"
    )

    @pytest.fixture
    def trainer(self):
        return TestTrainer().trainer()

    def test_a_fit_warns_of_validation_samples(self, trainer):
        raw = ArrayDataset(self.x, self.y)
        with pytest.warns(UserWarning, match="passed through") as warned:
            trainer.fit(MappedDataset(raw, NORMALIZE), validation=raw, epochs=2)
        assert [str(w.message) for w in warned] == [self.message]
        assert warned[0].filename == __file__

    def test_measuring_warns(self, trainer):
        raw = ArrayDataset(self.x, self.y)
        trainer.fit(MappedDataset(raw, NORMALIZE))
        with pytest.warns(UserWarning, match="passed through") as warned:
            trainer.evaluate(self.x, self.y)
        assert [str(w.message) for w in warned] == [self.message]
        assert warned[0].filename == __file__

    def test_nothing_is_said_of_the_same_or_of_numbers(self, trainer):
        raw = ArrayDataset(self.x, self.y)
        mapped = MappedDataset(raw, NORMALIZE)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            trainer.fit(raw, transform=NORMALIZE, validation=mapped)
            trainer.evaluate(hg.data.preprocess(raw, trainer.model))
            trainer.evaluate(self.x / 255, self.y)
            TestTrainer().trainer().evaluate(mapped)
