"""Tables that papers print, under the names of our rows and measures."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mae_lib.ledger import paper
from mae_lib.ledger.design_rows import (
    BLOCK,
    BLOCK_HALF,
    COLOURED,
    CROPPED,
    FIXED_CROP,
    GRID,
    SIMMIM,
    TOKENS,
)
from mae_lib.ledger.rows import (
    BOTH,
    BYOL,
    BYOL_DROPPED,
    CLASS,
    CMAE,
    DROPPED,
    EXTRAS,
    IDENTITY,
    INDEPENDENT,
    JITTERED,
    JITTERED_INPUT,
    MOCO,
    POOLED,
    RMAE,
    SCRATCH,
    SUPERVISED,
    factorial,
    few,
    longer,
    on_few,
)
from mae_lib.ledger.rows import MAE as PLAIN
from mae_lib.ledger.video_rows import MAE_ST, VIDEO_MAE

# Which columns of the printed tables are which measure; which of our rows their rows are, in order.
# Not ours: networks of others, methods that are not trained here, 300 epochs from scratch.
COLUMNS = {"FT acc": "fine-tuned (%)", "lin prob": "linear probe (%)",
           "FT10 acc": "few labels (%)", "PSNR": "PSNR (dB)",
           "ft": "fine-tuned (%)", "lin": "linear probe (%)", "top1": "fine-tuned (%)",
           # Fine-tuned on clips whose classes objects give away, and on such as motion does.
           "acc": "class of the clip (%)", "K400": "class of the clip (%)",
           "SSV2": "motion of the clip (%)"}
PRINTED_ROWS: Mapping[str, tuple[str | None, ...]] = {
    "S004.T1": (SCRATCH, None, MOCO, None, None, None, None, PLAIN, RMAE, INDEPENDENT, IDENTITY),
    "S004.T2": (SCRATCH, MOCO, None, None, PLAIN, CMAE, longer(PLAIN), longer(CMAE)),
    "S004.T3": (CLASS, POOLED, CMAE, BOTH),
    "S004.T4": (PLAIN, JITTERED, JITTERED_INPUT, CMAE, DROPPED, BYOL, BYOL_DROPPED),
    "S004.T6": (few(1, "crops"), few(10), few(10, "crops"), few(100), few(100, "crops"),
                few(1000), few(1000, "crops"), SCRATCH, None),
    "S004.T7": tuple(few(1000, how) for how in ("one class", "random", "each class")),
    "S004.T8": (SCRATCH, *(on_few(name, 1000) for name in (SUPERVISED, MOCO, PLAIN, RMAE, CMAE))),
    "S003.maest_mask_sampling": tuple(name for name, _ in MAE_ST.values()),
    "S003.videomae_mask_sampling": tuple(VIDEO_MAE[key] for key in (
        ("tube", 0.75), ("tube", 0.9), ("agnostic", 0.9), ("frame", 0.75))),
    "S003.mae_aug": (PLAIN, FIXED_CROP, CROPPED, COLOURED),
    "S003.mask_sampling": (PLAIN, BLOCK_HALF, BLOCK, GRID),
    "S003.mask_token_encoder": (TOKENS, PLAIN),
    "S003.simmim_head": (*SIMMIM[:2], None, None)}  # the others' heads are halves of a Swin


def printed(table: str) -> dict[str, dict[str, float]]:
    """The numbers of a printed table under our names, ``{measure: {row: number}}``: of Kong and
    Zhang, and of He et al., SimMIM, MAE-ST and VideoMAE as the talk shows them.

    Rows without a counterpart are left out: what other papers trained, and training from scratch
    for longer than fine-tuning takes. MAE is their own, of 100 epochs; MoCo v3 has 300. Which
    augmentations a column of Table 5 has is in part inferred, as are images and crops of Table 6:
    see the remarks of :func:`mae_lib.ledger.paper.table`. Table 5 does not say that its accuracies
    are fine-tuned.

    Args:
        table: ``"S004.T1"`` to ``"S004.T8"``, or a key of ``PRINTED_ROWS``.

    Raises:
        ValueError: another table.
    """
    if table == "S004.T5":
        return {COLUMNS["FT acc"]: _factorial(paper.table(table))}
    if table not in PRINTED_ROWS:
        raise ValueError(f"table must be S004.T5 or one of {', '.join(PRINTED_ROWS)}, "
                         f"got {table!r}")
    whole = paper.table(table)
    return {COLUMNS[column]: {row: float(number) for row, number in
                              zip(PRINTED_ROWS[table], whole[column], strict=True)
                              if row is not None and pd.notna(number)}
            for column in whole if column in COLUMNS}


def _factorial(table: pd.DataFrame) -> dict[str, float]:
    """Both methods' numbers by cell of Table 5."""
    subsets = [tuple(extra for extra, there in zip(EXTRAS, row, strict=True) if there)
               for row in table[["patch masking", "cutmix", "color"]].itertuples(index=False)]
    return {factorial(name, subset): float(number) for name in (PLAIN, CMAE)
            for subset, number in zip(subsets, table[name], strict=True)}
