"""How the batch size changes what batch, ghost, group and layer normalization reach.

    python examples/batchnorm/batch_sizes.py

Three dense layers of 128 ReLU on Fashion-MNIST, so that a channel has one value for each sample: in a
convolution every position gives one, and a batch of two is not small. Every run sees the same number of
samples, 12,800 an epoch; a batch twice as large takes half as many steps. The learning rate is 0.1 for
batches of 256, and grows with the batch (P. Goyal et al., 2017). SGD with momentum 0.9; ghost batches of 16
samples, 4 groups. All this was chosen here, and no rate was tuned for any of the four.

Running statistics are set at the end to those of 2,048 training images (`precise_statistics`): what is
compared is training by a batch, not how well 50 steps or 6,400 average its statistics. The table says the
error on the test images, mean over the seeds; the figure their range besides.
"""

import numpy as np
from common import OTHERS, WITH, images, panels, run, save_figure, show_table, subset

import handgrad as hg
from handgrad import layers, optim
from handgrad.layers import BatchNormalization, GroupNormalization, LayerNormalization
from handgrad.train import Trainer

SIZES, SAMPLES, SEEDS = (2, 4, 8, 16, 32, 64, 128, 256), 12_800, 2
RATE, AT = 0.1, 256
NORMALIZATIONS = {  # name: layer, colour, mark
    "batch": (BatchNormalization, WITH, "o"),
    "ghost, 16": (lambda: BatchNormalization(ghost_size=16), OTHERS[1], "D"),
    "group, 4": (lambda: GroupNormalization(4), OTHERS[0], "^"),
    "layer": (LayerNormalization, OTHERS[2], "s"),
}


def network(normalization, shape, seed):
    """Return three normalized dense layers, and one of ten outputs."""
    chain = [layers.Flatten()]
    for _ in range(3):
        chain += [layers.Dense(128, use_bias=False), normalization(), layers.ReLU()]
    return hg.Sequential([*chain, layers.Dense(10)], input_shape=shape, seed=seed)


def error(clothes, normalization, size, epochs, seed):
    """Train, and return the share of test images that is wrong."""
    x, y = subset(clothes.x_train, clothes.y_train, SAMPLES, seed)
    model = network(normalization, x.shape[1:], seed)
    optimizer = optim.SGD(RATE * size / AT, momentum=0.9)
    trainer = Trainer(model, "cross_entropy", optimizer, metrics=["accuracy"], seed=seed)
    trainer.fit(x, y, epochs=epochs, batch_size=size, drop_last=True)
    if normalization not in (NORMALIZATIONS["group, 4"][0], NORMALIZATIONS["layer"][0]):
        hg.precise_statistics(model, x[:2048])
    return 1 - trainer.evaluate(clothes.x_test, clothes.y_test)["accuracy"]


def main(options):
    clothes = images("fashion-mnist", quick=options.quick)
    sizes, seeds = ((4, 64), 1) if options.quick else (SIZES, SEEDS)
    results = {
        name: np.array(
            [[error(clothes, kind, n, options.epochs, options.seed + s) for s in range(seeds)] for n in sizes]
        )
        for name, (kind, *_) in NORMALIZATIONS.items()
    }

    figure, (panel,) = panels(7, 4, "Test error after the same number of samples")
    for name, (_, colour, mark) in NORMALIZATIONS.items():
        errors = 100 * results[name]  # (sizes, seeds)
        panel.plot(
            sizes,
            errors.mean(axis=1),
            color=colour,
            marker=mark,
            markersize=5,
            label=name,
            linestyle="--" if "ghost" in name else "-",
        )
        panel.fill_between(
            sizes, errors.min(axis=1), errors.max(axis=1), color=colour, alpha=0.15, linewidth=0
        )
    panel.set_xscale("log", base=2)
    panel.set_xticks(sizes, [str(n) for n in sizes])
    panel.set_xlabel("samples in a batch")
    panel.set_ylabel("test images that are wrong, %")
    panel.legend(frameon=False, fontsize=9, title="normalization")
    save_figure(figure, options.out / "batch_sizes.png")
    rows = [[str(n), *(f"{r[i].mean():.1%}" for r in results.values())] for i, n in enumerate(sizes)]
    show_table(options.out / "batch_sizes.md", ["batch size", *results], rows)


if __name__ == "__main__":
    run(main, "epochs", default=1, quick=2)
