"""Runs that go on otherwise than they began: longer, elsewhere, on other images. They say so."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import ArgumentError, CheckpointError
from handgrad.io import load_checkpoint
from handgrad.optim.schedules import OneCycle
from handgrad.train import Experiment, Recipe
from handgrad.train.environment import environment
from tests.cli.run import write_digits
from tests.train.parts import At, assert_same, everything

RECIPE = Recipe("digits", model_options={"width": 2}, epochs=2, batch_size=512)
STEPS = 3


def config(folder):
    return json.loads((folder / "config.json").read_text())


def stop_at(step):
    return At(step, lambda trainer: setattr(trainer, "stop_training", True))


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    Experiment(folder, RECIPE).run()
    return folder


@pytest.fixture
def copy(ended, tmp_path):
    return shutil.copytree(ended, tmp_path / "copy")


class TestMoreEpochs:
    def test_of_a_run_that_has_ended(self, ended, copy):
        longer = Experiment(copy, epochs=5)
        result = longer.run()
        assert (longer.ended, longer.trainer.history.epochs) == (True, 5)
        assert longer.trainer.history["loss"][:2] == json.loads((ended / "history.json").read_text())["loss"]
        assert json.loads((copy / "result.json").read_text())["test_loss"] == result["test_loss"]
        assert hg.io.load_about(copy / "model.safetensors")["test_loss"] == result["test_loss"]
        before, after = config(ended), config(copy)
        assert after["recipe"] == {**before["recipe"], "epochs": 5}
        assert after.pop("resumed") == [{"epoch": 2, "batch": 0, "changed": ["2 epochs, now 5"]}]
        assert {**after, "recipe": None} == {**before, "recipe": None}

    def test_the_schedule_is_that_of_the_new_number_from_the_next_step_on(self, copy):
        rates = []

        class Rates(hg.train.Callback):
            def on_train_batch_begin(self, batch):
                rates.append(self.trainer.optimizer.learning_rate)

        Experiment(copy, epochs=4).run([Rates()])
        cycle = OneCycle(RECIPE.lr, 4 * STEPS)
        assert rates == [cycle(step) for step in range(2 * STEPS, 4 * STEPS)]

    def test_it_is_the_same_again_from_the_same_folder(self, ended, tmp_path):
        longer = []
        for name in ("b", "c"):
            shutil.copytree(ended, tmp_path / name)
            longer.append(Experiment(tmp_path / name, epochs=3))
            longer[-1].run()
        assert_same(*(everything(experiment.trainer) for experiment in longer))

    @pytest.mark.parametrize("step", [1, 3, 4])
    def test_of_a_run_that_was_stopped(self, tmp_path, step):
        Experiment(tmp_path, RECIPE).run([stop_at(step)])
        longer = Experiment(tmp_path, epochs=3)
        assert longer.run() is not None
        assert longer.trainer.progress.step == 3 * STEPS
        (entry,) = config(tmp_path)["resumed"]
        assert entry == {"epoch": (step - 1) // STEPS, "batch": 1 + (step - 1) % STEPS} | {
            "changed": ["2 epochs, now 3"]
        }

    def test_one_that_is_stopped_while_it_grows_goes_on_to_the_new_end(self, copy, tmp_path):
        whole = shutil.copytree(copy, tmp_path / "whole")
        unbroken = Experiment(whole, epochs=4)
        wanted = unbroken.run()
        assert Experiment(copy, epochs=4).run([stop_at(2)]) is None
        assert not (copy / "result.json").exists()
        resumed = Experiment(copy)
        assert not resumed.ended
        assert resumed.run() == wanted
        assert_same(everything(resumed.trainer), everything(unbroken.trainer))
        assert config(copy) == config(whole)

    def test_one_that_was_killed_before_its_first_new_step_goes_on_to_the_new_end(self, copy):
        with Experiment(copy, epochs=3).claimed():
            pass
        resumed = Experiment(copy)
        assert (resumed.ended, resumed.recipe.epochs) == (False, 3)
        resumed.run()
        assert resumed.trainer.history.epochs == 3

    def test_as_many_as_there_are_change_nothing(self, ended, copy):
        before = {p.name: p.read_bytes() for p in copy.iterdir()}
        Experiment(copy, epochs=2).run()
        assert {p.name: p.read_bytes() for p in copy.iterdir()} == before

    def test_fewer_are_enough_where_no_more_have_begun(self, tmp_path):
        Experiment(tmp_path, RECIPE).run([stop_at(1)])
        shorter = Experiment(tmp_path, epochs=1)
        assert shorter.run() is not None
        assert shorter.trainer.progress.step == STEPS
        assert config(tmp_path)["resumed"] == [{"epoch": 0, "batch": 1, "changed": ["2 epochs, now 1"]}]

    def test_fewer_than_have_begun_are_refused(self, copy):
        before = {p.name: p.read_bytes() for p in copy.iterdir()}
        with pytest.raises(ArgumentError) as error:
            Experiment(copy, epochs=1)
        assert str(error.value) == f"epochs: expected at least the 2 that {copy} has begun, got 1"
        with pytest.raises(ArgumentError) as error:
            Experiment(copy, epochs=0)
        assert str(error.value) == "epochs: expected an int, at least 1, got 0"
        assert {p.name: p.read_bytes() for p in copy.iterdir()} == before

    def test_a_recipe_of_a_run_that_was_extended_says_that_it_makes_another_model(self, copy):
        Experiment(copy, epochs=3).run()
        with pytest.warns(UserWarning, match="resumed otherwise") as said:
            recipe = Recipe.read(copy / "config.json")
        assert recipe.epochs == 3
        assert str(said[0].message) == (
            f"{copy / 'config.json'}: this run was resumed otherwise than it began (2 epochs, now 3); its "
            "recipe alone makes another model"
        )


class TestElsewhere:
    def test_config_and_checkpoint_know_what_rounding_depends_on(self, ended):
        now = environment(hg.kernels.default_kernels())
        assert now["threads"] == hg.get_threads()
        assert now["handgrad"] == hg.__version__
        assert (now["numpy"], now["precision"]) == (np.__version__, "float32")
        assert now.items() <= config(ended).items()
        assert load_checkpoint(ended / "last.safetensors").progress["environment"] == now

    def test_another_number_of_threads_is_said(self, tmp_path, compiled):
        Experiment(tmp_path, RECIPE).run([stop_at(2)])
        before = hg.get_threads()
        hg.set_threads(before + 1)
        were = f"{before} thread{'s' * (before > 1)}"
        try:
            with pytest.warns(UserWarning, match="now") as said:
                resumed = Experiment(tmp_path)
            resumed.run()
            hg.set_threads(before)
            Experiment(tmp_path)  # nothing is trained any more
        finally:
            hg.set_threads(before)
        assert [str(w.message) for w in said] == [
            f"{tmp_path / 'last.safetensors'}: saved with {were}, now {before + 1} threads: what follows may "
            "differ in the last bits"
        ]
        assert config(tmp_path)["resumed"] == [
            {"epoch": 0, "batch": 2, "changed": [f"{were}, now {before + 1} threads"]}
        ]
        saved = load_checkpoint(tmp_path / "last.safetensors").progress["environment"]
        assert saved["threads"] == before + 1

    @pytest.mark.parametrize(
        ("entry", "text"),
        [
            ({"kernels": "other"}, "kernels other, now kernels {kernels}"),
            ({"handgrad": "0.0.1"}, "handgrad 0.0.1, now handgrad {handgrad}"),
            ({"numpy": "1.0"}, "NumPy 1.0, now NumPy {numpy}"),
            ({"machine": "abacus"}, "a machine of abacus, now a machine of {machine}"),
        ],
    )
    def test_other_kernels_versions_and_machines_are_said(self, ended, tmp_path, entry, text):
        tensors, header = hg.io.read_tensors(ended / "last.safetensors")
        header["progress"]["environment"] |= entry
        hg.io.write_tensors(tmp_path / "c", tensors, header)
        trainer = Experiment(tmp_path / "new", RECIPE).trainer
        with pytest.warns(UserWarning, match="saved with") as said:
            trainer.load(tmp_path / "c")
        wanted = text.format(**environment(trainer.kernels))
        assert f"saved with {wanted}: what" in str(said[0].message)

    def test_a_checkpoint_that_knows_nothing_of_it_is_loaded_without_a_word(self, ended, tmp_path):
        tensors, header = hg.io.read_tensors(ended / "last.safetensors")
        del header["progress"]["environment"]
        hg.io.write_tensors(tmp_path / "c", tensors, header)
        Experiment(tmp_path / "new", RECIPE).trainer.load(tmp_path / "c")


@pytest.fixture
def shapes(tmp_path):
    """Return a folder with train/CLASS/ and test/CLASS/ of zeros and ones."""
    digits, folder = hg.data.digits(), tmp_path / "shapes"
    for part, x, y in (("train", digits.x_train, digits.y_train), ("test", digits.x_test, digits.y_test)):
        for label, name in ((0, "round"), (1, "straight")):
            images = x[y == label][:4]
            write_digits(folder / part / name, images, [f"{i}.png" for i in range(len(images))])
    return folder


def of(folder):
    return Recipe(str(folder), model_options={"width": 2}, epochs=2, batch_size=3, image_size=(8, 8))


class TestOtherImages:
    @pytest.fixture
    def stopped(self, shapes, tmp_path):
        Experiment(tmp_path / "run", of(shapes)).run([stop_at(2)])
        return tmp_path / "run"

    def test_the_same_ones_pass_without_a_word(self, stopped, tmp_path, shapes):
        whole = Experiment(tmp_path / "whole", of(shapes))
        assert Experiment(stopped).run() == whole.run()
        assert config(stopped) == config(tmp_path / "whole")

    def test_a_class_that_was_renamed_is_refused(self, stopped, shapes):
        for part in ("train", "test"):
            (shapes / part / "round").rename(shapes / part / "wheel")
        before = {p.name: p.read_bytes() for p in stopped.iterdir()}
        with pytest.raises(CheckpointError) as error:
            Experiment(stopped)
        assert str(error.value) == (
            f"{stopped}: expected the classes that it was trained on, round, straight, got straight, wheel; "
            "give them the names that they had, or begin a new run"
        )
        assert {p.name: p.read_bytes() for p in stopped.iterdir()} == before

    def test_a_class_that_was_added_is_refused(self, stopped, shapes):
        for part in ("train", "test"):
            shutil.copytree(shapes / part / "round", shapes / part / "wheel")
        with pytest.raises(CheckpointError, match="got round, straight, wheel; "):
            Experiment(stopped)

    def test_images_that_were_added_are_said_and_remembered(self, stopped, shapes):
        shutil.copy(shapes / "train/round/0.png", shapes / "train/round/new.png")
        with pytest.warns(UserWarning, match="images") as said:
            resumed = Experiment(stopped)
        assert [str(w.message) for w in said] == [
            f"{stopped}: 8 training images, now 9: it does not end where an unbroken run does"
        ]
        assert resumed.run() is not None
        assert config(stopped)["resumed"] == [
            {"epoch": 0, "batch": 2, "changed": ["8 training images, now 9"]}
        ]
        Experiment(stopped)  # whose checkpoint knows the nine

    def test_other_images_in_their_place_are_said(self, stopped, shapes):
        path = shapes / "test/round/0.png"
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.warns(UserWarning, match=": other test images: it does not end"):
            Experiment(stopped)

    def test_images_of_a_run_that_begins_anew_are_those_that_there_are(self, shapes, tmp_path):
        def crash(trainer):
            raise RuntimeError

        with pytest.raises(RuntimeError):
            Experiment(tmp_path / "run", of(shapes)).run([At(1, crash)])
        shutil.copy(shapes / "train/round/0.png", shapes / "train/round/new.png")
        for part in ("train", "test"):
            (shapes / part / "round").rename(shapes / part / "wheel")
        assert Experiment(tmp_path / "run").run() is not None
        found = config(tmp_path / "run")
        assert (found["data"]["classes"], found["data"]["training"]["images"]) == (["straight", "wheel"], 9)
        assert "resumed" not in found


class TestFromAnotherDirectory:
    def test_a_run_is_resumed(self, shapes, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Experiment("run", of("shapes")).run([stop_at(2)])
        assert config(tmp_path / "run")["recipe"]["dataset"] == str(tmp_path / "shapes")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert Experiment(tmp_path / "run").run() == Experiment(tmp_path / "whole", of(shapes)).run()

    def test_an_old_run_is_resumed_where_it_was_and_elsewhere_says_so(self, shapes, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Experiment("run", of("shapes")).run([stop_at(2)])
        old = config(tmp_path / "run")
        old["recipe"]["dataset"] = "shapes"
        (tmp_path / "run/config.json").write_text(json.dumps(old))
        assert len(Experiment("run").train_data) == 8
        os.mkdir("elsewhere")  # noqa: PTH102
        monkeypatch.chdir("elsewhere")
        with pytest.raises(ArgumentError) as error:
            Experiment("../run")
        assert str(error.value) == (
            "dataset: expected one of digits, mnist, fashion_mnist, cifar10, or a folder with train and test "
            "in it, got 'shapes'; go to the directory that the run was begun in, which its config.json does "
            "not name"
        )
