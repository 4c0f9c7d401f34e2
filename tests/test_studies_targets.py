"""Shared targets of raw pictures: the study against loops, and against what it is made of."""

from dataclasses import replace

import numpy as np
import pytest
from test_plan import PARAMETERS

from mae_lib import runs, studies
from mae_lib.data.images import ImageSet
from mae_lib.evaluation.shared_targets import hidden_patches, near_sharing
from mae_lib.ledger.outcomes import Outcomes
from mae_lib.ledger.target_rules import PAIRS, PICTURES, TARGET, VIEW, counts
from mae_lib.measurements import measurements
from mae_lib.studies import Plan, program, targets
from mae_lib.studies.sets import images_of
from mae_lib.verify import verify

pytestmark = pytest.mark.usefixtures("shared_results")

SETTING = studies.Setting(preset="toy", views=0)
COUNT, MASKS, RATIOS, PATCH = 60, 2, (0.5, 0.75), 4
ARGUMENTS = {"target_images": COUNT, "target_masks": MASKS, "ratios": RATIOS}


@pytest.fixture(scope="module")
def pictures():
    return images_of(SETTING, "train", COUNT)


@pytest.fixture(scope="module")
def result(shared_results):
    return studies.TARGETS(SETTING, **ARGUMENTS)


@pytest.fixture(scope="module")
def values(result):
    found = {(r.protocol, r.metric, r.seed): r.value for r in studies.records(result)}
    assert len(found) == len(studies.records(result))
    return found


def made(pixels, labels) -> ImageSet:
    labels = np.asarray(labels)
    return ImageSet(np.asarray(pixels, np.uint8), labels, tuple(map(str, range(labels.max() + 1))),
                    "made up", "made up")


def coarse(count=12, seed=0) -> ImageSet:
    """Pictures of four flat patches in black and white, all different pictures at first."""
    codes = np.random.default_rng(seed).integers(0, 2, (count, 1, 2, 2))
    return made(255 * codes.repeat(4, 2).repeat(4, 3).repeat(3, 1), np.arange(count) % 3)


def test_parts_share_no_picture_and_hold_all(pictures):
    parts = targets.parts(pictures)
    assert [len(part) for part in parts] == [COUNT // targets.PARTS] * targets.PARTS
    seen = [picture.tobytes() for part in parts for picture in part.images]
    assert sorted(seen) == sorted(picture.tobytes() for picture in pictures.images)
    assert len(set(seen)) == COUNT
    uneven = targets.parts(pictures.subset(slice(13)))
    assert [len(part) for part in uneven] == [3, 3, 3, 2, 2]
    assert np.array_equal(parts[2].images, targets.parts(pictures)[2].images)


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_shared_targets_are_counted_pair_by_pair(ratio):
    images, pairs = coarse(), {"own class": 0, "another class": 0, "pairs": 0}
    for hidden in hidden_patches((2, 2), ratio, 3):
        for i in range(12):
            for j in range(i):
                a, b = (images.images[k][0, ::4, ::4].ravel() for k in (i, j))
                if (a != b).any():
                    pairs["pairs"] += 1
                    if (a[hidden] == b[hidden]).all():
                        own = images.labels[i] == images.labels[j]
                        pairs["own class" if own else "another class"] += 1
    assert targets.counted(images, ratio, 3, 4) == pairs
    assert pairs["own class"] and pairs["another class"]


def test_chance_is_the_share_of_pairs_of_one_class(pictures, values):
    def slowly(labels):
        n = len(labels)
        return np.mean([labels[i] == labels[j] for i in range(n) for j in range(n) if i != j])
    assert targets.chance(np.array([0, 0, 1, 1, 1])) == pytest.approx(8 / 20)
    assert values["all pictures", "pairs of one class", 0] == pytest.approx(
        slowly(pictures.labels))


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_nearest_target_is_that_of_a_loop(pictures, values, ratio):
    """Of part 3, with distances taken pixel by pixel."""
    part = targets.parts(pictures)[3]
    for protocol in ("targets", "views"):
        own, distance = [], []
        for hidden in hidden_patches((8, 8), ratio, MASKS, seed=3):
            looked = np.isin(np.arange(64), hidden) == (protocol == "targets")
            shown = np.kron(looked.reshape(8, 8), np.ones((4, 4))).astype(bool)
            pixels = part.images[:, :, shown].reshape(len(part), -1).astype(float)
            apart = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).sum(2))
            mean = apart.sum() / (len(part) * (len(part) - 1))
            np.fill_diagonal(apart, np.inf)
            own.append(np.mean(part.labels[apart.argmin(1)] == part.labels))
            distance.append(apart.min(1).mean() / mean)
        name = f"{protocol}, ratio {ratio:g}"
        assert values[name, "nearest is of its class", 3] == pytest.approx(np.mean(own))
        assert values[name, "nearest", 3] == pytest.approx(np.mean(distance))


