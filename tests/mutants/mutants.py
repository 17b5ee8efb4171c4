"""Kernels and rules broken on purpose, one line each, and the tests that must notice."""

# ruff: noqa: E501 (a table)

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A change of source that must turn tests red.

    Attributes
    ----------
    name : str
        What is wrong with it.
    file : str
        Below ``src/handgrad``, or in ``csrc/``.
    old, new : str
        The text that stands exactly once in the file, and what takes its place.
    tests : str
        What is run, below ``tests``: files, or functions as ``file::function``, separated by blanks.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


CONV = "kernels/reference/conv.py"
WINDOWS = "kernels/reference/windows.py"
NORM = "kernels/reference/norm.py"
GROUP_NORM = "kernels/reference/group_norm.py"
POOL = "kernels/reference/pool.py"
ACTIVATION = "kernels/reference/activation.py"
RECURRENT = "kernels/reference/recurrent.py"
RESIZE = "kernels/reference/resize.py"
LOSS = "kernels/reference/loss.py"
UPDATE = "kernels/reference/update.py"
BFLOAT16 = "kernels/bfloat16.py"
IN_BFLOAT16 = "kernels/test_bfloat16.py"
BN = "layers/norm.py"
RUNNING = "layers/running_statistics.py"
STATISTICS = "layers/batch_statistics.py"
EXECUTOR = "graph/executor.py"
FUSED = "layers/fused.py"
FUSED_NORM = "layers/fused_norm.py"
FUSED_CONV = "layers/fused_conv.py"
FUSE = "graph/fuse.py"
FOLD = "graph/fold.py"
PREDICTOR = "graph/predictor.py"
PACKED = "layers/packed.py"

GRADIENTS = "layers/test_gradients.py"
LOOPS = "kernels/test_brute_force.py"
PROTOCOL = "kernels/test_protocol.py"
BN_TESTS = "layers/test_batch_normalization.py"
SWITCHES = "layers/test_normalization_switches.py"
MODES = "layers/test_normalization_modes.py"
SHARES = "layers/test_normalization_shares.py"
SAFETY = "layers/test_normalization_safety.py"
SAMPLE_NORMS = "layers/test_group_normalization.py"
RULES = "kernels/test_update.py optim/test_rules.py"
FOLD_TESTS = "graph/test_fold.py"
LOSSES = "kernels/test_loss.py losses/test_losses.py"
PREDICTORS = "graph/test_predictor.py"
PARTS = "train/micro_batches.py"
PARTS_TESTS = "train/test_micro_batches.py"

