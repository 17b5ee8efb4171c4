"""What may be done while training goes on, each in a file of its own."""

from handgrad.train.callbacks.callback import Callback, Logs
from handgrad.train.callbacks.checkpoint import Checkpoint
from handgrad.train.callbacks.early_stopping import EarlyStopping
from handgrad.train.callbacks.freeze import FreezeAfter
from handgrad.train.callbacks.history_writer import HistoryWriter
from handgrad.train.callbacks.interrupt import StopOnInterrupt
from handgrad.train.callbacks.json_lines import JsonLines
from handgrad.train.callbacks.lookahead import Lookahead
from handgrad.train.callbacks.non_finite import NonFinite
from handgrad.train.callbacks.progress import Progress
from handgrad.train.callbacks.stopwatch import Spent, Stopwatch

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "FreezeAfter",
    "HistoryWriter",
    "JsonLines",
    "Logs",
    "Lookahead",
    "NonFinite",
    "Progress",
    "Spent",
    "StopOnInterrupt",
    "Stopwatch",
]
