"""Models and checkpoints on disk: safetensors and JSON, never pickle."""

from handgrad.io.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from handgrad.io.config import model_config, model_from_config
from handgrad.io.model import load, load_about, save
from handgrad.io.tensors import read_tensors, replace_file, write_tensors

__all__ = [
    "Checkpoint",
    "load",
    "load_about",
    "load_checkpoint",
    "model_config",
    "model_from_config",
    "read_tensors",
    "replace_file",
    "save",
    "save_checkpoint",
    "write_tensors",
]
