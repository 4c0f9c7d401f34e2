"""A published file of weights in place of a training."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from mae_lib import studies
from mae_lib.evaluation.reconstruction import reconstruct_unmasked
from mae_lib.models.classifier import Classifier
from mae_lib.models.methods import mae
from mae_lib.models.weights import published_names

pytestmark = pytest.mark.usefixtures("own_results")

PLAN = {"datasets": ["menagerie"], "seeds": [0, 1], "preset": "laptop", "views": 1000, "batch": 32,
        "lr": 1e-3, "ratios": [0.1, 0.75], "units": [4, 8], "unit_ratio": 0.75, "patches": [4, 8],
        "train_images": 100, "arm_datasets": ["menagerie"], "arm_ratios": [0.1], "arm_seeds": [0],
        "margins": [1], "policies": ["whole"], "probe_images": 200, "probe_test_images": 100,
        "test_images": 20, "shown": 2}


@pytest.fixture
def released():
    return mae("toy", ratio=0.5, seed=7).eval()


def saved(path, weights, **settings):
    torch.save({"model": weights, "args": Namespace(**settings)}, path)
    return str(path)


@pytest.fixture
def file(tmp_path, released):
    return saved(tmp_path / "released.pth", published_names(released), mask_ratio=0.5,
                 norm_pix_loss=False)


def test_both_series_shrink_to_the_network_in_the_file(file):
    plan = studies.Plan.of(PLAN | {"checkpoint": file})
    only, = plan.core
    assert (only.preset, only.ratio, only.unit, only.seed, only.target) == ("toy", 0.5, 4, 0,
                                                                            "pixel")
    assert plan.ratio_series == plan.unit_series == [only] and plan.coupled_series == []
    assert all(not plan.arm(name) for name in studies.ARMS)
    assert studies.program(plan)[studies.PRETRAINING] == []
    assert plan.untrained[0].checkpoint is None


def test_figures_are_of_the_weights_in_the_file(file, released):
    plan = studies.Plan.of(PLAN | {"checkpoint": file})
    found = plan.sweep(studies.RECONSTRUCTION, plan.core).results[0].value
    x = studies.images_of(plan.core[0], "test", 20).batch(slice(2))
    expected = reconstruct_unmasked(released, x).pixels.numpy()
    assert np.abs(found["read_outs"] / 255 - expected).max() < 1 / 255
    assert plan.sweep(studies.LINEAR_PROBE, plan.core).records


def test_an_encoder_alone_is_looked_at_but_not_asked_to_draw(tmp_path, released):
    weights = {n: t for n, t in published_names(released).items()
               if not n.startswith(("decoder", "mask"))}
    plan = studies.Plan.of(PLAN | {"checkpoint": saved(tmp_path / "encoder.pth", weights)})
    assert plan.core[0].ratio == 0.75  # the file says nothing
    assert plan.sweep(studies.EMBEDDING, plan.core).records
    with pytest.raises(ValueError, match="checkpoint must be a whole autoencoder"):
        plan.sweep(studies.RECONSTRUCTION, plan.core)


def test_other_weights_are_another_result_wherever_they_lie(tmp_path, file):
    other = saved(tmp_path / "other.pth", published_names(mae("toy", seed=8)))
    (tmp_path / "there").mkdir()
    copied = tmp_path / "there" / "copy.pth"
    copied.write_bytes(Path(file).read_bytes())
    names = [studies.EMBEDDING.key(studies.Setting(preset="toy", views=0, checkpoint=str(p)),
                                   test_images=5).name for p in (file, copied, other)]
    assert names[0] == names[1] != names[2]


def test_a_size_without_a_preset_is_refused(tmp_path):
    odd = saved(tmp_path / "odd.pth", published_names(mae("toy", depth=3)))
    with pytest.raises(ValueError, match="checkpoint must hold one of toy, laptop, vit_small"):
        studies.Plan.of(PLAN | {"checkpoint": odd})


def test_a_classifier_answers_for_itself(tmp_path, released):
    network = Classifier(released.encoder, 16, seed=0).eval()
    weights = {n.removeprefix("encoder."): t for n, t in network.state_dict().items()}
    plan = studies.Plan.of(PLAN | {"checkpoint": saved(tmp_path / "tuned.pth", weights)})
    record, = plan.sweep(studies.LINEAR_PROBE, plan.core).records
    test = studies.images_of(plan.core[0], "test", 100)
    with torch.no_grad():
        expected = network(test.batch(slice(None))).argmax(1).numpy() == test.labels
    assert record.protocol == "classifier" and np.array_equal(record.items, expected)
