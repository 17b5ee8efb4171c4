"""The history on disk, epoch by epoch."""

from __future__ import annotations

import os

from handgrad.arguments import check_path
from handgrad.train.callbacks.callback import Callback, Logs


class HistoryWriter(Callback):
    """Writes ``history.csv`` and ``history.json`` into a folder after every epoch.

    Parameters
    ----------
    folder : path
        Is created if need be.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = check_path("HistoryWriter folder", folder)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write both files anew."""
        self.trainer.history.save(self.folder)
