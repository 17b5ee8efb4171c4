from __future__ import annotations

import csv
import json
import os
import re
import signal

import numpy as np
import pytest

import handgrad as hg
from handgrad import viz
from handgrad.train import RECIPES, History, JsonLines
from tests.cli.run import assert_same_run, call

SMALL = ("--epochs", 1, "--width", 2, "--batch-size", 256)
FILES = ["config.json", "history.csv", "history.json", "last.safetensors", "model.safetensors", "result.json"]


class TestAll:
    @pytest.fixture
    def run(self, tmp_path, no_matplotlib):
        result = call("train", "digits", *SMALL, folder=tmp_path)
        (folder,) = (tmp_path / "runs").iterdir()
        return folder, result

    def test_files_are_written(self, run):
        folder, result = run
        assert result.code == 0
        assert re.fullmatch(r"digits-\d{8}-\d{6}", folder.name)
        assert sorted(p.name for p in folder.iterdir()) == FILES

    def test_that_is_shown(self, run):
        folder, result = run
        model = hg.load(folder / "model.safetensors")
        measured = json.loads((folder / "result.json").read_text())
        history = History.from_json((folder / "history.json").read_text())
        assert result.out.startswith(model.summary() + "\n\n")
        assert "\n1,437 training and 360 test images of digits; 1 epochs of 256; seed 0\n" in result.out
        assert viz.draw_history(history) in result.out
        waited = measured["waited"] / measured["seconds"]
        assert (
            f"\ntest accuracy {measured['test_accuracy']:.2%}, loss {measured['test_loss']:.4f}\n"
            f"trained and tested in {measured['seconds']:.1f} s, {measured['cpu_seconds']:.1f} s of CPU time"
            f"; waited for data {waited:.1%} of it\n"
        ) in result.out
        assert result.out.endswith(
            f"\nruns/{folder.name}: model.safetensors, history.csv, history.json, config.json\n"
        )
        values = "  ".join(f"{name} {each[0]:.4f}" for name, each in history.items())
        assert re.fullmatch(rf"epoch 1/1  {re.escape(values)}  \d+\.\d s, [\d,]+ images/s\n", result.err)

    def test_files_say_the_same(self, run):
        folder, _ = run
        measured = json.loads((folder / "result.json").read_text())
        (row,) = csv.DictReader((folder / "history.csv").read_text().splitlines())
        assert list(row) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
        assert float(row["val_accuracy"]) == measured["test_accuracy"]
        digits = hg.data.digits()
        model = hg.load(folder / "model.safetensors")
        accuracy = np.mean(model.predict(digits.x_test).argmax(-1) == digits.y_test)
        assert accuracy == measured["test_accuracy"]


class TestAsJson:
    @staticmethod
    def lines(result):
        assert result.err == ""
        return [json.loads(line) for line in result.out.splitlines()]

    def test_every_line_is_an_object_and_there_is_nothing_else(self, tmp_path, no_matplotlib):
        options = ("--epochs", 2, "--width", 2, "--batch-size", 256, "--out", "run", "--json")
        result = call("train", "digits", *options, folder=tmp_path)
        assert result.code == 0
        begin, *epochs, end = self.lines(result)
        assert begin == {
            "event": "begin",
            "folder": "run",
            "dataset": "digits",
            "training_images": 1437,
            "test_images": 360,
            "epochs": 2,
            "batch_size": 256,
            "seed": 0,
            "holdout": 0,
            "epoch": 1,
            "batch": 1,
        }
        history = History.from_json((tmp_path / "run/history.json").read_text())
        assert [line["event"] for line in epochs] == ["epoch"] * 2
        assert [[line[name] for line in epochs] for name in history] == list(history.values())
        measured = json.loads((tmp_path / "run/result.json").read_text())
        assert end == {"event": "end", "folder": "run", **measured}
        again = self.lines(call("train", "--resume", "run", "--json", folder=tmp_path))
        assert again == [{**begin, "epoch": 3}, end]

    def test_a_run_that_is_stopped_says_how_to_go_on(self, tmp_path, monkeypatch):
        def interrupted(self, epoch, logs, before=JsonLines.on_epoch_end):
            before(self, epoch, logs)
            os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(JsonLines, "on_epoch_end", interrupted)
        options = ("--epochs", 3, "--width", 2, "--batch-size", 256, "--out", "a run", "--json")
        result = call("train", "digits", *options, folder=tmp_path)
        assert result.code == 130
        *_, epoch, stopped = self.lines(result)
        assert (epoch["event"], epoch["epoch"]) == ("epoch", 1)
        resume = "handgrad train --resume 'a run'"
        assert stopped == {"event": "stopped", "folder": "a run", "resume": resume}
        begin, *_ = self.lines(call("train", "--resume", "a run", "--json", folder=tmp_path))
        assert (begin["epoch"], begin["batch"]) == (2, 1)


