"""The rule of every claim of Kong and Zhang (CVPR 2023) about trained networks: methods compared.

A method is a row of the papers' tables, see :mod:`mae_lib.ledger.rows`; accuracies are percentages.
Where a claim is about the gain over no pretraining, the guard against untrained networks is left
out: failing it is then an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import pandas as pd

from mae_lib.ledger.comparisons import Shape, Test, alike, not_below, together, top, up
from mae_lib.ledger.guards import guarded
from mae_lib.ledger.outcomes import METHOD, Cell, NoVerdict, Outcomes, shared
from mae_lib.ledger.rows import (
    BARE,
    BOTH,
    BYOL,
    BYOL_DROPPED,
    CHOSEN,
    CLASS,
    CMAE,
    DROPPED,
    EXTRAS,
    IDENTITY,
    INDEPENDENT,
    JITTERED,
    JITTERED_INPUT,
    MAE,
    MOCO,
    ONE,
    POOLED,
    RMAE,
    SCRATCH,
    SUPERVISED,
    THOUSAND,
    factorial,
    few,
    longer,
    on_few,
)
from mae_lib.ledger.single_rules import untested
from mae_lib.ledger.verdicts import (
    NOT_TESTED,
    Verdict,
    all_of,
    effect,
    jointly,
    ordered,
    weakest,
)

TUNED, FEW, LINEAR, CKA = "fine-tuned", "few labels", "linear", "cka"
CKA_AT = "cka at "  # and the share of patches that is dropped
COMPARED = (SCRATCH, SUPERVISED, MOCO, MAE)


@dataclass(frozen=True)
class Methods:
    """A test of one outcome over methods; ``shape`` is what is expected of them in this order.

    Args:
        which: of the claim's smallest effects, counted from 0.
        least: in place of the claim's smallest effect.
        bare: leave out the guard against untrained networks.
    """

    outcome: str
    methods: Sequence[str]
    shape: Shape = up
    which: int = 0
    least: float | None = None
    bare: bool = False

    def __call__(self, found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
        cells = at(self.methods)
        least = sesoi[self.which] if self.least is None else self.least
        judge = partial(self._judged, least=least)
        if self.bare:
            return judge(found.table(self.outcome, cells))
        return guarded(found, self.outcome, cells, judge)

    def _judged(self, table: pd.DataFrame, least: float) -> Verdict:
        return self.shape(table, least)


def every(*tests: Test) -> Test:
    """All of several tests; the least favourable decides. Parts go by their outcomes."""
    names = [getattr(test, "outcome", "part") for test in tests]
    named = {name if names.count(name) == 1 else f"{name} ({i})": test
             for i, (name, test) in enumerate(zip(names, tests, strict=True), 1)}
    return lambda found, sesoi: together(
        {name: partial(test, found, sesoi) for name, test in named.items()}, weakest)


def at(methods: Sequence[str]) -> dict[str, Cell]:
    """Cells of the series of methods."""
    return {name: (METHOD, name) for name in methods}


def gap_grows(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """O-2: CKA of MAE less that of the supervised network rises with the share that is dropped;
    the effect is the change for half of the patches."""
    table = found.table("cka slope", at((MAE, SUPERVISED)))
    return all_of({"for .5": effect((table[MAE] - table[SUPERVISED]) / 2)}, sesoi[0])


def highest_at_every_share(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """O-1: CKA of MAE is above that of all others at every share of dropped patches that was
    measured."""
    shares = sorted(name for name in found.outcomes() if name.startswith(CKA_AT))
    if not shares:
        raise NoVerdict(NOT_TESTED, "no measurement of CKA by share of dropped patches")
    return every(*(Methods(name, COMPARED, top(MAE)) for name in shares))(found, sesoi)


def tuning_lowers(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """O-4: CKA of MAE falls by fine-tuning and stays above that of training from scratch."""
    scratch, tuned = (found.runs("cka tuned", (METHOD, name)) for name in (SCRATCH, MAE))
    table = shared({"from scratch": scratch, "fine-tuned": tuned,
                    "pretrained": found.runs(CKA, (METHOD, MAE))})
    return ordered(table, list(table.columns), sesoi[0])


def mask_matters_most(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """O-18: of three augmentations masking has the largest main effect on fine-tuning, for each of
    both methods, and beside masking the others gain more for C-MAE than for MAE."""
    cells = [factorial(name, subset) for name in (MAE, CMAE) for subset in subsets()]
    table = found.table(TUNED, at(cells))
    parts = {f"mask over {extra}, {name}": effect(main_effect(table, name, "mask")
                                                  - main_effect(table, name, extra))
             for name in (MAE, CMAE) for extra in EXTRAS[1:]}
    parts["extras for C-MAE over MAE"] = effect(gain_beside_mask(table, CMAE)
                                                - gain_beside_mask(table, MAE))
    return all_of(parts, sesoi[0])


def subsets(extras: Sequence[str] = EXTRAS) -> list[tuple[str, ...]]:
    """The eight of Table 5, or those of some of its augmentations."""
    return [subset for n in range(len(extras) + 1) for subset in combinations(extras, n)]


def main_effect(table: pd.DataFrame, name: str, extra: str) -> pd.Series:
    """Mean of the cells of a method with an augmentation less that of the cells without, by run;
    of the cells that there are."""
    has, lacks = ([cell for s in subsets() if (extra in s) == there
                   and (cell := factorial(name, s)) in table] for there in (True, False))
    return table[has].mean(axis=1) - table[lacks].mean(axis=1)


def gain_beside_mask(table: pd.DataFrame, name: str) -> pd.Series:
    """What the other augmentations add to masking, on average over their combinations."""
    more = [cell for s in subsets() if "mask" in s and len(s) > 1
            and (cell := factorial(name, s)) in table]
    return table[more].mean(axis=1) - table[factorial(name, ("mask",))]


def mask_tokens_cost_as_much(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """Beside O-16: dropping mask tokens adds as much to the probe with BYOL as with InfoNCE."""
    pairs = {"InfoNCE": (CMAE, DROPPED), "BYOL": (BYOL, BYOL_DROPPED)}

    def judge(table: pd.DataFrame) -> Verdict:
        gains = {loss: table[without] - table[kept] for loss, (kept, without) in pairs.items()}
        return alike(pd.DataFrame(gains), sesoi[0])
    return guarded(found, LINEAR, at([name for pair in pairs.values() for name in pair]), judge)


def probes_little_above_random(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """Beside O-22: by the probe MAE gains less than half of what MoCo v3 does."""
    names = (SCRATCH, TABLE8[MAE], TABLE8[MOCO])

    def judge(table: pd.DataFrame) -> Verdict:
        none, mae, moco = (table[name] for name in names)
        return all_of({"half of MoCo v3's gain": effect((moco - none) / 2 - (mae - none))},
                      sesoi[0])
    return judge(found.table(LINEAR, at(names)))


def rank_reversal(found: Outcomes, sesoi: tuple[float, ...]) -> Verdict:
    """O-23: on few images the supervised network and MoCo v3 probe better than MAE and fine-tune
    worse."""
    mae, *others = (on_few(name, 1000) for name in (MAE, SUPERVISED, MOCO))

    def above(low: list[str], high: list[str], least: float) -> Shape:
        return lambda table, _: all_of({f"{a} < {b}": effect(table[b] - table[a])
                                        for a in low for b in high}, least)

    shapes = {LINEAR: above([mae], others, sesoi[0]), TUNED: above(others, [mae], sesoi[1])}
    parts = {outcome: partial(Methods(outcome, (mae, *others), shape), found, sesoi)
             for outcome, shape in shapes.items()}
    return together(parts, partial(jointly, sesoi=dict(zip(parts, sesoi, strict=True))))


def jitter_does_not_help(outcome: str) -> Test:
    """O-17 in one outcome: MAE does not fall short of either jittered MAE by the margin."""
    return every(*(Methods(outcome, (name, MAE), not_below)
                   for name in (JITTERED, JITTERED_INPUT)))


CONTRASTIVE_PROBES_BETTER = Methods(LINEAR, (MAE, MOCO))  # K-T9, of Kong et al.
TABLE8 = {name: on_few(name, 1000) for name in (SUPERVISED, MOCO, MAE, RMAE, CMAE)}
RULES: Mapping[str, tuple[Test, Mapping[str, Test]]] = {
    "O-1": (highest_at_every_share, {
        "by the mean over all shares": Methods(CKA, COMPARED, top(MAE)),
        "against the untrained network alone": Methods(CKA, (SCRATCH, MAE)),
        "by retrieval": Methods("retrieval", COMPARED, top(MAE), least=5.0)}),
    "O-2": (gap_grows, {}),
    "O-3": (every(*(Methods(CKA, pair, shape) for name in (RMAE, CMAE)
                    for pair, shape in (((MAE, name), not_below), ((SUPERVISED, name), up)))), {}),
    "O-4": (tuning_lowers, {}),
    "O-6": (Methods(TUNED, (MAE, RMAE), not_below), {}),
    "O-7": (Methods(TUNED, (SCRATCH, RMAE), bare=True), {}),
    "O-8": (Methods("psnr pasted", (MAE, RMAE)), {}),
    "O-9": (Methods(TUNED, (RMAE, INDEPENDENT, IDENTITY), alike), {}),
    "O-10": (Methods(TUNED, (MAE, CMAE), not_below), {
        "after longer training": Methods(TUNED, (longer(MAE), longer(CMAE)), not_below)}),
    "O-11": (Methods(TUNED, (BARE, CMAE)), {}),
    "O-12": (untested("needs DINO; the contrastive method trained here is MoCo v3"), {
        "MoCo v3 in its place": Methods(TUNED, (MOCO, CMAE), not_below)}),
    "O-13": (every(Methods(TUNED, (CLASS, POOLED, CMAE), top(CMAE)),
                   Methods(TUNED, (CMAE, BOTH), alike, least=0.5)), {}),  # as it expects
    "O-14": (every(Methods(LINEAR, (CMAE, MAE)), Methods(FEW, (CMAE, MAE))), {
        "linear probe alone": Methods(LINEAR, (CMAE, MAE))}),
    "O-15": (every(Methods(LINEAR, (CMAE, DROPPED)), Methods(TUNED, (DROPPED, CMAE), which=1)), {
        "linear probe alone": Methods(LINEAR, (CMAE, DROPPED))}),
    "O-16": (every(*(Methods(name, (BYOL, CMAE)) for name in (TUNED, LINEAR, FEW)),
                   *(Methods(LINEAR, pair) for pair in ((CMAE, DROPPED), (BYOL, BYOL_DROPPED)))), {
        "mask tokens cost both as much": mask_tokens_cost_as_much}),
    "O-17": (every(*map(jitter_does_not_help, (LINEAR, TUNED, FEW))), {}),
    "O-18": (mask_matters_most, {}),
    "O-19": (Methods(TUNED, (SCRATCH, ONE), bare=True), {
        "without crops": Methods(TUNED, (SCRATCH, few(1)), bare=True)}),
    "O-20": (Methods(TUNED, (ONE, THOUSAND), alike), {}),
    "O-21": (Methods(TUNED, CHOSEN, alike), {}),
    # "Little above random" read literally: no pretraining falls short by less than the effect.
    "O-22": (every(Methods(LINEAR, (TABLE8[MAE], SCRATCH), not_below, bare=True),
                   Methods(TUNED, (SCRATCH, TABLE8[MAE]), which=1, bare=True)), {
        "probe gains less than half of MoCo v3's": probes_little_above_random}),
    "O-23": (rank_reversal, {}),
    "O-24": (every(Methods(CKA, (SCRATCH, few(1))), Methods(CKA, (MAE, few(1)), alike)), {}),
}
