"""Programs written for other libraries, run by handgrad."""

from handgrad.compat import mlfromscratch

__all__ = ["mlfromscratch"]
