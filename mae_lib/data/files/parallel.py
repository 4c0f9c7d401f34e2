"""Work in other processes, in order: decoding mostly.

Processes and not threads: Pillow frees Python's lock while it decodes and resizes, but what is
around it does not, and RandAugment's generators belong to the whole process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch.utils.data import DataLoader, Dataset

from mae_lib.data.files.decoding import BadImage


def parallel(function: Callable, items: Sequence, workers: int = 0) -> Iterator:
    """``function(item)`` for each item, in order, ahead of time in ``workers`` processes.

    With 0 workers it happens here, when asked for. A picture that cannot be used ends it with the
    worker's own error; ValueError: a negative number of workers.
    """
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if workers == 0:
        yield from map(function, items)
        return
    loader = DataLoader(_Calls(function, items), batch_size=None, num_workers=workers,
                        collate_fn=_unchanged)
    for result in loader:
        if isinstance(result, Exception):
            raise result
        yield result


class _Calls(Dataset):
    def __init__(self, function: Callable, items: Sequence):
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, k: int):
        try:
            return self.function(self.items[k])
        except BadImage as error:  # the loader would bury its sentence in a traceback
            return error


def _unchanged(result):
    return result
