"""The rule of every claim of the talk about clips."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mae_lib.ledger.comparisons import Shape, Test, top, up
from mae_lib.ledger.design_rows import HIDDEN as OF_IMAGES
from mae_lib.ledger.guards import guarded
from mae_lib.ledger.occlusion_rules import LINEAR
from mae_lib.ledger.outcomes import UNTRAINED, NoVerdict, Outcomes, shared
from mae_lib.ledger.verdicts import NOT_TESTED, Verdict, all_of, difference, effect
from mae_lib.ledger.video_rows import (
    AGNOSTIC,
    AGNOSTIC_TUBES,
    CLIPS,
    HIDDEN,
    MAE_ST,
    RANDOM,
    SCRATCH,
    SIAMESE,
    STILL,
    SYMMETRIC,
    TUBES,
    VIDEO_MAE,
    before,
    with_labels,
)

READ, MOVES, TUNED, TRACKED = "clip probe", "motion probe", "clips fine-tuned", "tracking"
IMAGE_RATIO, CLIP_RATIO = 0.75, 0.9


def of_rows(outcome: str, rows: tuple[str, ...], shape: Shape = up) -> Test:
    """A comparison of rows on clips."""
    cells = {name: (CLIPS, name) for name in rows}
    return lambda found, sesoi: guarded(found, outcome, cells,
                                        lambda table: shape(table, sesoi[0]))


def over_untrained(outcome: str, row: str) -> Test:
    """A row above the control with initial weights, which is in a series of its own."""
    cells = {SCRATCH: (UNTRAINED, 0.0), row: (CLIPS, row)}
    return lambda found, sesoi: up(found.table(outcome, cells), sesoi[0])


def wants_a_higher_ratio(outcome: str) -> Test:
    """S-14: from .75 to .9 clips gain more, or lose less, than images do."""
    def test(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        table = shared({name: found.runs(what, (series, ratio))
                        for what, series, word in ((outcome, HIDDEN, "clips"),
                                                   (LINEAR, OF_IMAGES, "images"))
                        for ratio in (IMAGE_RATIO, CLIP_RATIO)
                        for name in [f"{word} {ratio:g}"]})
        gains = {word: table[f"{word} {CLIP_RATIO:g}"] - table[f"{word} {IMAGE_RATIO:g}"]
                 for word in ("clips", "images")}
        return difference(effect(gains["clips"] - gains["images"]), sesoi[0])
    return test


def papers_disagree(outcome: str) -> Test:
    """S-17: at .9 tubes are better for VideoMAE, random tubelets for MAE-ST."""
    def test(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        cells = {name: (CLIPS, name) for name in (AGNOSTIC, AGNOSTIC_TUBES, TUBES, RANDOM)}
        return guarded(found, outcome, cells, lambda table: all_of(
            {"tubes for VideoMAE": effect(table[TUBES] - table[RANDOM]),
             "random for MAE-ST": effect(table[AGNOSTIC] - table[AGNOSTIC_TUBES])}, sesoi[0]))
    return test


def gains_more_on_less(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-18: what pretraining adds falls with the number of clips; the effect is the fall of the
    line through the gains, from the fewest to the most, against the logarithm of their number."""
    gains = _gains(found, TUBES)
    if gains.shape[1] < 3:
        raise NoVerdict(NOT_TESTED, f"needs three numbers of clips, has {gains.shape[1]}")
    log = np.log(gains.columns.to_numpy(float))
    slopes = np.polyfit(log, gains.to_numpy().T, 1)[0]
    return difference(effect(-slopes * np.ptp(log)), sesoi[0])


def gains_over_scratch(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """S-19: MAE-ST above no pretraining, on the most clips."""
    gains = _gains(found, AGNOSTIC)
    return difference(effect(gains[max(gains.columns)]), sesoi[0])


def _gains(found: Outcomes, name: str) -> pd.DataFrame:
    """By run and number of clips, points above no pretraining."""
    counts = [n for n in found.levels(TUNED, with_labels(name))
              if n in found.levels(TUNED, with_labels(before(name)))]
    if not counts:
        raise NoVerdict(NOT_TESTED, f"no measurement of {TUNED!r} on this data set")
    table = shared({(row, n): found.runs(TUNED, (with_labels(row), n))
                    for row in (name, before(name)) for n in counts})
    return pd.DataFrame({n: table[name, n] - table[before(name), n] for n in counts})


BY_SAMPLING = tuple(name for name, _ in MAE_ST.values())
RULES: Mapping[str, tuple[Test, Mapping[str, Test]]] = {
    "S-14": (wants_a_higher_ratio(READ), {"by motion": wants_a_higher_ratio(MOVES)}),
    "S-15": (of_rows(READ, BY_SAMPLING, top(AGNOSTIC)), {
        "by motion": of_rows(MOVES, BY_SAMPLING, top(AGNOSTIC))}),
    "S-16": (of_rows(READ, tuple(VIDEO_MAE.values()), top(TUBES)), {
        "by motion": of_rows(MOVES, tuple(VIDEO_MAE.values()), top(TUBES))}),
    "S-17": (papers_disagree(READ), {"by motion": papers_disagree(MOVES)}),
    "S-18": (gains_more_on_less, {}),
    "S-19": (gains_over_scratch, {}),
    "S-20": (of_rows(TRACKED, (SYMMETRIC, SIAMESE)), {
        "over no pretraining": over_untrained(TRACKED, SIAMESE),
        "over MAE of single frames": of_rows(TRACKED, (STILL, SIAMESE))}),
}
