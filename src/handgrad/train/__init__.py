"""Training: the loop, metrics, history and callbacks."""

from handgrad.train.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    FreezeAfter,
    HistoryWriter,
    JsonLines,
    Lookahead,
    NonFinite,
    Progress,
    Spent,
    StopOnInterrupt,
    Stopwatch,
)
from handgrad.train.evaluate import evaluate
from handgrad.train.experiment import Experiment
from handgrad.train.history import History
from handgrad.train.metrics import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    MeanAbsoluteError,
    TopKAccuracy,
    accuracy_for,
)
from handgrad.train.open_model import open_model
from handgrad.train.recipe import RECIPES, Recipe, named_recipes, recipe_for
from handgrad.train.standing import Where
from handgrad.train.statistics import Gap, precise_statistics, statistics_gap
from handgrad.train.trainer import Trainer
from handgrad.train.views import Views

__all__ = [
    "RECIPES",
    "Accuracy",
    "BinaryAccuracy",
    "Callback",
    "CategoricalAccuracy",
    "Checkpoint",
    "EarlyStopping",
    "Experiment",
    "FreezeAfter",
    "Gap",
    "History",
    "HistoryWriter",
    "JsonLines",
    "Lookahead",
    "MeanAbsoluteError",
    "NonFinite",
    "Progress",
    "Recipe",
    "Spent",
    "StopOnInterrupt",
    "Stopwatch",
    "TopKAccuracy",
    "Trainer",
    "Views",
    "Where",
    "accuracy_for",
    "evaluate",
    "named_recipes",
    "open_model",
    "precise_statistics",
    "recipe_for",
    "statistics_gap",
]
