"""Streams: the same key gives the same numbers, whatever else was drawn; other keys give others."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgrad.rng import Stream

DRAWS = {
    "uniform": lambda s: s.uniform((7,)),
    "normal": lambda s: s.normal((7,)),
    "keep": lambda s: s.keep((40,), 0.5),
    "integers": lambda s: s.integers(0, 1000, (7,)),
    "permutation": lambda s: s.permutation(20),
    "hashed": lambda s: s.hashed(np.arange(7)),
}
each_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@each_draw
def test_a_stream_always_begins_at_the_same_number(draw):
    a, b = Stream((3, "shuffle")), Stream((3,)).child("shuffle")
    first = draw(a)
    draw(a)
    np.testing.assert_array_equal(draw(a), first)
    np.testing.assert_array_equal(draw(b), first)


@each_draw
def test_other_keys_give_other_numbers(draw):
    keys = [
        (0,),
        (1,),
        ("0",),
        (0, 0),
        (0, 1),
        (0, "a"),
        (0, "a", "b"),
        (0, "ab"),
        ("0, 1",),
        (-1,),
        (2**64,),
    ]
    for a, b in itertools.combinations(keys, 2):
        assert not np.array_equal(draw(Stream(a)), draw(Stream(b))), (a, b)


def test_an_integer_is_the_same_key_from_python_and_numpy():
    np.testing.assert_array_equal(Stream((np.int64(3), "x")).normal((4,)), Stream((3, "x")).normal((4,)))


@given(st.lists(st.integers() | st.text(max_size=5), max_size=4))
def test_any_key_of_ints_and_text_names_a_stream(key):
    assert Stream().child(*key).uniform((2,)).shape == (2,)


@pytest.mark.parametrize(
    ("key", "numbers"),
    [
        ((0,), [0.1489762828, 0.5244663116, 0.7577019720]),
        ((0, "init", "conv2d", "weight"), [0.8677021208, 0.0150997374, 0.0407295368]),
    ],
    ids=str,
)
def test_the_numbers_may_never_change(key, numbers):
    """A saved run goes on with the numbers it would have had."""
    np.testing.assert_allclose(Stream(key).uniform((3,), dtype=np.float64), numbers, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_and_ranges(dtype):
    u = Stream((1,)).uniform((10000,), -2.0, 3.0, dtype)
    assert u.dtype == dtype
    assert -2 <= u.min() < -1.99
    assert 2.99 < u.max() <= 3
    z = Stream((1,)).normal((10000,), 2.0, dtype)
    assert z.dtype == dtype
    assert abs(z.mean()) < 0.06
    assert abs(z.std() - 2) < 0.06


def test_float32_and_float64_are_the_same_numbers():
    s = Stream((5,))
    np.testing.assert_array_equal(s.normal((9,), dtype=np.float64).astype(np.float32), s.normal((9,)))


def test_keep_is_true_with_the_probability():
    assert abs(Stream((2,)).keep((100000,), 0.8).mean() - 0.8) < 0.005
    assert Stream((2,)).keep((1000,), 1.0).all()
    assert not Stream((2,)).keep((1000,), 0.0).any()


def test_permutation_holds_every_number_once():
    assert sorted(Stream((2,)).permutation(100).tolist()) == list(range(100))


def test_streams_of_neighbouring_keys_are_not_correlated():
    draws = np.stack([Stream((0, step)).normal((4000,), dtype=np.float64) for step in range(8)])
    correlation = np.corrcoef(draws) - np.eye(8)
    assert np.abs(correlation).max() < 0.08


def test_global_state_is_neither_read_nor_written():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    Stream((1,)).normal((3,))
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2] == after[2]


def test_keep_compares_in_float32_whatever_number_the_probability_is():
    s = Stream((5,))
    u = float(s.generator().random((1,), np.float32)[0])
    assert not s.keep((1,), u + 2.0**-40)[0]
    assert not s.keep((1,), np.float64(u + 2.0**-40))[0]
    assert s.keep((1,), u + 2.0**-24)[0]


def test_the_numbers_that_keep_draws_may_never_change():
    """They are drawn by compiled kernels, too, which must go on agreeing with NumPy's generator."""
    assert np.flatnonzero(Stream((0, "dropout")).keep((40,), 0.3)).tolist() == [
        1,
        2,
        7,
        8,
        12,
        13,
        15,
        17,
        18,
        21,
        22,
        26,
        28,
        29,
        32,
        37,
        38,
    ]


def splitmix64(state):
    """Yield the outputs of SplitMix64, as its paper gives it."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def test_hashes_are_the_outputs_of_splitmix64(monkeypatch):
    stream = Stream((4, "sample"))
    wanted = list(itertools.islice(splitmix64(stream.philox_key()[0]), 1000))
    assert stream.hashed(np.arange(1000)).tolist() == wanted
    monkeypatch.setattr(Stream, "philox_key", lambda self: (1234567, 0))
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert stream.hashed(np.arange(4)).tolist() == published


def test_a_hash_is_the_number_s_own():
    stream = Stream((4,))
    whole = stream.hashed(np.arange(50))
    assert whole.dtype == np.uint64
    some = np.array([49, 0, 7, 7], np.int32)
    np.testing.assert_array_equal(stream.hashed(some), whole[some])
    assert stream.hashed(np.arange(0)).tolist() == []
