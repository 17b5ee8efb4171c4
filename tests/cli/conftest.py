from __future__ import annotations

import json

import pytest

from handgrad import data
from tests.cli.run import call, write_digits


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return the folder of a run on digits that knows most of them."""
    base = tmp_path_factory.mktemp("trained")
    folder, config = base / "run", base / "recipe.json"
    options = {"width": 8, "dropout": 0.0}
    recipe = {"dataset": "digits", "model_options": options, "epochs": 3, "batch_size": 32, "lr": 0.01}
    config.write_text(json.dumps(recipe | {"label_smoothing": 0.0}))
    result = call("train", "--config", config, "--out", folder)
    assert result.code == 0, result.err
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Return a folder with train/CLASS/ and test/CLASS/ of zeros and ones."""
    folder = tmp_path_factory.mktemp("pictures") / "shapes"
    digits = data.digits()
    for part, x, y in (("train", digits.x_train, digits.y_train), ("test", digits.x_test, digits.y_test)):
        for label, name in ((0, "round"), (1, "straight")):
            images = x[y == label][:16]
            write_digits(folder / part / name, images, [f"{i}.png" for i in range(len(images))])
    return folder


@pytest.fixture
def no_matplotlib(monkeypatch):
    """Let `handgrad train` in this process draw in the terminal."""
    from handgrad.cli import train

    find = train.importlib.util.find_spec
    monkeypatch.setattr(
        train.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
