"""What all tests share: this folder can be imported from, and hypothesis draws the same examples always."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parents[1]))

settings.register_profile("handgrad", deadline=None, derandomize=True, max_examples=200)
settings.load_profile("handgrad")
