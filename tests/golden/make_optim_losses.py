"""Make optim.npz and losses.npz: what PyTorch computes, for tests that run without it.

Run ``python tests/golden/make_optim_losses.py`` where torch 2.13 is installed. Tests also call its functions.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

STEPS = 50
KEPT = [0, 1, 9, 49]
SHAPES = {"weight": (4, 5), "bias": (5,)}

# name: (our configuration, PyTorch's class, its arguments)
RULES = {
    "sgd": ({"class": "SGD", "lr": 0.05}, "SGD", {"lr": 0.05}),
    "sgd decay": (
        {"class": "SGD", "lr": 0.05, "weight_decay": 0.3},
        "SGD",
        {"lr": 0.05, "weight_decay": 0.3},
    ),
    "sgd momentum": (
        {"class": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.1},
        "SGD",
        {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1},
    ),
    "sgd dampening": (
        {"class": "SGD", "lr": 0.05, "momentum": 0.8, "dampening": 0.3},
        "SGD",
        {"lr": 0.05, "momentum": 0.8, "dampening": 0.3},
    ),
    "sgd nesterov": (
        {"class": "SGD", "lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        "SGD",
        {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ),
    "adagrad": ({"class": "Adagrad", "lr": 0.1}, "Adagrad", {"lr": 0.1}),
    "adagrad decay": (
        {"class": "Adagrad", "lr": 0.1, "initial_accumulator_value": 0.2, "weight_decay": 0.3},
        "Adagrad",
        {"lr": 0.1, "initial_accumulator_value": 0.2, "weight_decay": 0.3},
    ),
    "adadelta": ({"class": "Adadelta"}, "Adadelta", {}),
    "adadelta decay": (
        {"class": "Adadelta", "lr": 2.0, "rho": 0.95, "epsilon": 1e-3, "weight_decay": 0.3},
        "Adadelta",
        {"lr": 2.0, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.3},
    ),
    "rmsprop": ({"class": "RMSprop"}, "RMSprop", {}),
    "rmsprop momentum": (
        {"class": "RMSprop", "lr": 0.01, "rho": 0.9, "momentum": 0.8},
        "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.8},
    ),
    "rmsprop centered": (
        {"class": "RMSprop", "lr": 0.01, "rho": 0.9, "centered": True, "epsilon": 1e-3},
        "RMSprop",
        {"lr": 0.01, "alpha": 0.9, "centered": True, "eps": 1e-3},
    ),
    "rmsprop all": (
        {"class": "RMSprop", "lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.3},
        "RMSprop",
        {"lr": 0.01, "momentum": 0.5, "centered": True, "weight_decay": 0.3},
    ),
    "adam": ({"class": "Adam"}, "Adam", {}),
    "adam decay": (
        {"class": "Adam", "lr": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "weight_decay": 0.3},
        "Adam",
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "adamw": ({"class": "AdamW"}, "AdamW", {}),
    "adamw decay": (
        {"class": "AdamW", "lr": 0.05, "weight_decay": 0.5},
        "AdamW",
        {"lr": 0.05, "weight_decay": 0.5},
    ),
    "groups": (
        {
            "class": "Adam",
            "lr": 0.05,
            "weight_decay": 0.2,
            "groups": [{"match": "bias", "lr_scale": 0.1, "weight_decay": 0.7}],
        },
        "Adam",
        {"lr": 0.05, "weight_decay": 0.2, "bias": {"lr": 0.005, "weight_decay": 0.7}},
    ),
    "clipped": (
        {"class": "SGD", "lr": 0.05, "momentum": 0.9, "global_clipnorm": 5.0},
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "clip": 5.0},
    ),
}

# name: (our configuration, PyTorch's class, its arguments)
SCHEDULES = {
    "step": (
        {"class": "Step", "lr": 0.3, "every": 7, "gamma": 0.5},
        "StepLR",
        {"step_size": 7, "gamma": 0.5},
    ),
    "cosine": (
        {"class": "Cosine", "lr": 0.3, "steps": 40, "final": 0.01},
        "CosineAnnealingLR",
        {"T_max": 40, "eta_min": 0.01},
    ),
    "one-cycle": (
        {"class": "OneCycle", "max_lr": 0.3, "steps": 40},
        "OneCycleLR",
        {"max_lr": 0.3, "total_steps": 40},
    ),
    "one-cycle linear": (
        {
            "class": "OneCycle",
            "max_lr": 0.3,
            "steps": 40,
            "pct_start": 0.45,
            "div_factor": 10.0,
            "final_div_factor": 50.0,
            "anneal_strategy": "linear",
        },
        "OneCycleLR",
        {
            "max_lr": 0.3,
            "total_steps": 40,
            "pct_start": 0.45,
            "div_factor": 10.0,
            "final_div_factor": 50.0,
            "anneal_strategy": "linear",
        },
    ),
    "warm-up": ({"class": "WarmUp", "lr": 0.3, "steps": 8}, "LinearLR", {"steps": 8}),
    "warm-up cosine": (
        {"class": "WarmUp", "lr": {"class": "Cosine", "lr": 0.3, "steps": 32}, "steps": 8},
        "SequentialLR",
        {"steps": 8, "T_max": 32},
    ),
}


def problem(seed):
    """Return start, target and noise, of all parameters in one vector: g_t = noise_t + (p - target)/2."""
    rng = np.random.default_rng(seed)
    size = sum(int(np.prod(shape)) for shape in SHAPES.values())
    return rng.normal(size=size), rng.normal(size=size), rng.normal(size=(STEPS, size))


def split(vector):
    """Return the parameters that lie in a vector."""
    parts, start = {}, 0
    for name, shape in SHAPES.items():
        stop = start + int(np.prod(shape))
        parts[name] = vector[start:stop].reshape(shape)
        start = stop
    return parts


def torch_trajectory(rule, start, target, noise, dtype):
    """Return where PyTorch's optimizer is after each step, (steps, size)."""
    import torch

    _, kind, arguments = RULES[rule]
    arguments = dict(arguments)
    clip, bias = arguments.pop("clip", None), arguments.pop("bias", None)
    parameters = {name: torch.nn.Parameter(torch.tensor(p.astype(dtype))) for name, p in split(start).items()}
    groups = [{"params": [parameters["weight"]]}, {"params": [parameters["bias"]], **(bias or {})}]
    optimizer = getattr(torch.optim, kind)(groups if bias else list(parameters.values()), **arguments)
    targets = split(target.astype(dtype))
    places = []
    for noise_t in noise.astype(dtype):
        for name, n in split(noise_t).items():
            parameters[name].grad = (
                torch.tensor(n) + (parameters[name].detach() - torch.tensor(targets[name])) / 2
            )
        if clip:
            torch.nn.utils.clip_grad_norm_(list(parameters.values()), clip)
        optimizer.step()
        places.append(np.concatenate([p.detach().numpy().ravel() for p in parameters.values()]))
    return np.stack(places)


