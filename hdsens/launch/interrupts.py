"""Ctrl-C and SIGTERM: the first keeps what is finished, the second ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = "stopping: what is finished is kept; once more ends at once"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Takes both signals while a run lasts; outside the main thread it leaves them alone.

    The first one is answered at once with a line on standard error. It then raises
    KeyboardInterrupt, except while something is `held`, which ends first. The second one goes to
    whoever took the signals before.
    """

    def __init__(self) -> None:
        self.asked = False
        self._held = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in _SIGNALS}
            self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Install the handlers, again after a library has replaced them."""
        for number in self._before:
            signal.signal(number, self._interrupt)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay a first signal until this context ends."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        self.check()

    def check(self) -> None:
        """Raise KeyboardInterrupt where a signal has come and nothing is held."""
        if self.asked and not self._held:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
        self.asked = True
        os.write(2, f"\nhdsens: {STOPPING}\n".encode())  # print() may be what was interrupted
        self.check()
