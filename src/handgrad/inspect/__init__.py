"""A look inside batch normalization: its terms, and its health in a model."""

from handgrad.inspect.explain import Explanation, explain
from handgrad.inspect.steps import Step

__all__ = ["Explanation", "Step", "explain"]
