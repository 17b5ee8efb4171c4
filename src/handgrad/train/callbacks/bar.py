"""A bar that moves in a terminal; apart, so that tqdm is imported only where one is shown."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm


class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A `tqdm.tqdm` on standard error that leaves nothing behind, and shows nothing where no terminal is."""

    monitor_interval = 0  # no thread of its own: a process that has several should not fork
    values = ""
    """What ``{values}`` stands for in `bar_format`."""

    def __init__(self, file: TextIO | None = None, **options: Any) -> None:
        super().__init__(file=file or sys.stderr, disable=None, leave=False, dynamic_ncols=True, **options)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What a format can name."""
        return {**super().format_dict, "values": self.values}
