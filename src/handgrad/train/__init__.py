"""Training: the loop, metrics, history and callbacks."""

from handgrad.train.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    HistoryWriter,
    NonFinite,
    Progress,
    StopOnInterrupt,
)
from handgrad.train.evaluate import evaluate
from handgrad.train.history import History
from handgrad.train.metrics import Accuracy, MeanAbsoluteError, TopKAccuracy
from handgrad.train.trainer import Trainer, Where

__all__ = [
    "Accuracy",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "HistoryWriter",
    "MeanAbsoluteError",
    "NonFinite",
    "Progress",
    "StopOnInterrupt",
    "TopKAccuracy",
    "Trainer",
    "Where",
    "evaluate",
]
