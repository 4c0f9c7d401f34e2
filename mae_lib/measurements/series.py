"""In which series of the ledger every run of a plan stands, and at which level."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from mae_lib.ledger.outcomes import (
    COUPLED,
    EQUAL_TOKENS,
    GUIDED,
    LONGER,
    MARGIN,
    METHOD,
    NORMALISED,
    RATIO,
    SCATTERED,
    UNIT,
    UNTRAINED,
)
from mae_lib.ledger.video_rows import CLIPS, SCRATCH, with_labels
from mae_lib.ledger.video_rows import HIDDEN as CLIP_RATIOS
from mae_lib.studies import Plan, Setting, design, family, video


def series_of(plan: Plan) -> dict[Setting, list[tuple[str, float | str]]]:
    """Every run of a plan with its places: series and level. One run may stand in several."""
    found = defaultdict(list)
    for setting in plan.ratio_series:
        found[setting].append((RATIO, setting.ratio))
    for setting in plan.unit_series:
        found[setting].append((UNIT, setting.unit))
    for setting in plan.coupled_series:
        found[setting].append((COUPLED, setting.patch or setting.unit))
    for setting in plan.untrained:
        found[setting].append((UNTRAINED, 0.0))
    for name in (EQUAL_TOKENS, LONGER, NORMALISED):
        for setting in plan.arm(name):
            found[setting].append((name, setting.ratio))
    for setting in plan.arm(MARGIN):
        found[setting].append((MARGIN, setting.margin))
    for setting in plan.arm(SCATTERED):
        found[setting].append((SCATTERED, setting.margin))
    for setting in plan.arm(GUIDED):
        found[setting].append((GUIDED, setting.policy))
    for table in (family.every_row(plan), design.every_row(plan)):
        for row, settings in table.items():
            for setting in settings:
                found[setting].append((METHOD, row))
    for name in design.SERIES:
        for level, settings in design.series(plan, name).items():
            for setting in settings:
                found[setting].append((name, level))
    for setting, place in _places_of_clips(plan):
        found[setting].append(place)
    return {setting: list(dict.fromkeys(places)) for setting, places in found.items()}


def _places_of_clips(plan: Plan) -> Iterator[tuple[Setting, tuple[str, float | str]]]:
    named = [*video.samplings(plan).items(), *video.pairs(plan).items()]
    for row, settings in named:
        for setting in settings:
            yield setting, (UNTRAINED, 0.0) if row == SCRATCH else (CLIPS, row)
    for ratio, settings in video.ratios(plan).items():
        yield from ((setting, (CLIP_RATIOS, ratio)) for setting in settings)
    for row, found in video.sizes(plan).items():
        for count, settings in found.items():
            yield from ((setting, (with_labels(row), count)) for setting in settings)
