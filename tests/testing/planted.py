"""Batch normalizations as learners write them: right ones in several styles, and mistakes to plant."""

from __future__ import annotations

import numpy as np


def flat(a):
    """Return (..., c) as (m, c)."""
    return a.reshape(-1, a.shape[-1])


def forward(x, gamma, beta, epsilon):
    """Two passes."""
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axis=axes), x.var(axis=axes)
    s = 1 / np.sqrt(var + epsilon)
    xhat = (x - mean) * s
    return gamma * xhat + beta, (xhat, s, gamma)


def backward(dy, cache):
    """dx in one line."""
    xhat, s, gamma = cache
    axes = tuple(range(dy.ndim - 1))
    m = dy.size // dy.shape[-1]
    dbeta, dgamma = dy.sum(axis=axes), (dy * xhat).sum(axis=axes)
    return gamma * s * (dy - (dbeta + xhat * dgamma) / m), dgamma, dbeta


def graph_forward(x, gamma, beta, epsilon):
    """One operation a line, on rows, as the course CS231n has it."""
    n = len(x)
    mu = 1.0 / n * np.sum(x, axis=0)
    xmu = x - mu
    sq = xmu**2
    var = 1.0 / n * np.sum(sq, axis=0)
    sqrtvar = np.sqrt(var + epsilon)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    gammax = gamma * xhat
    return gammax + beta, (xhat, gamma, xmu, ivar, sqrtvar, var, epsilon)


def graph_backward(dout, cache):
    """The same, backward."""
    xhat, gamma, xmu, ivar, sqrtvar, var, epsilon = cache
    n = len(dout)
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1.0 / (sqrtvar**2) * divar
    dvar = 0.5 * 1.0 / np.sqrt(var + epsilon) * dsqrtvar
    dsq = 1.0 / n * np.ones_like(dout) * dvar
    dxmu2 = 2 * xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dx1, axis=0)
    dx2 = 1.0 / n * np.ones_like(dout) * dmu
    return dx1 + dx2, dgamma, dbeta


def cs231n_forward(x, gamma, beta, bn_param):
    """The interface of that course's exercise, with both modes in one function."""
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    if bn_param["mode"] == "test":
        xhat = (x - bn_param["running_mean"]) / np.sqrt(bn_param["running_var"] + eps)
        return gamma * xhat + beta, None
    out, cache = graph_forward(x, gamma, beta, eps)
    for name, batch in (("running_mean", x.mean(axis=0)), ("running_var", x.var(axis=0))):
        bn_param[name] = momentum * bn_param[name] + (1 - momentum) * batch
    return out, cache


class SeedStyle:
    """A class that keeps what backward needs on itself, as ML-From-Scratch has it."""

    def __init__(self, gamma, beta, momentum=0.99, eps=0.01):
        self.gamma, self.beta, self.momentum, self.eps = gamma, beta, momentum, eps
        self.running_mean = self.running_var = None
        self.trainable = True

    def forward_pass(self, X, training=True):
        if self.running_mean is None:
            self.running_mean, self.running_var = np.mean(X, axis=0), np.var(X, axis=0)
        if training and self.trainable:
            mean, var = np.mean(X, axis=0), np.var(X, axis=0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mean, var = self.running_mean, self.running_var
        self.X_centered = X - mean
        self.stddev_inv = 1 / np.sqrt(var + self.eps)
        return self.gamma * self.X_centered * self.stddev_inv + self.beta

    def backward_pass(self, accum_grad):
        X_norm = self.X_centered * self.stddev_inv
        grad_gamma, grad_beta = np.sum(accum_grad * X_norm, axis=0), np.sum(accum_grad, axis=0)
        n = accum_grad.shape[0]
        dx = (1 / n) * self.gamma * self.stddev_inv
        dx = dx * (
            n * accum_grad
            - np.sum(accum_grad, axis=0)
            - self.X_centered * self.stddev_inv**2 * np.sum(accum_grad * self.X_centered, axis=0)
        )
        return dx, grad_gamma, grad_beta


def seed_forward(x, gamma, beta, epsilon):
    """The class as a function: the object is the cache."""
    layer = SeedStyle(gamma, beta, eps=epsilon)
    return layer.forward_pass(x), layer


def seed_inference(x, gamma, beta, running_mean, running_var, epsilon):
    """The class in inference; its backward is the batch's, which is a mistake of the original."""
    layer = SeedStyle(gamma, beta, eps=epsilon)
    layer.running_mean, layer.running_var = running_mean, running_var
    return layer.forward_pass(x, training=False), layer


def seed_backward(dy, layer):
    return layer.backward_pass(dy)


def inference(x, gamma, beta, running_mean, running_var, epsilon):
    return gamma * (x - running_mean) / np.sqrt(running_var + epsilon) + beta


def update(running_mean, running_var, x, momentum):
    """Keras' way, of the biased variance."""
    axes = tuple(range(x.ndim - 1))
    mean = momentum * running_mean + (1 - momentum) * x.mean(axis=axes)
    return mean, momentum * running_var + (1 - momentum) * x.var(axis=axes)


def statistics(x, over=None, ddof=0):
    axes = tuple(range(x.ndim - 1)) if over is None else over
    return x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True, ddof=ddof)


