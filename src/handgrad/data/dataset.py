"""What a data set is: something with a length that gives batches by index."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from handgrad.typing import Array, Shape


@runtime_checkable
class Dataset(Protocol):
    """Samples with labels, asked for by index.

    Any object with these three members is one; no base class is needed. Four more may be there, or be None:

    - ``labels``, an array of all the labels, at hand without reading a sample: a trainer checks them before
      its first step;
    - ``class_names``, a tuple of str, where the classes have names;
    - ``preprocessing``, a tuple of the transforms that images pass through after they were read as pixels in
      [0, 1], where that is known; none for images as they are. A trainer keeps it with the model;
    - ``value_range``, the smallest and largest number before that, where samples need be no pixels in [0, 1].
    """

    def __len__(self) -> int:
        """Return the number of samples."""

    @property
    def shape(self) -> Shape:
        """The shape of one sample; of an image (height, width, channels)."""

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """Return the samples and labels at `indices`, in that order.

        Parameters
        ----------
        indices : (n,) int array
            Each in 0, ..., len(self) - 1.

        Returns
        -------
        x : (n, ...) float32 array
        y : (n,) int64 array
            Or (n, ...) where a label is more than a class number.
        """
