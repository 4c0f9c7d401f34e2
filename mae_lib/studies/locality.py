"""Section 3.6 of Kong et al., its premise: are pixels beside visible ones merely interpolated?"""

from __future__ import annotations

from mae_lib.evaluation.locality import locality_records
from mae_lib.evaluation.records import to_value
from mae_lib.studies.pretraining import model
from mae_lib.studies.sets import images_of, in_memory
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study


def _locality(setting: Setting, if_stale: str, test_images: int) -> dict:
    test = in_memory(images_of(setting, "test", test_images))
    records, curves = locality_records(model(setting, if_stale), test, split="test",
                                       setting=without_seed(setting), seed=setting.seed)
    return {**to_value(records), **{f"curve/{name}": curve for name, curve in curves.items()}}


LOCALITY = Study("locality", _locality, ("mae_lib.evaluation.locality",))