def with_s(make, *, over=None, ddof=0, finish=None):
    """Return a forward with another s, from (var, epsilon), or other statistics."""

    def mistaken(x, gamma, beta, epsilon):
        mean, var = statistics(x, over, ddof)
        s = make(var, epsilon)
        xhat = (x - mean) * s
        y = gamma * xhat + beta if finish is None else finish(xhat, gamma, beta)
        return y, (xhat, s.reshape(-1) if s.size == x.shape[-1] else s, gamma)

    return mistaken


def root(var, epsilon):
    return 1 / np.sqrt(var + epsilon)


def one_pass(x, gamma, beta, epsilon):
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    var = (x * x).mean(axis=axes) - mean**2
    s = 1 / np.sqrt(var + epsilon)
    xhat = (x - mean) * s
    return gamma * xhat + beta, (xhat, s, gamma)


def uncentred(x, gamma, beta, epsilon):
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    s = 1 / np.sqrt((x * x).mean(axis=axes) + epsilon)
    xhat = (x - mean) * s
    return gamma * xhat + beta, (xhat, s, gamma)


def in_place(x, gamma, beta, epsilon):
    axes = tuple(range(x.ndim - 1))
    x -= x.mean(axis=axes)
    s = 1 / np.sqrt(x.var(axis=axes) + epsilon)
    xhat = x * s
    return gamma * xhat + beta, (xhat, s, gamma)


def with_dx(rule):
    """Return a backward whose dx is another: of (dy, xhat, s, gamma, dbeta, dgamma, m, n)."""

    def mistaken(dy, cache):
        xhat, s, gamma = cache
        axes = tuple(range(dy.ndim - 1))
        dbeta, dgamma = dy.sum(axis=axes), (dy * xhat).sum(axis=axes)
        m, n = dy.size // dy.shape[-1], dy.shape[0]
        return rule(dy, xhat, s, gamma, dbeta, dgamma, m, n), dgamma, dbeta

    return mistaken


def with_parameters(rule):
    """Return a backward whose (dgamma, dbeta) are others: of (dy, xhat, s, gamma)."""

    def mistaken(dy, cache):
        dx, _, _ = backward(dy, cache)
        dgamma, dbeta = rule(dy, *cache)
        return dx, dgamma, dbeta

    return mistaken


def with_terms(direct=1.0, of_mean=1.0, of_var=1.0):
    """Return a backward in three terms, each times a number or a function of (gamma, s, m, n)."""

    def mistaken(dy, cache):
        xhat, s, gamma = cache
        axes = tuple(range(dy.ndim - 1))
        dbeta, dgamma = dy.sum(axis=axes), (dy * xhat).sum(axis=axes)
        m, n = dy.size // dy.shape[-1], dy.shape[0]
        a, b, c = (f(gamma, s, m, n) if callable(f) else f for f in (direct, of_mean, of_var))
        dx = gamma * s * (a * dy - b * dbeta / m - c * xhat * dgamma / m)
        return dx, dgamma, dbeta

    return mistaken
