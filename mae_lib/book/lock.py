"""One builder at a time in one folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mae_lib.book.chapters import BookError


class Busy(BookError):
    """Another process is at work in this folder."""

    exit_code = 1


@contextmanager
def only_builder(root: Path) -> Iterator[None]:
    """Hold `_build/mae-book.lock`; raises Busy, naming the process that has it.

    The system frees the lock when its holder ends, however it ends.
    """
    path = root / "_build" / "mae-book.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Busy(
                f"another mae-book (process {holder}) is at work in {root}: wait for it to end"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
