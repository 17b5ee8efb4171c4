from __future__ import annotations

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import handgrad as hg
from handgrad import data, layers
from handgrad.cli.gradcheck import CASES
from handgrad.kernels import default_kernels, extension
from handgrad.kernels.reference import REFERENCE
from handgrad.layers import Layer, Merge
from tests.cli.run import call, write_digits

COMMANDS = ["train", "evaluate", "predict", "gradcheck", "explain", "bench", "info", "datasets"]


@pytest.fixture(scope="module")
def digits():
    return data.digits()


class TestMain:
    @pytest.mark.parametrize("arguments", [("--help",), ()])
    def test_help_lists_the_commands(self, arguments):
        result = call(*arguments)
        text = result.out + result.err
        found = re.findall(r"^  (\w+)  ", text.partition("\nCommands:\n")[2], re.M)
        assert found == COMMANDS
        assert "Convolutional networks with every gradient written by hand." in text
        assert "--version" in text

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_has_help(self, command):
        result = call(command, "--help")
        assert result.code == 0
        assert "Usage: handgrad " + command in result.out

    @pytest.mark.parametrize(
        ("command", "default"),
        [("train", "runs/DATASET-DATE-TIME"), ("evaluate", "the run's"), ("gradcheck", "every layer")],
    )
    def test_help_shows_defaults(self, command, default):
        text = re.sub(r"\s+", " ", call(command, "--help").out)
        assert f"(default: {default})" in text

    def test_version(self):
        assert call("--version") == (0, f"handgrad {hg.__version__}\n", "")

    def test_an_unknown_command(self):
        result = call("fly")
        assert result.code == 2
        assert "No such command 'fly'" in result.err

    def test_a_warning_is_one_line(self, tmp_path):
        model = hg.Sequential(
            [layers.Flatten(), layers.BatchNormalization(name="bn"), layers.Dense(10)], input_shape=(8, 8, 1)
        )
        model.info = hg.ModelInfo("classification")
        hg.save(model, tmp_path / "m")
        (path,) = write_digits(tmp_path, np.zeros((1, 8, 8, 1)), ["a.png"])
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            result = call("predict", tmp_path / "m", path)
        assert result.code == 0
        assert result.err.startswith(
            "handgrad: warning: bn (BatchNormalization): the running statistics are still "
        )
        assert result.err.count("\n") == 1


