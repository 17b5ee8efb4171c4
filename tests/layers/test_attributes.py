"""What may be assigned to a layer, and what a class of layers may be."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, BuildError, HandgradError, ShapeError
from handgrad.io.config import model_config, model_from_config
from handgrad.layers import Buffer, Init, Layer, Parameter, Run
from handgrad.layers.layer import NothingSaved, owned


def conv(**arguments):
    layer = layers.Conv2D(4, 3, padding="same", name="c", **arguments)
    layer.build((8, 8, 4))
    return layer


def assign(layer, name, value):
    with pytest.raises(HandgradError) as error:
        setattr(layer, name, value)
    return error.value


CHANGES = {
    "filters": (8, "c (Conv2D) filters: expected 4, which it was built with, got 8; its parameters, or what "
                "follows it, would not fit: make a new layer, and a new model"),
    "kernel_size": (5, "c (Conv2D) kernel_size: expected 3, which it was built with, got 5; its parameters, "
                       "or what "
                    "follows it, would not fit: make a new layer, and a new model"),
    "strides": (2, "c (Conv2D) strides: expected 1, which it was built with, got 2; its parameters, or what "
                   "follows "
                "it, would not fit: make a new layer, and a new model"),
    "groups": (3, "c (Conv2D): expected filters that groups=3 divides, got filters=4"),
    "use_bias": (False, "c (Conv2D) use_bias: expected True, which it was built with, got False; its "
                        "parameters, or "
                 "what follows it, would not fit: make a new layer, and a new model"),
    "kernel_initializer": ("he", "initializer: expected one of zeros, ones, random_normal, he_normal, "
                                 "he_uniform, "
                           "glorot_normal, glorot_uniform, orthogonal, dirac or an Initializer, got 'he'"),
    "weight": (np.zeros((3, 3, 4, 4), np.float32), "c (Conv2D) weight: expected a Parameter of shape (3, 3, "
                                                   "4, 4), got "
               "ndarray; to set its numbers: layer.weight.value = array"),
    "bias": (None, "c (Conv2D) bias: expected a Parameter of shape (4,), got None; whether there is one "
                   "follows from "
             "the constructor's arguments: make a new layer"),
    "input_shape": ((9, 9, 4), "c (Conv2D) input_shape: expected (8, 8, 4), which it was built for, got (9, "
                               "9, 4); "
                    "make a new layer for another shape"),
    "trainable": ("no", "c (Conv2D): expected trainable to be True or False, got 'no'"),
    "name": (3, "Conv2D name: expected a string or None, got 3"),
    "scale": (Parameter(np.ones(3)), "c (Conv2D) scale: expected the parameters and buffers that it was "
                                     "built with, got "
              "another Parameter; create makes them all, by the constructor's arguments: make a new layer"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), [(n, *c) for n, c in CHANGES.items()], ids=CHANGES)
def test_a_built_layer_keeps_what_its_parameters_follow_from(name, value, message):
    layer = conv()
    before, state = layer.config(), dict(vars(layer))
    assert str(assign(layer, name, value)) == message
    assert layer.config() == before
    assert vars(layer) == state


def test_what_changes_no_shape_may_be_changed():
    layer = conv()
    layer.dilation_rate = 2
    layer.name = "other"
    layer.trainable = False
    norm = layers.BatchNormalization()
    norm.build((4,))
    norm.momentum, norm.renorm, norm.ghost_size = 0.9, (3.0, 5.0), 4
    dropout = layers.Dropout(0.5)
    dropout.build((4,))
    dropout.rate = 0.1
    with pytest.raises(ArgumentError, match="rate of at least 0 and less than 1, got 2"):
        dropout.rate = 2
    assert dropout.rate == 0.1


def test_a_layer_that_is_not_built_takes_any_argument():
    layer = layers.Conv2D(4, 3)
    layer.filters = 8
    layer.build((8, 8, 1))
    assert layer.weight.shape == (3, 3, 1, 8)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(2, 3, use_bias="yes"),
        layers.SimpleRNN(3, return_sequences=None),
        layers.BatchNormalization(center=2),
        layers.GELU(approximate="tanh"),
        layers.AveragePooling2D(count_padding=np.ones(2)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_flags_are_true_or_false(layer):
    shape = (4, 4) if isinstance(layer, layers.SimpleRNN) else (4, 4, 2)
    for use in (lambda: layer.build(shape), lambda: layer(hg.Input(shape))):
        with pytest.raises(ArgumentError, match=" to be True or False, got "):
            use()


def test_0_and_1_pass_for_flags_as_in_older_files():
    layer = layers.Dense.from_config({"units": 2, "use_bias": 0})
    layer.build((3,))
    assert layer.bias is None


class TestReplacingAParameter:
    def model(self):
        return hg.Sequential([layers.Dense(3, name="a"), layers.Dense(3, name="b")], input_shape=(3,))

    def test_takes_its_place_and_name(self):
        model = self.model()
        model["a"].weight = Parameter(np.full((3, 3), 2, np.float32))
        assert model["a"].weight.name == "a.weight"
        assert (model.state()["a.weight"] == 2).all()
        trainer = hg.Trainer(model, "mean_squared_error", hg.optim.SGD(0.1))
        trainer.train_step(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))
        assert not (model["a"].weight.value == 2).any()

    def test_wants_the_same_shape_and_dtype(self):
        model = self.model()
        error = assign(model["a"], "weight", Parameter(np.zeros((3, 4), np.float32)))
        assert type(error) is ShapeError
        assert str(error) == "a (Dense) weight: expected shape (3, 3), got (3, 4)"
        error = assign(model["a"], "weight", Parameter(np.zeros((3, 3))))
        assert str(error) == "a (Dense) weight: expected float32, got float64"

    def test_ties_two_layers(self):
        model = self.model()
        model["b"].weight = model["a"].weight
        assert list(model.parameters()) == ["a.weight", "a.bias", "b.bias"]
        trainer = hg.Trainer(model, "mean_squared_error", hg.optim.SGD(0.1))
        trainer.train_step(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))
        assert model["a"].weight is model["b"].weight

    def test_is_told_of_where_build_would_undo_it(self):
        layer = layers.Dense(3, name="d")
        layer.weight = np.ones((3, 3))
        with pytest.raises(BuildError) as error:
            layer.build((3,))
        assert str(error.value) == (
            "d (Dense) weight: expected nothing before build, which creates it, got an ndarray; build the "
            "layer, or "
            "make the model, first; then layer.weight.value = array"
        )
        assert not layer.built


@dataclass(eq=False)
class Group(Layer):
    """A layer that makes others, or keeps parameters where nobody looks."""

    how: str = "layer"
    inner: Layer | None = owned()
    held: object = owned()

    def output_shape(self, shape):
        return shape

    def create(self, shape, init):
        dense = layers.Dense(shape[-1])
        dense.build(shape, init)
        parameter = init.parameter("w", shape, "ones")
        if self.how == "layer":
            self.inner = dense
        elif self.how == "model":
            self.held = hg.Sequential([layers.BatchNormalization()], input_shape=shape)
        else:
            self.held = {
                "list": [parameter],
                "dict": {"a": (dense,)},
                "buffers": (Buffer(np.zeros(2)),),
                "no parameters": [layers.ReLU()],
            }[self.how]

    def forward(self, x, run):
        self.check_input(x)
        return x, NothingSaved()

    def backward(self, dy, saved, run, *, need_dx=True):
        return dy if need_dx else None


@pytest.mark.parametrize(
    ("how", "got"),
    [
        ("layer", "2 in its attribute inner, a Dense"),
        ("model", "5 in its attribute held, a Sequential"),
        ("list", "1 in its attribute held, a list"),
        ("dict", "2 in its attribute held, a dict"),
        ("buffers", "1 in its attribute held, a tuple"),
    ],
)
def test_parameters_that_no_model_would_find_are_refused(how, got):
    layer = Group(how)
    with pytest.raises(BuildError) as error:
        hg.Sequential([layer], input_shape=(3,))
    assert str(error.value) == (
        f"group (Group): expected parameters and buffers that are attributes of the layer itself, got {got}; "
        "they "
        "would be neither trained nor saved: give each an attribute of its own; and connect layers in a "
        "model, "
        "handgrad.Sequential or Graph, which can be called on a symbol as a layer"
    )
    assert not layer.built
    assert layer.inner is layer.held is None


def test_layers_without_parameters_may_be_held():
    Group("no parameters").build((3,))


def test_a_layer_that_finds_the_parameters_of_those_it_holds_may_hold_them():
    @dataclass(eq=False)
    class Honest(Group):
        def parameters(self):
            return {f"inner.{name}": p for name, p in self.inner.parameters().items()} if self.inner else {}

    model = hg.Sequential([Honest()], input_shape=(3,))
    assert list(model.parameters()) == ["honest.inner.weight", "honest.inner.bias"]


def test_a_build_that_fails_leaves_the_layer_as_it_was():
    @dataclass(eq=False)
    class Fails(layers.Dense):
        broken: bool = True

        def create(self, shape, init):
            super().create(shape, init)
            if self.broken:
                raise MemoryError

    layer = Fails(3)
    with pytest.raises(MemoryError):
        layer.build((2,))
    assert layer.parameters() == {}
    layer.broken = False
    assert layer.build((2,)) == (3,)


class Scaled(Layer):
    """A layer with a constructor of its own."""

    def __init__(self, factor, shift=0.0):
        self.factor, self.shift = factor, shift

    def output_shape(self, shape):
        return shape

    def create(self, shape, init):
        self.weight = init.parameter("weight", shape, "ones")

    def forward(self, x, run):
        self.check_input(x)
        return x * self.weight.value * self.factor + self.shift, hg.layers.activation.ActivationSaved(x)

    def backward(self, dy, saved, run, *, need_dx=True):
        if self.trainable:
            self.weight.accumulate((dy * saved.value).sum(axis=0) * self.factor)
        return dy * self.weight.value * self.factor if need_dx else None


class TestAConstructorOfOnesOwn:
    def test_keeps_the_contract(self):
        assert len(hg.testing.check_layer(Scaled(2.0, shift=1.0), (3,))) == 11

    def test_is_saved_with_its_arguments_name_and_trainable(self):
        model = hg.Sequential([Scaled(2.0, shift=1.0)], input_shape=(3,))
        model["scaled"].freeze()
        config = json.loads(json.dumps(model_config(model)))
        assert config["nodes"][0]["config"] == {"name": None, "trainable": False, "factor": 2.0, "shift": 1.0}
        again = model_from_config(config, {"Scaled": Scaled})
        assert (again["scaled"].factor, again["scaled"].shift, again["scaled"].trainable) == (2.0, 1.0, False)

    def test_passes_others_on(self):
        class Same(layers.Conv2D):
            def __init__(self, filters, **others):
                super().__init__(filters, others.pop("kernel_size", 3), padding="same", **others)

        layer = Same(2, use_bias=False, trainable=False)
        config = layer.config()
        assert config["kernel_size"] == 3
        config.pop("padding")
        again = Same.from_config(config)
        assert (again.filters, again.use_bias, again.trainable) == (2, False, False)

    def test_says_which_argument_it_has_not_kept(self):
        class Forgets(Scaled):
            def __init__(self, factor):
                super().__init__(factor)
                del self.factor

        with pytest.raises(BuildError) as error:
            Forgets(2.0).config()
        assert str(error.value) == (
            "Forgets config: expected the argument factor as an attribute of that name, got none; write "
            "self.factor = factor in __init__"
        )


def test_fields_without_dataclass_are_told_of():
    class Twice(layers.ReLU):
        factor: float = 2.0

    for make in (lambda: Twice(3.0), lambda: Twice(factor=3.0), Twice):
        with pytest.raises(BuildError) as error:
            make()
        assert str(error.value) == (
            "Twice: expected a dataclass, whose fields are the arguments, got a class with factor, and no "
            "constructor "
            "that takes them; write @dataclass(eq=False) above class Twice"
        )


def test_a_subclass_without_fields_needs_no_dataclass():
    class Named(layers.Dense):
        def multiply_adds(self, shape):
            return 1

    layer = Named(3, use_bias=False)
    assert Named.from_config(layer.config()).use_bias is False
    assert layer.build((2,), Init()) == (3,)


def test_a_plain_dataclass_does_as_well():
    @dataclass
    class Plain(layers.Dense):
        pass

    model = hg.Sequential([Plain(3), Plain(3)], input_shape=(3,))
    assert len(model.layers) == 2
    trainer = hg.Trainer(model, "mean_squared_error")
    trainer.train_step(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))


def test_calling_a_layer_on_an_array_says_how_to_run_it():
    with pytest.raises(BuildError) as error:
        layers.ReLU()(np.zeros(3))
    assert str(error.value) == (
        "ReLU: expected a symbol, as handgrad.Input returns, got ndarray; to run it on an array call "
        "build(shape), "
        "then forward(x, handgrad.Run())"
    )
    assert Run().node is None
