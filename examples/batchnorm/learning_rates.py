"""Learning rates that 30 hidden layers train at, with batch normalization and without.

    python examples/batchnorm/learning_rates.py

ReLU, 64 wide, on 10,000 images of Fashion-MNIST, plain SGD, batches of 100. Three networks:

- plain, with Glorot's initial weights, the default: each ReLU halves the mean square of what goes through
  it, and of the gradient that comes back, so that little is left of either after 30 layers;
- plain, with He's initial weights, which are made against just that;
- with batch normalization, and Glorot's initial weights.

The table says the mean training loss of the last epoch, and the accuracy on the test images. ln 10 = 2.30 is
the loss of a network that knows nothing. "diverged" is a run that came to a value that is not finite. All
runs have the same seed; depth, width and rates were chosen here.
"""

import math

import numpy as np
from common import OTHERS, WITH, WITHOUT, images, panels, perceptron, run, save_figure, show_table, subset

from handgrad import layers, optim
from handgrad.train import NonFinite, Trainer

DEPTH, WIDTH, BATCH, SAMPLES = 30, 64, 100, 10_000
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
NETWORKS = {  # name: initial weights, batch normalization, colour, mark
    "plain, Glorot": ("glorot_uniform", False, WITHOUT, "s"),
    "plain, He": ("he_normal", False, OTHERS[0], "^"),
    "batch normalization": ("glorot_uniform", True, WITH, "o"),
}


def train(clothes, init, rate, epochs, seed, *, normalize):
    """Return the loss of the last epoch and the test accuracy, or NaN for both if training diverged."""
    shape = clothes.x_train.shape[1:]
    model = perceptron(shape, [WIDTH] * DEPTH, layers.ReLU, init, normalize=normalize, seed=seed)
    trainer = Trainer(model, "cross_entropy", optim.SGD(rate), metrics=["accuracy"], seed=seed)
    guard = NonFinite("stop")
    x, y = subset(clothes.x_train, clothes.y_train, SAMPLES, seed)
    history = trainer.fit(x, y, epochs=epochs, batch_size=BATCH, callbacks=[guard])
    if guard.errors:
        return math.nan, math.nan
    return history["loss"][-1], trainer.evaluate(clothes.x_test, clothes.y_test)["accuracy"]


def main(options):
    clothes = images("fashion-mnist", quick=options.quick)
    rates = (0.01, 0.1, 1.0) if options.quick else RATES
    results = {
        name: np.array(
            [train(clothes, init, r, options.epochs, options.seed, normalize=normalize) for r in rates]
        )
        for name, (init, normalize, *_) in NETWORKS.items()
    }

    figure, axes = panels(10, 3.8, "Training loss, last epoch", "Test accuracy")
    for name, (*_, colour, mark) in NETWORKS.items():
        for panel, values in zip(axes, results[name].T, strict=True):
            panel.plot(rates, values, color=colour, marker=mark, markersize=5, label=name)
    # a run that diverged has no value: a cross at the edge, one row for each network
    for row, (name, (*_, colour, _)) in enumerate(NETWORKS.items()):
        lost = [rate for rate, (loss, _) in zip(rates, results[name], strict=True) if math.isnan(loss)]
        if lost:
            height = 0.94 - 0.05 * row
            axes[0].plot(
                lost,
                [height] * len(lost),
                "x",
                color=colour,
                transform=axes[0].get_xaxis_transform(),
                label=f"{name}: diverged",
            )
    axes[0].axhline(math.log(10), color="#888888", linestyle="--", linewidth=1, label="ln 10: knows nothing")
    axes[0].set_ylim(0, 3.2)
    axes[1].axhline(0.1, color="#888888", linestyle="--", linewidth=1, label="chance")
    axes[1].set_ylim(0, 1)
    axes[0].set_ylabel("cross-entropy")
    axes[1].set_ylabel("share of test images that is right")
    for panel in axes:
        panel.set_xscale("log")
        panel.set_xlabel("learning rate")
    axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    save_figure(figure, options.out / "learning_rates.png")

    def cell(loss, accuracy):
        return "diverged" if math.isnan(loss) else f"{loss:.2f}, {accuracy:.1%}"

    rows = [[f"{rate:g}", *(cell(*results[name][i]) for name in NETWORKS)] for i, rate in enumerate(rates)]
    show_table(options.out / "learning_rates.md", ["learning rate", *NETWORKS], rows)


if __name__ == "__main__":
    run(main, "epochs", default=6, quick=3)
