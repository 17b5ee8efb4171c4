"""Models in files of strangers: read, or refused with the file's name, in no more memory than the file's."""

from __future__ import annotations

import copy
import json
import math
import random
import struct
import tracemalloc

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, CheckpointError, HandgradError
from handgrad.io import load_about, model_config, model_from_config, read_tensors, write_tensors
from tests.io.mutate import mutated
from tests.io.test_model import Scale, nested, of, residual, shared
from tests.layers.cases import CASES


def chain():
    return hg.Sequential(
        [
            layers.Conv2D(2, 3, padding="same", name="conv"),
            layers.BatchNormalization(momentum=None, name="bn"),
            layers.AveragePooling2D(2, padding=1, name="pool"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="dense"),
        ],
        input_shape=(6, 6, 1),
    )


@pytest.fixture
def path(tmp_path):
    hg.save(chain(), tmp_path / "m", about={"classes": ["a"]})
    return tmp_path / "m"


def rewritten(path, change):
    tensors, header = read_tensors(path)
    change(header, tensors)
    write_tensors(path, tensors, header)


def node(i, **changes):
    return lambda header, tensors: header["model"]["nodes"][i].update(changes)


def config(i, **changes):
    return lambda header, tensors: header["model"]["nodes"][i]["config"].update(changes)


def model(**changes):
    return lambda header, tensors: header["model"].update(changes)