def test_levelled_pictures_have_one_brightness_and_contrast(pictures):
    flat = targets.levelled(pictures)
    assert flat.images.dtype == np.uint8 and flat.fingerprint != pictures.fingerprint
    z = (flat.images / 255 - 0.5) * targets.SPREAD
    cut = (flat.images == 0) | (flat.images == 255)
    assert cut.mean() < 0.01
    whole = ~cut.any((1, 2, 3))
    assert whole.sum() > 10
    assert np.abs(z[whole].mean((2, 3))).max() < 0.02
    assert np.allclose((z[whole] ** 2).mean((1, 2, 3)), 1, atol=0.02)


def test_levelling_forgets_brightness_and_contrast():
    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 120, (4, 3, 8, 8))
    images = made(np.concatenate([pixels, 2 * pixels - 40]), [0] * 8)
    flat = targets.levelled(images).images.astype(int)
    assert np.abs(flat[:4] - flat[4:]).max() <= 1  # bytes
    assert np.abs(flat[0] - flat[1]).max() > 20


def test_levelled_targets_are_those_of_levelled_pictures(pictures, values):
    part = targets.parts(pictures)[1]
    hidden = hidden_patches((8, 8), 0.75, MASKS, seed=1)
    direct = near_sharing(targets.levelled(part), hidden, PATCH)["nearest"].mean()
    assert values["levelled targets, ratio 0.75", "nearest", 1] == pytest.approx(direct)
    assert values["targets, ratio 0.75", "nearest", 1] != pytest.approx(direct, abs=1e-3)


def test_other_patches_are_all_that_are_left():
    hidden = hidden_patches((3, 4), 0.5, 5)
    left = targets.others(hidden, (3, 4))
    assert left.shape == (5, 6)
    assert all(set(a) | set(b) == set(range(12)) for a, b in zip(hidden, left, strict=True))


def by_hand(pixels, labels, shown, squared: bool) -> float:
    """Mean distance within classes over that across, pixels that are not shown being 0."""
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for i in range(len(labels)):
        for j in range(i):
            gap = pixels[i] * shown[i] - pixels[j] * shown[j]
            length = float((gap**2).sum())
            kinds[labels[i] == labels[j]].append(length if squared else length**0.5)
    return np.mean(kinds[True]) / np.mean(kinds[False])


@pytest.mark.parametrize("squared", [False, True])
def test_distances_of_pixels_are_those_of_a_loop(pictures, values, squared):
    part = targets.parts(pictures)[0]
    mean, std = (np.array(x)[:, None, None] for x in part.standardisation())
    pixels = (part.images / 255 - mean) / std
    metric = "squared" if squared else "relative distance"
    shown = np.ones((len(part), 1, 1, 1))
    assert values["pixels", metric, 0] == pytest.approx(
        by_hand(pixels, part.labels, shown, squared), rel=1e-5)


def test_with_as_many_masks_as_one_likes_the_closed_forms_are_met(pictures):
    """The mean over draws of the mean squared distances; both kinds of masks."""
    part = targets.parts(pictures)[0]
    for protocol, same in ((targets.ONE_MASK, True), (targets.TWO_MASKS, False)):
        drawn = [targets._masked_distances(part, 0.5, PATCH, seed, same=same)["squared"]
                 for seed in range(60)]
        expected, = [found["expected squared"] for name, ratio, found in
                     targets.measured(part, (0.5,), 1, PATCH, 0) if name == protocol]
        error = np.std(drawn) / np.sqrt(len(drawn))
        assert np.mean(drawn) == pytest.approx(expected, abs=4 * error) and error < 0.03


