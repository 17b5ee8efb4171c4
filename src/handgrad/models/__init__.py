"""Networks put together from the layers."""

from handgrad.models.lenet import lenet
from handgrad.models.names import MODELS, get
from handgrad.models.resnet import resnet18, resnet20, resnet50
from handgrad.models.small_cnn import small_cnn
from handgrad.models.whitened_cnn import whitened_cnn

__all__ = ["MODELS", "get", "lenet", "resnet18", "resnet20", "resnet50", "small_cnn", "whitened_cnn"]
