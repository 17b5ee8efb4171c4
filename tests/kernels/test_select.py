from __future__ import annotations

import dataclasses

import ml_dtypes
import numpy as np
import pytest

from handgrad.errors import ArgumentError
from handgrad.geometry import Window
from handgrad.kernels import Kernels, default_kernels, extension, select_kernels, tables
from handgrad.kernels.reference import REFERENCE


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("HANDGRAD_KERNELS", "HANDGRAD_THREADS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def absent(monkeypatch, fresh):
    monkeypatch.setattr(extension.importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def broken(monkeypatch, fresh):
    def fail(name):
        raise ImportError("libstdc++.so.6: cannot open shared object file")

    monkeypatch.setattr(extension.importlib.util, "find_spec", lambda name: "found")
    monkeypatch.setattr(extension.importlib, "import_module", fail)


def test_every_table_has_every_kernel():
    for table in tables().values():
        assert isinstance(table, Kernels)
        assert all(callable(getattr(table, f.name)) for f in dataclasses.fields(Kernels))
    assert tables()["reference"] is select_kernels("reference") is REFERENCE


def test_the_fastest_is_the_default(compiled):
    sets = [table.name for table in compiled.tables()]
    assert list(tables()) == ["cpu", *sets, "reference"]
    assert default_kernels() is select_kernels("cpu") is select_kernels(sets[0])
    assert default_kernels().origins()["conv2d"] == "handgrad.kernels.cpu.conv"


def test_every_instruction_set_computes(compiled):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name in tables():
        np.testing.assert_array_equal(select_kernels(name).dense(x, x.T.copy(), None), [[5, 14], [14, 50]])


def test_a_table_that_is_not_there():
    with pytest.raises(ArgumentError) as error:
        select_kernels("abacus")
    assert str(error.value).startswith(f"kernels: expected one of {', '.join(tables())}, got 'abacus'")


class TestAnAlgorithm:
    def test_is_the_only_one(self, compiled):
        rng = np.random.default_rng(0)
        x, w = rng.normal(size=(1, 9, 9, 40)), rng.normal(size=(3, 3, 40, 40))
        args = x.astype(np.float32), w.astype(np.float32), None, Window((3, 3))
        found = {
            a: select_kernels("cpu", algorithm=a).conv2d(*args) for a in ("direct", "winograd2", "winograd4")
        }
        for y in found.values():
            np.testing.assert_allclose(y, REFERENCE.conv2d(x, w, None, Window((3, 3))), rtol=0, atol=1e-3)
        assert len({y.tobytes() for y in found.values()}) == 3
        np.testing.assert_array_equal(found["direct"], select_kernels("cpu", "strict").conv2d(*args))
        assert select_kernels("cpu", algorithm="direct") is select_kernels("cpu", algorithm="direct")

    def test_of_bfloat16(self, compiled):
        table = select_kernels("plain", "bfloat16", algorithm="winograd2")
        x, w = np.ones((1, 6, 6, 3), ml_dtypes.bfloat16), np.ones((3, 3, 3, 2), np.float32)
        y = table.conv2d(x, w, None, Window((3, 3)))
        assert y.dtype == x.dtype
        np.testing.assert_allclose(y.astype(np.float32), 27, rtol=1e-2)

    @pytest.mark.parametrize("algorithm", ["fft", 4, "", ["direct"]])
    def test_that_is_not_there(self, algorithm, compiled):
        with pytest.raises(ArgumentError) as error:
            select_kernels("cpu", algorithm=algorithm)
        expected = f"one of direct, winograd2, winograd4, got {algorithm!r}"
        assert str(error.value) == f"select_kernels algorithm: expected {expected}"

    @pytest.mark.parametrize(("name", "precision"), [("cpu", "strict"), ("reference", "float32")])
    def test_where_there_is_one_alone(self, name, precision, compiled):
        with pytest.raises(ArgumentError, match="expected None where there is one alone"):
            select_kernels(name, precision, algorithm="winograd2")


class TestTheEnvironment:
    def test_names_the_default(self, monkeypatch):
        for name, table in tables().items():
            monkeypatch.setenv("HANDGRAD_KERNELS", name)
            assert default_kernels() is table

    def test_may_be_empty(self, monkeypatch):
        usual = default_kernels()
        monkeypatch.setenv("HANDGRAD_KERNELS", "")
        assert default_kernels() is usual

    def test_may_not_name_what_is_not_there(self, monkeypatch, compiled):
        monkeypatch.setenv("HANDGRAD_KERNELS", "sse")
        with pytest.raises(ArgumentError) as error:
            default_kernels()
        assert str(error.value) == f"HANDGRAD_KERNELS: expected one of {', '.join(tables())}, got 'sse'"


class TestWithoutTheExtension:
    def test_the_reference_is_the_default(self, absent):
        assert dict(tables()) == {"reference": REFERENCE}
        assert default_kernels() is REFERENCE

    def test_compiled_kernels_cannot_be_asked_for(self, absent, monkeypatch):
        monkeypatch.setenv("HANDGRAD_KERNELS", "avx2")
        with pytest.raises(ArgumentError) as error:
            default_kernels()
        assert str(error.value) == (
            "HANDGRAD_KERNELS: expected one of reference, got 'avx2'; there are no compiled kernels: "
            "handgrad was installed without them"
        )


class TestAnExtensionThatDoesNotLoad:
    def test_is_said_once(self, broken):
        with pytest.warns(RuntimeWarning) as warned:
            assert default_kernels() is default_kernels() is REFERENCE
        assert [str(w.message) for w in warned] == [
            "the compiled kernels cannot be loaded (libstdc++.so.6: cannot open shared object file), so the "
            "slower reference kernels run"
        ]

    def test_is_not_looked_at_where_the_reference_is_asked_for(self, broken, monkeypatch):
        monkeypatch.setenv("HANDGRAD_KERNELS", "reference")
        assert default_kernels() is REFERENCE
