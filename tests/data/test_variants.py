"""Shifted test sets of ImageNet: official layouts, mappings, and scores together with them."""

import hashlib
from collections import Counter

import layouts
import numpy as np
import pytest
import yaml
from PIL import Image

from mae_lib.data.official.folders import WrongLayout
from mae_lib.data.official.imagenet import class_names, imagenet, timm_table, wnids
from mae_lib.data.official.variants import VARIANTS, objectnet_table, variant, variant_spec
from mae_lib.evaluation.robustness import score_variant


def test_every_set_states_its_facts():
    counts = {name: variant_spec(name).n_expected for name in VARIANTS}
    assert list(counts.values()) == [10_000] * 3 + [7_500, 30_000, 50_889, 18_574]
    assert [len(variant_spec(name).folders) for name in VARIANTS] == [1000] * 3 + [200, 200, 1000,
                                                                                   113]
    assert [variant_spec(name).default_rule for name in VARIANTS] == (
        ["full"] * 3 + ["restricted", "restricted", "full", "restricted"])
    assert [variant_spec(name).border for name in VARIANTS] == [0] * 6 + [2]
    assert "never" in variant_spec("objectnet").licence
    with pytest.raises(ValueError, match="name must be one of imagenetv2-.*, got 'imagenet-c'"):
        variant_spec("imagenet-c")


@pytest.mark.parametrize("letter", ["a", "r"])
def test_indices_and_synsets_of_a_and_r_say_the_same(letter):
    folders = variant_spec(f"imagenet-{letter}").folders
    assert tuple(folders) == timm_table(f"imagenet_{letter}_synsets.txt")
    for wnid, indices in folders.items():  # there and back again
        assert wnids()[next(iter(indices))] == wnid and len(indices) == 1


def test_a_and_r_share_86_classes():
    assert len(variant_spec("imagenet-a").allowed & variant_spec("imagenet-r").allowed) == 86


def test_objectnets_mapping_has_the_official_counts():
    table = objectnet_table()
    counts = Counter(len(one["indices"]) for one in table.values())
    assert counts == {1: 104, 2: 6, 3: 3} and len(table) == 113
    assert len(variant_spec("objectnet").allowed) == 125
    ids = [one["id"] for one in table.values()]
    assert len(set(ids)) == 113 and (min(ids), max(ids)) == (1, 310)
    assert sum(counts[n] * n for n in counts) == 125  # no index twice


