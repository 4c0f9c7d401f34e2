"""Figures 6 and 7 of Kong et al.: does attention find the object, and how far does it reach?"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from mae_lib.data.menagerie import draw
from mae_lib.data.protocols import Images
from mae_lib.evaluation.attention import (
    attention_distance,
    attention_maps,
    cls_map,
    mass_threshold,
    mean_map,
    token_map,
    token_maps,
)
from mae_lib.evaluation.localisation import attention_scores, central_token, coverage, why_not
from mae_lib.evaluation.records import EvalRecord, not_tested, records_of, to_value
from mae_lib.models.encoder import Encoder
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import PRESET, images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study

BATCH, TOKENS = 50, 65  # images at a time of so many tokens; fewer where there are more
ALL_HEADS, HEAD_0 = "object tokens", "object tokens, head 0"
WHOLE = ("lift", "auroc", "pointing", "iou60", "recall60", "background", "entropy", "largest",
         "lift_without_largest")
# What is kept, by protocol; the null is attention against the mask of the image before.
KEPT = {"class token": WHOLE, "mean patch": WHOLE,
        "class token, null": ("lift", "auroc"), "mean patch, null": ("lift", "auroc"),
        ALL_HEADS: ("lift", "auroc", "recall60", "background", "entropy"),
        HEAD_0: ("lift", "recall60", "entropy"), "object tokens, mean head": ("entropy",)}


def object_masks(test: Images, setting: Setting) -> Tensor | None:
    """Where the object is in test images, bool ``[N,H,W]``: of clothes, all that is not black; None
    for photographs, of which nobody has said it.

    Raises:
        RuntimeError: the Menagerie drew other pictures with masks than without.
    """
    if setting.dataset == "fashion_mnist":
        return torch.from_numpy(test.images[:, 0] > 0)
    if setting.dataset != "menagerie":
        return None
    drawn = draw("test", len(test), setting.size, PRESET)
    if not np.array_equal(drawn.images, test.images):
        raise RuntimeError("the pictures drawn with their masks are not the test images")
    return torch.from_numpy(drawn.masks)


def overlays(value: dict, which: str = "cls", keep: float = 0.6) -> np.ndarray:
    """Maps ``[shown,h,w]`` of a stored result for a figure: shares of the mass, 0 where not kept.

    Args:
        value: of an :data:`ATTENTION` result.
        which: ``"cls"`` (mean of the heads), ``"token"`` (head 0) or ``"token mean"``.
    """
    maps = torch.from_numpy(value[f"{which} maps"].astype(np.float32))
    return (maps / maps.sum((1, 2), keepdim=True) * mass_threshold(maps, keep)).numpy()


def _attention(setting: Setting, if_stale: str, test_images: int, shown: int) -> dict:
    encoder = model(setting, if_stale).encoder
    test = images_of(setting, "test", test_images)
    masks = object_masks(test, setting)
    if masks is None:
        return _without_masks(encoder, test, setting, shown)
    dropped = why_not(masks, encoder.grid)
    used = ~torch.stack(list(dropped.values())).any(0)
    sized = ~(dropped["object too small"] | dropped["object too large"])  # whatever the grid
    pick = sized.nonzero().flatten()[:shown]
    return {**to_value(_records(encoder, test.batch(used.numpy()), masks[used], setting)),
            "used": int(used.sum()), "dropped": {why: int(n.sum()) for why, n in dropped.items()},
            **_shown(encoder, test.batch(pick.numpy()), masks[pick])}


def _without_masks(encoder: Encoder, test: Images, setting: Setting, shown: int) -> dict:
    """How far attention reaches, and maps; the token that looks is in the middle."""
    common = _common(setting)
    parts = [_reach(encoder, test.batch(some)) for some in _parts(encoder, len(test))]
    found = {name: torch.cat([part[name] for part in parts]).half().numpy() for name in parts[0]}
    records = [not_tested("nobody has said where the objects of these photographs are", **common,
                          protocol=protocol, metric=metric)
               for protocol, metrics in KEPT.items() for metric in metrics]
    records += records_of(found, **common, protocol="distance")
    spread = np.unique(np.linspace(0, len(test) - 1, shown).round().astype(int))  # over classes
    pictures = test.batch(spread)
    middle = torch.zeros(len(pictures), *test.size, dtype=torch.bool)
    middle[:, test.size[0] // 2, test.size[1] // 2] = True
    drawn = _shown(encoder, pictures, middle)
    return {**to_value(records), "used": len(test), "dropped": {}, **drawn | {"masks": None}}


def _records(encoder: Encoder, pictures: Tensor, masks: Tensor,
             setting: Setting) -> list[EvalRecord]:
    common = _common(setting)
    if len(pictures) == 0:
        reason = f"no test image has an object that a grid of {encoder.grid} cells can show"
        return [not_tested(reason, **common, protocol=protocol, metric=metric)
                for protocol, metrics in KEPT.items() for metric in metrics]
    found = _scores(encoder, pictures, masks)
    return [record for protocol, values in found.items()
            for record in records_of(values, **common, protocol=protocol)]


def _common(setting: Setting) -> dict:
    return {"setting": without_seed(setting), "seed": setting.seed, "dataset": setting.dataset,
            "split": "test"}


def _scores(encoder: Encoder, pictures: Tensor,
            masks: Tensor) -> dict[str, dict[str, np.ndarray]]:
    """``{protocol: {metric: float16 [N]}}``: three digits of an item are enough."""
    parts = defaultdict(lambda: defaultdict(list))
    others = masks.roll(1, 0)
    for some in _parts(encoder, len(pictures)):
        for protocol, scores in _batch(encoder, pictures[some], masks[some], others[some]).items():
            for metric, values in scores.items():
                parts[protocol][metric].append(values)
    return {protocol: {metric: torch.cat(values).half().numpy()
                       for metric, values in metrics.items()}
            for protocol, metrics in parts.items()}


def _batch(encoder: Encoder, pictures: Tensor, masks: Tensor,
           others: Tensor) -> dict[str, dict[str, Tensor]]:
    grid, last = encoder.grid, encoder.depth - 1
    A = attention_maps(encoder, pictures, range(encoder.depth))
    heads, whole = token_maps(A[last], grid), {"class token": cls_map, "mean patch": mean_map}
    scores = {name: attention_scores(make(A[last], grid), masks) for name, make in whole.items()}
    scores |= {f"{name}, null": attention_scores(make(A[last], grid), others)
               for name, make in whole.items()}
    by_head = _over_objects(heads, masks)
    scores[ALL_HEADS] = {name: value.mean(1) for name, value in by_head.items()}
    scores[HEAD_0] = {name: value[:, 0] for name, value in by_head.items()}
    scores["object tokens, mean head"] = _over_objects(heads.mean(1), masks)
    scores = {protocol: {metric: scores[protocol][metric] for metric in metrics}
              for protocol, metrics in KEPT.items()}
    return scores | {"distance": _distances(encoder, A)}


def _parts(encoder: Encoder, count: int) -> list[slice]:
    """Attention of all blocks fits into memory for so many images at a time."""
    tokens = 1 + encoder.grid[0] * encoder.grid[1]
    batch = max(1, BATCH * TOKENS**2 // tokens**2)
    return [slice(i, i + batch) for i in range(0, count, batch)]


def _reach(encoder: Encoder, pictures: Tensor) -> dict[str, Tensor]:
    return _distances(encoder, attention_maps(encoder, pictures, range(encoder.depth)))


def _distances(encoder: Encoder, A: dict[int, Tensor]) -> dict[str, Tensor]:
    """Mean distance of attention in image sides, by block, and of one head."""
    found = {i: attention_distance(a, encoder.grid, encoder.patch) / encoder.size[1]
             for i, a in A.items()}
    return ({f"block {i}": by_head.mean(1) for i, by_head in found.items()}
            | {"last block, head 0": found[encoder.depth - 1][:, 0]})


def _over_objects(maps: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Scores of the maps ``[B,...,N,h,w]`` of all tokens, their mean over the object's tokens."""
    thing = (coverage(masks, tuple(maps.shape[-2:])).flatten(1) >= 0.5).double()
    thing = thing.view(len(thing), *[1] * (maps.ndim - 4), -1)
    return {name: (values * thing).sum(-1) / thing.sum(-1)
            for name, values in attention_scores(maps, masks).items()}


def _shown(encoder: Encoder, pictures: Tensor, masks: Tensor) -> dict[str, np.ndarray]:
    """What figures need of a few images: bytes, masks, the chosen tokens and their maps."""
    grid, A = encoder.grid, attention_maps(encoder, pictures)[-1]
    token = central_token(masks, grid)
    maps = {"cls": cls_map(A, grid), "token": token_map(A, token, grid),
            "token mean": token_map(A, token, grid, "mean")}
    return {"images": (pictures * 255).round().byte().numpy(), "masks": masks.numpy(),
            "tokens": token.numpy().astype(np.uint8),
            **{f"{name} maps": found.half().numpy() for name, found in maps.items()}}


ATTENTION = Study("attention", _attention, ("mae_lib.evaluation.localisation",))
