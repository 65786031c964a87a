"""Problems with gradients written out by hand, in float64 NumPy."""

from __future__ import annotations

import numpy as np


def quadratic(rng):
    """½ (w − c)ᵀ A (w − c) over two tensors, eigenvalues of A in [0.1, 1]."""
    basis, _ = np.linalg.qr(rng.normal(size=(7, 7)))
    a = basis @ np.diag(np.linspace(0.1, 1.0, 7)) @ basis.T
    c = rng.normal(size=7)

    def gradients(params):
        flat = a @ (np.concatenate([p.ravel() for p in params]) - c)
        return [flat[:4].reshape(2, 2), flat[4:]]

    return [rng.normal(size=(2, 2)), rng.normal(size=3)], gradients


def logistic(rng):
    """Binary logistic regression with a bias, 40 examples."""
    x = rng.normal(size=(40, 3))
    y = (x @ np.array([1.0, -2.0, 0.5]) + rng.normal(size=40) > 0).astype(float)

    def gradients(params):
        w, b = params
        residual = (1 / (1 + np.exp(-(x @ w + b))) - y) / len(y)
        return [x.T @ residual, residual.sum(keepdims=True)]

    return [rng.normal(size=3), rng.normal(size=1)], gradients


def mlp(rng):
    """One tanh layer, squared error, 30 examples."""
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 1))

    def gradients(params):
        w1, b1, w2, b2 = params
        hidden = np.tanh(x @ w1 + b1)
        error = 2 * (hidden @ w2 + b2 - y) / len(y)
        back = error @ w2.T * (1 - hidden**2)
        return [x.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]

    shapes = [(3, 5), (5,), (5, 1), (1,)]
    return [rng.normal(size=s) * 0.5 for s in shapes], gradients


PROBLEMS = {"quadratic": quadratic, "logistic": logistic, "mlp": mlp}