def test_objectnets_mapping_is_the_one_that_was_checked():
    from importlib.resources import files

    stored = yaml.safe_load(files("mae_lib.data.official").joinpath("objectnet.yaml").read_text())
    lines = "".join(f"{folder} {one['id']} {' '.join(map(str, one['indices']))}\n"
                    for folder, one in sorted(stored["classes"].items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == stored["sha256"]


@pytest.mark.parametrize("folder, words", [
    ("alarm_clock", {"analog clock", "digital clock"}), ("t-shirt", {"jersey"}),
    ("chair", {"barber chair", "folding chair", "rocking chair"}), ("wok", {"wok"}),
    ("hand_towel_or_rag", {"dishrag"}), ("drying_rack_for_dishes", {"plate rack"})])
def test_objectnets_classes_mean_what_imagenets_do(folder, words):
    assert {class_names()[k] for k in objectnet_table()[folder]["indices"]} == words


def write_variant(root, name, count=1):
    spec = variant_spec(name)
    ending = "{c}_{i}.png" if name == "objectnet" else "{c}_{i}.jpeg"
    layouts.write_classes(root / spec.location, spec.folders, count, ending)
    return spec


@pytest.mark.parametrize("name", VARIANTS)
def test_every_set_is_read_in_its_official_layout(tmp_path, name):
    spec = write_variant(tmp_path, name)
    images = variant(tmp_path, name, size=16, strict=False)
    assert len(images) == len(spec.folders) and images.name == name
    for i in (0, 2, 10, len(images) - 1):
        inside = images.path(i).parent.name
        assert spec.targets(images.labels)[i] == spec.folders[inside]
    again = variant(tmp_path / spec.location, name, size=16, strict=False)
    assert again.fingerprint == images.fingerprint
    with pytest.raises(WrongLayout, match=f"should hold {spec.n_expected:,} pictures within 1 %"):
        variant(tmp_path, name)


def test_folders_of_v2_are_numbers_not_words(tmp_path):
    write_variant(tmp_path, VARIANTS[0])
    images = variant(tmp_path, VARIANTS[0], size=16, strict=False)
    targets = variant_spec(VARIANTS[0]).targets(images.labels)
    assert [images.path(i).parent.name for i in (2, 10, 100)] == ["2", "10", "100"]
    assert targets == [{int(images.path(i).parent.name)} for i in range(1000)]


def test_v2_with_all_ten_thousand_files_passes_the_check(tmp_path):
    write_variant(tmp_path, VARIANTS[0], 10)
    assert len(variant(tmp_path, VARIANTS[0])) == 10_000


def test_objectnets_other_classes_are_left_out_and_its_border_is_cut(tmp_path):
    write_variant(tmp_path, "objectnet")
    base = tmp_path / "objectnet-1.0/images"
    layouts.write(base / "air_freshener/x.png", 1)
    framed = Image.new("RGB", (68, 68), (255, 0, 0))
    framed.paste(Image.new("RGB", (64, 64), (0, 90, 200)), (2, 2))
    (base / "wok/wok_0.png").unlink()
    framed.save(base / "wok/0.png")
    images = variant(tmp_path, "objectnet", size=64, strict=False)
    assert len(images) == 113
    shown = images.pixels([images.classes.index("wok")])[0]
    assert (shown.flatten(1).numpy() == np.array([[0], [90], [200]])).all()  # no red row or column


def test_missing_and_unknown_folders_are_listed(tmp_path):
    spec = variant_spec("imagenet-r")
    layouts.write_classes(tmp_path / "imagenet-r", [*list(spec.folders)[1:], "README_extra"])
    with pytest.raises(WrongLayout, match=r"imagenet-r should hold 200 class folders .*; missing or"
                                          r" empty: 1 \(n01443537\), unknown: 1 \(README_extra\)"):
        variant(tmp_path, "imagenet-r")


def logits_for(targets, seed=0):
    """Noise of a thousand classes in which the first right answer of every second image wins."""
    logits = np.random.default_rng(seed).normal(size=(len(targets), 1000))
    for row, target in zip(logits[::2], targets[::2], strict=True):
        row[min(target)] = 50
    return logits


@pytest.mark.parametrize("name", VARIANTS[2:])
def test_targets_fit_the_scores_under_every_rule(tmp_path, name):
    spec = write_variant(tmp_path, name)
    targets = spec.targets(variant(tmp_path, name, size=16, strict=False).labels)
    logits = logits_for(targets)
    found = {rule: score_variant(logits, targets, spec.allowed, rule, groups=spec.groups)
             for rule in ("restricted", "full", "projected")}
    assert all(result.correct[::2].all() for result in found.values())
    assert (found["full"].correct <= found["restricted"].correct).all()
    assert np.array_equal(found["restricted"].correct, found["projected"].correct)
    right = np.zeros((len(targets), 1000))
    for row, target in zip(right, targets, strict=True):
        row[max(target)] = 1
    assert all(score_variant(right, targets, spec.allowed, rule, groups=spec.groups).top1 == 1
               for rule in ("restricted", "full", "projected"))


def test_answers_that_know_nothing_are_at_chance():
    spec = variant_spec("objectnet")
    targets = spec.targets(np.arange(113))
    logits = np.random.default_rng(0).normal(size=(113, 1000))
    tries = [score_variant(np.roll(logits, k, 0), targets, spec.allowed, "projected",
                           groups=spec.groups).top1 for k in range(113)]
    # Over all pairings of rows and images a row is right for the one class that it names.
    assert np.mean(tries) == pytest.approx(1 / 113)


def test_imagenets_validation_set_has_50_times_125_images_of_objectnets_classes(tmp_path):
    layouts.write_classes(tmp_path / "val", wnids(), 2)
    images = imagenet(tmp_path, "val", strict=False)
    inside = np.isin(images.labels, list(variant_spec("objectnet").allowed))
    assert len(images.subset(inside)) * 25 == 6250
