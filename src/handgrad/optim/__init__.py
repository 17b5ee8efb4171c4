"""Optimizers, which move parameters against their gradients, and schedules of the learning rate."""

from handgrad.optim.adadelta import Adadelta
from handgrad.optim.adagrad import Adagrad
from handgrad.optim.adam import Adam, AdamW
from handgrad.optim.group import Group
from handgrad.optim.multi import MultiOptimizer
from handgrad.optim.muon import Muon
from handgrad.optim.names import get
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.rmsprop import RMSprop
from handgrad.optim.schedules import Constant, Cosine, Linear, OneCycle, Schedule, Step, WarmUp
from handgrad.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Group",
    "Linear",
    "MultiOptimizer",
    "Muon",
    "OneCycle",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "Step",
    "WarmUp",
    "get",
]
