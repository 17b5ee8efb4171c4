"""Networks put together from the layers."""

from handgrad.models.names import MODELS, get
from handgrad.models.small_cnn import small_cnn

__all__ = ["MODELS", "get", "small_cnn"]
