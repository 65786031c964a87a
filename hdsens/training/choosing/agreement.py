"""Check by one forward and backward pass that a pack computes what the model alone computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hdsens.training.examples import Split
from hdsens.training.fused.stack import Stack, backward_cells, evaluate_cells
from hdsens.training.job import Job, evaluate

_GRADIENT_SHARE = {"float32": 1e-3, "float64": 1e-9}  # measured: docs/decisions/agreement.md
_GRADIENT_SHARE_ON_CUDA = 1e-2  # convolutions may round to TF32 there; not measured


def compare_first_pass(job: Job, seed: int, batch: Split) -> Stack:
    """Compare a pack of two fresh models with one alone, and return the pack after its pass.

    Raises:
        RuntimeError: losses, gradients, buffers or an evaluation differ.
        Exception: whatever the model raises under vmap.
    """
    stack, alone = Stack.of(job.fresh_model(seed), 2), job.fresh_model(seed)
    job.seed_step(seed, 1)
    losses, gradients = backward_cells(stack, _copy(batch), job.loss)
    job.seed_step(seed, 1)
    loss = job.loss.mean(alone.train()(_copy(batch).inputs), batch.targets)
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    dtype = job.study.task.dtype
    bound = _GRADIENT_SHARE_ON_CUDA if job.device.type == "cuda" else _GRADIENT_SHARE[dtype]
    for row, together in enumerate(losses.tolist()):
        check_number("the first loss", together, loss.item(), dtype)
        _compare_gradients({name: g[row] for name, g in gradients.items()}, alone, bound)
        check_buffers({name: b[row] for name, b in stack.buffers.items()}, alone, dtype)
    compare_evaluations(job, seed, stack, [alone, None], batch)
    return stack


def compare_evaluations(
    job: Job, seed: int, stack: Stack, alone: Sequence[nn.Module | None], split: Split
) -> None:
    """Compare the evaluation of each cell of a pack with that of its model alone, where given."""
    job.seed_step(seed, 1)  # some models draw in evaluations too
    for evaluation, model in zip(evaluate_cells(stack, split, job.loss), alone, strict=True):
        if model is not None:
            job.seed_step(seed, 1)
            expected = evaluate(model, split, job.loss).loss
            check_number("the evaluated loss", evaluation.loss, expected, job.study.task.dtype)


def _copy(batch: Split) -> Split:
    """Copy a minibatch, because a model may write into its inputs."""
    return Split(batch.inputs.clone(), batch.targets)


def _compare_gradients(together: Mapping[str, Tensor], alone: nn.Module, bound: float) -> None:
    """Compare the gradients of all parameters as one vector: those near 0 are rounding alone.

    That is what tells computation that got lost: a few steps of training hide it.
    """
    expected = {n: p.grad for n, p in alone.named_parameters() if p.grad is not None}
    if together.keys() != expected.keys():
        raise RuntimeError("together, other parameters get a gradient")
    apart = norm([together[name] - gradient for name, gradient in expected.items()])
    size = norm(list(expected.values()))
    if not apart <= bound * size:
        raise RuntimeError(f"together, gradients differ by {apart:.3g}, alone they are {size:.3g}")


def check_buffers(together: Mapping[str, Tensor], alone: nn.Module, dtype: str) -> None:
    """Compare each buffer at the entry that differs most."""
    for name, buffer in alone.named_buffers():
        pair = (together[name].double().flatten(), buffer.double().flatten())
        if buffer.numel():
            worst = int((pair[0] - pair[1]).abs().argmax())
            check_number(f"buffer {name!r}", pair[0][worst].item(), pair[1][worst].item(), dtype)


def check_number(what: str, together: float, alone: float, dtype: str) -> None:
    """Refuse two numbers that differ by more than rounding, some of it enlarged by training."""
    bound = {"float32": 1e-3, "float64": 1e-8}[dtype] * max(1.0, abs(alone))
    if not abs(together - alone) <= bound:
        raise RuntimeError(f"together, {what} is {together}, alone {alone}")


def norm(tensors: Sequence[Tensor]) -> float:
    """Return the norm of all numbers together; empty tensors add nothing."""
    return torch.nn.utils.get_total_norm(tensors).item()