INPUTS = "inputs to be numbers from 0 to 1, of the values before it"
DAMAGED = {
    "no version": (model(version=None), "expected version to be a whole number, got nothing"),
    "version 0": (model(version=0), "expected version to be a whole number, got 0"),
    "text for a shape": (
        model(input_shape="x"),
        "expected input_shape to be a list of whole numbers, got 'x'",
    ),
    "no length": (
        model(input_shape=[6, 0, 1]),
        "expected input_shape to be a list of whole numbers, got [6, 0, 1]",
    ),
    "a seed below 0": (model(seed=-1), "expected seed to be a whole number of at least 0, got -1"),
    "a number for a name": (model(name=5), "expected name to be text, got 5"),
    "an unknown dtype": (model(dtype="x"), "expected dtype to be a floating-point type, got 'x'"),
    "a dtype of objects": (model(dtype="O"), "expected dtype to be a floating-point type, got 'O'"),
    "a dtype of times": (model(dtype="M8[s]"), "expected dtype to be a floating-point type, got 'M8[s]'"),
    "no layers": (model(nodes=[]), "expected nodes to be a list of layers, got []"),
    "nested lists": (model(nodes=[[[]]]), "node 0: expected an object that describes a layer, got [[]]"),
    "class Layer": (
        node(1, **{"class": "Layer"}),
        'bn: expected a layer of handgrad, got class Layer; pass custom_objects={"Layer": Layer}',
    ),
    "class Merge": (
        node(1, **{"class": "Merge"}),
        'bn: expected a layer of handgrad, got class Merge; pass custom_objects={"Merge": Merge}',
    ),
    "class 5": (node(1, **{"class": 5}), "bn: expected class to be the name of a class, got 5"),
    "a node named Infinity": (node(1, name=math.inf), "node 1: expected name to be text, got inf"),
    "a name twice": (node(1, name="conv"), "node 1: expected a name of its own, got 'conv'"),
    "inputs from behind": (node(1, inputs=[-1]), f"bn: expected {INPUTS}, got [-1]"),
    "inputs from before": (node(1, inputs=[3]), f"bn: expected {INPUTS}, got [3]"),
    "no inputs": (node(1, inputs=[]), f"bn: expected {INPUTS}, got []"),
    "two inputs": (node(1, inputs=[0, 1]), "bn: expected one input of a BatchNormalization, got 2"),
    "shares nothing": (
        node(1, shares="x"),
        "bn: expected shares to be the name of a layer before it, got 'x'",
    ),
    "config a list": (
        node(1, config=[]),
        "bn: expected config to be an object with the layer's arguments, got []",
    ),
    "no units": (
        lambda header, tensors: header["model"]["nodes"][4]["config"].pop("units"),
        "dense: expected units of the Dense, got nothing",
    ),
    "a flag that is none": (
        config(2, count_padding="yes"),
        "pool: expected count_padding to be true or false, got 'yes'",
    ),
    "a large stride": (config(0, strides=2**64), "conv (Conv2D) strides: expected ints below 2**31, got "),
    "a large input": (
        model(input_shape=[2**31, 2**31, 2**31]),
        "conv.weight: expected at most 128 elements, as many as were saved, got shape (3, 3, 2147483648, 2)",
    ),
    "a large layer": (
        config(4, units=2**31),
        "dense.weight: expected at most 128 elements, as many as were saved, got shape (32, 2147483648)",
    ),
    "a large normalization": (
        lambda header, tensors: header["model"].update(
            input_shape=[2**31],
            nodes=[
                {
                    "name": "bn",
                    "inputs": [0],
                    "class": "BatchNormalization",
                    "config": {"scale": False, "center": False},
                }
            ],
        ),
        "bn.running_mean: expected at most 128 elements, as many as were saved, got shape (2147483648,)",
    ),
    "fewer updates than none": (
        lambda header, tensors: tensors.update({"bn.updates": np.array(-(2**63))}),
        "expected the parameters of this model, got bn.updates with values that it cannot have",
    ),
    "more updates than can be counted": (
        lambda header, tensors: tensors.update({"bn.updates": np.array(2**63 - 1)}),
        "expected the parameters of this model, got bn.updates with values that it cannot have",
    ),
    "a variance below 0": (
        lambda header, tensors: tensors.update({"bn.running_var": np.array([1.0, -1.0])}),
        "expected the parameters of this model, got bn.running_var with values that it cannot have",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_model_is_refused_with_the_files_name(damage, path):
    change, message = DAMAGED[damage]
    rewritten(path, change)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as error:
            hg.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
    where, _, rest = str(error.value).partition(": ")
    assert where == str(path)
    assert rest == message or (message.endswith("got ") and rest.startswith(message))


@pytest.mark.filterwarnings("ignore:.*running statistics")
@pytest.mark.parametrize("flag", [0, 1, True, False])
def test_flags_may_be_0_and_1(flag, path):
    rewritten(path, config(2, count_padding=flag))
    again = hg.load(path)
    assert again["pool"].count_padding is bool(flag)
    again.predict(np.zeros((1, 6, 6, 1), np.float32))


def test_a_name_of_the_model_may_be_missing(path):
    rewritten(path, lambda header, tensors: header["model"].pop("name"))
    assert hg.load(path).name is None


@pytest.mark.parametrize("about", [5, "x", [], None])
def test_what_is_known_about_a_model_is_an_object(about, path):
    rewritten(path, lambda header, tensors: header.update(about=about))
    with pytest.raises(CheckpointError) as error:
        load_about(path)
    got = type(about).__name__
    assert str(error.value) == f"{path}: expected what was saved about a model, got a {got}"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, "1" * 5000, '{"x": 1} 2', "NaN", ""])
