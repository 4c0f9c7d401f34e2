"""What networks that were pretrained on clips of a game make of hidden parts of its clips."""

from __future__ import annotations

from dataclasses import replace

from mae_lib.evaluation.filled_clips import filling_records
from mae_lib.evaluation.records import to_value
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study
from mae_lib.studies.worlds import FAINT


def _filled(setting: Setting, if_stale: str, world_test_frames: int) -> dict:
    """Errors of hidden pixels over those of copying and of the mean; clips overlap, and only the
    means over them are kept."""
    played = images_of(setting, "train", setting.train_images).recordings[0]
    found = filling_records(
        model(setting, if_stale), images_of(setting, "test", world_test_frames), played.frames,
        setting=without_seed(setting), seed=setting.seed, split="test", threshold=FAINT)
    return to_value(replace(record, items=None) for record in found)


FILLING = Study("clip_filling", _filled, ("mae_lib.evaluation.filled_clips",
                                          "mae_lib.data.atari.clips"), libraries=("ale-py",))