def test_learning_curves_are_a_picture_where_matplotlib_is(tmp_path):
    pytest.importorskip("matplotlib")
    result = call("train", "digits", *SMALL, "--out", tmp_path / "run")
    assert result.code == 0
    assert result.out.endswith(
        "/run: model.safetensors, history.csv, history.json, config.json, curves.png\n"
    )
    assert "┤" not in result.out
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_config_makes_the_same_model(tmp_path, no_matplotlib):
    call("train", "digits", *SMALL, "--seed", 3, "--out", tmp_path / "a")
    result = call("train", "--config", tmp_path / "a/config.json", "--out", tmp_path / "b")
    assert result.code == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a/config.json").read_bytes() == (tmp_path / "b/config.json").read_bytes()
    call("train", "--config", tmp_path / "a/config.json", "--seed", 4, "--out", tmp_path / "c")
    assert json.loads((tmp_path / "c/config.json").read_text())["recipe"]["seed"] == 4
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "a", tmp_path / "c")


def test_options_are_in_the_config(tmp_path, no_matplotlib):
    options = (
        "--epochs",
        1,
        "--batch-size",
        300,
        "--lr",
        0.5,
        "--weight-decay",
        0.125,
        "--width",
        2,
        "--seed",
        9,
    )
    assert call("train", "digits", *options, "--out", tmp_path / "run").code == 0
    recipe = json.loads((tmp_path / "run/config.json").read_text())["recipe"]
    wanted = {
        "epochs": 1,
        "batch_size": 300,
        "lr": 0.5,
        "weight_decay": 0.125,
        "model_options": {"width": 2},
        "seed": 9,
    }
    assert recipe == {**RECIPES["digits"].to_json(), **wanted}


def test_two_runs_of_one_second_have_folders_of_their_own(tmp_path, no_matplotlib, monkeypatch):
    from handgrad.cli import train

    monkeypatch.setattr(train.time, "strftime", lambda _: "20300101-120000")
    for _ in range(3):
        assert call("train", "digits", *SMALL, folder=tmp_path).code == 0
    names = ["digits-20300101-120000", "digits-20300101-120000-2", "digits-20300101-120000-3"]
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == names


def test_a_name_with_brackets_or_blanks_is_shown_as_it_is(tmp_path, no_matplotlib):
    result = call("train", "digits", *SMALL, "--out", "a [b]run", folder=tmp_path)
    assert "\na [b]run: model.safetensors, " in result.out


def test_a_run_that_has_ended_can_be_resumed_and_stays_as_it_is(tmp_path, no_matplotlib):
    call("train", "digits", *SMALL, "--out", tmp_path / "run")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.name != "result.json"}
    result = call("train", "--resume", tmp_path / "run")
    assert result.code == 0
    assert result.err == ""
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.name != "result.json"} == before


@pytest.fixture(scope="module")
def of_folder(pictures, tmp_path_factory):
    """Return the folder of a run on a folder of images, and what it showed."""
    folder = tmp_path_factory.mktemp("folder") / "run"
    options = ("--image-size", 8, 8, "--epochs", 12, "--width", 4, "--batch-size", 8)
    return folder, call("train", pictures.name, *options, "--out", folder, folder=pictures.parent)


class TestAFolderOfImages:
    @pytest.fixture
    def run(self, of_folder):
        return of_folder

    def test_is_trained_on(self, run, pictures):
        folder, result = run
        assert result.code == 0, result.err
        wanted = "\n32 training and 32 test images of {}; 12 epochs of 8; seed 0\n"
        assert wanted.format(pictures) in result.out
        assert json.loads((folder / "result.json").read_text())["test_accuracy"] > 0.9
        assert hg.load(folder / "model.safetensors").input_shape == (8, 8, 3)

    def test_is_evaluated(self, run, pictures):
        folder, trained = run
        result = call("evaluate", folder, folder=pictures.parent)
        assert result.code == 0
        accuracy = re.search(r"test accuracy (\S+%)", trained.out)[1]
        assert result.out.startswith(f"{pictures}, 32 test images: loss ")
        assert f", accuracy {accuracy}\n" in result.out
        assert re.findall(r"^  (round|straight) ", result.out, re.M) == ["round", "straight"]

    def test_is_evaluated_from_elsewhere(self, run, pictures, tmp_path):
        folder, _ = run
        found = call("evaluate", folder, folder=tmp_path)
        assert (found.code, found.err) == (0, "")
        assert found.out == call("evaluate", folder, "--dataset", pictures, folder=tmp_path).out

    def test_is_predicted(self, run, pictures):
        folder, _ = run
        images = [pictures / "test/round/3.png", pictures / "test/straight/5.png"]
        result = call("predict", folder, *images, "--top", 1)
        assert result.code == 0
        assert [line.split()[1] for line in result.out.splitlines()] == ["round", "straight"]

    def test_of_other_classes_is_what_a_model_cannot_be_measured_on(self, trained, pictures):
        result = call("evaluate", trained, "--dataset", pictures)
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"handgrad: {pictures}: expected classes that the model knows, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, got "
            "round, straight; give them the model's names, or leave them out\n"
        )


