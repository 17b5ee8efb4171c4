"""What is measured: networks, batches, and a training step or inference of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handgrad import layers, models
from handgrad.errors import ArgumentError, MissingExtraError
from handgrad.graph import Graph, Predictor, Sequential
from handgrad.kernels import default_kernels
from handgrad.layers import Merge, Run
from handgrad.losses import CrossEntropy
from handgrad.optim import SGD
from handgrad.rng import Stream
from handgrad.train import Trainer
from handgrad.typing import Array

MOMENTUM = 0.9
CLASSES = 10


@dataclass(frozen=True)
class Workload:
    """A network and a batch.

    Attributes
    ----------
    name : str
        By which it is chosen, and found in results: it stays.
    title : str
        For people.
    build : callable
        Returns the network, with the same weights each time.
    batch : int
        Images at once.
    rate : float
        At which it is trained.
    training : bool
        Whether a step is forward, loss, backward and update, or inference by a `Predictor`.
    """

    name: str
    title: str
    build: Callable[[], Graph]
    batch: int
    rate: float = 0.01
    training: bool = True

    def model(self) -> Graph:
        """Return the network; for inference with running statistics of a batch, not folded."""
        model = self.build()
        if not self.training:
            few = Stream((3,)).normal((8, *model.input_shape))
            _, trace = model.forward(few, Run(training=True))
            model.commit(trace)
        return model

    def data(self, model: Graph) -> tuple[Array, Array]:
        """Return the images and their classes."""
        x = Stream((1,)).normal((self.batch, *model.input_shape))
        return x, Stream((2,)).integers(0, CLASSES, (self.batch,))


def step(workload: Workload, precision: str = "float32") -> Callable[[], Any]:
    """Return a function that does one step: it returns the loss of a training step, the outputs of inference.

    Parameters
    ----------
    workload : Workload
        What is done.
    precision : str, default "float32"
        Of the products; has to be one of `precisions`.
    """
    model = workload.model()
    x, y = workload.data(model)
    if not workload.training:
        predictor = Predictor(model, len(x), precision=precision)
        return lambda: predictor.predict(x)
    trainer = Trainer(model, CrossEntropy(), SGD(workload.rate, MOMENTUM), precision=precision)
    return lambda: trainer.train_step(x, y)


def precisions() -> tuple[str, ...]:
    """Return the precisions among those that are compared which handgrad can compute in."""
    try:
        default_kernels("bfloat16")
    except (ArgumentError, MissingExtraError):
        return ("float32",)
    return "float32", "bfloat16"


def flops(model: Graph) -> int:
    """Return the multiplications and additions of one forward of one image."""
    shapes = [model.input_shape, *(node.shape for node in model.nodes)]
    total = 0
    for node in model.nodes:
        inputs: Any = tuple(shapes[i] for i in node.inputs)
        total += 2 * node.layer.multiply_adds(inputs if isinstance(node.layer, Merge) else inputs[0])
    return total


def stack(width: int = 64, depth: int = 7) -> Sequential:
    """Return convolutions 3x3, each with batch normalization and ReLU, of images that keep their size."""
    chain: list[Any] = []
    for _ in range(depth):
        conv = layers.Conv2D(width, 3, padding=1, use_bias=False)
        chain += [conv, layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    chain += [layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)]
    return Sequential(chain, input_shape=(32, 32, 3))


def posts_convnet() -> Sequential:
    """Return the network of the post that handgrad grew from: digits of 8x8, ReLU before normalization."""
    chain: list[Any] = []
    for filters in (16, 32):
        chain += [layers.Conv2D(filters, 3, padding="same"), layers.ReLU(), layers.BatchNormalization()]
    chain += [layers.Flatten(), layers.Dense(256), layers.ReLU(), layers.BatchNormalization()]
    return Sequential([*chain, layers.Dense(CLASSES)], input_shape=(8, 8, 1))


def bottlenecks() -> Graph:
    """Return the first bottleneck of two stages of ResNet-50, the second of stride 2."""
    return models.resnet50((64, 64, 3), CLASSES, stem="3x3", blocks=(1, 1))


def _resnet18() -> Graph:
    return models.resnet18((32, 32, 3), CLASSES)


_ALL = (
    Workload("resnet18-b128", "ResNet-18, 32x32, batch 128", _resnet18, 128),
    Workload(
        "resnet20-b128",
        "ResNet-20, 32x32, batch 128",
        lambda: models.resnet20((32, 32, 3), CLASSES),
        128,
    ),
    Workload("stack64-b128", "7 x conv 3x3 (64), 32x32, batch 128", stack, 128),
    Workload("bottlenecks-b32", "ResNet-50 bottlenecks, 64x64, batch 32", bottlenecks, 32),
    # Sixteen blocks add up, and the last of them normalize over 128 pixels: gradients of the first steps are
    # so large that at a rate of 0.01 PyTorch's own two layouts differ by a tenth of the loss after three.
    Workload(
        "resnet50-b32",
        "ResNet-50, 64x64, batch 32",
        lambda: models.resnet50((64, 64, 3), CLASSES),
        32,
        rate=1e-6,
    ),
    Workload("lenet-b64", "LeNet with BN, 28x28, batch 64", lambda: models.lenet((28, 28, 1), CLASSES), 64),
    Workload("digits-b256", "the post's ConvNet, 8x8, batch 256", posts_convnet, 256),
    Workload("resnet18-inference-b1", "ResNet-18, 32x32, inference of 1", _resnet18, 1, training=False),
    Workload("resnet18-inference-b64", "ResNet-18, 32x32, inference of 64", _resnet18, 64, training=False),
)

WORKLOADS: dict[str, Workload] = {w.name: w for w in _ALL}
