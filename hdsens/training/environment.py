"""The process-wide settings that a training run needs, set for its time and put back after."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.distributions import Distribution

from hdsens.errors import InputError


@contextmanager
def training_environment(dtype: torch.dtype, threads: int) -> Iterator[None]:
    """Set default dtype, threads and denormals for training, and restore the caller's after it.

    Denormals are flushed to zero because cells near zero are many times slower on CPUs otherwise.
    Distributions check their arguments as in a new process: ``torch.compile``, at its first use,
    turns that off for good, and a cell's outcome would depend on what ran before it.
    """
    old_dtype, old_threads = torch.get_default_dtype(), torch.get_num_threads()
    old_checks, old_gradients = Distribution._validate_args, torch.is_grad_enabled()
    old_random, old_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 # what it replaces is what is kept
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        Distribution.set_default_validate_args(__debug__)
        try:
            yield
        finally:
            Distribution.set_default_validate_args(old_checks)
            torch.set_grad_enabled(old_gradients)
            torch.set_flush_denormal(False)
            torch.set_num_threads(old_threads)
            torch.set_default_dtype(old_dtype)
            random.setstate(old_random)
            np.random.set_state(old_numpy)  # noqa: NPY002 # the caller's own, given back


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(
            "--device", "must be auto, cpu, cuda or cuda:N", name, "use auto"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError("--device", "must be present on this machine", name, "use auto or cpu")
    if device.type not in ("cpu", "cuda"):
        raise InputError("--device", "must be auto, cpu, cuda or cuda:N", name, "use auto")
    return device