class TestPredict:
    def test_classes_and_probabilities(self, trained, digits, tmp_path):
        x, y = digits.x_test[:12], digits.y_test[:12]
        paths = write_digits(tmp_path, x, [f"{i}.png" for i in range(12)])
        result = call("predict", trained, *paths)
        assert (result.code, result.err) == (0, "")
        model = hg.load(trained / "model.safetensors")
        z = model.predict(np.rint(x * 255).astype(np.uint8))
        e = np.exp(z - z.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        wide, right = max(map(len, map(str, paths))), 0
        for line, path, row, label in zip(result.out.splitlines(), paths, p, y, strict=True):
            best = np.argsort(-row)[:3]
            assert line == str(path).ljust(wide) + "  " + "  ".join(f"{k} {row[k]:.1%}" for k in best)
            right += best[0] == label
        assert right >= 11

    def test_as_many_classes_as_asked_for(self, trained, digits, tmp_path):
        (path,) = write_digits(tmp_path, digits.x_test[:1], ["a.png"])
        for top, shown in ((1, 1), (10, 10), (99, 10)):
            result = call("predict", trained, path, "--top", top)
            assert len(re.findall(r"\d+\.\d%", result.out)) == shown
        assert call("predict", trained, path, "--top", 0).code == 2

    def test_colours_are_turned_into_grey(self, trained, digits, tmp_path):
        grey = write_digits(tmp_path, digits.x_test[:3], ["1.png", "2.png", "3.png"])
        rgb = write_digits(tmp_path / "rgb", digits.x_test[:3], ["1.png", "2.png", "3.png"], mode="RGB")
        a, b = (call("predict", trained, *paths).out for paths in (grey, rgb))
        assert a.replace(str(tmp_path), "") == b.replace(str(tmp_path / "rgb"), "")

    def test_an_image_of_another_size(self, trained, digits, tmp_path):
        large = digits.x_test[:1].repeat(2, 1).repeat(3, 2)
        good, bad = write_digits(tmp_path, [digits.x_test[0], large[0]], ["a.png", "b.png"])
        result = call("predict", trained, good, bad)
        assert (result.code, result.out) == (1, call("predict", trained, good).out)
        assert result.err == (
            f"handgrad: {bad}: expected an image of 8x8 pixels, got 16x24; use --resize to bring it to "
            "that size\n"
        )
        result = call("predict", trained, good, bad, "--resize")
        assert result.code == 0
        assert len(result.out.splitlines()) == 2

    def test_files_that_are_no_images(self, trained, tmp_path):
        (tmp_path / "a.png").write_text("no")
        result = call("predict", trained, tmp_path / "a.png")
        assert result.code == 1
        assert (
            result.err == f"handgrad: {tmp_path / 'a.png'}: expected an image that can be read, got text; "
            "BMP, GIF, JPEG, PNG, PNM, TIFF and WebP can be read\n"
        )

    def test_a_model_file_without_class_names(self, trained, digits, tmp_path):
        (path,) = write_digits(tmp_path, digits.x_test[:1], ["a.png"])
        hg.save(hg.load(trained / "model.safetensors"), tmp_path / "m")
        assert call("predict", tmp_path / "m", path).out == call("predict", trained, path).out
        assert call("predict", trained / "last.safetensors", path).out == call("predict", trained, path).out

    def test_a_model_of_something_else_than_images(self, tmp_path):
        hg.save(hg.Sequential([layers.Dense(3)], input_shape=(4,)), tmp_path / "m")
        (path,) = write_digits(tmp_path, np.zeros((1, 8, 8, 1)), ["a.png"])
        result = call("predict", tmp_path / "m", path)
        assert (
            result.err
            == f"handgrad: {tmp_path / 'm'}: expected a model of grey or colour images, got one of "
            "inputs (4,)\n"
        )


class TestEvaluate:
    def test_loss_and_accuracy_of_all_and_of_each_class(self, trained, digits):
        result = call("evaluate", trained)
        assert (result.code, result.err) == (0, "")
        model = hg.load(trained / "model.safetensors")
        measured = hg.Trainer(model, "cross_entropy", metrics=["accuracy"]).evaluate(
            digits.x_test, digits.y_test
        )
        head, *rows = result.out.splitlines()
        assert head == (
            f"digits, 360 test images: loss {measured['loss']:.4f}, accuracy {measured['accuracy']:.2%}"
        )
        predicted = model.predict(digits.x_test).argmax(-1)
        assert len(rows) == 10
        for k, row in enumerate(rows):
            of = digits.y_test == k
            wrong = predicted[of & (predicted != k)]
            most = f"  mostly as {np.bincount(wrong).argmax()}" if len(wrong) else ""
            assert row == f"  {k}  {np.mean(predicted[of] == k):7.2%} of {of.sum()}{most}"

    def test_of_a_file(self, trained):
        assert (
            call("evaluate", trained / "model.safetensors").out
            == call("evaluate", trained, "--batch-size", 7).out
        )

    def test_of_a_model_that_does_not_know_its_data(self, trained, tmp_path):
        hg.save(hg.load(trained / "model.safetensors"), tmp_path / "m")
        result = call("evaluate", tmp_path / "m")
        assert result.err == (
            f"handgrad: {tmp_path / 'm'}: expected a model that knows its data set, got one that does "
            "not; use --dataset\n"
        )
        assert call("evaluate", tmp_path / "m", "--dataset", "digits").out == call("evaluate", trained).out

    def test_of_a_model_of_something_else_than_images(self, tmp_path):
        hg.save(hg.Sequential([layers.Dense(3)], input_shape=(4,)), tmp_path / "m")
        result = call("evaluate", tmp_path / "m", "--dataset", "digits")
        assert (
            result.err == f"handgrad: {tmp_path / 'm'}: expected a model of images, got one of inputs (4,)\n"
        )

    def test_of_nothing(self, tmp_path):
        result = call("evaluate", tmp_path / "no")
        assert (
            result.err
            == f"handgrad: {tmp_path / 'no'}: expected a run's folder or a model file, got nothing of "
            "that name\n"
        )


class TestExplain:
    def test_it_prints_every_term(self):
        result = call("explain", "--rows", "4", "--channels", "2")
        assert (result.code, result.err) == (0, "")
        assert "m = 4 values in each of 2 channels" in result.out
        assert "dx = gamma*s*(dy - (dbeta + xhat*dgamma)/m)" in result.out

    def test_in_inference(self):
        result = call("explain", "--inference")
        assert (result.code, result.err) == (0, "")
        assert "dx = gamma*s*dy" in result.out

    def test_a_page(self, tmp_path):
        path = tmp_path / "page.html"
        assert call("explain", "--html", str(path)) == (0, f"written: {path}\n", "")
        assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")

    def test_step_by_step(self, monkeypatch):
        answers = iter(["dx"])
        monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
        out = call("explain", "--step").out
        assert " 1  x " in out
        assert "18  dx = " in out
        assert " 2  mean" not in out


class TestGradcheck:
    def test_there_is_a_case_for_every_layer(self):
        public = {name: getattr(layers, name) for name in layers.__all__}
        kinds = {n for n, k in public.items() if isinstance(k, type) and issubclass(k, Layer)} - {
            "Layer",
            "Merge",
        }
        assert set(CASES) == kinds
        assert all(
            isinstance(shape[0], tuple) == issubclass(public[n], Merge) for n, (_, shape) in CASES.items()
        )

    def test_every_layer_passes_in_both_modes(self):
        result = call("gradcheck")
        assert (result.code, result.err) == (0, "")
        lines = [line.split() for line in result.out.splitlines()]
        assert [tuple(line[:3]) for line in lines] == [
            (name, mode, "ok") for name in CASES for mode in ("training", "inference")
        ]
        errors = [float(value) for line in lines for value in line[4::2]]
        assert max(errors) < 1e-10

    def test_a_wrong_gradient_is_found(self, monkeypatch):
        monkeypatch.setattr(layers.Tanh, "backward", lambda self, dy, saved, run, *, need_dx=True: dy)
        result = call("gradcheck", "ReLU", "Tanh")
        assert result.code == 1
        assert [line.split()[:3] for line in result.out.splitlines()] == [
            ["ReLU", "training", "ok"],
            ["ReLU", "inference", "ok"],
            ["Tanh", "training", "WRONG"],
            ["Tanh", "inference", "WRONG"],
        ]

    def test_runs_and_model_files_are_checked(self, trained):
        for what in (trained, trained / "model.safetensors"):
            result = call("gradcheck", what, "--batch", 2, "--seed", 3)
            assert result.code == 0
            assert [line.split()[1:3] for line in result.out.splitlines()] == [
                ["training", "ok"],
                ["inference", "ok"],
            ]

    def test_of_a_model_the_largest_errors_are_shown(self, trained):
        model = hg.load(trained / "model.safetensors")
        for line in call("gradcheck", trained).out.splitlines():
            names, errors = line.split()[3::2], [float(e) for e in line.split()[4::2]]
            assert set(names) <= {"x", *model.parameters()}
            assert len(errors) == 6
            assert errors == sorted(errors, reverse=True)

    def test_another_seed_draws_other_numbers(self):
        assert call("gradcheck", "Dense").out != call("gradcheck", "Dense", "--seed", 1).out

    def test_an_unknown_layer(self):
        result = call("gradcheck", "ReLU", "Foo")
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"handgrad: gradcheck: expected a layer ({', '.join(CASES)}), a run or a model file, got 'Foo'\n"
        )