def torch_schedule(name, steps=40):
    """Return PyTorch's learning rate at each step."""
    import torch

    _, kind, arguments = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedulers = torch.optim.lr_scheduler
    if "steps" in arguments:
        n = arguments["steps"]
        scheduler = schedulers.LinearLR(optimizer, start_factor=1 / n, total_iters=n - 1)
        if kind == "SequentialLR":
            cosine = schedulers.CosineAnnealingLR(optimizer, T_max=arguments["T_max"])
            scheduler = schedulers.SequentialLR(optimizer, [scheduler, cosine], milestones=[n])
    else:
        scheduler = getattr(schedulers, kind)(optimizer, **arguments)
    rates = []
    for t in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if t < steps - 1:
            scheduler.step()
    return np.array(rates)


def loss_problem(seed, dtype):
    """Return inputs of all losses."""
    rng = np.random.default_rng(seed)
    t = rng.random((7, 5))
    return {
        "z": (3 * rng.normal(size=(7, 5))).astype(dtype),
        "labels": rng.integers(0, 5, 7),
        "probabilities": (t / t.sum(axis=1, keepdims=True)).astype(dtype),
        "binary": rng.integers(0, 2, (7, 5)).astype(dtype),
        "targets": rng.normal(size=(7, 5)).astype(dtype),
    }


# name: (our configuration, which of the inputs are the labels)
LOSSES = {
    "cross entropy": ({"class": "CrossEntropy"}, "labels"),
    "cross entropy smoothed": ({"class": "CrossEntropy", "label_smoothing": 0.1}, "labels"),
    "cross entropy probabilities": ({"class": "CrossEntropy"}, "probabilities"),
    "cross entropy probabilities smoothed": (
        {"class": "CrossEntropy", "label_smoothing": 0.2},
        "probabilities",
    ),
    "binary cross entropy": ({"class": "BinaryCrossEntropy"}, "binary"),
    "binary cross entropy probabilities": ({"class": "BinaryCrossEntropy"}, "probabilities"),
    "mean squared error": ({"class": "MeanSquaredError"}, "targets"),
}


def torch_loss(name, inputs):
    """Return PyTorch's value and gradient."""
    import torch

    config, labels = LOSSES[name]
    loss = {
        "CrossEntropy": lambda: torch.nn.CrossEntropyLoss(label_smoothing=config.get("label_smoothing", 0.0)),
        "BinaryCrossEntropy": torch.nn.BCEWithLogitsLoss,
        "MeanSquaredError": torch.nn.MSELoss,
    }[config["class"]]()
    z = torch.tensor(inputs["z"], requires_grad=True)
    value = loss(z, torch.tensor(inputs[labels]))
    value.backward()
    return value.item(), z.grad.numpy()


def main():
    """Write both files beside this one."""
    start, target, noise = problem(0)
    optim = {"start": start, "target": target, "noise": noise}
    optim["rules"] = np.array(json.dumps({name: rule[0] for name, rule in RULES.items()}))
    optim["schedules"] = np.array(json.dumps({name: schedule[0] for name, schedule in SCHEDULES.items()}))
    for name in RULES:
        for dtype in ("float64", "float32"):
            optim[f"{name}/{dtype}"] = torch_trajectory(name, start, target, noise, dtype)[KEPT]
    for name in SCHEDULES:
        optim[f"{name}/lr"] = torch_schedule(name)
    losses = {"losses": np.array(json.dumps(LOSSES))}
    for dtype in ("float64", "float32"):
        inputs = loss_problem(1, dtype)
        losses |= {f"{key}/{dtype}": value for key, value in inputs.items()}
        for name in LOSSES:
            value, dz = torch_loss(name, inputs)
            losses |= {f"{name}/value/{dtype}": np.array(value), f"{name}/dz/{dtype}": dz}
    here = Path(__file__).parent
    np.savez_compressed(here / "optim.npz", **optim)
    np.savez_compressed(here / "losses.npz", **losses)


if __name__ == "__main__":
    main()
