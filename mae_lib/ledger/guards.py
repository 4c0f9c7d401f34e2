"""Checks without which a comparison says nothing: a result that fails one is ``void``.

Trained models have to beat untrained ones, a contrast must not lie at a bound of its scale, and
attention has to find its own picture's object better than another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from mae_lib.ledger.outcomes import (
    LONGER,
    RATIO,
    USUAL,
    Cell,
    NoVerdict,
    Outcomes,
)
from mae_lib.ledger.verdicts import VOID, Effect, Verdict, effect

SHIFTED = ("fresh draw", "odd pose", "renditions", "filtered", "sketch")
ACCURACIES = ("linear", "linear mean", "knn", *SHIFTED)
TUNED = ("fine-tuned", "few labels")
FACTORS = ("position", "scale", "colour")
SEPARATION = ("purity", "separability")
PRECISIONS = ("box ap", "mask ap")
CHANCE = {"menagerie": 1 / 16, "fashion_mnist": 1 / 10}
# Where an untrained network must be worse. For shape bias that is the share of decisive answers.
CONTROLLED = {name: name for name in (*ACCURACIES, *TUNED, *FACTORS, *SEPARATION, *PRECISIONS,
                                      "shape accuracy", *(f"level {i}" for i in range(5)))}
BIASES = {"shape bias": "", "shape bias, coat": ", coat"}
CONTROLLED |= {name: name for name in ("clip probe", "motion probe", "tracking")}
CONTROLLED |= {name: f"coverage{cue}" for name, cue in BIASES.items()}
# Added when the first seed had shown that plain textures are hardly read: a bias is about two cues.
READ = {name: f"texture read{cue}" for name, cue in BIASES.items()}
NULLS = {"lift": "lift null"}  # against the object of another picture


def guarded(found: Outcomes, outcome: str, cells: Mapping[float | str, Cell],
            judge: Callable[[pd.DataFrame], Verdict]) -> Verdict:
    """A verdict on a table of cells that has passed the checks.

    Raises:
        NoVerdict: not measured, or void.
    """
    table = found.table(outcome, cells)
    beats_untrained(found, outcome, cells)
    beats_null(found, outcome, cells, table)
    reads_both(found, outcome, cells)
    verdict = judge(table)
    off_bounds(found.dataset, outcome, table, verdict)
    return verdict


def beats_untrained(found: Outcomes, outcome: str, cells: Mapping[float | str, Cell]) -> None:
    """The best of the trained settings beats the control with initial weights, if there is one.

    Raises:
        NoVerdict: it does not.
    """
    name = CONTROLLED.get(outcome, "")
    control = found.untrained(name)
    if control.empty or any(not found.values(name, *cell) for cell in cells.values()):
        return
    trained = found.table(name, cells)
    best = trained[trained.mean().idxmax()]
    if over(best, control).limit(-1) <= 0:
        raise NoVerdict(VOID, f"training does not help: {name!r} is {best.mean():.3g} at the best "
                              f"setting and {control.mean():.3g} untrained")


def beats_null(found: Outcomes, outcome: str, cells: Mapping[float | str, Cell],
               table: pd.DataFrame) -> None:
    """The best setting beats its own null, where that was measured.

    Raises:
        NoVerdict: it does not.
    """
    best = table.mean().idxmax()
    null = pd.Series(found.values(NULLS.get(outcome, ""), *cells[best]), dtype=float)
    if not null.empty and over(table[best], null).limit(-1) <= 0:
        raise NoVerdict(VOID, f"its null fails: {outcome!r} is {table[best].mean():.3g}, and "
                              f"{null.mean():.3g} for the object of another picture")


def reads_both(found: Outcomes, outcome: str, cells: Mapping[float | str, Cell]) -> None:
    """Where a bias is compared, texture can be read from the features at all: above chance.

    Raises:
        NoVerdict: not at some level, where a bias would speak of the accuracy on shapes alone.
    """
    chance = 100 * CHANCE.get(found.dataset, 0.0)
    for level, cell in cells.items():
        read = pd.Series(found.values(READ.get(outcome, ""), *cell), dtype=float)
        if len(read) > 1 and effect(read - chance).limit(-1) <= 0:
            raise NoVerdict(VOID, f"texture cannot be read: {read.mean():.3g} % right at {level} "
                                  f"by a probe for it, where chance is {chance:.3g} %")


def off_bounds(dataset: str, outcome: str, table: pd.DataFrame, verdict: Verdict) -> None:
    """No two levels that are compared lie within two standard deviations of the same bound.

    Raises:
        NoVerdict: they do, so that a difference could not show.
    """
    for bound, word in zip(bounds(dataset, outcome), ("floor", "ceiling"), strict=True):
        if bound is None:
            continue
        room = (table.mean() - bound) * (1 if word == "floor" else -1)
        there = list(table.columns[room <= 2 * table.std()])
        for a in there:
            for b in there:
                if a != b and {f"{a} < {b}", f"{a} = {b}", f"{a} ≤ {b}"} & set(verdict.parts):
                    raise NoVerdict(VOID, f"{outcome!r} lies at its {word}, {bound:g}, "
                                          f"at both {a} and {b}")


def bounds(dataset: str, outcome: str) -> tuple[float | None, float | None]:
    """Floor (chance, where there is one) and ceiling of an outcome; None where it has none."""
    chance = CHANCE.get(dataset, 0.0)
    if outcome in (*ACCURACIES, *TUNED):
        return 100 * chance, 100
    if outcome in SEPARATION:
        return 0.1, 1  # ten classes
    if outcome in PRECISIONS:
        return 0, 100
    if outcome in (*FACTORS, "ssim", "fsimc", "recall", "background", *BIASES):
        return 0, 1
    return None, None


def over(values: pd.Series, control: pd.Series) -> Effect:
    """By how much runs exceed a control: of the same seeds if it has them, else of its mean."""
    paired = control.reindex(values.index)
    return effect(values - (control.mean() if paired.isna().any() else paired))


def controls(outcomes: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Negative and positive control of every outcome that has them, one row each.

    Columns: ``outcome``; ``untrained``, ``best`` (setting of the ratio series), ``trained``, and
    ``gain`` over the untrained with its one-sided 95 % limit ``low``; ``longer``, what longer
    training adds at the usual ratio. Missing where it was not measured on two seeds.
    """
    found = Outcomes.of(outcomes, dataset)
    rows = [_controls(found, name) for name in sorted(set(CONTROLLED.values()) & found.outcomes())]
    return pd.DataFrame(rows, columns=["outcome", "untrained", "best", "trained", "gain", "low",
                                       "longer"])