class TestInfo:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch):
        for name in ("HANDGRAD_KERNELS", "HANDGRAD_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)

    @staticmethod
    def lines(*words):
        """Return what stands after each word at the beginning of a line."""
        result = call("info")
        assert (result.code, result.err) == (0, "")
        return [re.search(rf"^{word} +(.*)$", result.out, re.M)[1] for word in words]

    def test_shows_versions(self):
        handgrad, numpy = self.lines("handgrad", "numpy")
        assert handgrad.startswith(f"{hg.__version__}  ")
        assert numpy.startswith(f"{np.__version__}  BLAS: ")

    def test_shows_where_each_kernel_comes_from(self):
        text = call("info").out.partition("\nwhere each kernel comes from\n")[2]
        of = default_kernels().origins()
        families = {name: origin.rpartition(".")[2] for name, origin in REFERENCE.origins().items()}
        shown = {}
        for line in text.splitlines():
            family, most, rest = re.fullmatch(r"  (\w+) +(\S+)(?: \((.*)\))?", line).groups()
            shown |= {name: most for name in families if families[name] == family}
            for part in (rest or "").split("; ") if rest else ():
                names, _, origin = part.partition(": ")
                shown |= dict.fromkeys(names.split(", "), origin)
        assert shown == {name: origin.rpartition(".")[0] for name, origin in of.items()}

    def test_a_table_can_be_forced(self, monkeypatch):
        monkeypatch.setenv("HANDGRAD_KERNELS", "reference")
        kernels, threads = self.lines("kernels", "threads")
        assert kernels == "reference, because HANDGRAD_KERNELS is reference"
        assert (
            threads == "only in matrix products: as many as NumPy takes (set OMP_NUM_THREADS to limit them)"
        )
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
        assert self.lines("threads") == ["only in matrix products: 3 (OPENBLAS_NUM_THREADS)"]

    def test_without_compiled_kernels(self, monkeypatch, fresh):
        monkeypatch.setattr(extension.importlib.util, "find_spec", lambda name: None)
        assert self.lines("kernels", "compiled") == [
            "reference, the only ones here",
            "none: handgrad was installed without them",
        ]

    def test_with_compiled_kernels_that_do_not_load(self, monkeypatch, fresh):
        problem = "libstdc++.so.6: cannot open shared object file: No such file or directory"
        monkeypatch.setattr(extension.importlib.util, "find_spec", lambda name: "found")

        def fail(name):
            raise ImportError(problem)

        monkeypatch.setattr(extension.importlib, "import_module", fail)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            result = call("info")
        assert result.code == 0
        assert result.err == (
            f"handgrad: warning: the compiled kernels cannot be loaded ({problem}), so the slower reference "
            "kernels run\n"
        )
        assert "\nkernels  reference, the only ones here\n" in result.out
        assert f"\ncompiled broken: {problem}\n" in result.out

    def test_with_compiled_kernels(self, monkeypatch, compiled):
        best = compiled.tables()[0].name
        kernels, sets, threads = self.lines("kernels", "compiled", "threads")
        assert kernels == f"{best}, the fastest that this machine runs"
        runs, _, lacks = sets.removeprefix("for ").partition("; this machine lacks ")
        runs, lacks = ([] if not names else names.split(", ") for names in (runs, lacks))
        assert runs == [table.name for table in compiled.tables()]
        assert sorted(runs + lacks) == sorted(compiled.instruction_sets)
        assert threads.startswith(f"{hg.get_threads()}, ")
        monkeypatch.setenv("HANDGRAD_THREADS", "3")  # what it was when they were loaded
        assert self.lines("threads") == [f"{hg.get_threads()}, because HANDGRAD_THREADS is 3"]

    def test_an_instruction_set_that_the_machine_lacks(self, monkeypatch, fresh):
        table = SimpleNamespace(name="plain")
        module = SimpleNamespace(
            tables=lambda: [table],
            instruction_sets=["avx2", "plain"],
            threads=lambda: 2,
            usable_cpus=lambda: 2,
            end_threads=int,
        )
        monkeypatch.setattr(extension.importlib.util, "find_spec", lambda name: "found")
        monkeypatch.setattr(extension.importlib, "import_module", lambda name: module)
        kernels, compiled, threads = self.lines("kernels", "compiled", "threads")
        assert kernels == "plain, the fastest that this machine runs"
        assert compiled == "for plain; this machine lacks avx2"
        assert threads.startswith("2, ")

    def test_says_how_to_get_an_extra(self, monkeypatch):
        from importlib import metadata

        def missing(name):
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "version", missing)
        out = call("info").out
        assert "images: pillow not installed: python -m pip install 'handgrad[images]'" in out
        assert "plot: matplotlib not installed: python -m pip install 'handgrad[plot]'" in out
        assert "bfloat16: ml_dtypes not installed: python -m pip install 'handgrad[bfloat16]'" in out


class TestDatasets:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HANDGRAD_DATA", str(tmp_path))

    def test_shows_what_is_there_and_how_to_get_the_rest(self):
        result = call("datasets")
        assert (result.code, result.err) == (0, "")
        head, *rows = result.out.splitlines()
        assert head.split() == ["name", "images", "size", "classes", "where"]
        assert [row.split()[0] for row in rows] == ["digits", "mnist", "fashion_mnist", "cifar10"]
        assert rows[0].split()[1:5] == ["1,797", "8x8x1", "10", "embedded,"]
        for row in rows[1:]:
            assert re.search(rf"not here; \d+ MB: handgrad datasets fetch {row.split()[0]}$", row)

    def test_fetching_the_embedded_one_shows_where_it_is(self):
        result = call("datasets", "fetch", "digits")
        assert result.code == 0
        assert re.fullmatch(r"digits: .*digits\.npz\n", result.out)

    def test_an_unknown_one(self):
        result = call("datasets", "fetch", "imagenet")
        assert result.code == 1
        assert result.err.strip() == (
            "handgrad: dataset: expected one of digits, mnist, fashion_mnist, cifar10, got 'imagenet'"
        )