def test_one_mask_leaves_the_closed_form_where_it_is_and_two_move_it(values):
    def of(kind, ratio):
        return values[f"pixels, {kind}, ratio {ratio}", "expected squared", 2]
    assert of("one mask", 0.5) == of("one mask", 0.75) == pytest.approx(
        values["pixels", "squared", 2], rel=1e-5)
    assert of("one mask", 0.5) < of("two masks", 0.5) < of("two masks", 0.75)


def test_records_are_small_and_say_where_they_come_from(result):
    found = studies.records(result)
    assert {(r.dataset, r.split) for r in found} == {("menagerie", "train")}
    assert all(r.items is None for r in found) and set(result.value) == {"records"}
    assert {r.n for r in found if targets.what(r) == "targets"} == {COUNT // targets.PARTS}
    assert {r.seed for r in found if targets.what(r) == "views"} == set(range(targets.PARTS))
    assert {r.setting["ratio"] for r in found if r.protocol != targets.what(r)} == set(RATIOS)


def test_only_pictures_and_masks_make_the_result():
    def key(setting=SETTING, **changes):
        return studies.TARGETS.key(setting, **ARGUMENTS | changes)
    assert key(replace(SETTING, seed=4, ratio=.5, views=64)).name == key().name
    assert len({key().name, key(target_masks=3).name, key(target_images=70).name,
                key(replace(SETTING, dataset="fashion_mnist")).name}) == 4
    assert key().freshness()["data: target"] != key(target_images=70).freshness()["data: target"]
    assert studies.TARGETS.networks(replace(SETTING, views=64), **ARGUMENTS) == []


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="target_images must be at least 10, got 9"):
        studies.TARGETS(SETTING, **ARGUMENTS | {"target_images": 9})


def test_a_plan_asks_for_them_where_it_names_pictures(result):
    plan = Plan.of(PARAMETERS | ARGUMENTS | {"preset": "toy", "datasets": ["menagerie"],
                                             "ratios": list(RATIOS)})
    assert [s.dataset for s in program(plan)[studies.TARGETS]] == ["menagerie"]
    assert plan.key(studies.TARGETS, plan.core[0]).name == (
        studies.TARGETS.key(SETTING, **ARGUMENTS).name)
    assert program(Plan.of(PARAMETERS))[studies.TARGETS] == []


def test_the_ledger_sees_each_ratio_and_part(result, values):
    plan = Plan.of(PARAMETERS | ARGUMENTS | {"preset": "toy", "datasets": ["menagerie"],
                                             "ratios": list(RATIOS)})
    found = Outcomes.of(measurements(plan, [studies.TARGETS]), "menagerie")
    assert found.levels(PAIRS, PICTURES) == list(RATIOS)
    assert counts(found)[PAIRS].tolist() == [MASKS * COUNT * (COUNT - 1) / 2] * 2
    for name, protocol in ((TARGET, "targets"), (VIEW, "views")):
        assert found.values(name, PICTURES, 0.75) == {
            seed: values[f"{protocol}, ratio 0.75", "nearest is of its class", seed]
            for seed in range(targets.PARTS)}


def test_every_part_of_a_published_result_is_computed_again(result, monkeypatch):
    """A number of any part that was altered is found."""
    lines: list[str] = []
    runs.publish(["targets"])
    assert verify(full=True, report=lines.append), lines
    compute, changed = studies.TARGETS.compute, "targets, ratio 0.5"

    def other(*arguments, **named):
        value = compute(*arguments, **named)
        row = next(r for r in value["records"] if r["protocol"] == changed and r["seed"] == 0)
        row["value"] += 0.1
        return value

    import mae_lib.verify
    monkeypatch.setitem(mae_lib.verify.STUDIES, "targets",
                        replace(studies.TARGETS, compute=other))
    assert not verify(full=True, report=lines.append)
