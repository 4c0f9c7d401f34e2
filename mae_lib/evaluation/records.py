"""One row a measurement, with the value of every item kept, since paired tests need them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class EvalRecord:
    """One number, what it was measured on, and how.

    Args:
        setting: what tells the model from others (ratio, unit, patch, target, ...). All of it:
            two models of Kong et al., Table 1 share ratio and unit.
        seed: of the pretraining run.
        dataset, split: what was measured on; ``n`` items in all.
        protocol, metric: how, for example ``"unmasked"`` and ``"ssim"``.
        value: mean over the items, None if not tested.
        items: one value an item ``[n]``, in the order of the data set.
        status, reason: ``"ok"``, or ``"not tested"`` and why.

    Raises:
        ValueError: items that are not ``n`` numbers; a value without status ``"ok"``, or the other
            way round; a value that is not finite; ``"not tested"`` without a reason.
    """

    setting: dict
    seed: int
    dataset: str
    split: str
    protocol: str
    metric: str
    value: float | None
    n: int
    items: np.ndarray | None = None
    status: str = "ok"
    reason: str = ""

    def __post_init__(self) -> None:
        if self.status not in ("ok", "not tested"):
            raise ValueError(f"status must be 'ok' or 'not tested', got {self.status!r}")
        if (self.value is None) != (self.status == "not tested"):
            raise ValueError(f"value must be None exactly if not tested, "
                             f"got {self.value} with status {self.status!r}")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"value of {self.protocol} {self.metric} must be finite, "
                             f"got {self.value}")
        if self.status == "not tested" and not self.reason:
            raise ValueError("reason must say why a record is not tested, got an empty text")
        if self.items is not None and np.shape(self.items) != (self.n,):
            raise ValueError(f"items must have shape [{self.n}], got {list(np.shape(self.items))}")

    def to_dict(self) -> dict:
        """Everything but ``items``, as JSON can hold it."""
        return {k: v for k, v in asdict(self).items() if k != "items"}


def records_of(values: Mapping[str, np.ndarray], *, setting: dict, seed: int, dataset: str,
               split: str, protocol: str) -> list[EvalRecord]:
    """One record for each metric of ``{metric: values of the items [n]}``."""
    means = {metric: float(np.mean(items, dtype=np.float64)) for metric, items in values.items()}
    return [EvalRecord(setting, seed, dataset, split, protocol, metric, means[metric],
                       len(items), np.asarray(items)) for metric, items in values.items()]


def not_tested(reason: str, *, setting: dict, seed: int, dataset: str, split: str, protocol: str,
               metric: str) -> EvalRecord:
    """The record of a measurement that could not run. It has no value, in particular not 0."""
    return EvalRecord(setting, seed, dataset, split, protocol, metric, None, 0,
                      status="not tested", reason=reason)


def to_value(records: Iterable[EvalRecord]) -> dict:
    """Records as one dict of JSON-able rows and arrays, ready to be stored as a result:
    ``{"records": rows, "items/<row>": [n], ...}``."""
    records = list(records)
    arrays = {f"items/{i}": r.items for i, r in enumerate(records) if r.items is not None}
    return {"records": [r.to_dict() for r in records], **arrays}


def from_value(value: Mapping) -> list[EvalRecord]:
    """The inverse of :func:`to_value`."""
    return [EvalRecord(**row, items=value.get(f"items/{i}"))
            for i, row in enumerate(value["records"])]


def frame(records: Iterable[EvalRecord]) -> pd.DataFrame:
    """One row a record, the keys of ``setting`` as columns of their own, without ``items``."""
    rows = [r.to_dict() for r in records]
    return pd.DataFrame([{**row.pop("setting"), **row} for row in rows])


def paired_items(a: EvalRecord, b: EvalRecord) -> tuple[np.ndarray, np.ndarray]:
    """The items of two records of the same items, for a paired test.

    Raises:
        ValueError: records of different data, metric or number of items, or without items.
    """
    for name in ("dataset", "split", "protocol", "metric", "n"):
        mine, other = getattr(a, name), getattr(b, name)
        if mine != other:
            raise ValueError(f"paired records must have the same {name}, got {mine} and {other}")
    if a.items is None or b.items is None:
        raise ValueError("paired records must hold items, got None")
    return a.items, b.items
