"""``import handgrad`` is light, and everything it promises is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import handgrad as hg

ALLOWED = {"handgrad", "numpy"}


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_only_numpy_is_imported_of_what_is_installed():
    code = """
import sys
before = set(sys.modules)
import handgrad
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*(name for name in sorted(new) if name not in sys.stdlib_module_names))
"""
    # numpy's own files in compiled modules have names of one part, such as _cython_3_0
    assert {name for name in run(code) if not name.startswith("_")} == ALLOWED


def test_a_model_trains_and_predicts_without_anything_else():
    code = """
import sys
import numpy as np, handgrad as hg
model = hg.Sequential([hg.layers.Conv2D(2, 3), hg.layers.BatchNormalization(), hg.layers.ReLU(),
                       hg.layers.GlobalAveragePooling2D(), hg.layers.Dense(2)], input_shape=(5, 5, 1))
run = hg.Run(training=True)
z, trace = model.forward(np.ones((2, 5, 5, 1), np.float32), run)
_, dz = hg.losses.CrossEntropy()(z, np.array([0, 1]))
model.backward(dz, trace, run)
model.commit(trace)
hg.optim.Adam().step(model.parameters())
model.predict(np.ones((2, 5, 5, 1)))
heavy = {"array_api_compat", "click", "matplotlib", "PIL", "requests", "safetensors", "torch", "tqdm"}
print(*sorted(heavy & set(sys.modules)))
"""
    assert run(code) == []


@pytest.mark.parametrize("name", hg.__all__)
def test_every_public_name_is_there(name):
    assert getattr(hg, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError) as error:
        hg.nothing  # noqa: B018
    assert str(error.value) == "module 'handgrad' has no attribute 'nothing'"
