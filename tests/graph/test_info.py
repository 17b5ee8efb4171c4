from __future__ import annotations

import json

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.graph import ModelInfo
from handgrad.graph.fuse import fuse

INFO = ModelInfo(
    "classification",
    classes=["cat", "dog"],
    preprocessing=[{"class": "Normalize", "mean": [0.5], "std": [2]}],
    input_range=(0, 255),
)


def model():
    chain = [
        layers.Conv2D(3, 3),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(2),
    ]
    return hg.Sequential(chain, input_shape=(4, 4, 1))


class TestModelInfo:
    def test_a_model_knows_nothing_at_first(self):
        assert model().info == ModelInfo() == ModelInfo(None, True, (), None, None, None)

    def test_its_configuration_is_json_and_comes_back(self):
        config = json.loads(json.dumps(INFO.config()))
        assert ModelInfo.from_config(config) == INFO
        assert ModelInfo.from_config(ModelInfo().config()) == ModelInfo()

    def test_what_it_was_made_of_can_be_changed_without_it(self):
        step = {"class": "Normalize", "mean": [0.5], "std": [2.0]}
        info = ModelInfo(preprocessing=[step])
        step["mean"][0] = 7
        info.config()["preprocessing"][0]["mean"][0] = 8
        assert info.preprocessing == ({"class": "Normalize", "mean": [0.5], "std": [2.0]},)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                {"kind": "classes"},
                "ModelInfo kind: expected one of classification, binary, multi_label, regression, got "
                "'classes'",
            ),
            ({"from_logits": 1}, "ModelInfo from_logits: expected True or False, got 1"),
            ({"classes": "ab"}, "ModelInfo classes: expected a list of names, got 'ab'"),
            ({"classes": [1, 2]}, "ModelInfo classes: expected a list of names, got [1, 2]"),
            (
                {"preprocessing": [abs]},
                "ModelInfo preprocessing: expected a list of configurations of transforms, got "
                "[<built-in function abs>]; handgrad.data.to_config(transform) gives one",
            ),
            ({"loss": "mse"}, "ModelInfo loss: expected a loss's configuration, got 'mse'"),
            (
                {"input_range": (0,)},
                "ModelInfo input_range: expected a smallest and a largest number, got (0,)",
            ),
            (
                {"input_range": (0, np.inf)},
                "ModelInfo input_range: expected a smallest and a largest number, got (0, inf)",
            ),
            (
                {"input_range": (-(10**400), 0)},
                f"ModelInfo input_range: expected a smallest and a largest number, got (-1{'0' * 400}, 0)",
            ),
        ],
    )
    def test_arguments_that_mean_nothing_are_refused(self, arguments, message):
        with pytest.raises(ArgumentError) as error:
            ModelInfo(**arguments)
        assert str(error.value) == message

    def test_another_configuration_is_refused(self):
        with pytest.raises(ArgumentError, match=r"^ModelInfo: expected a configuration, got \[\]"):
            ModelInfo.from_config([])
        with pytest.raises(ArgumentError, match=r"^ModelInfo: expected arguments among kind, "):
            ModelInfo.from_config({"kinds": None})

    def test_a_model_takes_nothing_else(self):
        m = model()
        with pytest.raises(ArgumentError) as error:
            m.info = {"kind": "binary"}
        assert str(error.value) == "Sequential info: expected a handgrad.ModelInfo, got {'kind': 'binary'}"
        assert m.info == ModelInfo()

    def test_classes_without_a_name_have_their_number(self):
        assert INFO.names(4) == ("cat", "dog", "2", "3")
        assert INFO.names(1) == ("cat",)
        assert ModelInfo().names(2) == ("0", "1")


class TestProbabilities:
    z = np.array([[2.0, 0.0, -1.0], [-3.0, 4.0, 5.0]], np.float32)

    def test_logits_of_classes_go_through_softmax(self):
        e = np.exp(self.z.astype(np.float64))
        p = ModelInfo("classification").probabilities(self.z)
        np.testing.assert_allclose(p, e / e.sum(-1, keepdims=True), rtol=1e-6)

    def test_a_map_of_classes_goes_through_softmax_pixel_by_pixel(self):
        z = self.z.reshape(1, 1, 2, 3)
        p = ModelInfo("classification").probabilities(z)
        np.testing.assert_array_equal(p[0, 0], ModelInfo("classification").probabilities(self.z))

    @pytest.mark.parametrize("kind", ["binary", "multi_label"])
    def test_logits_of_labels_go_through_sigmoid(self, kind):
        z = self.z[:, :1] if kind == "binary" else self.z
        np.testing.assert_allclose(ModelInfo(kind).probabilities(z), 1 / (1 + np.exp(-z)), rtol=1e-6)

    @pytest.mark.parametrize("kind", ["classification", "binary", "multi_label"])
    def test_probabilities_stay_as_they_are(self, kind):
        p = np.array([[0.25, 0.75]], np.float32)
        np.testing.assert_array_equal(ModelInfo(kind, from_logits=False).probabilities(p), p)

    def test_outputs_in_bfloat16_are_widened(self):
        bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
        z = self.z.astype(bfloat16)
        for info in (ModelInfo("classification"), ModelInfo("classification", from_logits=False)):
            p = info.probabilities(z)
            assert p.dtype == np.float32
            np.testing.assert_array_equal(p, info.probabilities(z.astype(np.float32)))

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("regression", "probabilities: expected a model of classes or labels, got one of numbers"),
            (
                None,
                "probabilities: expected a model of classes or labels, got one that does not say what its "
                "outputs mean; set model.info = handgrad.ModelInfo(kind, classes=...)",
            ),
        ],
    )
    def test_numbers_have_none(self, kind, message):
        with pytest.raises(ArgumentError) as error:
            ModelInfo(kind).probabilities(self.z)
        assert str(error.value) == message


def test_models_made_of_one_know_the_same():
    m = model()
    m.info = INFO
    m["batch_normalization"].commit(m["batch_normalization"].forward(np.ones((2, 2, 2, 3)), hg.Run(True))[1])
    folded = hg.fold(m)
    assert len(fuse(m).nodes) < len(m.nodes)
    for made in (folded, folded.original, folded.unfold(), fuse(m), hg.Predictor(m)):
        assert made.info == INFO
