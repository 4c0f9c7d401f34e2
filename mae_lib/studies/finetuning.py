"""What an encoder is worth when all of it is trained on with labels (He et al., appendix A.1)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mae_lib.data.files.transforms import finetuning_view
from mae_lib.data.images import ImageSet
from mae_lib.data.subsets import labelled_share
from mae_lib.evaluation.records import records_of, to_value
from mae_lib.studies.machine import decoders, device
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study
from mae_lib.training.finetune import VIT_BASE, FinetuneConfig, FinetuneResult, finetune


def _finetune(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int,
              finetune_epochs: int) -> dict:
    """The labelled images are those that probes are fitted on; an untrained encoder is the arm from
    scratch."""
    return _value(setting, "fine-tuned", tuned(setting, if_stale, probe_images, probe_test_images,
                                               finetune_epochs))


def _with_few_labels(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int,
                     label_share: float, few_label_epochs: int) -> dict:
    """The same with the labels of a share of the images, equal for all classes."""
    return _value(setting, "few labels", tuned(
        setting, if_stale, probe_images, probe_test_images, few_label_epochs, label_share))


def _from_scratch(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int,
                  scratch_epochs: int) -> dict:
    """Training with labels alone, for longer: what pretraining and fine-tuning see together."""
    return _value(setting, "from scratch", tuned(setting, if_stale, probe_images,
                                                 probe_test_images, scratch_epochs))


def tuned(setting: Setting, if_stale: str, probe_images: int, probe_test_images: int, epochs: int,
          share: float = 1.0) -> FinetuneResult:
    """A setting's encoder fine-tuned on a share of the labelled images, and tested.

    The share is the same for all methods and drawn anew for each seed.
    """
    train, test = (images_of(setting, split, count) for split, count in
                   (("train", probe_images), ("test", probe_test_images)))
    if share < 1:
        train = labelled_share(train, share, setting.seed)
    return finetune(model(setting, if_stale), _in_views(train), test, config(setting, epochs),
                    device=device(), workers=decoders())


def _value(setting: Setting, protocol: str, found: FinetuneResult) -> dict:
    common = {"setting": without_seed(setting), "seed": setting.seed, "dataset": setting.dataset,
              "split": "test", "protocol": protocol}
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
FROM_SCRATCH = Study("from_scratch", _from_scratch, ("mae_lib.training.finetune",))
FEW_LABELS = Study("few_labels", _with_few_labels, ("mae_lib.training.finetune",
                                                    "mae_lib.data.subsets"))
