"""The example runs, and its network learns."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "ml_from_scratch_convnet.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not installed")
def test_the_example_learns(capsys):
    spec = importlib.util.spec_from_file_location("ml_from_scratch_convnet", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    accuracy = example.main(n_epochs=4)
    assert accuracy > 0.9
    out = capsys.readouterr().out
    assert "Conv2D                     4,640  (32, 8, 8)" in out
    assert f"Accuracy: {accuracy:.4f}, 4 epochs in" in out