def loss_parity(outcomes: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Mean ``"loss slope"`` of each setting, if measured; it is reported, and decides nothing.

    That slope is the relative change of the training loss over the last fifth of the views.
    Settings that differ in it had not come equally far, which alone can bend a curve over ratios.
    """
    rows = outcomes[(outcomes.dataset == dataset) & (outcomes.outcome == "loss slope")]
    means = rows.groupby(["series", "level"], sort=False).value.agg(["mean", "count"])
    return means.reset_index().rename(columns={"mean": "loss slope", "count": "seeds"})


def _controls(found: Outcomes, name: str) -> dict:
    control = found.untrained(name)
    levels = {level: pd.Series(held) for (o, s, level), held in found.cells.items()
              if (o, s) == (name, RATIO) and len(held) > 1}
    row = {"outcome": name, "untrained": control.mean() if len(control) else None}
    if levels:
        best = max(levels, key=lambda level: levels[level].mean())
        row |= {"best": best, "trained": levels[best].mean()}
        if len(control):
            gain = over(levels[best], control)
            row |= {"gain": gain.mean, "low": gain.limit(-1)}
    longer = pd.Series(found.values(name, LONGER, USUAL), dtype=float)
    if USUAL in levels and len(both := longer.index.intersection(levels[USUAL].index)) > 1:
        row["longer"] = float((longer[both] - levels[USUAL][both]).mean())
    return row
