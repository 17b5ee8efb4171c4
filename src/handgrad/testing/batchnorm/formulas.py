"""Batch normalization as formulas, in the letters of `handgrad.kernels.reference.norm`, and mistakes."""

from __future__ import annotations

from handgrad.testing.batchnorm.formula import Choice, Formula
from handgrad.typing import Shape

Choices = tuple[Choice, ...]

FIXED = ("0.01", "0.001", "1e-5", "1e-6", "1e-7", "1e-8", "1e-10", "1e-12")
DX = "dx = gamma*s*(dy - (dbeta + xhat*dgamma)/m)"

ROOTS = (
    Choice("1/sqrt(var + epsilon)"),
    Choice(
        "1/(sqrt(var) + epsilon)",
        "epsilon is added outside the root",
        "inside, it also bounds the root's derivative, which is infinite at a variance of 0",
    ),
    Choice(
        "1/sqrt(var) + epsilon",
        "epsilon is added to the reciprocal",
        "under the root it keeps the division from being one by 0",
    ),
    Choice(
        "1/sqrt(var)",
        "epsilon is forgotten",
        "a channel that is constant in the batch is then divided by 0",
    ),
    Choice("1/sqrt(var + epsilon^2)", "epsilon is squared", "add epsilon itself"),
    *(
        Choice(f"1/sqrt(var + {e})", f"epsilon is {e} whatever is asked for", "use the argument")
        for e in FIXED
    ),
    Choice(
        "1/(var + epsilon)",
        "the root is forgotten: x is divided by the variance",
        "xhat has variance 1 only where it is divided by the standard deviation",
    ),
    Choice(
        "1/sqrt(sqrt(var) + epsilon)",
        "the root is taken twice: of a standard deviation, not of the variance",
        "np.std is the root already",
    ),
    Choice("sqrt(var + epsilon)", "x is multiplied by the standard deviation", "divide by it"),
)

CENTRED = (
    Choice("(x - mean)"),
    Choice("x", "the mean is not taken away", "xhat must have mean 0"),
    Choice("(x + mean)", "the mean is added", "subtract it"),
)

SCALED = (
    Choice("gamma*xhat + beta"),
    Choice("xhat + beta", "gamma is forgotten", "y = gamma*xhat + beta: scale what was normalized"),
    Choice("gamma*xhat", "beta is forgotten", "y = gamma*xhat + beta: shift what was scaled"),
    Choice("xhat", "gamma and beta are forgotten", "y = gamma*xhat + beta: scale and shift"),
    Choice("gamma*xhat - beta", "beta is subtracted", "add it"),
    Choice("gamma*(xhat + beta)", "gamma multiplies beta, too", "scale first, then shift"),
    Choice("beta*xhat + gamma", "gamma and beta have changed places", "gamma scales, beta shifts"),
    Choice("gamma + xhat + beta", "gamma is added", "gamma is a factor"),
)

OUTPUT = ("s = {s}", "xhat = {centred}*s", "y = {y}")
OUTPUT_PLACES = {"s": ROOTS, "centred": CENTRED, "y": SCALED}


def axes(shape: Shape) -> tuple[Choice, ...]:
    """Return the axes that statistics may be taken over: all but the last, and others."""
    rank = len(shape)
    rows = "batch normalization compares the values that one channel has in the batch"
    images = f"the m values of a channel are those of all places of all images: axes {tuple(range(rank - 1))}"
    why = rows if rank == 2 else images
    found = [
        Choice(str(tuple(range(rank - 1)))),
        Choice(f"({rank - 1},)", "each row has its own statistics: that is layer normalization", why),
        Choice(str(tuple(range(rank))), "all channels together have one mean and one variance", why),
    ]
    if rank > 2:
        inner = tuple(range(1, rank - 1))
        found += [
            Choice("(0,)", "every place of the image has its own statistics", why),
            Choice(str(inner), "every image has its own statistics: that is instance normalization", why),
            Choice(
                str(tuple(range(1, rank))),
                "every image has its own statistics, its channels together: that is layer normalization",
                why,
            ),
        ]
    return tuple(found)


