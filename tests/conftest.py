"""What all tests share: this folder can be imported from, and hypothesis draws the same examples always."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

from handgrad.kernels import extension, select

sys.path.insert(0, str(Path(__file__).parents[1]))

settings.register_profile("handgrad", deadline=None, derandomize=True, max_examples=200)
settings.load_profile("handgrad")


@pytest.fixture
def compiled():
    """Return the extension module; skip the test where handgrad is installed without it."""
    module = extension.load().module
    if module is None:
        pytest.skip(f"no compiled kernels: {extension.load().problem}")
    return module


@pytest.fixture
def fresh():
    """Let the extension module be looked for anew, in this test and after it."""
    for end in (False, True):
        extension.load.cache_clear()
        select._tables.cache_clear()
        if not end:
            yield