def test_json_that_no_parser_takes_is_refused(text, path):
    header = json.dumps({"__metadata__": {"handgrad": text}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError) as error:
        hg.load(path)
    assert str(error.value).startswith(f"{path}: expected a ")


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2"])
def test_a_tensor_of_a_dtype_that_numpy_has_not_is_named(dtype, path):
    size = 2 if dtype == "BF16" else 1
    header = {
        "__metadata__": {"handgrad": "{}"},
        "w": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    with pytest.raises(CheckpointError) as error:
        hg.load(path)
    assert str(error.value) == f"{path}: expected tensors of NumPy's dtypes, got w of {dtype}"


class TestArguments:
    @pytest.mark.parametrize(
        ("value", "got", "do"),
        [
            (
                lambda m: hg.Trainer(m, "cross_entropy"),
                "a Trainer",
                "pass its .model; its own .save(path) keeps all that training goes on from",
            ),
            (hg.Predictor, "a Predictor", "pass the model that it was made of"),
            (
                lambda m: layers.Dense(2),
                "a Dense",
                "put it into a model: Sequential([layer], input_shape=...)",
            ),
            (lambda m: m.state(), "a dict", ""),
            (lambda m: None, "a NoneType", ""),
        ],
    )
    def test_what_is_no_model_is_not_saved(self, value, got, do, tmp_path):
        with pytest.raises(ArgumentError) as error:
            hg.save(value(shared()), tmp_path / "m")
        assert str(error.value) == f"save: expected a model, got {got}" + (f"; {do}" if do else "")
        assert list(tmp_path.iterdir()) == []

    def test_the_model_comes_first(self, tmp_path):
        with pytest.raises(ArgumentError) as error:
            hg.save(tmp_path / "m", shared())
        assert str(error.value).endswith("; pass the model first: save(model, path)")

    @pytest.mark.parametrize("about", [5, ["a"], "text"])
    def test_what_is_known_about_it_is_a_mapping(self, about, tmp_path):
        with pytest.raises(ArgumentError) as error:
            hg.save(shared(), tmp_path / "m", about=about)
        assert str(error.value) == (
            "save about: expected a mapping of names to what JSON can hold, got a " + type(about).__name__
        )

    @pytest.mark.parametrize(
        ("custom", "got"),
        [
            ([Scale], 'a list; pass {"Scale": Scale}'),
            (Scale, 'a type; pass {"Scale": Scale}'),
            ("Scale", 'a str; pass {"Name": Name}'),
            ({"Scale": "Scale"}, "'Scale' for 'Scale'; pass the class itself"),
            ({5: Scale}, f"{Scale!r} for 5; pass the class itself"),
        ],
    )
    @pytest.mark.parametrize("load", [hg.load, lambda path, c: model_from_config(model_config(chain()), c)])
    def test_custom_objects_are_classes_by_name(self, custom, got, load, path):
        with pytest.raises(ArgumentError) as error:
            load(path, custom)
        assert str(error.value) == f"custom_objects: expected classes by name, got {got}"

    def test_an_error_of_a_custom_object_is_the_files_and_keeps_its_cause(self, tmp_path):
        class Broken(Scale):
            def create(self, shape, init):
                raise RuntimeError("of the user")

        hg.save(hg.Sequential([Scale()], input_shape=(4,)), tmp_path / "m")
        with pytest.raises(CheckpointError) as error:
            hg.load(tmp_path / "m", {"Scale": Broken})
        assert str(error.value) == (
            f"{tmp_path / 'm'}: expected a model as handgrad describes it, got another "
            "(RuntimeError('of the user'))"
        )
        assert isinstance(error.value.__cause__.__cause__, RuntimeError)


def sources():
    return [residual(), shared(), nested(), chain(), *(of(case) for case in CASES)]


def use(model):
    """Run the model where that is cheap."""
    sizes = [math.prod(model.input_shape), *(math.prod(node.shape) for node in model.nodes)]
    if max(sizes) <= 10_000:
        x = np.random.default_rng(0).normal(size=(2, *model.input_shape)).astype(model.dtype)
        model.predict(x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mutated_descriptions_are_models_or_refused():
    rng, configs, refused = random.Random(0), [model_config(m) for m in sources()], 0
    for _ in range(400):
        try:
            use(model_from_config(mutated(rng.choice(configs), rng), limit=10_000))
        except HandgradError:
            refused += 1
    assert 200 < refused < 400


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_are_models_or_refused_by_name(tmp_path):
    path, rng, models = tmp_path / "m", random.Random(1), sources()
    refused, unnamed = 0, []
    for _ in range(150):
        model = rng.choice(models)
        header, tensors = {"model": model_config(model), "about": {}}, model.state()
        if rng.random() < 0.7:
            header = mutated(header, rng)
        elif tensors:
            name = rng.choice(list(tensors))
            a = tensors.pop(name)
            other = [a.astype(np.float16), a.astype(np.int64), np.zeros((3, 1)), np.full_like(a, -1)]
            tensors[rng.choice([name, name, "x", "original/x"])] = rng.choice(other)
        if not isinstance(header, dict):
            continue
        write_tensors(path, tensors, copy.deepcopy(header))
        for load in (load_about, hg.load):
            try:
                loaded = load(path)
            except CheckpointError as error:
                refused += 1
                unnamed += [] if str(error).startswith(f"{path}: ") else [str(error)]
            else:
                if load is hg.load:
                    use(loaded)
    assert refused > 80
    assert unnamed == []
