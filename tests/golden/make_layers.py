"""Make layers.npz: what PyTorch computes for the layers, for tests that run without it.

Run ``python -m tests.golden.make_layers`` at the root of the repository, where torch 2.13 is installed. Tests
also call its functions. Nothing of handgrad computes here: its layers only say what is to be computed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from handgrad import layers
from tests.layers import cases

FILE = Path(__file__).parent / "layers.npz"
CASES = [
    *cases.CONVOLUTIONS,
    *cases.DENSES,
    *cases.NORMALIZATIONS,
    *cases.ACTIVATIONS,
    *cases.POOLINGS,
    *(c for c in (*cases.RECURRENTS, cases.ONE_STEP) if c.layer.activation != "sigmoid"),  # torch has none
    *(c for c in cases.RESHAPES if "upsampling" in c.name or "padding" in c.name),
    *cases.MERGES,
    *cases.SAMPLE_NORMALIZATIONS,
    *cases.STANDARDIZED,
]
BATCHES = 3
"""How many batches a normalization sees before its running statistics are kept."""


def problem(case, seed):
    """Return random inputs, upstream gradient and parameters, coarse so that they take little room."""
    rng = np.random.default_rng(seed)

    def coarse(shape):
        return np.round(rng.normal(size=shape) * 64) / 64

    layer = case.new()
    many = isinstance(layer, layers.Merge)
    shapes = case.shape if many else (case.shape,)
    arrays = {f"x{i}": coarse((case.batch, *shape)) for i, shape in enumerate(shapes)}
    arrays |= {name: coarse(p.shape) for name, p in layer.parameters().items()}
    arrays["dy"] = coarse((case.batch, *layer.output_shape(case.shape)))
    if layer.buffers():
        arrays["batches"] = coarse((BATCHES, *arrays["x0"].shape)) + 0.5
    return arrays


def modes(case):
    """Return the modes in which a layer differs."""
    return ("training", "inference", "frozen") if case in cases.NORMALIZATIONS else ("training",)


def torch_values(case, arrays, mode, dtype="float64"):
    """Return y and all gradients as PyTorch computes them; of a normalization also the running statistics."""
    import torch

    t = {name: torch.tensor(a.astype(dtype)) for name, a in arrays.items()}
    wanted = [name for name in t if name not in ("dy", "batches")]
    for name in wanted:
        t[name].requires_grad_()
    function = FUNCTIONS[type(case.layer)]
    values = {}
    if "batches" in t:
        mean, var = _running(case.layer, t["batches"])
        values = {"running_mean": mean, "running_var": var}
        y = function(case.layer, t, mode == "training", mean.clone(), var.clone())
    else:
        y = function(case.layer, t)
    grads = torch.autograd.grad(y, [t[name] for name in wanted], t["dy"], allow_unused=True)
    kept = wanted if mode != "frozen" else ["x0"]
    values |= {f"d{name}": g for name, g in zip(wanted, grads, strict=True) if name in kept and g is not None}
    return {"y": y.detach().numpy()} | {name: a.numpy() for name, a in values.items()}


def _nchw(x):
    return x.permute(0, 3, 1, 2)


def _nhwc(y):
    return y.permute(0, 2, 3, 1)


def _pair(value):
    return value if isinstance(value, tuple) else (value, value)


def _pads(padding, size, kernel, strides, dilation):
    """Return (left, right, top, bottom), as torch.nn.functional.pad wants it."""
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        pads = []
        for n, k, s, d in zip(size, kernel, strides, dilation, strict=True):
            places = -(-n // s)
            total = max((places - 1) * s + (k - 1) * d + 1 - n, 0)
            pads.append((total // 2, total - total // 2))
    else:
        pads = [_pair(side) for side in _pair(padding)]
    return (*pads[1], *pads[0])


def _conv(layer, t):
    from torch.nn import functional as F  # noqa: N812

    x = _nchw(t["x0"])
    kernel, strides = _pair(layer.kernel_size), _pair(layer.strides)
    dilation = _pair(layer.dilation_rate)
    pads = _pads(layer.padding, x.shape[2:], kernel, strides, dilation)
    w = t["weight"].permute(3, 2, 0, 1).contiguous()
    x = F.pad(x, pads)
    return _nhwc(F.conv2d(x, w, t.get("bias"), strides, 0, dilation, layer.groups))


def _dense(layer, t):
    from torch.nn import functional as F  # noqa: N812

    return F.linear(t["x0"], t["weight"].T, t.get("bias"))


def _rows(layer, x):
    """Return (m, c) and the function that undoes it."""
    axes = layer.axis if isinstance(layer.axis, tuple) else (layer.axis,)
    kept = sorted(a % x.ndim for a in axes)
    order = [a for a in range(x.ndim) if a not in kept] + kept
    moved = x.permute(order)
    features = [x.shape[a] for a in kept]
    rows = moved.reshape(-1, int(np.prod(features)))
    inverse = [order.index(a) for a in range(x.ndim)]
    return rows, features, lambda y: y.reshape(moved.shape).permute(inverse)


def _running(layer, batches):
    """Return the running statistics after all batches."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    mean = var = None
    for x in batches:
        rows, features, _ = _rows(layer, x)
        if mean is None:
            mean = torch.zeros(rows.shape[1], dtype=x.dtype)
            var = torch.ones(rows.shape[1], dtype=x.dtype)
        if layer.running_variance == "unbiased":
            F.batch_norm(rows, mean, var, training=True, momentum=1 - layer.momentum)
        else:
            mean = torch.lerp(rows.mean(0), mean, layer.momentum)
            var = torch.lerp(rows.var(0, correction=0), var, layer.momentum)
    return mean.reshape(features), var.reshape(features)


