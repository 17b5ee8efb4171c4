from __future__ import annotations

import pytest

from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.models import whitened_cnn


@pytest.mark.parametrize(
    ("shape", "stages", "last"),
    [
        ((3, 3, 1), 1, (1, 1, 2)),
        ((8, 8, 1), 2, (1, 1, 8)),
        ((9, 12, 2), 3, (1, 1, 8)),
        ((32, 32, 3), 3, (1, 1, 8)),
        ((64, 40, 3), 3, (1, 1, 8)),
    ],
)
def test_stages_halve_the_image_as_long_as_a_pixel_is_left(shape, stages, last):
    model = whitened_cnn(shape, 5, width=2)
    pools = [node for node in model.nodes if isinstance(node.layer, layers.MaxPooling2D)]
    assert len(pools) == stages + 1
    assert pools[-1].shape == last
    assert model.output_shape == (5,)


def test_it_is_the_network_of_the_paper():
    model = whitened_cnn((32, 32, 3), 10)
    filters = {name: p.shape for name, p in model.parameters().items() if name.endswith("weight")}
    assert filters == {
        "whiten.weight": (2, 2, 3, 24),
        "stage1.conv1.weight": (3, 3, 24, 64),
        "stage1.conv2.weight": (3, 3, 64, 64),
        "stage2.conv1.weight": (3, 3, 64, 256),
        "stage2.conv2.weight": (3, 3, 256, 256),
        "stage3.conv1.weight": (3, 3, 256, 256),
        "stage3.conv2.weight": (3, 3, 256, 256),
        "logits.weight": (256, 10),
    }
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert [(bn.momentum, bn.gamma) for bn in norms] == [(0.6, None)] * 6


def test_small_images_are_refused():
    with pytest.raises(ArgumentError) as error:
        whitened_cnn((2, 8, 1), 3)
    assert (
        str(error.value)
        == "whitened_cnn input_shape: expected (height, width, channels), 3x3 or more, got (2, 8, 1)"
    )
