"""The same cells in JAX: ``jit(vmap(scan))`` over cells and steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from hdsens.study.cells import Cell
from hdsens.training.examples import Split
from hdsens.training.job import Job
from hdsens.training.randomness import epoch_order

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    AVAILABLE, VERSIONS = False, ()
else:
    # XLA makes its threads here: on one CPU, so that it runs on one as the others do.
    _cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(_cpus)})
    jax.devices()
    os.sched_setaffinity(0, _cpus)
    AVAILABLE, VERSIONS = True, (f"jax {jax.__version__}",)

MOMENTUM, WEIGHT_DECAY, BATCH, EVALUATION_BATCH = 0.9, 1e-4, 128, 1000


def program(job: Job, cells: Sequence[Cell]) -> tuple[Callable[[], float], float]:
    """What trains and evaluates the cells and gives its seconds; seconds of compilation."""
    model = job.fresh_model(cells[0].seed)
    tensors = [p.detach().cpu().numpy() for p in model.parameters()]
    start = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in zip(*[iter(tensors)] * 2, strict=True)]
    arguments = (
        start,
        jnp.asarray([c.factors["lr"] for c in cells], dtype=jnp.float32),
        jnp.asarray([c.factors["hypergrad_lr"] for c in cells], dtype=jnp.float32),
        jnp.asarray(_batch_rows(job, cells[0])),
        *_arrays(job.examples.train),
        *_arrays(job.examples.valid),
    )
    started = time.perf_counter()
    compiled = jax.jit(_train_all).lower(*arguments).compile()
    compile_s = time.perf_counter() - started

    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        return time.perf_counter() - began

    return run, compile_s


def _batch_rows(job: Job, cell: Cell) -> np.ndarray:
    """Rows of each step `(steps, BATCH)`; JAX wants one shape, so short batches wrap around."""
    n = job.examples.n_train
    per_epoch = -(-n // BATCH)
    epochs = -(-cell.steps // per_epoch)
    order = [np.resize(epoch_order(cell.seed, e, n), per_epoch * BATCH) for e in range(epochs)]
    return np.concatenate(order).reshape(-1, BATCH)[: cell.steps].astype(np.int32)


def _arrays(split: Split) -> tuple[Any, Any]:
    return jnp.asarray(split.inputs.flatten(1).numpy(force=True)), jnp.asarray(
        split.targets.to(torch.int32).numpy(force=True)
    )


def _train_all(params, lrs, rates, rows, x, y, valid_x, valid_y):  # type: ignore[no-untyped-def]
    def train_one(lr, rate):  # type: ignore[no-untyped-def]
        zeros = jax.tree.map(jnp.zeros_like, params)

        def update(carry, batch):  # type: ignore[no-untyped-def]
            theta, velocity, direction, lr = carry
            loss, g = jax.value_and_grad(_loss)(theta, x[batch], y[batch])
            g = jax.tree.map(lambda a, t: a + WEIGHT_DECAY * t, g, theta)
            dots = jax.tree.map(lambda a, b: (a * b).sum(), g, direction)
            lr = lr + rate * sum(jax.tree.leaves(dots))
            velocity = jax.tree.map(lambda v, a: MOMENTUM * v + a, velocity, g)
            direction = jax.tree.map(lambda a, v: a + MOMENTUM * v, g, velocity)
            theta = jax.tree.map(lambda t, u: t - lr * u, theta, direction)
            return (theta, velocity, direction, lr), (loss, lr)

        (theta, _, _, lr), history = jax.lax.scan(update, (params, zeros, zeros, lr), rows)
        return _evaluate(theta, x, y), _evaluate(theta, valid_x, valid_y), history

    return jax.vmap(train_one)(lrs, rates)


def _evaluate(theta, x, y):  # type: ignore[no-untyped-def]
    whole = len(y) // EVALUATION_BATCH * EVALUATION_BATCH
    xs = x[:whole].reshape(-1, EVALUATION_BATCH, x.shape[1])
    ys = y[:whole].reshape(-1, EVALUATION_BATCH)

    def add(total, batch):  # type: ignore[no-untyped-def]
        logits = _logits(theta, batch[0])
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), batch[1][:, None], 1)
        hits = (logits.argmax(1) == batch[1]).sum()
        return (total[0] - picked.sum(), total[1] + hits), None

    return jax.lax.scan(add, (jnp.float32(0), jnp.int32(0)), (xs, ys))[0]


def _loss(theta, x, y):  # type: ignore[no-untyped-def]
    return -jnp.take_along_axis(jax.nn.log_softmax(_logits(theta, x)), y[:, None], 1).mean()


def _logits(theta, x):  # type: ignore[no-untyped-def]
    for weight, bias in theta[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = theta[-1]
    return x @ weight + bias