def recipe_file(path, **fields):
    path.write_text(json.dumps(fields))
    return path


class TestRefuses:
    @staticmethod
    def error(*arguments, folder="."):
        result = call("train", *arguments, folder=folder)
        assert result.code == 1
        assert result.out == ""
        assert result.err.startswith("handgrad: ")
        assert result.err.count("\n") == 1
        return result.err.removeprefix("handgrad: ").removesuffix("\n")

    def test_to_guess(self, tmp_path):
        wanted = (
            "train: expected one of a DATASET, --config FILE or --resume RUN, got {}; for a first "
            "try: handgrad train digits"
        )
        assert self.error() == wanted.format("none")
        assert self.error("digits", "--resume", tmp_path) == wanted.format("several")
        assert self.error("digits", "--config", tmp_path / "c.json") == wanted.format("several")

    def test_options_with_resume(self, trained, tmp_path):
        got = self.error("--resume", trained, "--epochs", 9, "--out", tmp_path)
        assert got == (
            "train --resume: expected no other option than --epochs, got out; a run goes on by its own "
            f"recipe; for another one: handgrad train --config {trained / 'config.json'}"
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--epochs", 0), "epochs: expected an int, at least 1, got 0"),
            (("--batch-size", 0), "batch_size: expected an int, at least 1, got 0"),
            (("--lr", 0), "lr: expected a number above 0, got 0.0"),
            (("--lr", "nan"), "lr: expected a number above 0, got nan"),
            (("--weight-decay", -1), "weight_decay: expected a number of at least 0, got -1.0"),
            (("--seed", -1), "seed: expected an int, at least 0, got -1"),
            (("--image-size", 0, 8), "image_size: expected a height and a width, positive ints, got (0, 8)"),
            (("--width", 0), "stage1.conv1 (Conv2D) filters: expected an int, at least 1, got 0"),
        ],
    )
    def test_values_that_mean_nothing(self, options, message, tmp_path):
        assert self.error("digits", *options, folder=tmp_path) == message
        assert list(tmp_path.iterdir()) == []

    def test_images_that_are_too_small(self, pictures, tmp_path):
        got = self.error(pictures, "--image-size", 3, 8, "--out", tmp_path / "run")
        assert got == "small_cnn input_shape: expected (height, width, channels), 4x4 or more, got (3, 8, 3)"

    def test_a_folder_that_holds_a_run(self, trained):
        got = self.error("digits", "--out", trained)
        assert (
            got == f"{trained}: expected a new folder, got one that holds a run; resume it, or name another"
        )

    def test_a_folder_without_images(self, tmp_path):
        got = self.error(tmp_path, "--out", tmp_path / "run")
        assert got == (
            f"{tmp_path / 'train'}: expected a folder with one directory per class, got no such "
            "folder; make one "
            "directory per class, with its images in it"
        )

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[1]", "{}: expected a recipe, as an object, got list"),
            ("{}", "{}: expected a field dataset, got no fields"),
            ('{"dataset": "digits", "lr": "x"}', "lr: expected a number above 0, got 'x'"),
            (
                '{"dataset": "digits", "model": "x"}',
                "model: expected one of small_cnn, lenet, resnet18, resnet20, resnet50, whitened_cnn, "
                "got 'x'",
            ),
            (
                '{"dataset": "digits", "model_options": {"foo": 1}}',
                "model_options: expected some of width, dropout, dtype, got 'foo'",
            ),
            (
                '{"dataset": "digits", "augment": {"class": "x"}}',
                "transform: expected a class of Normalize, RandomFlip, AlternatingFlip, RandomCrop, Cutout, "
                "Compose, got 'x'",
            ),
        ],
    )
    def test_a_config_that_is_none(self, text, message, tmp_path):
        path = tmp_path / "c.json"
        path.write_text(text)
        assert self.error("--config", path, folder=tmp_path) == message.replace("{}", str(path))
        assert [p.name for p in tmp_path.iterdir()] == ["c.json"]

    def test_a_config_that_is_missing(self, tmp_path):
        assert (
            self.error("--config", tmp_path / "c.json")
            == f"{tmp_path / 'c.json'}: expected a recipe, got no file there"
        )

    def test_a_checkpoint_of_another_run(self, trained, tmp_path):
        config = json.loads((trained / "config.json").read_text())
        config["recipe"]["seed"] = 5
        recipe_file(tmp_path / "config.json", **config)
        (tmp_path / "last.safetensors").write_bytes((trained / "last.safetensors").read_bytes())
        got = self.error("--resume", tmp_path)
        assert got == f"{tmp_path / 'last.safetensors'}: expected a run of seed 5, got one of seed 0"

    def test_a_place_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        result = call("train", "digits", *SMALL, "--out", tmp_path / "file/run")
        assert result.code == 1
        assert result.err.startswith("handgrad: ")
        assert result.err.count("\n") == 1
