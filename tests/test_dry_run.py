"""A dry run counts what would run, and says what is missing before anything runs."""

import sys
from pathlib import Path

import pytest

from mae_lib import cli, dry_run, studies
from mae_lib.book.parameters import read_flat
from mae_lib.models.cost import autoencoder_macs
from mae_lib.models.methods import PRESETS, mae

sys.path.insert(0, str(Path(__file__).parent / "data"))
from layouts import write_classes  # noqa: E402

ROOT = Path(__file__).parents[1]


def plan(tier, **changes):
    return studies.Plan.of(read_flat(ROOT / "params" / f"{tier}.yaml", ROOT) | changes)


def test_the_assumed_share_of_the_peak_fits_a_printed_time():
    """He et al. 2022, table 2: ViT-L, 800 epochs, 15.4 hours on 128 TPU v3 cores."""
    macs = autoencoder_macs(PRESETS["vit_large_patch16"], 0.75, lazy=False).total
    hours = dry_run.hours(dry_run.MACHINES[0], dry_run.TRAINED * macs * 800 * 1_281_167)
    assert hours == pytest.approx(15.4, rel=0.05)


def test_the_papers_tier_trains_its_networks():
    found = dry_run.networks(plan("paper"))
    assert set(zip(found.patch, found.ratio, strict=True)) == {
        *((16, r) for r in (0.1, 0.25, 0.5, 0.75, 0.9)), (8, 0.75), (32, 0.75)}
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


def test_hours_add_up_over_results():
    found = dry_run.work(plan("paper", seeds=[0, 1], arm_seeds=[0, 1])).set_index("kind")
    once = dry_run.work(plan("paper")).set_index("kind")
    assert found["exa-MACs"]["linear_probe"] == pytest.approx(2 * once["exa-MACs"]["linear_probe"])
    only = plan("paper", ratios=[0.75], patches=[], arm_ratios=[], margins=[], units=[8])
    macs = sum(autoencoder_macs(PRESETS["vit_base_patch16"] | {"patch": p}, 0.75).total
               for p in (16, 8))
    exa = dry_run.work(only).set_index("kind")["exa-MACs"]["pretraining"]
    assert exa == pytest.approx(3 * only.views * macs / 1e18)


def test_data_that_are_missing_are_said_before_anything_runs(tmp_path):
    found = {p.name: p for p in dry_run.data(plan("paper", data_root=str(tmp_path)))}
    assert "should be the folder of ImageNet-1K" in found["imagenet, train"].problem
    assert {"objectnet", "imagenet-sketch", "cue conflict", "COCO, train"} <= set(found)
    assert all(place.problem for place in found.values())
    write_classes(tmp_path / "mine", ("cat", "dog"), 10, "{c}{i}.png")
    own = dry_run.data(plan("smoke", datasets=["folder"], data_root=str(tmp_path / "mine")))
    assert [(p.found, p.problem) for p in own] == [("18 pictures", ""), ("2 pictures", "")]


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
