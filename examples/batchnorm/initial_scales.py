"""How the scale of the initial weights changes what a network reaches, with batch normalization and without.

    python examples/batchnorm/initial_scales.py

After the assignment on batch normalization of Stanford's course CS231n: seven hidden layers of 50 ReLU,
initial weights normal with a standard deviation from 1e-4 to 1, 1,000 training samples, batches of 50, 10
epochs, Adam at 1e-3; the best accuracy in training and in validation, and the final loss, against that scale.
Different here: Fashion-MNIST instead of CIFAR-10, 5,000 of its test images for validation, and the mean of
three seeds.
"""

import numpy as np
from common import WITH, WITHOUT, images, panels, perceptron, run, save_figure, show_table, subset

from handgrad import layers, optim
from handgrad.layers.initializers import RandomNormal
from handgrad.train import Trainer

SCALES, SEEDS = np.geomspace(1e-4, 1, 17), 3
HIDDEN, SAMPLES, VALIDATION, BATCH, RATE = [50] * 7, 1000, 5000, 50, 1e-3


def train(clothes, scale, epochs, seed, *, normalize):
    """Return the best accuracy in training and in validation, and the loss of the last epoch."""
    x, y = subset(clothes.x_train, clothes.y_train, SAMPLES, seed)
    validation = clothes.x_test[:VALIDATION], clothes.y_test[:VALIDATION]
    model = perceptron(x.shape[1:], HIDDEN, layers.ReLU, RandomNormal(scale), normalize=normalize, seed=seed)
    trainer = Trainer(model, "cross_entropy", optim.Adam(RATE), metrics=["accuracy"], seed=seed)
    history = trainer.fit(x, y, epochs=epochs, batch_size=BATCH, validation=validation)
    return max(history["accuracy"]), max(history["val_accuracy"]), history["loss"][-1]


def main(options):
    clothes = images("fashion-mnist", quick=options.quick)
    scales, seeds = (SCALES[[0, 8, 16]], 1) if options.quick else (SCALES, SEEDS)
    seeds = range(options.seed, options.seed + seeds)
    results = {
        normalize: np.array(  # (scales, seeds, 3)
            [
                [train(clothes, float(s), options.epochs, seed, normalize=normalize) for seed in seeds]
                for s in scales
            ]
        )
        for normalize in (False, True)
    }

    figure, axes = panels(
        12, 3.6, "Best training accuracy", "Best validation accuracy", "Final training loss"
    )
    for normalize, colour, mark in ((False, WITHOUT, "s"), (True, WITH, "o")):
        label = f"{'with' if normalize else 'without'} batch normalization"
        for panel, values in zip(axes, np.moveaxis(results[normalize], 2, 0), strict=True):
            panel.plot(scales, values.mean(axis=1), color=colour, marker=mark, markersize=4, label=label)
            panel.fill_between(
                scales, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15, linewidth=0
            )
    for panel, label in zip(
        axes, ("share that is right", "share that is right", "cross-entropy"), strict=True
    ):
        panel.set_xscale("log")
        panel.set_xlabel("standard deviation of the initial weights")
        panel.set_ylabel(label)
    for panel in axes[:2]:
        panel.set_ylim(0, 1)
    axes[2].set_yscale("log")
    axes[2].legend(frameon=False, fontsize=8, loc="upper left")
    save_figure(figure, options.out / "initial_scales.png")

    rows = []
    for i, scale in enumerate(scales):
        off, on = (results[normalize][i].mean(axis=0) for normalize in (False, True))
        accuracies = (f"{values[k]:.1%}" for k in (0, 1) for values in (off, on))
        rows.append([f"{scale:.1e}", *accuracies, f"{off[2]:.3g}", f"{on[2]:.3g}"])
    kinds = ("training", "validation", "loss")
    header = ["scale", *(f"{kind}, {which}" for kind in kinds for which in ("without", "with"))]
    show_table(options.out / "initial_scales.md", header, rows)


if __name__ == "__main__":
    run(main, "epochs", default=10, quick=10)