def _norm(layer, t, training, mean, var):
    from torch.nn import functional as F  # noqa: N812

    rows, _, back = _rows(layer, t["x0"])
    gamma, beta = (t[n].reshape(-1) if n in t else None for n in ("gamma", "beta"))
    y = F.batch_norm(rows, mean.reshape(-1), var.reshape(-1), gamma, beta, training, 0.0, layer.epsilon)
    return back(y)


def _layer_norm(layer, t):
    from torch.nn import functional as F  # noqa: N812

    rows, _, back = _rows(layer, t["x0"])
    gamma, beta = (t[n].reshape(-1) if n in t else None for n in ("gamma", "beta"))
    return back(F.layer_norm(rows, rows.shape[1:], gamma, beta, layer.epsilon))


def _rms_norm(layer, t):
    from torch.nn import functional as F  # noqa: N812

    rows, _, back = _rows(layer, t["x0"])
    gamma = t["gamma"].reshape(-1) if "gamma" in t else None
    return back(F.rms_norm(rows, rows.shape[1:], gamma, layer.epsilon))


def _group_norm(layer, t):
    from torch.nn import functional as F  # noqa: N812

    x = t["x0"].movedim(layer.axis, 1)
    groups = x.shape[1] if layer.groups == -1 else layer.groups
    gamma = t["gamma"] if "gamma" in t else x.new_ones(x.shape[1])  # its backward fails without
    return F.group_norm(x, groups, gamma, t.get("beta"), layer.epsilon).movedim(1, layer.axis)


def _instance_norm(layer, t):
    from torch.nn import functional as F  # noqa: N812

    x, of_channels = t["x0"].movedim(layer.axis, 1), (t.get("gamma"), t.get("beta"))
    return F.instance_norm(x, None, None, *of_channels, eps=layer.epsilon).movedim(1, layer.axis)


def _standardized(of):
    def function(layer, t):
        w = t["weight"]
        over = tuple(range(w.ndim - 1))
        w = (w - w.mean(over)) / (w.var(over, correction=0) + layer.epsilon).sqrt()
        return of(layer, t | {"weight": w})

    return function


def _max_pool(layer, t):
    from torch.nn import functional as F  # noqa: N812

    x = _nchw(t["x0"])
    kernel = _pair(layer.pool_size)
    strides = kernel if layer.strides is None else _pair(layer.strides)
    pads = _pads(layer.padding, x.shape[2:], kernel, strides, (1, 1))
    return _nhwc(F.max_pool2d(F.pad(x, pads, value=-float("inf")), kernel, strides))


def _average_pool(layer, t):
    from torch.nn import functional as F  # noqa: N812

    x = _nchw(t["x0"])
    kernel = _pair(layer.pool_size)
    strides = kernel if layer.strides is None else _pair(layer.strides)
    pads = _pads(layer.padding, x.shape[2:], kernel, strides, (1, 1))
    y = F.avg_pool2d(F.pad(x, pads), kernel, strides)
    if not layer.count_padding:
        y = y / F.avg_pool2d(F.pad(x.detach() * 0 + 1, pads), kernel, strides)
    return _nhwc(y)