def variance(shape: Shape) -> tuple[Choice, ...]:
    """Return what may be taken for the variance of a batch."""
    of_batch = Choice(
        "sum((x - mean)^2)/n",
        f"the squares are divided by the batch, n = {shape[0]}",
        "m counts all values of a channel, n*h*w",
    )
    return (
        Choice("sum((x - mean)^2)/m"),
        Choice(
            "sum((x - mean)^2)/(m - 1)",
            "the batch is normalized by the unbiased variance",
            "divide by m here, so that xhat has variance 1; m - 1 is for the running variance",
        ),
        Choice(
            "sum(x^2)/m",
            "the variance is the mean of x^2, from which mean^2 is not taken away",
            "the two agree only where the mean is 0",
        ),
        Choice("sum((x - mean)^2)", "the sum of squares is not divided by m", "a variance is a mean"),
        *([of_batch] if len(shape) > 2 else []),
    )


def forward(shape: Shape) -> Formula:
    """Return y of a batch."""
    lines = ("axes = {axes}", "m = values(axes)", "mean = sum(x)/m", "var = {var}", *OUTPUT)
    return Formula(lines, {"axes": axes(shape), "var": variance(shape), **OUTPUT_PLACES})


def inference(shape: Shape) -> Formula:
    """Return y by the running statistics."""
    why = "a sample's output must not depend on those beside it, and a single value has no variance"
    squares = "sum((x - sum(x)/m)^2)/m"
    places = {
        "mean": (
            Choice("running_mean"),
            Choice("sum(x)/m", "the mean of the batch is used in inference", why),
        ),
        "var": (
            Choice("running_var"),
            Choice(squares, "the variance of the batch is used in inference", why),
            Choice(
                "running_var*m/(m - 1)",
                "the running variance is made unbiased in inference",
                "if at all, that is done where the running variance is moved",
            ),
        ),
    }
    axes_line = f"axes = {tuple(range(len(shape) - 1))}"
    lines = (axes_line, "m = values(axes)", "mean = {mean}", "var = {var}", *OUTPUT)
    return Formula(lines, places | OUTPUT_PLACES)


def parameter(name: str, *, images: bool) -> Formula:
    """Return dgamma or dbeta."""
    why = "a parameter collects a gradient from every place where it is used: it is their sum, not their mean"
    scale = "gamma multiplies xhat in y, so that its gradient collects dy*xhat"
    summed = {
        "dbeta": (
            Choice("sum(dy)"),
            Choice("sum(dy*xhat)", "dy is multiplied by xhat", "that is dgamma"),
            Choice("sum(abs(dy))", "the absolute values are summed", "sum dy with its signs"),
        ),
        "dgamma": (
            Choice("sum(dy*xhat)"),
            Choice("sum(dy*x)", "x stands in place of xhat", scale),
            Choice("sum(dy*(x - mean))", "s is left out of xhat", scale),
            Choice("sum(dy*y)", "y stands in place of xhat", scale),
            Choice("sum(dy)", "xhat is left out", scale),
            Choice("sum(xhat)", "dy is left out", scale),
        ),
    }[name]
    factors = (
        Choice(""),
        Choice("-", "it has the wrong sign"),
        Choice(
            "gamma*", "it has gamma as a factor", "y = gamma*xhat + beta is derived by gamma or beta alone"
        ),
    )
    counts = (
        Choice(""),
        Choice("/m", "it is a mean", why),
        *([Choice("/n", "it is divided by the batch n", why)] if images else []),
    )
    return Formula(
        (f"{name} = {{factor}}{{sum}}{{count}}",), {"sum": summed, "factor": factors, "count": counts}
    )


