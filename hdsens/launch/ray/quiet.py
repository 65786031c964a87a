"""Silence what Ray prints about dead processes on the driver's standard output.

The private name of Ray that this takes is in this file only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_rays_words() -> Iterator[None]:
    """Keep Ray from printing meanwhile; what the caller prints is left alone.

    It would print half a page for each worker that dies, beside the progress bar, and where a run
    prints nothing but its results folder. With a Ray that has other names it does.
    """
    try:
        from ray._private import worker

        before = worker.print_to_stdstream
    except (ImportError, AttributeError):
        yield
        return
    worker.print_to_stdstream = lambda *args, **options: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before
