"""What an encoder is worth when all of it is trained on with labels (He et al., appendix A.1)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mae_lib.data.files.transforms import finetuning_view
from mae_lib.data.images import ImageSet
from mae_lib.evaluation.records import records_of, to_value
from mae_lib.studies.machine import decoders, device
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study
from mae_lib.training.finetune import VIT_BASE, FinetuneConfig, finetune


def _finetune(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int,
              finetune_epochs: int) -> dict:
    """The labelled images are those that probes are fitted on; an untrained encoder is the arm from
    scratch."""
    train, test = (images_of(setting, split, count) for split, count in
                   (("train", probe_images), ("test", probe_test_images)))
    found = finetune(model(setting, if_stale), _in_views(train), test,
                     config(setting, finetune_epochs), device=device(), workers=decoders())
    common = {"setting": without_seed(setting), "seed": setting.seed, "dataset": setting.dataset,
              "split": "test", "protocol": "fine-tuned"}
    return to_value(records_of({"accuracy": found.correct.astype(np.uint8)}, **common)) | {
        "losses": found.losses}


def config(setting: Setting, epochs: int) -> FinetuneConfig:
    """The recipe of He et al. for photographs, the small one for small pictures."""
    recipe = FinetuneConfig() if setting.size < 224 else VIT_BASE
    return replace(recipe, epochs=epochs, seed=setting.seed)


def _in_views(train):
    return train if isinstance(train, ImageSet) else replace(train,
                                                            view=finetuning_view(train.size[0]))


FINETUNING = Study("finetuning", _finetune, ("mae_lib.training.finetune",))
