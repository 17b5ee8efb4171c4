"""Fashion-MNIST: 70,000 pictures of clothes of 28x28 pixels.

H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", 2017, licence MIT.
"""

from __future__ import annotations

import numpy as np

from handgrad.data.datasets.idx import idx_source, load_idx
from handgrad.data.datasets.image_set import ImageSet
from handgrad.typing import DTypeLike

SOURCE = idx_source(
    "fashion_mnist",
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    {
        "train-images-idx3-ubyte": (47_040_016, "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        "train-labels-idx1-ubyte": (60_008, "9018921c3c673c538a1fc5bad174d6f9"),
        "t10k-images-idx3-ubyte": (7_840_016, "8181f5470baa50b63fa0f6fddb340f0a"),
        "t10k-labels-idx1-ubyte": (10_008, "15d484375f8d13e6eb1aabb0c3f46965"),
    },
)
CLASS_NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def fashion_mnist(*, dtype: DTypeLike = np.float32) -> ImageSet:
    """Return Fashion-MNIST, fetched into the cache when it is not there.

    Parameters
    ----------
    dtype : dtype, default float32
        Pixels in [0, 1]; with ``np.uint8`` the stored 0, ..., 255.

    Returns
    -------
    ImageSet
        60,000 and 10,000 images (n, 28, 28, 1), light on black.

    Raises
    ------
    DataError
        If it can neither be found nor fetched, or a file has the wrong contents.
    """
    return load_idx(SOURCE, CLASS_NAMES, dtype=dtype)
