"""Values and gradients are PyTorch's: kept in golden/losses.npz, and live where torch is installed."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from handgrad import losses

GOLDEN = Path(__file__).parents[1] / "golden"
LOSSES = json.loads(str(np.load(GOLDEN / "losses.npz")["losses"]))
TOLERANCE = {"float64": 1e-13, "float32": 2e-6}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LOSSES)
def test_agrees_with_kept_values(name, dtype):
    golden = np.load(GOLDEN / "losses.npz")
    config, labels = LOSSES[name]
    value, dz = losses.get(config)(golden[f"z/{dtype}"], golden[f"{labels}/{dtype}"])
    assert value == pytest.approx(float(golden[f"{name}/value/{dtype}"]), rel=TOLERANCE[dtype])
    np.testing.assert_allclose(
        dz, golden[f"{name}/dz/{dtype}"], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] / 10
    )


@pytest.mark.parametrize("name", LOSSES)
def test_agrees_live(name):
    pytest.importorskip("torch")
    script = runpy.run_path(str(GOLDEN / "make_optim_losses.py"))
    config, labels = LOSSES[name]
    for seed in range(5):
        inputs = script["loss_problem"](seed, "float64")
        value, dz = losses.get(config)(inputs["z"], inputs[labels])
        torch_value, torch_dz = script["torch_loss"](name, inputs)
        assert value == pytest.approx(torch_value, rel=1e-13)
        np.testing.assert_allclose(dz, torch_dz, rtol=1e-12, atol=1e-15)
