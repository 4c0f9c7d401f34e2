"""Which runs the tables of Kong and Zhang (CVPR 2023) compare, row by row.

All are one training of MAE at ``unit_ratio`` with something changed, and all see equally many
images. The row of a run is its place in the ledger's series ``"method"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mae_lib.ledger.occlusion_rules import subsets
from mae_lib.ledger.rows import (
    BARE,
    BOTH,
    BYOL,
    BYOL_DROPPED,
    CLASS,
    CMAE,
    DROPPED,
    IDENTITY,
    INDEPENDENT,
    JITTERED,
    JITTERED_INPUT,
    MAE,
    MOCO,
    PHOTOGRAPH,
    POOLED,
    RMAE,
    SCRATCH,
    SUPERVISED,
    factorial,
    few,
    longer,
    on_few,
)
from mae_lib.models.family import CONTRASTIVE, NOTHING, UNIFORM
from mae_lib.studies.plan import Plan
from mae_lib.studies.settings import Setting

# What each row changes.
CHANGES: dict[str, dict] = {
    MAE: {}, RMAE: {"method": "r-mae"}, INDEPENDENT: {"method": "r-mae independent"},
    IDENTITY: {"method": "r-mae identity"}, CMAE: {"method": "c-mae"},
    CLASS: {"method": "c-mae class"}, POOLED: {"method": "c-mae mean"},
    BOTH: {"method": "c-mae token and class"}, DROPPED: {"method": "c-mae dropped"},
    BYOL: {"method": "c-mae byol"}, BYOL_DROPPED: {"method": "c-mae byol dropped"},
    JITTERED: {"method": "mae jittered"}, JITTERED_INPUT: {"augment": "mask+colour"},
    MOCO: {"method": "moco v3"}, SUPERVISED: {"method": "supervised"}}
Rows = dict[str, list[Setting]]


def base(plan: Plan) -> list[Setting]:
    """The MAE that everything is compared with, one a data set and seed."""
    here = replace(plan, datasets=plan.method_datasets, seeds=plan.method_seeds,
                   ratios=(plan.unit_ratio,), views=plan.method_views)
    return here.ratio_series


def scratch(plan: Plan) -> list[Setting]:
    """The control with initial weights."""
    return replace(plan, datasets=plan.method_datasets, seeds=plan.method_seeds).untrained


def changed(plan: Plan, **changes) -> list[Setting]:
    """The same with something changed; a method that tells images of a batch from each other sees
    the batch in one pass."""
    if changes.get("method") in (*CONTRASTIVE, UNIFORM):
        changes = {"micro": None, **changes}
    return [replace(s, **changes) for s in base(plan)]


def rows(plan: Plan, *names: str) -> Rows:
    """Rows by name, the control without pretraining included."""
    return {name: scratch(plan) if name == SCRATCH else changed(plan, **CHANGES[name])
            for name in names}


def table1(plan: Plan) -> Rows:
    """MAE as a siamese network, beside other methods."""
    return rows(plan, SCRATCH, MAE, RMAE, INDEPENDENT, IDENTITY, MOCO)


def table2(plan: Plan) -> Rows:
    """C-MAE against MAE, and both trained longer."""
    views = int(plan.longer * plan.method_views)
    return rows(plan, SCRATCH, MAE, CMAE) | {
        longer(name): changed(plan, views=views, **CHANGES[name]) for name in (MAE, CMAE)}


def table3(plan: Plan) -> Rows:
    """Where the contrastive loss sits."""
    return rows(plan, CLASS, POOLED, CMAE, BOTH)


def table4(plan: Plan) -> Rows:
    """Mask tokens, BYOL's loss, and jittered colours for MAE."""
    return rows(plan, SCRATCH, MAE, JITTERED, JITTERED_INPUT, CMAE, DROPPED, BYOL, BYOL_DROPPED)


def table5(plan: Plan) -> Rows:
    """Every subset of the plan's augmentations, with both methods."""
    return {factorial(name, subset): changed(plan, **_with_views(method, subset))
            for subset in subsets(plan.factorial)
            for name, method in ((MAE, None), (CMAE, "c-mae"))}


def table6(plan: Plan) -> Rows:
    """MAE on few images, without and with random crops; crops of one photograph."""
    found = rows(plan, SCRATCH, MAE)
    for count in plan.few_counts:
        for augment, how in ((None, ""), ("mask+crop", "crops")):
            found[few(count, how)] = changed(plan, train_images=count, augment=augment,
                                               chosen="random")
    return found | {PHOTOGRAPH: changed(plan, train_images=plan.photograph_crops,
                                        chosen="photograph")}


def table7(plan: Plan) -> Rows:
    """How the most of the few images are chosen."""
    most = max(plan.few_counts)
    return {few(most, how): changed(plan, train_images=most, chosen=how)
            for how in ("one class", "random", "each class")}


def table8(plan: Plan) -> Rows:
    """Six methods on the same few images, equally many of each class."""
    most = max(plan.few_counts)
    return rows(plan, SCRATCH) | {
        on_few(name, most): changed(plan, train_images=most, chosen="each class",
                                          **CHANGES[name])
        for name in (SUPERVISED, MOCO, MAE, RMAE, CMAE)}


def probed(plan: Plan) -> Rows:
    """What linear probes and few labels are for: Tables 4 and 8, and contrastive against masked
    learning on all images."""
    return rows(plan, MOCO, SUPERVISED) | table4(plan) | table8(plan)


def figure1(plan: Plan) -> Rows:
    """Whose features are looked at under occlusion."""
    others = table5(plan) | table6(plan)
    return rows(plan, SCRATCH, MAE, RMAE, CMAE, MOCO, SUPERVISED) | {
        name: others[name] for name in (few(min(plan.few_counts)), PHOTOGRAPH, BARE)}


def tuned(plan: Plan) -> Rows:
    """Whose features are looked at after fine-tuning."""
    return rows(plan, SCRATCH, MAE)


def every_row(plan: Plan) -> Rows:
    """All rows of all tables; one run may have several names."""
    found: Rows = {}
    for part in (table1, table2, table3, table4, table5, table6, table7, table8, figure1):
        found |= part(plan)
    return found


def _with_views(method: str | None, subset: tuple[str, ...]) -> Mapping:
    """A cell of Table 5; those that are a method's own views are that method's usual run."""
    usual = ("mask", "colour") if method else ("mask",)
    return {"method": method, "augment": None if subset == usual else "+".join(subset) or NOTHING}