def input_gradient(shape: Shape) -> Formula:
    """Return dx; ``your_dbeta`` and ``your_dgamma`` are those that the code under test returned."""
    images = len(shape) > 2
    mean_why = (
        "x moves the mean, and with it every y of the channel: dmean = -s*gamma*dbeta, 1/m of it for each x"
    )
    var_why = (
        "x moves the variance, and with it every y of the channel: dvar = -1/2*s^2*gamma*dgamma, of which "
        "each x has 2*(x - mean)/m"
    )
    one = "one sum is meant here, the same for all m values of the channel"
    everywhere = "mean and variance are those of all places of all images, and so are the sums"
    counts = "each sum is over the m values of a channel"
    of_mean: Choices = (
        Choice("dbeta"),
        Choice("0", "the term through the mean is missing", mean_why),
        Choice("-dbeta", "the term through the mean has the wrong sign", mean_why),
        Choice("dy", "dy is not summed in the term through the mean", one),
        Choice("your_dbeta", "dx is made of your dbeta, which is wrong", "it is right once dbeta is"),
    )
    of_var: Choices = (
        Choice("dgamma"),
        Choice("0", "the term through the variance is missing", var_why),
        Choice("-dgamma", "the term through the variance has the wrong sign", var_why),
        Choice("(dy*xhat)", "dy*xhat is not summed in the term through the variance", one),
        Choice("your_dgamma", "dx is made of your dgamma, which is wrong", "it is right once dgamma is"),
    )
    divided: Choices = (
        Choice("/m"),
        Choice("/(m - 1)", "the sums are divided by m - 1", counts),
        Choice("", "the sums are not divided by m", counts),
        Choice("/(m*c)", "the sums are divided by the size of x", counts),
    )
    if images:
        of_mean += (Choice("sum(dy, 0)", "dy is summed over the batch alone", everywhere),)
        of_var += (Choice("sum(dy*xhat, 0)", "dy*xhat is summed over the batch alone", everywhere),)
        n = Choice(
            "/n",
            f"the sums are divided by the batch, n = {shape[0]}",
            "m counts all values of a channel, n*h*w",
        )
        divided += (n,)
    places = {
        "mean": of_mean,
        "var": of_var,
        "count": divided,
        "xhat": (
            Choice("xhat"),
            Choice("x", "x stands in place of xhat", var_why),
            Choice("(x - mean)", "s is left out of xhat", var_why),
            Choice("1", "xhat is left out of the term through the variance", var_why),
        ),
        "front": (
            Choice("gamma*s*"),
            Choice("s*", "gamma is forgotten", "the gradient of xhat is gamma*dy"),
            Choice("gamma*", "s is forgotten", "xhat = (x - mean)*s"),
            Choice("1*", "gamma and s are forgotten", "y = gamma*s*(x - mean) + beta"),
            Choice("-gamma*s*", "dx has the wrong sign"),
        ),
    }
    return Formula(("dx = {front}(dy - ({mean} + {xhat}*{var}){count})",), places)


def running(name: str, shape: Shape, kept: str) -> Formula:
    """Return a running statistic after a batch; `kept` is the estimate that it keeps of the variance."""
    weights: Choices = (
        Choice("momentum*{0} + (1 - momentum)*batch"),
        Choice(
            "(1 - momentum)*{0} + momentum*batch",
            "momentum weighs the batch",
            "that is PyTorch's convention; its momentum is one minus the one here",
        ),
        Choice("{0}", "it does not move", "return the new value"),
        Choice("batch", "the batch takes its place", "what was there before weighs momentum"),
        Choice("{0} + (1 - momentum)*batch", "the old value is not multiplied by momentum"),
        Choice("momentum*{0} + batch", "the batch is not multiplied by 1 - momentum"),
    )
    weights = tuple(c._replace(code=c.code.format(f"old_{name}")) for c in weights)
    estimates = {"biased": "sum((x - mean)^2)/m", "unbiased": "sum((x - mean)^2)/(m - 1)"}
    other = "unbiased" if kept == "biased" else "biased"
    larger = "the unbiased estimate is the larger one: m/(m - 1) times the variance of the batch"
    of_var = (
        Choice(estimates[kept]),
        Choice(estimates[other], f"the {other} estimate is kept", f"the {kept} one was asked for"),
        Choice(
            "sqrt(sum((x - mean)^2)/m)",
            "a standard deviation is kept in place of the variance",
            "inference takes the root of it once more",
        ),
        Choice("sum((x - mean)^2)/m*(m - 1)/m", "the correction is the wrong way round", larger),
        Choice("sum(x^2)/m", "the mean of x^2 is kept, from which mean^2 is not taken away"),
    )
    batch = {"running_mean": (Choice("mean"),), "running_var": of_var}[name]
    lines = (
        "axes = {axes}",
        "m = values(axes)",
        "mean = sum(x)/m",
        "batch = {batch}",
        f"{name} = {{weights}}",
    )
    return Formula(lines, {"weights": weights, "batch": batch, "axes": axes(shape)})
