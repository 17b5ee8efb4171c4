"""Data: known sets, arrays, files and folders of images, and what makes batches of them."""

from handgrad.data.arrays import ArrayDataset, as_dataset
from handgrad.data.dataset import Dataset
from handgrad.data.datasets.catalog import DatasetInfo, available, fetch, load
from handgrad.data.datasets.cifar10 import cifar10
from handgrad.data.datasets.digits import digits
from handgrad.data.datasets.fashion_mnist import fashion_mnist
from handgrad.data.datasets.image_set import ImageSet
from handgrad.data.datasets.mnist import mnist
from handgrad.data.image_folder import ImageFolder
from handgrad.data.images import read_image
from handgrad.data.loader import Loader
from handgrad.data.mapped import MappedDataset
from handgrad.data.npy import NpyDataset
from handgrad.data.preprocessing import preprocess
from handgrad.data.subset import Subset
from handgrad.data.transform import Samples, SampleTransform, Transform
from handgrad.data.transform_config import from_config, to_config
from handgrad.data.transforms import (
    AlternatingFlip,
    Compose,
    Cutout,
    Normalize,
    RandomCrop,
    RandomFlip,
)

__all__ = [
    "AlternatingFlip",
    "ArrayDataset",
    "Compose",
    "Cutout",
    "Dataset",
    "DatasetInfo",
    "ImageFolder",
    "ImageSet",
    "Loader",
    "MappedDataset",
    "Normalize",
    "NpyDataset",
    "RandomCrop",
    "RandomFlip",
    "SampleTransform",
    "Samples",
    "Subset",
    "Transform",
    "as_dataset",
    "available",
    "cifar10",
    "digits",
    "fashion_mnist",
    "fetch",
    "from_config",
    "load",
    "mnist",
    "preprocess",
    "read_image",
    "to_config",
]
