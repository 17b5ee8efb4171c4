"""Models: layers put together, and run."""

from handgrad.graph.executor import Trace
from handgrad.graph.fold import fold
from handgrad.graph.graph import Graph
from handgrad.graph.info import ModelInfo
from handgrad.graph.order import Node
from handgrad.graph.predictor import Predictor
from handgrad.graph.sequential import Sequential
from handgrad.graph.symbol import Input, Symbol

__all__ = ["Graph", "Input", "ModelInfo", "Node", "Predictor", "Sequential", "Symbol", "Trace", "fold"]
