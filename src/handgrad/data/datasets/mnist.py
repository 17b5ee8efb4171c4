"""MNIST: 70,000 handwritten digits of 28x28 pixels.

Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86 (11), 1998.
"""

from __future__ import annotations

import numpy as np

from handgrad.data.datasets.idx import idx_source, load_idx
from handgrad.data.datasets.image_set import ImageSet
from handgrad.typing import DTypeLike

SOURCE = idx_source(
    "mnist",
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    {
        "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
        "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
        "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
        "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
    },
)
CLASS_NAMES = tuple("0123456789")


def mnist(*, dtype: DTypeLike = np.float32) -> ImageSet:
    """Return MNIST, fetched into the cache when it is not there.

    Parameters
    ----------
    dtype : dtype, default float32
        Pixels in [0, 1]; with ``np.uint8`` the stored 0, ..., 255.

    Returns
    -------
    ImageSet
        60,000 and 10,000 images (n, 28, 28, 1), white on black.

    Raises
    ------
    DataError
        If it can neither be found nor fetched, or a file has the wrong contents.
    """
    return load_idx(SOURCE, CLASS_NAMES, dtype=dtype)
