"""The summary, whole."""

from __future__ import annotations

import numpy as np

import handgrad as hg
from handgrad import layers
from tests.graph import models

CHAIN = """\
Layer                Kind                Output shape  Parameters  Multiply-adds
────────────────────────────────────────────────────────────────────────────────
input                                    5 x 4 x 2
conv2d               Conv2D              5 x 4 x 3      57 frozen          1,080
batch_normalization  BatchNormalization  5 x 4 x 3              6             60
relu                 ReLU                5 x 4 x 3
max_pooling2d        MaxPooling2D        2 x 2 x 3                            48
flatten              Flatten             12
dense                Dense               4                     52             48
────────────────────────────────────────────────────────────────────────────────
Parameters      115 (460 B, 57 frozen)
Multiply-adds   1,236 per image, forward
Memory          480 B per image in inference, 992 B in training"""

RESIDUAL = """\
Layer    Kind   Output shape  Parameters  Multiply-adds  Inputs
───────────────────────────────────────────────────────────────────────
input           3
twice    Dense  3                     12              9  input
twice_1  Dense  3                 shared              9  twice
add      Add    3                                     3  twice_1, input
───────────────────────────────────────────────────────────────────────
Parameters      12 (48 B)
Multiply-adds   21 per image, forward
Memory          36 B per image in inference, 48 B in training"""


def test_a_chain():
    model = models.chain()
    model["conv2d"].freeze()
    assert model.summary() == CHAIN


def test_a_graph_names_the_inputs_of_every_node():
    i = hg.Input((3,))
    dense = layers.Dense(3, name="twice")
    assert hg.Graph(i, layers.Add()(dense(dense(i)), i)).summary() == RESIDUAL


def test_memory_counts_what_is_alive_at_once():
    wide = hg.Sequential([layers.Dense(1000), layers.Dense(1)], input_shape=(10,), dtype=np.float64)
    assert "7.9 KiB per image in inference, 7.9 KiB in training" in wide.summary()
    deep = hg.Sequential([layers.ReLU() for _ in range(9)], input_shape=(128,))
    assert "1.0 KiB per image in inference, 5.0 KiB in training" in deep.summary()
