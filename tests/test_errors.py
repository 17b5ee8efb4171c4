"""Errors say where, what was expected, what came, and what to do; and they survive a process boundary."""

from __future__ import annotations

import copy
import pickle

import pytest

from handgrad import errors
from handgrad.errors import HandgradError

KINDS = {
    "ArgumentError": ValueError,
    "ShapeError": ValueError,
    "BuildError": RuntimeError,
    "DataError": ValueError,
    "CheckpointError": ValueError,
    "MissingExtraError": ImportError,
    "NonFiniteError": ArithmeticError,
}


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ({}, "conv2 (Conv2D): expected 64 input channels, got 32"),
        (
            {"do": "set filters=64 there"},
            "conv2 (Conv2D): expected 64 input channels, got 32; set filters=64 there",
        ),
        ({"source": "relu1"}, "conv2 (Conv2D): expected 64 input channels, got 32 from relu1"),
        (
            {"source": "relu1", "do": "set filters=64 there"},
            "conv2 (Conv2D): expected 64 input channels, got 32 from relu1; set filters=64 there",
        ),
    ],
    ids=["short", "with what to do", "with the source", "whole"],
)
def test_message(rest, text):
    assert str(HandgradError("conv2 (Conv2D)", expected="64 input channels", got="32", **rest)) == text


@pytest.mark.parametrize(("name", "builtin"), KINDS.items(), ids=KINDS)
def test_kinds_are_also_what_python_calls_them(name, builtin):
    error = getattr(errors, name)("here", expected="this", got="that")
    assert isinstance(error, HandgradError)
    assert isinstance(error, builtin)


def test_every_kind_is_known_to_this_test():
    found = {k for k, v in vars(errors).items() if isinstance(v, type) and issubclass(v, HandgradError)}
    assert found == KINDS.keys() | {"HandgradError"}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_an_error_is_the_same_after_a_copy(copied):
    error = errors.ShapeError("here", expected="this", got="that", do="so", source="there")
    again = copied(error)
    assert type(again) is errors.ShapeError
    assert str(again) == str(error)
    assert (again.where, again.expected, again.got, again.do, again.source) == (
        "here",
        "this",
        "that",
        "so",
        "there",
    )
