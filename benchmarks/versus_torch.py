"""Training steps here and in PyTorch, side by side in one process.

    python -m pip install torch==2.13.0
    python -m benchmarks.versus_torch

The same weights, the same batch and plain SGD; the losses of the first steps must agree before anything is
timed. Steps of the two alternate; medians and their ratio are printed. PyTorch runs with both memory layouts,
and the faster one counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import handgrad as hg
from handgrad import layers, losses, optim

Step = Callable[[], float]


def seed_convnet() -> hg.Sequential:
    """The ConvNet of the post: 8x8 digits, two convolutions, dense 256."""
    return hg.Sequential(
        [
            layers.Conv2D(16, 3, padding="same"),
            layers.ReLU(),
            layers.BatchNormalization(),
            layers.Conv2D(32, 3, padding="same"),
            layers.ReLU(),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(256),
            layers.ReLU(),
            layers.BatchNormalization(),
            layers.Dense(10),
        ],
        input_shape=(8, 8, 1),
    )


CASES: dict[str, tuple[Callable[[], hg.Graph], int]] = {
    "the post's ConvNet, 8x8, batch 256": (seed_convnet, 256),
    "small_cnn, 8x8, batch 64": (lambda: hg.models.small_cnn((8, 8, 1), 10, dropout=0.0), 64),
    "small_cnn, 28x28, batch 64": (lambda: hg.models.small_cnn((28, 28, 1), 10, dropout=0.0), 64),
    "small_cnn, 32x32x3, batch 128": (lambda: hg.models.small_cnn((32, 32, 3), 10, dropout=0.0), 128),
}


class Flatten(torch.nn.Module):
    """Flattens in the order of NHWC, as the dense weights expect."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) if x.ndim == 4 else x


def to_torch(model: hg.Graph) -> torch.nn.Sequential:
    """The same network with the same weights in PyTorch."""
    modules: list[torch.nn.Module] = []
    for layer, node in ((node.layer, node) for node in model.nodes):
        match layer:
            case layers.Conv2D():
                _, _, c, k = layer.weight.shape
                module = torch.nn.Conv2d(c, k, 3, padding="same", bias=layer.bias is not None)
                module.weight.data = torch.from_numpy(layer.weight.value.transpose(3, 2, 0, 1).copy())
            case layers.Dense():
                module = torch.nn.Linear(*layer.weight.shape)
                module.weight.data = torch.from_numpy(layer.weight.value.T.copy())
            case layers.BatchNormalization():
                kind = torch.nn.BatchNorm2d if len(node.shape) == 3 else torch.nn.BatchNorm1d
                module = kind(node.shape[-1], eps=layer.epsilon, momentum=1 - layer.momentum)
            case layers.ReLU():
                module = torch.nn.ReLU()
            case layers.MaxPooling2D():
                module = torch.nn.MaxPool2d(2)
            case layers.Flatten():
                module = Flatten()
            case layers.Dropout():
                continue
            case _:
                raise TypeError(type(layer).__name__)
        if getattr(layer, "bias", None) is not None:
            module.bias.data = torch.from_numpy(layer.bias.value.copy())
        modules.append(module)
    return torch.nn.Sequential(*modules)


def torch_step(model: hg.Graph, x: np.ndarray, y: np.ndarray, layout: torch.memory_format) -> Step:
    network = to_torch(model).to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    xt = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(memory_format=layout)
    yt = torch.from_numpy(y)

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(xt), yt)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def measure(build: Callable[[], hg.Graph], batch: int, rounds: int = 15) -> tuple[float, float]:
    """Median seconds of a step here and in the better of PyTorch's layouts."""
    model = build()
    x = hg.rng.Stream((1,)).normal((batch, *model.input_shape))
    y = hg.rng.Stream((2,)).integers(0, 10, (batch,))
    theirs = [torch_step(model, x, y, layout) for layout in (torch.contiguous_format, torch.channels_last)]
    trainer = hg.Trainer(model, losses.CrossEntropy(), optim.SGD(0.01))
    steps: list[Step] = [lambda: trainer.train_step(x, y), *theirs]
    for _ in range(3):
        values = [step() for step in steps]
        assert np.ptp(values) < 1e-3 * abs(values[0]), f"losses differ: {values}"
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, record in zip(steps, times, strict=True):
            begun = time.perf_counter()
            step()
            record.append(time.perf_counter() - begun)
    ours, *torchs = map(statistics.median, times)
    return ours, min(torchs)


def main() -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; numpy {np.__version__}")
    print(f"{'case':38} {'handgrad':>9} {'torch':>9}  torch/handgrad")
    for name, (build, batch) in CASES.items():
        ours, theirs = measure(build, batch)
        print(f"{name:38} {ours * 1e3:6.1f} ms {theirs * 1e3:6.1f} ms  {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
