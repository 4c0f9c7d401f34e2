"""A dry run counts what would run, and says what is missing before anything runs."""

import sys
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mae_lib import cli, dry_run, studies
from mae_lib.book.parameters import read_flat
from mae_lib.models.cost import autoencoder_macs, encoder_macs
from mae_lib.models.family import METHODS, method
from mae_lib.models.methods import PRESETS, mae

sys.path.insert(0, str(Path(__file__).parent / "data"))
from layouts import write_classes  # noqa: E402

ROOT = Path(__file__).parents[1]


def plan(tier, **changes):
    return studies.Plan.of(read_flat(ROOT / "params" / f"{tier}.yaml", ROOT) | changes)


@pytest.fixture
def macs_of(monkeypatch):
    """What a dry run counts for one result of a study, with smoke's parameters or others."""
    def total(study, setting, **changes):
        monkeypatch.setattr(dry_run, "program", lambda plan: {study: [setting]})
        return dry_run.work(plan("smoke", **changes))["exa-MACs"][0] * 1e18
    return total


def taken(function, *arguments, **named) -> float:
    """MACs that PyTorch counts while a function runs."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function(*arguments, **named)
    return counter.get_total_flops() / 2


def test_the_assumed_share_of_the_peak_fits_a_printed_time():
    """He et al. 2022, table 2: ViT-L, 800 epochs, 15.4 hours on 128 TPU v3 cores."""
    macs = autoencoder_macs(PRESETS["vit_large_patch16"], 0.75, lazy=False).total
    hours = dry_run.hours(dry_run.MACHINES[0], dry_run.TRAINED * macs * 800 * 1_281_167)
    assert hours == pytest.approx(15.4, rel=0.05)


def test_the_papers_tier_trains_its_networks():
    found = dry_run.networks(plan("paper"))
    assert set(zip(found.patch, found.ratio, strict=True)) == {
        *((16, r) for r in (0, 0.1, 0.25, 0.5, 0.6, 0.75, 0.9)), (8, 0.75), (32, 0.75)}
    assert set(found.method) == set(METHODS)
    assert found.runs.sum() == len(studies.program(plan("paper"))[studies.PRETRAINING])
    row = found[(found.patch == 16) & (found.ratio == 0.75)].iloc[0]
    network = mae("vit_base_patch16")
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert row["parameters (M)"] == pytest.approx(trained / 1e6)


def test_a_device_takes_the_most_images_that_fit_and_divide_its_part():
    shape, machine = PRESETS["vit_base_patch16"], dry_run.Machine("two", 2, 1e12, 10e9)
    kept = 36 * (12 * 50 * 768 + 8 * 197 * 512)
    fixed = 16 * 111_655_680
    most = max(n for n in (1, 2, 3, 4, 6, 12) if fixed + n * kept <= 10e9)
    assert dry_run.memory(machine, shape, 0.75, 24) == (
        f"{(fixed + most * kept) / 1e9:.1f} GB, {most} at a time")
    small = dry_run.Machine("small", 1, 1e12, 1e9)
    assert dry_run.memory(small, shape, 0.75, 24).startswith("does not fit (1.8 GB")


def test_methods_differ_in_what_they_take_and_keep():
    every = dry_run.networks(plan("smoke"))
    assert not every.duplicated(["network", "method", "patch", "ratio"]).any()
    found = every[every.network == "toy"].set_index(["method", "patch", "ratio"])
    other = every[every.network == "toy, width 16"]["GMACs an image"].item()
    assert other < found["GMACs an image"]["mae", 4, 0.75]
    step, once = found["GMACs in a step"], found["GMACs an image"]
    whole = encoder_macs(PRESETS["toy"]) / 1e9
    assert once["supervised", 4, 0] == pytest.approx(whole)
    assert step["mae", 4, 0.75] == pytest.approx(3 * once["mae", 4, 0.75])
    assert once["c-mae", 4, 0] == once["c-mae", 4, 0.75] > 2 * whole  # a token for each patch
    assert 2 * once["c-mae", 4, 0] < step["c-mae", 4, 0] < 3 * once["c-mae", 4, 0]
    assert once["mae", 4, 0] > whole > once["mae", 4, 0.75]


def test_a_momentum_target_takes_memory_without_gradients_and_moments():
    shape, machine = PRESETS["vit_base_patch16"], dry_run.Machine("one", 1, 1e12, 80e9)
    with torch.device("meta"):  # without values
        made = method("c-mae", mae("vit_base_patch16"))
    trained, fixed = (sum(p.numel() for name, p in made.named_parameters()
                          if p.requires_grad is flag and not name.endswith("pos_embed"))
                      for flag in (True, False))
    kept = 36 * 12 * 197 * 768
    found = dry_run.memory(machine, shape, 0.75, 1, "c-mae")
    assert found == f"{(16 * trained + 4 * fixed + kept) / 1e9:.1f} GB, 1 at a time"


def test_hours_add_up_over_results():
    twice = {name: [0, 1] for name in ("seeds", "arm_seeds", "method_seeds", "design_seeds")}
    found = dry_run.work(plan("paper", **twice)).set_index("kind")
    once = dry_run.work(plan("paper")).set_index("kind")
    assert found["exa-MACs"]["linear_probe"] == pytest.approx(2 * once["exa-MACs"]["linear_probe"])
    only = plan("paper", ratios=[0.75], patches=[], arm_ratios=[], margins=[], units=[8],
                method_seeds=[], design_seeds=[])
    macs = sum(autoencoder_macs(PRESETS["vit_base_patch16"] | {"patch": p}, 0.75).total
               for p in (16, 8))
    exa = dry_run.work(only).set_index("kind")["exa-MACs"]["pretraining"]
    assert exa == pytest.approx(3 * only.views * macs / 1e18)


def test_a_training_counts_the_momentum_target_once(macs_of):
    """C-MAE's 64 tokens of 32 units pass projector and predictor and meet those of 31 others."""
    whole, head = encoder_macs(PRESETS["toy"]), 2 * 32 * 85
    setting = studies.Setting(method="c-mae", preset="toy", views=640)
    found = macs_of(studies.PRETRAINING, setting)
    assert round(found) == 640 * (3 * (whole + 64 * (2 * head + 32 * 32)) + whole + 64 * head)


