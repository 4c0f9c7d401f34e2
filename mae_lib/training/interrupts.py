"""Ctrl-C, and being told to end, that wait for a consistent state."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the latter from schedulers and from torchrun


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold back the first Ctrl-C or SIGTERM in this block; the second one stops at once.

    Yields a function that says whether there was one, so that a loop can finish its step, save and
    raise KeyboardInterrupt itself. Outside the main thread, which alone gets signals, nothing
    changes.
    """
    pressed = threading.Event()

    def remember(*_) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    if None in before.values() or threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    for number in SIGNALS:
        signal.signal(number, remember)
    try:
        yield pressed.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
