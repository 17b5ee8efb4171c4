"""A run's folder has one writer, and what is lost in it is made again."""

from __future__ import annotations

import json
import shutil

import pytest

import handgrad as hg
from handgrad.errors import CheckpointError
from handgrad.io.lock import locked
from handgrad.train import Callback, Experiment, Recipe, open_model
from tests.train.parts import At, assert_same, everything

RECIPE = Recipe("digits", model_options={"width": 2}, epochs=2, batch_size=512)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    experiment = Experiment(folder, RECIPE)
    return experiment, experiment.run()


@pytest.fixture
def copy(ended, tmp_path):
    """Return a copy of the folder of a run that has ended."""
    return shutil.copytree(ended[0].folder, tmp_path / "copy")


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


class Meanwhile(Callback):
    """Does something after the first step, when the folder is claimed."""

    def __init__(self, function):
        self.function, self.error = function, None

    def on_train_begin(self):
        try:
            self.function()
        except CheckpointError as error:
            self.error = str(error)


class TestOneWriter:
    def test_a_second_one_is_refused_while_the_first_trains(self, ended, tmp_path):
        other = Experiment(tmp_path, RECIPE.changed(seed=1))
        first = Experiment(tmp_path, RECIPE)
        second = Meanwhile(other.run)
        assert first.run([second]) == ended[1]
        assert second.error.startswith(
            f"{tmp_path}: expected a folder that nothing else writes into, got one"
        )
        assert_same(hg.load(first.model_path).state(), hg.load(ended[0].model_path).state())

    def test_a_running_run_is_not_resumed(self, ended, tmp_path):
        second = Meanwhile(lambda: Experiment(tmp_path).run())
        assert Experiment(tmp_path, RECIPE).run([second]) == ended[1]
        assert second.error.startswith(
            f"{tmp_path}: expected a folder that nothing else writes into, got one"
        )

    def test_one_that_came_too_late_is_refused(self, ended, copy):
        before = files(copy)
        late = Experiment(copy.parent / "new", RECIPE.changed(seed=1))
        shutil.copytree(copy, copy.parent / "new")
        with pytest.raises(CheckpointError) as error:
            late.run()
        assert str(error.value) == (
            f"{copy.parent / 'new'}: expected a new folder, got one that holds a run; resume it, or name "
            "another"
        )
        assert files(copy.parent / "new") == before

    def test_a_run_that_another_has_extended_meanwhile_is_not_resumed(self, copy):
        late = Experiment(copy)
        Experiment(copy, epochs=3).run()
        with pytest.raises(CheckpointError) as error:
            late.run()
        assert str(error.value) == (
            f"{copy}: expected the run that was opened, got one that was changed meanwhile"
        )

    def test_a_run_that_another_has_taken_further_goes_on_from_there(self, ended, tmp_path):
        Experiment(tmp_path, RECIPE).run([At(1, lambda t: setattr(t, "stop_training", True))])
        late = Experiment(tmp_path)
        Experiment(tmp_path).run([At(3, lambda t: setattr(t, "stop_training", True))])
        assert late.trainer.progress.step == 1
        with late.claimed():
            assert late.trainer.progress.step == 4
            assert late.run() == ended[1]

    def test_numbered_folders_are_taken_one_after_the_other(self, tmp_path):
        several = [Experiment(tmp_path / "a", RECIPE, numbered=True) for _ in range(3)]
        for experiment in several:
            with experiment.claimed(), experiment.claimed():
                assert experiment.config_path.is_file()
        assert [e.folder.name for e in several] == ["a", "a-2", "a-3"]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a-2", "a-3"]

    def test_the_folder_is_free_again_after_a_failure(self, ended, tmp_path):
        def crash(trainer):
            raise RuntimeError

        with pytest.raises(RuntimeError):
            Experiment(tmp_path, RECIPE).run([At(1, crash)])
        with locked(tmp_path / ".lock"):
            pass
        assert Experiment(tmp_path).run() == ended[1]

    def test_what_a_run_has_left_is_not_taken_for_a_new_one(self, copy):
        (copy / "config.json").unlink()
        with pytest.raises(CheckpointError) as error:
            Experiment(copy, RECIPE)
        assert str(error.value) == (
            f"{copy}: expected a new folder, got one with last.safetensors, model.safetensors, result.json "
            "of another run; remove them, or name another"
        )


def test_what_killed_writers_left_half_written_is_removed_and_nothing_else(ended, copy):
    stale = [".last.safetensors.0123abcd", ".config.json.00000000", ".curves.png.ffffffff"]
    others = [
        ".config.json.swp",
        ".notes.0123abcd",
        ".last.safetensors.0123ABCD",
        "last.safetensors.0123abcd",
    ]
    for name in stale + others:
        (copy / name).write_text("half")
    before = files(copy)
    assert Experiment(copy).run() == ended[1]
    assert files(copy) == {name: content for name, content in before.items() if name not in stale}


