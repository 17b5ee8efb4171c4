"""The first experiment on batch normalization: sigmoid networks on MNIST, with it and without.

    python examples/batchnorm/mnist_sigmoid.py

After S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
covariate shift", ICML 2015, section 4.1 and figure 1. From there: binary images, three hidden layers of 100
sigmoids, small random Gaussian weights, cross-entropy, batches of 60; the percentiles 15, 50 and 85 of what
enters a typical sigmoid of the last hidden layer. The paper trains for 50,000 steps: `--steps 50000`.

It does not say the following, which was chosen here: plain SGD at a rate of 0.1 for both networks, weights of
standard deviation 0.1, pixels that are 1 above a half; percentiles over 2,000 test images, in inference. The
typical sigmoid is the one of the 100 for which the way of the median, from its lowest to its highest, is the
median of all.
"""

import numpy as np
from common import WITH, WITHOUT, images, panels, perceptron, run, save_figure, show_table

from handgrad import layers, optim
from handgrad.layers.initializers import RandomNormal
from handgrad.train import Callback, Trainer

RATE, STDDEV, BATCH = 0.1, 0.1, 60
PERCENTILES = (15, 50, 85)


class Watch(Callback):
    """Measures test accuracy, and percentiles of what enters each sigmoid of a layer, as training goes on."""

    def __init__(self, x, y, layer, steps):
        self.x, self.y, self.layer, self.last = x, y, layer, steps
        even = range(0, steps + 1, max(steps // 40, 1))
        self.at = sorted({round(s) for s in np.geomspace(1, steps, 30)} | {*even} - {0})
        self.accuracy, self.percentiles = [], []

    def on_train_batch_end(self, batch, logs):
        step = self.trainer.progress.step
        if step in self.at:
            inside = self.trainer.model.intermediates(self.x[:2000])[self.layer]
            self.accuracy.append(self.trainer.evaluate(self.x, self.y)["accuracy"])
            self.percentiles.append(np.percentile(inside, PERCENTILES, axis=0))  # (3, sigmoids)
        self.trainer.stop_training = step >= self.last


def train(digits, steps, seed, *, normalize):
    """Train on binary images; return steps, accuracies, and percentiles (steps, 3, sigmoids)."""
    x_train, x_test = ((x > 0.5).astype(np.float32) for x in (digits.x_train, digits.x_test))
    model = perceptron(
        x_train.shape[1:], [100] * 3, layers.Sigmoid, RandomNormal(STDDEV), normalize=normalize, seed=seed
    )
    last = "batch_normalization_2" if normalize else "dense_2"  # what enters the last sigmoids
    watch = Watch(x_test, digits.y_test, last, steps)
    trainer = Trainer(model, "cross_entropy", optim.SGD(RATE), metrics=["accuracy"], seed=seed)
    epochs = -(-steps * BATCH // len(x_train))
    trainer.fit(x_train, digits.y_train, epochs=epochs, batch_size=BATCH, callbacks=[watch])
    return np.array(watch.at), np.array(watch.accuracy), np.array(watch.percentiles)


def typical(percentiles):
    """Return the percentiles of the sigmoid whose median wanders as far as the median of all."""
    wander = np.ptp(percentiles[:, 1], axis=0)
    return percentiles[:, :, np.argsort(wander)[len(wander) // 2]]


def main(options):
    digits = images("mnist", quick=options.quick)
    results = {n: train(digits, options.steps, options.seed, normalize=n) for n in (False, True)}

    figure, (left, *right) = panels(
        12,
        3.6,
        "Test accuracy",
        "Input of a sigmoid, without",
        "Input of a sigmoid, with batch normalization",
    )
    at = [np.searchsorted(results[True][0], options.steps * share) for share in (0.05, 0.25, 1)]
    rows = []
    for normalize, panel in zip((False, True), right, strict=True):
        steps, accuracy, percentiles = results[normalize]
        name, colour = ("with", WITH) if normalize else ("without", WITHOUT)
        left.plot(steps, accuracy, color=colour, label=f"{name} batch normalization")
        low, median, high = typical(percentiles).T
        panel.fill_between(
            steps, low, high, color=colour, alpha=0.25, linewidth=0, label="percentiles 15 to 85"
        )
        panel.plot(steps, median, color=colour, label="median")
        wander = np.median(np.ptp(percentiles[:, 1], axis=0))
        rows.append(
            [
                name,
                *(f"{accuracy[i]:.2%}" for i in at),
                f"{median.min():.2f} to {median.max():.2f}",
                f"{wander:.2f}",
            ]
        )
    left.set_ylim(min(0.7, *(accuracy[-1] - 0.1 for _, accuracy, _ in results.values())), 1)
    span = [limit for panel in right for limit in panel.get_ylim()]
    for panel in right:
        panel.set_ylim(min(span) - 0.2 * (max(span) - min(span)), max(span))  # room for the legend
        panel.set_ylabel("input of the sigmoid")
    left.set_ylabel("share of test images that is right")
    for panel in (left, *right):
        panel.set_xlabel(f"steps of {BATCH} images")
        panel.legend(frameon=False, fontsize=8, loc="lower right")
    save_figure(figure, options.out / "mnist_sigmoid.png")
    shares = [f"after {steps[i]:,} steps" for i in at]
    header = ["batch normalization", *shares, "median of the typical one", "its span, median of all"]
    show_table(options.out / "mnist_sigmoid.md", header, rows)


if __name__ == "__main__":
    run(main, "steps", default=20_000, quick=500)
