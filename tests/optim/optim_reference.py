"""Hypergradient descent in float64 NumPy, written from the paper and nothing else.

Algorithms 4-6 of arXiv 1703.04782, Eq. 8 for the multiplicative rule and Section 5.1 for the
transition. Every direction u_t is kept as it was; nothing is made again from moments.
"""

from __future__ import annotations

import numpy as np


class ReferenceGroup:
    """Parameters that share one learning rate; `step` takes one gradient a parameter."""

    def __init__(self, params, algorithm, lr, hypergrad_lr, **options):
        self.params = [np.array(p, dtype=np.float64) for p in params]
        self.algorithm, self.lr, self.beta = algorithm, float(lr), hypergrad_lr
        self.o = {
            "momentum": 0.0,
            "dampening": 0.0,
            "nesterov": False,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "amsgrad": False,
            "weight_decay": 0.0,
            "decoupled_weight_decay": False,
            "rule": "additive",
            "transition": None,
            "lr_bounds": None,
            "maximize": False,
        } | options
        self.t = 0
        self.taken = [0] * len(params)
        self.u = [np.zeros_like(p) for p in self.params]
        self.v = [None] * len(params)
        self.m1 = [np.zeros_like(p) for p in self.params]
        self.m2 = [np.zeros_like(p) for p in self.params]
        self.m2_max = [np.zeros_like(p) for p in self.params]

    def step(self, gradients):
        """One step; a gradient of None leaves its parameter alone, so that its u_t is 0."""
        active = [i for i, gradient in enumerate(gradients) if gradient is not None]
        g = [np.zeros_like(p) for p in self.params]
        for i in active:
            g[i] = self.descent_gradient(self.params[i], gradients[i])
        if active:
            self.adapt(g, active)
            self.t += 1
        gamma = self.step_size()
        self.u = [np.zeros_like(p) for p in self.params]
        for i in active:
            self.taken[i] += 1
            self.u[i] = self.sgd(i, g[i]) if self.algorithm == "sgd" else self.adam(i, g[i])
            if self.o["decoupled_weight_decay"]:
                self.params[i] = self.params[i] * (1 - gamma * self.o["weight_decay"])
            self.params[i] = self.params[i] - gamma * self.u[i]

    def descent_gradient(self, param, gradient):
        g = -gradient if self.o["maximize"] else gradient
        return g if self.o["decoupled_weight_decay"] else g + self.o["weight_decay"] * param

    def adapt(self, g, active):
        h = sum(np.sum(a * b) for a, b in zip(g, self.u, strict=True))
        if self.o["rule"] == "additive":
            self.lr = self.lr + self.beta * h
        else:
            g_norm = np.sqrt(sum(np.sum(a * a) for a in g))
            u_norm = np.sqrt(sum(np.sum(self.u[i] ** 2) for i in active))
            cosine = h / (g_norm * u_norm) if g_norm * u_norm > 0 else 0.0
            self.lr = self.lr * (1 + self.beta * cosine)
        if self.o["lr_bounds"] is not None:
            self.lr = float(np.clip(self.lr, *self.o["lr_bounds"]))

    def step_size(self):
        if self.o["transition"] is None or self.t == 0:
            return self.lr
        final, power = self.o["transition"]
        delta = 1 / self.t**power
        return delta * self.lr + (1 - delta) * final

    def sgd(self, i, g):
        mu = self.o["momentum"]
        if mu == 0:
            return g
        first = self.v[i] is None
        self.v[i] = g if first else mu * self.v[i] + (1 - self.o["dampening"]) * g
        return g + mu * self.v[i] if self.o["nesterov"] else self.v[i]

    def adam(self, i, g):
        b1, b2 = self.o["betas"]
        self.m1[i] = b1 * self.m1[i] + (1 - b1) * g
        self.m2[i] = b2 * self.m2[i] + (1 - b2) * g * g
        self.m2_max[i] = np.maximum(self.m2_max[i], self.m2[i])
        second = self.m2_max[i] if self.o["amsgrad"] else self.m2[i]
        m_hat, v_hat = self.m1[i] / (1 - b1 ** self.taken[i]), second / (1 - b2 ** self.taken[i])
        return m_hat / (np.sqrt(v_hat) + self.o["eps"])
