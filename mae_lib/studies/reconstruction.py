"""Figures 5 and 9 of Kong et al.: what a whole image looks like after the autoencoder."""

from __future__ import annotations

from mae_lib.evaluation.reconstruction import reconstruct_unmasked
from mae_lib.evaluation.records import to_value
from mae_lib.evaluation.scores import floor_records, reconstruction_records
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of, pixels_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study

PATCHES = {32: (4, 8, 16), 224: (8, 16, 32)}  # of the floors: sizes that Kong et al. compare


def _reconstruct(setting: Setting, if_stale: str, test_images: int, shown: int) -> dict:
    trained, test = model(setting, if_stale), images_of(setting, "test", test_images)
    if not hasattr(trained, "predict"):
        raise ValueError("checkpoint must be a whole autoencoder to reconstruct with, such as "
                         f"mae_pretrain_vit_base_full.pth, got {trained.description.sentence}")
    found = reconstruction_records(trained, test, setting=without_seed(setting),
                                   seed=setting.seed, split="test")
    read_outs = reconstruct_unmasked(trained, test.batch(slice(shown))).pixels
    return {**to_value(found), "originals": pixels_of(test, slice(shown)),
            "read_outs": (read_outs * 255 + 0.5).byte().numpy()}


def _floors(setting: Setting, if_stale: str, test_images: int) -> dict:
    test = images_of(setting, "test", test_images)
    return to_value(floor_records(test, split="test", patches=PATCHES[setting.size]))


RECONSTRUCTION = Study("reconstruction", _reconstruct, ("mae_lib.evaluation.scores",),
                       libraries=("piq",))
FLOORS = Study("floors", _floors, ("mae_lib.evaluation.scores",), libraries=("piq",),
               fields=("dataset",))
