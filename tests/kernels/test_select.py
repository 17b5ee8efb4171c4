from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from handgrad.errors import ArgumentError
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
        raise ImportError("libgomp.so.1: cannot open shared object file")

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
            "the compiled kernels cannot be loaded (libgomp.so.1: cannot open shared object file), so the "
            "slower reference kernels run"
        ]

    def test_is_not_looked_at_where_the_reference_is_asked_for(self, broken, monkeypatch):
        monkeypatch.setenv("HANDGRAD_KERNELS", "reference")
        assert default_kernels() is REFERENCE