MUTANTS = [
    # convolution
    Mutant("the last row of taps is dropped", CONV,
           "for i in range(window.kernel[0]):", "for i in range(max(window.kernel[0] - 1, 1)):", LOOPS),
    Mutant("the backward goes over the filter's columns in reverse", CONV,
           "dP[pixels_met(window, i, j, (oh, ow))]", "dP[pixels_met(window, i, kw - 1 - j, (oh, ow))]", GRADIENTS),
    Mutant("the gradient of the input overwrites where places overlap", CONV,
           "+= dP_i[:, :, :, j, :]", "= dP_i[:, :, :, j, :]", GRADIENTS),
    Mutant("the gradient of the input keeps the padding", CONV,
           "dx = crop(dP, window)", "dx = dP[:, : shape[1], : shape[2], :]", GRADIENTS),
    Mutant("channels are dealt out to groups in turn", CONV,
           "xp.reshape(P_i, (n * oh * ow, kw, groups, c // groups))",
           "xp.matrix_transpose(xp.reshape(P_i, (n * oh * ow, kw, c // groups, groups)))", LOOPS),
    Mutant("stride is taken for one", WINDOWS,
           "rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)",
           "rows = slice(i * dh, i * dh + oh)", LOOPS),
    Mutant("dilation is left out", WINDOWS,
           "columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)",
           "columns = slice(j, j + (ow - 1) * sw + 1, sw)", LOOPS),
    Mutant("\"same\" puts the odd pixel first", "geometry.py",
           "((t // 2, t - t // 2) for t in total)", "((t - t // 2, t // 2) for t in total)", "test_geometry.py"),
    Mutant("one place too many", "geometry.py",
           "return (h + sum(ph) - eh) // sh + 1,", "return -(-(h + sum(ph) - eh) // sh) + 1,", "test_geometry.py"),
    Mutant("filters forget the input channels at first", "layers/conv.py",
           "fans = kh * kw * cg,", "fans = kh * kw,", "layers/test_initializers.py"),
    # batch normalization
    Mutant("dx without the term through the mean", NORM,
           "(dy - (dbeta + xhat * dgamma) / m)", "(dy - xhat * dgamma / m)", GRADIENTS),
    Mutant("dx without the term through the variance", NORM,
           "(dy - (dbeta + xhat * dgamma) / m)", "(dy - dbeta / m)", GRADIENTS),
    Mutant("the batch is normalized by the unbiased variance", NORM,
           "var = xp.sum(centred * centred, axis=0, dtype=wide) / m - d * d",
           "var = xp.sum(centred * centred, axis=0, dtype=wide) / (m - 1) - d * d", BN_TESTS),
    Mutant("dgamma by x instead of xhat", NORM,
           "column_sum(dy * xhat), column_sum(dy)\n    dx", "column_sum(dy * (xhat + 1)), column_sum(dy)\n    dx", GRADIENTS),
    Mutant("the mean is rounded to float32", NORM,
           "return (x - high) - low", "return x - high", BN_TESTS),
    Mutant("the variance as a difference of squares", NORM,
           "centred = _centre(x, mean)\n", "centred = xp.sqrt(xp.abs(x * x - xp.astype(mean * mean, x.dtype)))\n", BN_TESTS),
    Mutant("a frozen layer's backward uses the batch formula", BN,
           "directly = saved.constant or saved.apart", "directly = saved.apart", GRADIENTS),
    Mutant("the running variance is biased whatever was asked for", STATISTICS,
           "self.var * (self.m / (self.m - 1)) if", "self.var if", BN_TESTS),
    Mutant("inference moves the running statistics", BN,
           "moves = run.training and self.running_statistics", "moves = self.running_statistics", BN_TESTS),
    Mutant("momentum weighs the batch", RUNNING,
           "momentum * running.value + (1 - momentum) * estimate",
           "(1 - momentum) * running.value + momentum * estimate", BN_TESTS),
    Mutant("one value per channel is let through", BN,
           "elif by.m == 1:", "elif by.m < 0:", BN_TESTS),
    Mutant("what forward saved moves with a later commit", RUNNING,
           "mean, var = self.running_mean.value.flatten(),", "mean, var = self.running_mean.value.reshape(-1),", BN_TESTS),
    # its switches
    Mutant("training normalizes by the batch whatever the switch says", BN,
           "(run.training and self.use_batch_statistics)", "run.training", SWITCHES),
    Mutant("running statistics move whatever the switch says", RUNNING,
           "if self.running_statistics and self.update_running_statistics:", "if self.running_statistics:", SWITCHES),
    Mutant("running statistics move with the batch's use alone", BN,
           "moves = run.training and self.running_statistics and self.update_running_statistics",
           "moves = False", SWITCHES),
    Mutant("what is frozen updates its statistics", BN,
           "self.trainable = self.use_batch_statistics = self.update_running_statistics = False",
           "self.trainable = self.use_batch_statistics = False", SWITCHES),
    Mutant("an old file's frozen layer uses the batch", BN,
           'trainable = config.get("trainable", True)', "trainable = True", SWITCHES),
    # its modes
    Mutant("a cumulative average keeps a share of what it began with", RUNNING,
           "updates / (updates + 1)", "updates / (updates + 0.5)", MODES),
    Mutant("the smallest r is 0", STATISTICS,
           "np.clip(r, 1 / largest, largest)", "np.clip(r, 0, largest)", MODES),
    Mutant("d is not cut off below", STATISTICS,
           "np.clip(d, -furthest, furthest)", "np.clip(d, None, furthest)", MODES),
    Mutant("dgamma of renormalization without r", BN,
           "(r * dgamma + d * dbeta)", "(dgamma + d * dbeta)", MODES),
    Mutant("dgamma of renormalization without d", BN,
           "(r * dgamma + d * dbeta)", "(r * dgamma)", MODES),
    Mutant("the shift of renormalization is not scaled", BN,
           "(gamma * r, gamma * d)", "(gamma * r, d)", MODES),
    Mutant("a ghost batch is smaller than was asked for", STATISTICS,
           "parts = max(n // size, 1)", "parts = max(-(-n // size), 1)", MODES),
    Mutant("running statistics move by the last ghost batch", BN,
           "batch = pooled(saved.batch for saved in parts if saved.batch is not None)", "batch = saved.batch", MODES),
    Mutant("masked rows count", STATISTICS,
           "rows if mask is None else rows[mask]", "rows", MODES),
    Mutant("masked rows take the gradient through the statistics", BN,
           "term = np.where(saved.mask[:, None], term, np.zeros((), term.dtype))", "pass", MODES),
    Mutant("a mask of numbers is taken for one of bools", "layers/axes.py",
           "np.asarray(mask).dtype != np.bool_ or ", "", MODES),
    Mutant("one value per channel moves the running statistics", RUNNING,
           "if batch is None or batch.m < 2:", "if batch is None or batch.m < 1:", MODES),
    Mutant("shares take their own sums backward", BN,
           "np.split(sum(run.comm.all_gather(both)), 2)", "np.split(both, 2)", SHARES),
    Mutant("the means of shares count as often as they are, not as their values", STATISTICS,
           "mean + delta * (nb / n)", "mean + delta / 2", SHARES),
    Mutant("how far the means of shares are apart is left out", STATISTICS,
           "+ delta * delta * (na * nb / n)", "", SHARES),
    Mutant("ghost batches of other shares do not move the running statistics", BN,
           "batch = batch if run.comm is None else gathered(batch, run.comm)\n        return np", "return np", SHARES),
    Mutant("what is not finite poisons the running statistics", RUNNING,
           "if (finite := batch.finite()).all():", "if (finite := batch.finite()).any():", SAFETY),
    Mutant("squares of float16 overflow", NORM,
           "if xp.finfo(x.dtype).bits == 16:", "if False:", SAFETY),
    Mutant("set statistics are debiased on top", RUNNING,
           "(1 - left) * mean.reshape", "mean.reshape", "train/test_statistics.py"),
    Mutant("precise statistics of layers that keep theirs", "train/statistics.py",
           "for node, bn in _normalizations(model) if bn.update_running_statistics]",
           "for node, bn in _normalizations(model)]", "train/test_statistics.py"),
    Mutant("precise statistics are taken in training mode", "train/statistics.py",
           "model.with_nodes(model.nodes[:i]).forward(batch, run, keep=False)",
           "model.with_nodes(model.nodes[:i]).forward(batch, Run(training=True), keep=False)", "train/test_statistics.py"),
    Mutant("PyTorch's momentum is taken for ours", "io/batch_normalization.py",
           "return round(1 - momentum, 15)", "return momentum", "io/test_batch_normalization.py"),
    # normalization of each sample
    Mutant("of a group dx without the term through the mean", GROUP_NORM,
           "(h - (sum_h + xhat * sum_h_xhat) / count)", "(h - xhat * sum_h_xhat / count)", GRADIENTS),
    Mutant("of a group dx without the term through the variance", GROUP_NORM,
           "(h - (sum_h + xhat * sum_h_xhat) / count)", "(h - sum_h / count)", GRADIENTS),
    Mutant("of a group the sums are of dy without gamma", GROUP_NORM,
           "sum_h = xp.sum(h,", "sum_h = xp.sum(dy_g,", GRADIENTS),
    Mutant("of a normalization channels are dealt out in turn", GROUP_NORM,
           "return xp.reshape(xp.astype(x, accumulator(x)), (n, m, groups, c // groups))",
           "return xp.matrix_transpose(xp.reshape(xp.astype(x, accumulator(x)), (n, m, c // groups, groups)))",
           "layers/test_against_pytorch.py"),
    Mutant("a group is normalized by the unbiased variance", GROUP_NORM,
           "var = xp.sum(centred * centred, axis=(1, 3), keepdims=True) / count",
           "var = xp.sum(centred * centred, axis=(1, 3), keepdims=True) / (count - 1)", "layers/test_against_pytorch.py"),
    Mutant("the mean of a group is taken in float32", GROUP_NORM,
           "mean = xp.sum(x_g, axis=(1, 3), keepdims=True) / count",
           "mean = xp.astype(xp.astype(xp.sum(x_g, axis=(1, 3), keepdims=True) / count, x.dtype), x_g.dtype)", SAMPLE_NORMS),
    Mutant("by the root mean square dx without the term through it", GROUP_NORM,
           "(h - xhat * xp.sum(h * xhat, axis=1, keepdims=True) / x.shape[1])", "h", GRADIENTS),
    Mutant("a sum of squares is not divided by their number", GROUP_NORM,
           "xp.sum(wide * wide, axis=1) / x.shape[1] + epsilon", "xp.sum(wide * wide, axis=1) + epsilon", SAMPLE_NORMS),
    Mutant("a group of one value is let through", "layers/group_norm.py",
           "if size == 1:", "if size == 0:", "layers/test_messages.py"),
    Mutant("frozen, gamma and beta of samples are trained", "layers/group_norm.py",
           "if self.trainable:", "if True:", "layers/test_contract.py"),
    Mutant("images are normalized over the batch, too", "layers/group_norm.py",
           "reshape(n, math.prod(x.shape[1:]) // c, c)", "reshape(1, x.size // c, c)", SAMPLE_NORMS),
    Mutant("axes are put back in the order they were taken in", "layers/axes.py",
           "transpose(inverse)", "transpose(order)", GRADIENTS),
    Mutant("the gradient is that of standardized filters", "layers/weight_standardization.py",
           "self.accumulate(standardize_backward(dw_hat, w, filters, run), dy, run)", "self.accumulate(dw_hat, dy, run)", GRADIENTS),
    Mutant("the input gradient of standardized filters is by the parameter", "layers/weight_standardization.py",
           "conv2d_backward_input(dy, filters.w_hat,", "conv2d_backward_input(dy, w,", GRADIENTS),
    # fused with what follows it
    Mutant("the residual is forgotten", NORM,
           "return relu(z if residual is None else z + residual)", "return relu(z)", "kernels/test_norm.py"),
    Mutant("the residual is added after ReLU", NORM,
           "return relu(z if residual is None else z + residual)",
           "return relu(z) if residual is None else relu(z) + residual", "layers/test_fused.py"),
    Mutant("the gradient passes by the sign of x", NORM,
           "relu_backward(dy, batch_norm(x, mean, s, gamma, beta) if y is None else y)",
           "relu_backward(dy, x if y is None else y)", "layers/test_fused.py"),
    Mutant("the gradient passes by the normalized input alone", NORM,
           "relu_backward(dy, batch_norm(x, mean, s, gamma, beta) if y is None else y)",
           "relu_backward(dy, batch_norm(x, mean, s, gamma, beta))", "kernels/test_norm.py"),
    Mutant("a fused layer's backward in inference uses the batch formula", FUSED_NORM,
           "saved.constant or saved.apart", "saved.apart", "layers/test_fused.py"),
    Mutant("a fused layer of a masked batch takes all rows for it", FUSED_NORM,
           "saved.constant or saved.apart", "saved.constant", MODES),
    Mutant("a fused convolution measures what is masked", FUSED_CONV,
           "run.mask is None and m > 1", "m > 1", MODES),
    Mutant("modes that are more than one scale and shift are fused", FUSE,
           "layer.plain and layer.per_channel(node.shape)", "layer.per_channel(node.shape)", MODES),
    Mutant("the residual takes the whole gradient", FUSED_NORM,
           "bn.unrows(dr, dy.shape))", "dy)", "layers/test_fused.py"),
    Mutant("a fused layer keeps whether it trains to itself", FUSED,
           'trainable = _shared("trainable")', "trainable = True", "layers/test_fused.py"),
    Mutant("a fused convolution measures for a frozen normalization", FUSED_CONV,
           "bn.measures(run) and run.mask", "run.training and run.mask", "layers/test_fused.py"),
    Mutant("the gradient that is to be added is lost", FUSED_CONV,
           "window, conv.groups, add)", "window, conv.groups)", "layers/test_fused.py graph/test_fuse.py"),
    Mutant("the sum of a fused convolution takes the whole gradient", "graph/executor.py",
           "add=grads[i])", "add=None)", "graph/test_fuse.py"),
    Mutant("a normalization is deferred that others take, too", FUSE,
           "if self.count[k + 1] == 1 else None", "if self.count[k + 1] else None", "graph/test_fuse.py"),
    Mutant("statistics are taken of the residual", FUSE,
           "user.inputs[0] == k + 1 and ", "", "graph/test_fuse.py"),
    # pooling
    Mutant("of equal maxima the last takes the gradient", POOL,
           "larger = (real(v) > real(y))", "larger = (real(v) >= real(y))", "kernels/test_pool.py"),
    Mutant("the padding of max pooling is zero", POOL,
           "P = pad(x, window, -np.inf)", "P = pad(x, window, 0.0)", LOOPS),
    Mutant("NaN is not the maximum", POOL,
           " | (xp.isnan(v) & ~xp.isnan(y))", "", PROTOCOL),
    Mutant("padding always counts in the average", POOL,
           "1.0 if count_padding else 0.0", "1.0", LOOPS),
    Mutant("the backward of average pooling divides by nothing", POOL,
           "share = dy / _counts(", "share = dy * 1 + 0 * _counts(", GRADIENTS),
    # activations
    Mutant("softmax backward is the diagonal alone", ACTIVATION,
           "return y * (dy - xp.sum(dy * y, axis=-1, keepdims=True))", "return y * (1 - y) * dy", GRADIENTS),
    Mutant("softmax without the shift by the maximum", ACTIVATION,
           "e = xp.exp(x - xp.max(real(x), axis=-1, keepdims=True))", "e = xp.exp(x)", "kernels/test_activation.py"),
    Mutant("ELU's derivative without alpha", ACTIVATION,
           "dy * (alpha * xp.exp(_at_most_zero(x)))", "dy * xp.exp(_at_most_zero(x))", GRADIENTS),
    Mutant("ReLU hides NaN", ACTIVATION,
           "where(real(x) <= 0, _zero(x), x)", "where(real(x) > 0, x, _zero(x))", PROTOCOL),
    Mutant("ReLU passes the gradient at 0", ACTIVATION,
           "where(real(y) <= 0, _zero(dy), dy)", "where(real(y) < 0, _zero(dy), dy)", "kernels/test_activation.py"),
    Mutant("softplus overflows", ACTIVATION,
           "return xp.where(real(x) > 0, x, _zero(x)) + xp.log1p(xp.exp(-_magnitude(x)))",
           "return xp.log1p(xp.exp(x))", "kernels/test_activation.py"),
    Mutant("tanh's derivative forgets the square", ACTIVATION,
           "return dy * (1 - y * y)", "return dy * (1 - y)", GRADIENTS),
    Mutant("ELU's default alpha is 0.1", "layers/activation.py",
           "alpha: float = 1.0", "alpha: float = 0.1", "layers/test_activations.py"),
    # the other layers
    Mutant("dropout does not rescale", "kernels/reference/dropout.py",
           "asarray(1 / (1 - rate), dtype", "asarray(1, dtype", "layers/test_dropout.py"),
    Mutant("dropout hides NaN", "kernels/reference/dropout.py",
           "return x * _factor(x, mask, rate), mask",
           "return array_namespace(x).where(mask, x, 0 * _factor(x, mask, rate)), mask", PROTOCOL),
    Mutant("dropout's backward forgets the mask", "layers/dropout.py",
           "if not need_dx or saved.mask is None:", "if True:", GRADIENTS),
    Mutant("the gradient does not go back in time", RECURRENT,
           "dh[:, t, :] + xp.matmul(D_t, xp.matrix_transpose(U))", "dh[:, t, :]", GRADIENTS),
    Mutant("the gradient goes back through U instead of its transpose", RECURRENT,
           "dh[:, t, :] + xp.matmul(D_t, xp.matrix_transpose(U))", "dh[:, t, :] + xp.matmul(D_t, U)", GRADIENTS),
    Mutant("truncation lets one step more through", RECURRENT,
           "came = xp.zeros((K + 1, n, k), dtype=dh.dtype)", "came = xp.zeros((K + 2, n, k), dtype=dh.dtype)",
           GRADIENTS),
    Mutant("upsampling takes one gradient of a block", RESIZE,
           "return xp.sum(blocks, axis=(2, 4))", "return blocks[:, :, 0, :, 0, :]", GRADIENTS),
    Mutant("a bias takes the mean of the gradients", "kernels/reference/dense.py",
           "return column_sum(array_namespace(dy).reshape(dy, (rows, k)))",
           "return column_sum(array_namespace(dy).reshape(dy, (rows, k))) / rows", GRADIENTS),
    Mutant("gradients do not add up", "layers/parameter.py",
           "self.grad += _same_shape(", "self.grad[...] = _same_shape(", "layers/test_contract.py"),
    # graphs
    Mutant("a fan-out keeps the last gradient", EXECUTOR,
           "grads[i] = dx_i if grads[i] is None else run.kernels.add(grads[i], dx_i)", "grads[i] = dx_i", "graph/test_gradients.py"),
    Mutant("a fan-out adds into what a layer returned", EXECUTOR,
           "grads[i] = dx_i if grads[i] is None else run.kernels.add(grads[i], dx_i)",
           "grads[i] = dx_i if grads[i] is None else grads[i].__iadd__(dx_i)", "graph/test_gradients.py"),
    Mutant("every gradient is computed whether needed or not", EXECUTOR,
           "into = any(needed[i] for i in node.inputs)", "into = True", "graph/test_gradients.py"),
    Mutant("a released backward keeps what was saved", EXECUTOR,
           "saved[k] = node.layer.retained(saved_k)", "pass", "graph/test_gradients.py"),
    Mutant("what was saved is held while gradients are summed", EXECUTOR,
           "del dy_k, saved_k", "pass", "graph/test_gradients.py"),
    Mutant("all dropouts drop alike", EXECUTOR,
           "rng=run.rng.child(node.name)", "rng=run.rng", "layers/test_dropout.py"),
    Mutant("a state that does not fit is loaded in part", "graph/graph.py",
           "if missing or unknown or wrong or kinds:", "if missing or unknown or kinds:", "graph/test_state.py"),
    Mutant("gradcheck with an upstream gradient of ones", "testing/gradcheck.py",
           'u = rng.child("upstream").normal(y.shape, dtype=np.float64)\n        grads',
           "u = np.ones(y.shape)\n        grads", "testing/test_gradcheck.py"),
    Mutant("a learner's batch normalization is checked with gamma = 1", "testing/batchnorm/checks.py",
           "self.gamma[-1] *= -1", "self.gamma[:] = 1", "testing/test_check_batchnorm.py"),
    Mutant("a learner's batch normalization is checked with dy of ones", "testing/batchnorm/checks.py",
           'self.dy = self._normal("dy")', "self.dy = np.ones(shape)", "testing/test_check_batchnorm.py"),
    Mutant("of a learner's batch normalization NaN is taken for right", "testing/batchnorm/calls.py",
           "return error if math.isfinite(error) else math.inf", "return error if math.isfinite(error) else 0.0",
           "testing/test_check_batchnorm.py"),
    Mutant("one mistake at a time is looked for", "testing/batchnorm/formula.py",
           "for count in range(MOST + 1):", "for count in range(2):", "testing/test_check_batchnorm.py"),
    Mutant("the term through the variance is explained without the 2", "inspect/steps.py",
           'letters["dvar"] * 2 * letters["centred"] / m', 'letters["dvar"] * letters["centred"] / m', "inspect/test_explain.py"),
    Mutant("dvar is explained with the wrong sign", "inspect/steps.py",
           '"dvar": -0.5 * s**2', '"dvar": 0.5 * s**2', "inspect/test_explain.py"),
    Mutant("a layer that computes more is explained all the same", "inspect/explain.py",
           '> 1e-9 or dx is None', '> 1e9 or dx is None', "inspect/test_explain.py"),
    Mutant("the gap of a channel without its variance", "inspect/batchnorm.py",
           "np.sqrt(var * (s_other - s) ** 2 + (", "np.sqrt(0 * (s_other - s) ** 2 + (", "inspect/test_batchnorm.py"),
    Mutant("the variance of data without that between batches", "inspect/batchnorm.py",
           "(weights * (variances + (means - mean) ** 2))", "(weights * variances)", "inspect/test_batchnorm.py"),
    Mutant("a look at inference instead of training", "inspect/batchnorm.py",
           "_look(model, looks, xb, Run(training=True,", "_look(model, looks, xb, Run(training=False,", "inspect/test_batchnorm.py"),
    Mutant("a gap no larger than between batches counts", "inspect/problems.py",
           "np.maximum(GAP, NOISE * layer.noise)", "np.maximum(GAP, 0 * layer.noise)", "inspect/test_batchnorm.py"),
    Mutant("gradcheck takes NaN for right", "testing/gradcheck.py",
           "np.inf if np.isnan(error) else error", "error", "testing/test_gradcheck.py"),
    Mutant("what two layers use is fused away", FUSE,
           "if of_kind and self.count[value] == 1 else", "if of_kind else", "graph/test_fuse.py"),
    Mutant("subclasses are fused as if they were their base", FUSE,
           "type(self.nodes[value - 1].layer) is kind", "isinstance(self.nodes[value - 1].layer, kind)",
           "graph/test_fuse.py"),
    Mutant("fused layers commit out of order", FUSE,
           "and _commits_in_order(graph.nodes, match.group)", "and True", "graph/test_fuse.py"),
    Mutant("normalizations over other axes are fused", FUSE,
           "layer.plain and layer.per_channel(node.shape)", "layer.plain", "graph/test_fuse.py"),
    # folding
    Mutant("a folded bias forgets the running mean", FOLD,
           "(b - mean) * gamma_s + beta", "b * gamma_s + beta", FOLD_TESTS),
    Mutant("folding rounds the factors first", FOLD,
           "gamma_s = gamma / np.sqrt(var + bn.epsilon)",
           "gamma_s = (gamma / np.sqrt(var + bn.epsilon)).astype(old.weight.value.dtype)", FOLD_TESTS),
    Mutant("a layer with another consumer is folded", FOLD,
           "uses[before + 1] > 1", "uses[before + 1] > 9", FOLD_TESTS),
    Mutant("rows are taken for channels", BN,
           "return self._kept(len(shape) + 1) == (len(shape),)", "return len(self._kept(len(shape) + 1)) == 1", FOLD_TESTS),
    Mutant("what was trained after folding is lost", FOLD,
           "    if changed:\n", "    if False:\n", FOLD_TESTS),
    # losses
    Mutant("the gradient of cross entropy is a sum", LOSS,
           "dz = (e / s * xp.sum(t, axis=1, keepdims=True) - t) / n",
           "dz = e / s * xp.sum(t, axis=1, keepdims=True) - t", LOSSES),
    Mutant("cross entropy without the shift by the maximum", LOSS,
           "z = z - xp.max(real(z), axis=1, keepdims=True)\n", "z = z - 0\n", LOSSES),
    Mutant("label smoothing spreads over the wrong classes alone", LOSS,
           "t = (1 - smoothing) * t + smoothing / k", "t = (1 - smoothing) * t + smoothing * (1 - t) / (k - 1)", LOSSES),
    Mutant("mean squared error with half its gradient", LOSS,
           "2 * d / _size(z)", "d / _size(z)", LOSSES),
    # optimizers
    Mutant("Adam without bias correction", UPDATE,
           "p -= lr / (1 - beta_1**t) * (m / (np.sqrt(v) / math.sqrt(1 - beta_2**t) + epsilon))",
           "p -= lr * (m / (np.sqrt(v) + epsilon))", RULES),
    Mutant("Adam corrects by its beta, not by the step", UPDATE,
           "lr / (1 - beta_1**t)", "lr / (1 - beta_1)", RULES),
    Mutant("momentum damps the gradient", UPDATE,
           "b += (1 - dampening) * g", "b += (1 - momentum) * g", RULES),
    Mutant("Nesterov does not look ahead", UPDATE,
           "(g + momentum * b if nesterov else b)", "b", RULES),
    Mutant("the decay of AdamW is part of the gradient", UPDATE,
           "    if decoupled:\n", "    if False:\n", RULES),
    Mutant("weight decay takes biases and normalizations, too", "optim/optimizer.py",
           "return float(self.weight_decay) if span.decay else 0.0", "return float(self.weight_decay)",
           "optim/test_step.py"),
    Mutant("the norm of the gradients overflows", "kernels/reference/gradient.py",
           "wide = xp.astype(g, xp.float64)", "wide = g", "kernels/test_gradient.py"),
    Mutant("infinite gradients are let through", "kernels/reference/gradient.py",
           "xp.all(xp.isfinite(g))", "xp.all(~xp.isnan(g))", "kernels/test_gradient.py"),
    Mutant("a copied model zeroes the gradients of vectors that are no views", "layers/packing.py",
           "def __reduce__(self)", "def _reduce(self)", "graph/test_state.py"),
    Mutant("clipping never scales down", "optim/optimizer.py",
           "return min(1.0, float(self.global_clipnorm)", "return max(1.0, float(self.global_clipnorm)",
           "optim/test_step.py"),
    # which kernels run
    Mutant("the environment has no say in which kernels run", "kernels/select.py",
           'if name := os.environ.get("HANDGRAD_KERNELS"):', 'if name := "":', "kernels/test_select.py"),
    Mutant("the environment has no say in the number of threads", "kernels/extension.py",
           'if named := os.environ.get("HANDGRAD_THREADS"):', 'if named := "":', "kernels/test_threads.py"),
    # what is stored in bfloat16
    Mutant("bfloat16 is cut off, not rounded", BFLOAT16,
           "return a.astype(bfloat16, copy=False)",
           "return (a.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(bfloat16)", IN_BFLOAT16),
    Mutant("gradients of parameters are rounded", BFLOAT16,
           "Roles((0, 1), (), product=True)", "Roles((0, 1), (0,), product=True)", IN_BFLOAT16),
    Mutant("dgamma is rounded and the gradient of the residual is not", BFLOAT16,
           "Roles((0, 1, 2), (0, 3))", "Roles((0, 1, 2), (0, 1))", IN_BFLOAT16),
    Mutant("a network in float32 stays so", BFLOAT16,
           "_PRODUCT, _OF_PARAMETERS = Roles(product=True)", "_PRODUCT, _OF_PARAMETERS = Roles()", IN_BFLOAT16),
    Mutant("sums are taken in bfloat16", BFLOAT16,
           "given[i] = given[i].astype(np.float32)", "given[i] = given[i]", IN_BFLOAT16),
    Mutant("what has no compiled function of bfloat16 is given it", BFLOAT16,
           "        if self.takes_bfloat16:\n", "        if True:\n", IN_BFLOAT16),
    Mutant("the last channel of an odd number is left out of the cost of pairs", "kernels/cpu/algorithm.py",
           "terms = -(-c // 2)", "terms = c // 2", f"{IN_BFLOAT16}::test_pairs_count_half_of_the_products"),
    Mutant("float32 is planned as products of bfloat16", "kernels/cpu/conv.py",
           "cpu.name if is_bfloat16(given) else cpu.name.removesuffix(IN_PAIRS)", "cpu.name",
           f"{IN_BFLOAT16}::test_float32_is_planned_without_pairs"),
    # prediction
    Mutant("packed filters are those of the layer, not a copy", "kernels/reference/packed.py",
           "copy=True", "copy=False", "kernels/test_packed.py"),
    Mutant("what is added comes after ReLU", "kernels/reference/packed.py",
           "    if add is not None:\n        y = y + add\n    return rectified(y) if relu else y",
           "    y = rectified(y) if relu else y\n    return y if add is None else y + add", "kernels/test_packed.py"),
    Mutant("a value that others take, too, is changed", PREDICTOR,
           "(value == k + 1 or uses.count[value] == 1)", "True", PREDICTORS),
    Mutant("of three that are added one is lost", PREDICTOR,
           "len(uses.nodes[position].inputs) != 2", "len(uses.nodes[position].inputs) < 2", PREDICTORS),
    Mutant("classes of one's own are packed as what they derive from", PREDICTOR,
           "type(uses.nodes[value - 1].layer) in kinds", "isinstance(uses.nodes[value - 1].layer, kinds)", PREDICTORS),
    Mutant("the ReLU that a group ends in is lost", PACKED,
           "self.relu = relu", "self.relu = False", PREDICTORS),
    Mutant("what is added is the first input", PACKED,
           "self.images(x[1])[0]", "self.images(x[0])[0]", PREDICTORS),
    Mutant("a predictor gives only its first batch", PREDICTOR,
           "return np.concatenate([self._outputs(x[i : i + self.batch_size]) for i in starts])", "return self._outputs(x[: self.batch_size])", PREDICTORS),
    # parts of a batch
    Mutant("every part moves the running statistics", PARTS,
           "saved.parts[:1] if saved.asked else saved.parts", "saved.parts", PARTS_TESTS),
    Mutant("only the first part moves what knows nothing of the others", PARTS,
           "for trace in traces:", "for trace in traces[:1]:", PARTS_TESTS),
    Mutant("every part counts alike, whatever its size", PARTS,
           "weight = len(z) / n", "weight = 1 / -(-n // len(z))", PARTS_TESTS),
    Mutant("all parts draw the same random numbers", PARTS,
           'run.rng.child("part", i)', "run.rng", PARTS_TESTS),
    Mutant("what is saved of a part stays to the end of the step", PARTS,
           "executor.backward(graph, dz, trace, own, release=True)", "executor.backward(graph, dz, trace, own)", PARTS_TESTS),
]  # fmt: skip
