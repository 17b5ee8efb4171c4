"""A look inside batch normalization: its terms, and its health in a model."""

from handgrad.inspect.batchnorm import batchnorm
from handgrad.inspect.explain import Explanation, explain
from handgrad.inspect.health import BatchNormHealth, LayerHealth, Problem
from handgrad.inspect.steps import Step

__all__ = ["BatchNormHealth", "Explanation", "LayerHealth", "Problem", "Step", "batchnorm", "explain"]
