"""How far classes lie apart in an encoder's features, and whether the features have collapsed.

Of whole images, and of images under the masks of training; U-MAE's loss looks at the class token of
these, normed twice.
"""

from __future__ import annotations

import numpy as np
import torch

from mae_lib.data.protocols import Images
from mae_lib.evaluation.collapse import alikeness, effective_rank, singular_values
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.evaluation.relative_distance import relative_distance
from mae_lib.models.masks import nothing_hidden, random_mask
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study

BATCH, MASKS = 250, 0  # images at a time; seed of the masks, the same for all encoders
TOKENS = ("class token", "class token, normed twice", "mean token")


def _distances(setting: Setting, if_stale: str, test_images: int) -> dict:
    encoder, test = model(setting, if_stale).encoder, images_of(setting, "test", test_images)
    common = {"setting": without_seed(setting), "seed": setting.seed, "dataset": setting.dataset,
              "split": "test"}
    return to_value([
        EvalRecord(**common, protocol=f"{shown}, {token}", metric=metric, value=value, n=len(test))
        for shown, hidden in (("whole images", 0.0), ("masked images", setting.ratio))
        for token, X in features(encoder, test, hidden).items()
        for metric, value in numbers(X, test.labels).items()])


@torch.no_grad()
def features(encoder, images: Images, hidden: float) -> dict[str, np.ndarray]:
    """Class token, the same normed once more, and mean of the patch tokens, float32 ``[N, D]``
    each, of images of which a random share is hidden; nothing if it is 0."""
    generator, found = torch.Generator().manual_seed(MASKS), []
    for start in range(0, len(images), BATCH):
        x = images.batch(slice(start, start + BATCH))
        mask = (random_mask(len(x), encoder.grid, hidden, generator=generator) if hidden
                else nothing_hidden(len(x), encoder.grid))
        seen = encoder(x, mask.visible)
        found.append((seen.cls, encoder.norm(seen.cls), seen.patches.mean(1)))
    return {token: torch.cat(parts).numpy()
            for token, parts in zip(TOKENS, zip(*found, strict=True), strict=True)}


def numbers(X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Relative distance of classes ``y [N]``, and how alike the features ``X [N, D]`` are."""
    apart, alike = relative_distance(X, y), alikeness(X)
    return {"relative distance": apart.intra / apart.inter,
            "effective rank": effective_rank(singular_values(X)),
            **{metric: float(items.mean()) for metric, items in alike.items()}}


DISTANCES = Study("distances", _distances, ("mae_lib.evaluation.collapse",
                                            "mae_lib.evaluation.relative_distance"))
