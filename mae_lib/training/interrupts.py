"""Ctrl-C that waits for a consistent state."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C in this block; the second one stops at once.

    Yields a function that says whether Ctrl-C was pressed, so that a loop can finish its step, save
    and raise KeyboardInterrupt itself. Outside the main thread, which alone gets signals, nothing
    changes.
    """
    pressed = threading.Event()

    def remember(*_) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = signal.getsignal(signal.SIGINT)
    if before is None or threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
