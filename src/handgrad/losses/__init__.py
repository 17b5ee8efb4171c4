"""Losses from logits: the value and its gradient together, mean over the batch."""

from handgrad.losses.binary_cross_entropy import BinaryCrossEntropy
from handgrad.losses.cross_entropy import CrossEntropy
from handgrad.losses.loss import Loss
from handgrad.losses.mean_squared_error import MeanSquaredError
from handgrad.losses.names import get

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Loss", "MeanSquaredError", "get"]
