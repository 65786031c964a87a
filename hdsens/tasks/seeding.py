"""Global state for a person's data factory, so that it gives the same data in every process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_SEED = 0


@contextmanager
def fixed_generators() -> Iterator[None]:
    """NumPy's, Python's and torch's generators at one seed; the caller's state comes back."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 # what people draw from
    try:
        random.seed(_SEED)
        np.random.seed(_SEED)  # noqa: NPY002 # likewise
        with _fixed_torch():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 # likewise


@contextmanager
def _fixed_torch() -> Iterator[None]:
    import torch  # seconds, and registered data need none of it

    state, dtype = torch.random.get_rng_state(), torch.get_default_dtype()
    torch.default_generator.manual_seed(_SEED)
    torch.set_default_dtype(torch.float32)  # a study's own would give other draws
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
        torch.set_default_dtype(dtype)
