"""What Tables 1 and 4 of Kong et al. share: probes on every test set, their numbers and ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import logit

from mae_lib.data.official.variants import variant_spec
from mae_lib.data.protocols import Images
from mae_lib.data.shifts import SHIFTS
from mae_lib.evaluation.robustness import effective_robustness
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.pages import present
from mae_lib.studies import Plan, Sweep
from mae_lib.studies.robustness import VARIANT_SPLITS, shifted_images, variant_of

PLAIN = "plain"
COLUMNS = {PLAIN: "IN1K", **SHIFTS}  # of Kong et al., by our test sets
PAPER = "Kong et al."
LOOKED_AT = 128  # images of each set, among which a class is found


def of(*sweeps: Sweep) -> pd.DataFrame:
    """Accuracies of linear probes with their intervals, one row a setting, features and test set.

    A summary (:func:`mae_lib.ledger.summary.summarise`) under readers' names, with a column
    ``test set``; sets come in the order of Table 1. What was not tested is not there.
    """
    found = defaultdict(list)
    for record in (record for sweep in sweeps for record in sweep.records):
        if record.protocol.startswith(("linear probe", "robustness")) and record.status == "ok":
            found[PLAIN if record.split == "test" else record.split].append(record)
    parts = [present.named(summarise(found[name])).assign(**{"test set": name})
             for name in COLUMNS if name in found]
    if not parts:
        return summarise([]).assign(**{"test set": ""})
    return pd.concat(parts, ignore_index=True)


def beside_paper(found: pd.DataFrame, level: str, printed: pd.DataFrame) -> pd.DataFrame:
    """One row a test set and level, the class token's: the printed number (%) and ours with
    intervals. Below the plain set the same for the mean token, which the paper did not probe.

    Args:
        found: rows of :func:`of`, one for each data set, test set, features and level.
        level: the column that is varied.
        printed: rows of a table of the paper, indexed by our levels.
    """
    rows = found[(found.protocol == "class token") | (found["test set"] == PLAIN)]
    names = rows["test set"] + " (" + rows["test set"].map(COLUMNS) + ")"
    names = names.where(rows.protocol == "class token", rows["test set"] + ", " + rows.protocol)
    own = rows.assign(name=names, text=with_interval(rows, digits=1, scale=100))
    wide = own.pivot_table("text", ["name", level], "dataset", aggfunc="first", sort=False)
    theirs = {f"{name} ({column})": printed[column] for name, column in COLUMNS.items()}
    wide.insert(0, PAPER, pd.concat(theirs).reindex(wide.index))
    return wide.reset_index(names=["probe on", level])


def controls(found: pd.DataFrame) -> pd.DataFrame:
    """One row a control and test set, ours with intervals, from :func:`of`."""
    own = found.assign(text=with_interval(found, digits=1, scale=100))
    wide = own.pivot_table("text", ["test set", "protocol"], "dataset", aggfunc="first", sort=False)
    return wide.reset_index(names=["probe on", "features"])


def by_training(ways: Mapping[str, Sweep]) -> pd.DataFrame:
    """One row a way of training and features, one column a masking ratio: accuracies (%) on the
    plain test set with intervals.

    Args:
        ways: ``{name: sweep of LINEAR_PROBE}``, the runs that were trained in this way.
    """
    parts = [of(sweep).assign(training=name) for name, sweep in ways.items()]
    own = only(pd.concat(parts), **{"test set": PLAIN})
    own = own.assign(text=with_interval(own, digits=1, scale=100),
                     ratio=[f"ratio {ratio:g}" for ratio in own.ratio])
    wide = own.pivot_table("text", ["dataset", "protocol", "training"], "ratio",
                           aggfunc="first", sort=False)
    return wide.reset_index(names=["data set", "features", "training"])


def curves(found: pd.DataFrame, level: str, printed: pd.DataFrame) -> pd.DataFrame:
    """The class token's accuracies as log odds, one panel for the paper and each data set.

    Columns ``panel``, ``test set``, the level, ``log odds``, and ``beyond accuracy``: how far the
    log odds lie above the line that predicts them from those of the plain test set (effective
    robustness). It is missing where there is no line: fewer than three levels, or all alike.
    """
    own = only(found, protocol="class token").rename(columns={"dataset": "panel"})
    theirs = pd.concat([pd.DataFrame({"panel": PAPER, "test set": name, level: printed.index,
                                      "value": printed[column].to_numpy() / 100})
                        for name, column in {**SHIFTS, PLAIN: COLUMNS[PLAIN]}.items()])
    both = pd.concat([theirs, own[["panel", "test set", level, "value"]]], ignore_index=True)
    both = both[(both.value > 0) & (both.value < 1)]  # others have no log odds
    return pd.concat([_beyond(part, level) for _, part in both.groupby("panel", sort=False)])


def contact_sheet(plan: Plan, dataset: str, columns: int) -> dict[str, np.ndarray]:
    """Pictures of every test set, one class a column: ``{test set: [columns,3,H,W] in [0, 1]}``.

    Fewer columns where fewer classes are in all sets.
    """
    plain = replace(plan, test_images=plan.probe_test_images).test_set(dataset)
    sets = {PLAIN: (plain, plain.labels)}
    for name in SHIFTS:
        find = _published if dataset == "imagenet" else _drawn
        sets[name] = find(plan, dataset, name)
    shared = sorted(set.intersection(*(set(labels.tolist()) for _, labels in sets.values())))
    return {name: found.batch([int(np.argmax(labels == label)) for label in shared[:columns]])
            .numpy() for name, (found, labels) in sets.items()}


def _drawn(plan: Plan, dataset: str, name: str) -> tuple[Images, np.ndarray]:
    found = shifted_images(dataset, name, LOOKED_AT, plan.if_stale,
                           filter_images=plan.filter_images, filter_epochs=plan.filter_epochs)
    return found, found.labels


def _published(plan: Plan, dataset: str, name: str) -> tuple[Images, np.ndarray]:
    """A published set and the first ImageNet class of each picture."""
    known = next(v for v, split, prefix in VARIANT_SPLITS if (split, prefix) == (name, ""))
    found = variant_of(next(s for s in plan.core if s.dataset == dataset), known)
    return found, np.array([min(t) for t in variant_spec(known).targets(found.labels)])


def _beyond(part: pd.DataFrame, level: str) -> pd.DataFrame:
    plain = part[part["test set"] == PLAIN].set_index(level).value
    beyond = pd.Series(np.nan, part.index)
    for name in SHIFTS:
        chosen = part[(part["test set"] == name) & part[level].isin(plain.index)]
        inside = plain.reindex(chosen[level])
        if inside.nunique() > 2:
            beyond[chosen.index] = effective_robustness(inside, chosen.value)
    return part.assign(**{"log odds": logit(part.value), "beyond accuracy": beyond})


def two_forms(by_newton: Sweep, by_lars: Sweep) -> pd.DataFrame:
    """The linear probe fitted in two ways, one row a data set and ratio: accuracies (%) of the
    class token and the mean token, and the difference in points.

    Args:
        by_newton: of ``LINEAR_PROBE``, fitted until it converges.
        by_lars: of ``LARS_PROBE``, the optimiser of He et al., on some of the same networks.
    """
    usual, other = ({(r.dataset, r.setting["ratio"], r.setting["unit"], r.seed,
                      r.protocol.split(", ")[-1]): 100 * r.value for r in sweep.records
                     if "probe" in r.protocol and r.status == "ok"}
                    for sweep in (by_newton, by_lars))
    rows: dict = {}
    for key, value in other.items():
        name, ratio, *_, pool = key
        token, less = {"cls": "class token", "mean": "mean token"}[pool], value - usual[key]
        rows.setdefault((present.NAMES["dataset"].get(name, name), ratio), {}).update({
            token: f"{usual[key]:.1f}", f"{token}, LARS": f"{value:.1f} ({less:+.1f})"})
    return pd.DataFrame([{"data set": name, "ratio": ratio, **row}
                         for (name, ratio), row in rows.items()])