def _rnn(layer, t):
    import torch

    c, k = t["weight"].shape
    rnn = torch.nn.RNN(c, k, nonlinearity=layer.activation, bias=layer.use_bias, batch_first=True)
    values = {"weight_ih_l0": t["weight"].T, "weight_hh_l0": t["recurrent_weight"].T}
    if layer.use_bias:
        values |= {"bias_ih_l0": t["bias"], "bias_hh_l0": torch.zeros_like(t["bias"])}
    h, _ = torch.func.functional_call(rnn.to(t["x0"].dtype), values, (t["x0"],))
    return h if layer.return_sequences else h[:, -1]


def _upsample(layer, t):
    from torch.nn import functional as F  # noqa: N812

    return _nhwc(F.interpolate(_nchw(t["x0"]), scale_factor=_pair(layer.size), mode="nearest"))


def _pad(layer, t):
    from torch.nn import functional as F  # noqa: N812

    pads = _pads(layer.padding, (1, 1), (1, 1), (1, 1), (1, 1))
    return _nhwc(F.pad(_nchw(t["x0"]), pads, value=getattr(layer, "value", 0.0)))


def _inputs(t):
    return [t[f"x{i}"] for i in range(sum(name[0] == "x" for name in t))]


def _global_average_pool(layer, t):
    return t["x0"].mean(dim=(1, 2))


def _add(layer, t):
    return sum(_inputs(t))


def _concatenate(layer, t):
    import torch

    return torch.cat(_inputs(t), layer.axis)


def _elementwise(name):
    def function(layer, t):
        from torch.nn import functional as F  # noqa: N812

        options = {
            "elu": lambda: {"alpha": layer.alpha},
            "leaky_relu": lambda: {"negative_slope": layer.negative_slope},
            "gelu": lambda: {"approximate": "tanh" if layer.approximate else "none"},
            "softmax": lambda: {"dim": -1},
        }.get(name, dict)()
        return getattr(F, name)(t["x0"], **options)

    return function


FUNCTIONS = {
    layers.Conv2D: _conv,
    layers.Dense: _dense,
    layers.BatchNormalization: _norm,
    layers.LayerNormalization: _layer_norm,
    layers.GroupNormalization: _group_norm,
    layers.InstanceNormalization: _instance_norm,
    layers.RMSNormalization: _rms_norm,
    layers.WeightStandardizedConv2D: _standardized(_conv),
    layers.WeightStandardizedDense: _standardized(_dense),
    layers.MaxPooling2D: _max_pool,
    layers.AveragePooling2D: _average_pool,
    layers.GlobalAveragePooling2D: _global_average_pool,
    layers.SimpleRNN: _rnn,
    layers.UpSampling2D: _upsample,
    layers.ZeroPadding2D: _pad,
    layers.ConstantPadding2D: _pad,
    layers.Add: _add,
    layers.Concatenate: _concatenate,
    **{
        getattr(layers, kind): _elementwise(name)
        for kind, name in {
            "ReLU": "relu",
            "LeakyReLU": "leaky_relu",
            "ELU": "elu",
            "SELU": "selu",
            "Softplus": "softplus",
            "Sigmoid": "sigmoid",
            "Tanh": "tanh",
            "GELU": "gelu",
            "SiLU": "silu",
            "Softmax": "softmax",
        }.items()
    },
}


def save(arrays):
    """Write arrays as two vectors and an index: hundreds of small files would be mostly headers."""
    parts = {"float32": [], "float64": []}
    for a in arrays.values():
        parts[a.dtype.name].append(a.ravel())
    index = [[name, a.dtype.name, list(a.shape)] for name, a in arrays.items()]
    vectors = {dtype: np.concatenate(flat) for dtype, flat in parts.items()}
    np.savez_compressed(FILE, index=np.array(json.dumps(index)), **vectors)


def load():
    """Return what `save` wrote, as {case: {name: array}}."""
    stored = np.load(FILE)
    rest = {dtype: stored[dtype] for dtype in ("float32", "float64")}
    arrays = {}
    for name, dtype, shape in json.loads(str(stored["index"])):
        size = int(np.prod(shape))
        case, _, part = name.partition("/")
        arrays.setdefault(case, {})[part] = rest[dtype][:size].reshape(shape)
        rest[dtype] = rest[dtype][size:]
    return arrays


def main():
    """Write the file beside this one."""
    kept = {}
    for seed, case in enumerate(CASES):
        arrays = problem(case, seed)
        kept |= {
            f"{case}/{name}": a.astype(np.float32) for name, a in arrays.items()
        }  # exact: they are coarse
        for mode in modes(case):
            values = torch_values(case, arrays, mode)
            kept |= {f"{case}/{mode}/{name}": a for name, a in values.items()}
    save(kept)


if __name__ == "__main__":
    main()