class TestWhatIsLost:
    def same_again(self, ended, folder):
        again = Experiment(folder)
        assert again.run() == ended[1]
        model, about = open_model(folder)
        assert_same(model.state(), ended[0].trainer.model.state())
        assert about == open_model(ended[0].folder)[1]
        kept = json.loads((folder / "result.json").read_text())
        assert {name: kept[name] for name in ended[1]} == ended[1]

    def test_a_model_that_is_missing_is_made_again(self, ended, copy):
        (copy / "model.safetensors").unlink()
        with pytest.raises(CheckpointError) as error:
            open_model(copy)
        assert str(error.value) == (
            f"{copy}: expected a run with its model, got one whose model.safetensors is missing; make it "
            f"again with: handgrad train --resume {copy}"
        )
        self.same_again(ended, copy)

    def test_a_model_that_is_damaged_is_made_again(self, ended, copy):
        path = copy / "model.safetensors"
        path.write_bytes(path.read_bytes()[:900])
        with pytest.raises(CheckpointError) as error:
            open_model(copy)
        assert str(error.value).startswith(f"{path}: expected a whole safetensors file, got a damaged one")
        assert str(error.value).endswith(f"; make it again with: handgrad train --resume {copy}")
        self.same_again(ended, copy)

    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "{}", '{"test_loss": 1.0}', '{"test_loss": "x", "test_accuracy": true}', "\xff"],
    )
    def test_a_result_that_is_damaged_is_made_again(self, ended, copy, text):
        (copy / "result.json").write_text(text, encoding="latin-1")
        self.same_again(ended, copy)

    def test_a_history_that_is_missing_is_written_with_the_model(self, ended, copy):
        for name in ("model.safetensors", "history.csv", "history.json"):
            (copy / name).unlink()
        self.same_again(ended, copy)
        for name in ("history.csv", "history.json"):
            assert (copy / name).read_bytes() == (ended[0].folder / name).read_bytes()

    def test_a_result_whose_checkpoint_is_missing_stays(self, ended, copy):
        (copy / "last.safetensors").unlink()
        before = files(copy)
        assert Experiment(copy).run() == ended[1]
        assert files(copy) == before

    def test_a_run_without_model_and_checkpoint_begins_anew(self, ended, copy):
        for name in ("model.safetensors", "last.safetensors"):
            (copy / name).unlink()
        self.same_again(ended, copy)


class Fail(Callback):
    def on_epoch_end(self, epoch, logs):
        raise RuntimeError("no")


class TestSavedFirst:
    def where(self, folder):
        at = Experiment(folder).trainer.progress
        return at.epoch, at.batch, at.step

    def test_a_callback_that_fails_at_an_epochs_end_does_not_lose_it(self, ended, tmp_path):
        with pytest.raises(RuntimeError):
            Experiment(tmp_path, RECIPE).run([Fail()])
        assert self.where(tmp_path) == (0, 3, 3)
        resumed = Experiment(tmp_path)
        assert resumed.run() == ended[1]
        assert_same(everything(resumed.trainer), everything(ended[0].trainer))

    def test_a_validation_that_fails_does_not_lose_the_epoch(self, ended, tmp_path, monkeypatch):
        experiment = Experiment(tmp_path, RECIPE)

        def unreadable(indices):
            raise hg.errors.DataError("a.png", expected="an image that can be read", got="something else")

        monkeypatch.setattr(experiment.test_data, "batch", unreadable)
        with pytest.raises(hg.errors.DataError):
            experiment.run()
        assert self.where(tmp_path) == (0, 3, 3)
        resumed = Experiment(tmp_path)
        assert resumed.run() == ended[1]
        assert_same(everything(resumed.trainer), everything(ended[0].trainer))

    def test_a_test_that_fails_does_not_lose_the_model(self, ended, tmp_path, monkeypatch):
        experiment = Experiment(tmp_path, RECIPE)

        def unreadable(*_, **__):
            raise hg.errors.DataError("a.png", expected="an image that can be read", got="something else")

        monkeypatch.setattr(experiment.trainer, "evaluate", unreadable)
        monkeypatch.setattr(
            "handgrad.train.trainer.evaluate", lambda *_, **__: {"loss": 1.0, "accuracy": 0.5}
        )
        fit = experiment.trainer.fit
        monkeypatch.setattr(experiment.trainer, "fit", lambda *a, **o: fit(*a, **{**o, "validation": None}))
        with pytest.raises(hg.errors.DataError):
            experiment.run()
        model, about = open_model(tmp_path)
        assert_same(model.state(), ended[0].trainer.model.state())
        assert about["classes"] == list("0123456789")
        assert not (tmp_path / "result.json").exists()
        monkeypatch.undo()
        assert Experiment(tmp_path).run() == ended[1]