def test_features_of_occluded_images_take_what_pytorch_counts(macs_of):
    changes = {"test_images": 12, "occlusion_ratios": (0.3, 0.75), "occlusion_draws": 2}
    setting = studies.Setting(preset="toy", views=0)
    found = macs_of(studies.OCCLUSION, setting, **changes)
    assert round(found) == taken(studies.OCCLUSION.compute, setting, "show", **changes)


def test_fine_tuning_comes_before_them_and_counts_too(macs_of):
    changes = {"test_images": 12, "occlusion_ratios": (0.5, 0.75), "occlusion_draws": 1,
               "probe_images": 256, "probe_test_images": 300, "finetune_epochs": 1}
    setting = studies.Setting(preset="toy", views=0)
    tuned, before = (macs_of(study, setting, **changes)
                     for study in (studies.TUNED_OCCLUSION, studies.OCCLUSION))
    assert tuned - before == pytest.approx(macs_of(studies.FINETUNING, setting, **changes))
    # A step needs no gradient of the pixels, and the count has no head.
    assert tuned == pytest.approx(taken(studies.TUNED_OCCLUSION.compute, setting, "show",
                                        **changes), rel=0.02)


def test_few_labels_are_a_share_of_the_images(macs_of):
    changes = {"probe_images": 200, "probe_test_images": 50, "finetune_epochs": 4,
               "few_label_epochs": 40, "label_share": 0.1}
    setting = studies.Setting(preset="toy", method="moco v3")
    few, every = (macs_of(study, setting, **changes)
                  for study in (studies.FEW_LABELS, studies.FINETUNING))
    assert few == pytest.approx(every)
    assert few == pytest.approx((3 * 40 * 20 + 50) * encoder_macs(PRESETS["toy"]))


def test_every_study_is_counted_or_said_to_need_no_network(monkeypatch):
    setting = studies.Setting(preset="toy")
    monkeypatch.setattr(dry_run, "program", lambda plan: {s: [setting] for s in studies.ALL})
    found = dry_run.work(plan("smoke")).set_index("kind")["exa-MACs"]
    assert set(found.index) == {study.kind for study in studies.ALL}
    assert set(found.index[found == 0]) == set(dry_run.UNCOUNTED)


def test_data_that_are_missing_are_said_before_anything_runs(tmp_path):
    found = {p.name: p for p in dry_run.data(plan("paper", data_root=str(tmp_path)))}
    assert "should be the folder of ImageNet-1K" in found["imagenet, train"].problem
    assert {"objectnet", "imagenet-sketch", "cue conflict", "COCO, train"} <= set(found)
    assert all(place.problem for place in found.values())
    write_classes(tmp_path / "mine", ("cat", "dog"), 10, "{c}{i}.png")
    own = dry_run.data(plan("smoke", data_root=str(tmp_path / "mine"),
                            **dict.fromkeys(("datasets", "arm_datasets", "method_datasets"),
                                            ["folder"])))
    assert [(p.found, p.problem) for p in own if p.name.startswith("folder")] == [
        ("18 pictures", ""), ("2 pictures", "")]


def test_data_of_the_methods_alone_are_asked_for_too():
    found = dry_run.data(plan("smoke", datasets=["menagerie"], method_datasets=["fashion_mnist"],
                              clip_seeds=[], world_seeds=[]))
    assert {p.name for p in found} == {f"{name}, {split}" for split in ("train", "test")
                                       for name in ("menagerie", "fashion_mnist")}


def test_a_mask_that_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="unit must be a multiple of the patch"):
        dry_run.networks(plan("smoke", units=[6], unit_patch=4))


def test_the_command_prints_all_of_it_and_fails_where_data_are_missing(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli.main(["plan", "--tier", "paper"]) == 1
    text = capsys.readouterr().out
    for piece in ("networks to train", "vit_base_patch16", "hours, TPU v3-128",
                  "memory  = 16 bytes", "in all: about",
                  "data_root must name the folder that ImageNet-1K lies in"):
        assert piece in text
    assert cli.main(["plan", "--tier", "smoke"]) == 0
    assert "cannot be used" not in capsys.readouterr().out
