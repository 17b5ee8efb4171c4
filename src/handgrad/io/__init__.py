"""Models and checkpoints on disk, safetensors and JSON, never pickle; layers of other libraries."""

from handgrad.io.batch_normalization import (
    batch_norm_from_flax,
    batch_norm_from_keras,
    batch_norm_from_torch,
    batch_norm_to_flax,
    batch_norm_to_keras,
    batch_norm_to_torch,
    from_torch_momentum,
    to_torch_momentum,
)
from handgrad.io.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from handgrad.io.config import model_config, model_from_config
from handgrad.io.files import replace_file
from handgrad.io.model import load, load_about, save
from handgrad.io.tensors import read_tensors, write_tensors

__all__ = [
    "Checkpoint",
    "batch_norm_from_flax",
    "batch_norm_from_keras",
    "batch_norm_from_torch",
    "batch_norm_to_flax",
    "batch_norm_to_keras",
    "batch_norm_to_torch",
    "from_torch_momentum",
    "load",
    "load_about",
    "load_checkpoint",
    "model_config",
    "model_from_config",
    "read_tensors",
    "replace_file",
    "save",
    "save_checkpoint",
    "to_torch_momentum",
    "write_tensors",
]
