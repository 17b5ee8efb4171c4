from __future__ import annotations

import numpy as np
import pytest

from handgrad import data
from handgrad.data.datasets import catalog
from handgrad.data.datasets.cache import stands
from handgrad.data.datasets.idx import load_idx
from handgrad.errors import ArgumentError


@pytest.fixture
def with_tiny(tiny_idx, tmp_path, monkeypatch):
    """The catalogue with the tiny set in it, and an empty cache folder."""
    monkeypatch.setenv("HANDGRAD_DATA", str(tmp_path))
    entry = catalog.Entry(
        lambda: load_idx(tiny_idx.source, ("a",) * 10), 10, 10, (20, 30, 1), tiny_idx.source
    )
    monkeypatch.setitem(catalog.ENTRIES, "tiny_set", entry)
    return tiny_idx


def test_every_known_set_is_listed(monkeypatch, tmp_path):
    monkeypatch.setenv("HANDGRAD_DATA", str(tmp_path))
    infos = {info.name: info for info in data.available()}
    assert list(infos) == ["digits", "mnist", "fashion_mnist", "cifar10"]
    assert (infos["digits"].status, infos["digits"].images) == ("embedded", 1797)
    assert infos["digits"].path.name == "digits.npz"
    assert infos["digits"].size == infos["digits"].path.stat().st_size < 60_000
    assert infos["cifar10"] == data.DatasetInfo(
        "cifar10", 60_000, 10, (32, 32, 3), "not cached", None, 184_380_000
    )
    assert not any(tmp_path.iterdir())


def test_a_set_is_listed_fetched_and_loaded(with_tiny, tmp_path, server):
    assert data.available()[-1].status == "not cached"
    assert server.asked == []
    seen = set()
    assert data.fetch("tiny_set", lambda name, *_: seen.add(name)) == tmp_path / "tiny-folder"
    assert seen == set(with_tiny.archives)
    info = data.available()[-1]
    assert (info.status, info.path, info.size) == ("cached", tmp_path / "tiny-folder", with_tiny.source.size)
    assert len(data.load("tiny_set").x_train) == 7


def test_loading_fetches_what_is_missing(with_tiny, server):
    assert len(data.load("tiny-set").x_test) == 3
    assert len(server.asked) == 4


def test_the_embedded_set_needs_no_fetching():
    assert data.fetch("digits").is_file()
    assert data.load("digits").x_test.shape == (360, 8, 8, 1)


@pytest.mark.parametrize("ask", [data.load, data.fetch])
def test_a_wrong_name_lists_the_right_ones(ask):
    with pytest.raises(ArgumentError) as error:
        ask("minst")
    assert str(error.value) == "dataset: expected one of digits, mnist, fashion_mnist, cifar10, got 'minst'"


@pytest.mark.parametrize(
    ("name", "shape", "counts", "mean"),
    [
        ("mnist", (28, 28, 1), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], [0.1307]),
        ("fashion_mnist", (28, 28, 1), [6000] * 10, [0.2860]),
        ("cifar10", (32, 32, 3), [5000] * 10, [0.4914, 0.4822, 0.4465]),
    ],
)
def test_the_real_set_where_it_is_cached(name, shape, counts, mean):
    if not stands(catalog.ENTRIES[name].source):
        pytest.skip(f"{name} is not in the cache")
    real = getattr(data, name)(dtype=np.uint8)
    assert real.x_train.shape == (sum(counts), *shape)
    assert real.x_test.shape == (10_000, *shape)
    assert np.bincount(real.y_train).tolist() == counts
    assert len(np.unique(real.y_test)) == len(real.class_names) == 10
    np.testing.assert_allclose(real.x_train.mean(axis=(0, 1, 2)) / 255, mean, atol=5e-5)
