"""A change of source that leaves every number as it was need not make hours of training stale.

Nobody's word is taken for it: results that became stale are computed again with the new source and
must be the same to the last bit. The change is then written down beside the published results,
with that evidence, and those results count as fresh.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from mae_lib import runs
from mae_lib.verify import Published, has_weights, published_only, read_all


def vouch(why: str, *, report: Callable[[str], object] = print) -> bool:
    """Show that changes of source since the published results change none of their numbers.

    Of each kind of result that is stale for its source alone, the one that took least time is
    computed anew, from nothing, and compared bit by bit. True if all agree; then the changes are
    recorded in ``source_changes.json``.

    Args:
        why: what was changed, in a sentence.

    Raises:
        ValueError: no reason given.
    """
    if not why.strip():
        raise ValueError(f"why must say what was changed, got {why!r}")
    with published_only():
        found, sound = read_all(report)
        stale = [kept for kept in found if kept.result.stale]
        sound &= all(_source_alone(kept, report) for kept in stale)
        good = sound and all([_same(kept, report) for kept in _cheapest(stale)])
    if good and stale:
        _record(stale, why)
    report(f"{len(stale)} results were out of date" + (", now vouched for" if good and stale
                                                       else ""))
    return good


def _source_alone(kept: Published, report) -> bool:
    """Whether nothing but source has changed: data and libraries cannot be vouched for."""
    other = [reason for reason in kept.result.stale if not reason.startswith("mae_lib")]
    for reason in other:
        report(f"FAILED {kept.name}: {reason}")
    return not other


def _cheapest(stale: list[Published]) -> list[Published]:
    """The quickest of each kind and data set that needs no training of its own."""
    chosen: dict[tuple, Published] = {}
    able = [kept for kept in stale if has_weights(kept)]
    for kept in sorted(able, key=lambda kept: kept.result.provenance["seconds"]):
        chosen.setdefault((kept.study.kind, getattr(kept.setting, "dataset", None)), kept)
    return list(chosen.values())


def _same(kept: Published, report) -> bool:
    again = kept.study.compute(kept.setting, "show", **kept.arguments)
    differ = [name for name, old in kept.result.value.items()
              if name not in UNREPEATABLE and not _equal(old, again.get(name))]
    report(f"{'FAILED' if differ else 'ok':6} {kept.name}: computed anew"
           + (f", differs in {', '.join(differ)}" if differ else ", equal to the last bit"))
    return not differ


UNREPEATABLE = ("images_per_second",)


def _equal(old, new) -> bool:
    if isinstance(old, dict):
        return isinstance(new, dict) and old.keys() == new.keys() and all(
            _equal(old[name], new[name]) for name in old)
    if type(old).__module__.partition(".")[0] in ("torch", "numpy"):
        return np.array_equal(np.asarray(old), np.asarray(new), equal_nan=True)
    return runs.canonical(old) == runs.canonical(new)


def _record(stale: list[Published], why: str) -> None:
    """Each change of a module once, with the results it was tried on."""
    tried = [kept.name for kept in _cheapest(stale)]
    evidence = (f"computed anew on {datetime.now(UTC):%Y-%m-%d} ({runs.hardware()}), equal to the "
                f"last bit: {', '.join(tried)}")
    changes = runs.vouched()
    for kept in stale:
        then, now = kept.result.provenance["freshness"], kept.key.freshness()
        changes += [{"module": name, "before": then.get(name), "after": now.get(name), "why": why,
                     "evidence": evidence} for name in sorted(then.keys() | now.keys())
                    if name.startswith("mae_lib") and then.get(name) != now.get(name)]
    once = {(c["module"], c["before"], c["after"]): c for c in reversed(changes)}
    text = json.dumps(list(once.values())[::-1], indent=1) + "\n"
    (runs.published_folder() / "source_changes.json").write_text(text)
