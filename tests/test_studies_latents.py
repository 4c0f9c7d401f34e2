"""Studies of latents and of the similarity of models at toy size, against direct calls."""

from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mae_lib import studies
from mae_lib.data.images import ImageSet
from mae_lib.evaluation import readout
from mae_lib.evaluation.features import extract_features
from mae_lib.evaluation.latents import COMPOSITES, LEVELS, latent_items
from mae_lib.evaluation.similarity import cross_model_cka
from mae_lib.studies import latents, probing
from mae_lib.studies.latents import LATENTS, PIXEL_LATENTS, compressed, factors
from mae_lib.studies.similarity import CROSS_CKA, compared

COMMON = {"preset": "toy", "views": 96, "batch": 32, "lr": 1e-3, "train_images": 64}
PLAIN = studies.Setting("menagerie", **COMMON)
COUNTS = {"probe_images": 160, "test_images": 80}
SERIES = {"ratios": (0.5, 0.75), "units": (4, 8), "unit_ratio": 0.75}


@pytest.fixture(scope="module", autouse=True)
def one_strength(shared_results):
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setattr(readout, "STRENGTHS", (0.1,))  # the choice has tests of its own
        yield


# Latents


@pytest.fixture(scope="module")
def untrained():
    return replace(PLAIN, views=0)


@pytest.fixture(scope="module")
def result(untrained):
    return LATENTS(untrained, **COUNTS)


def by_protocol(result):
    found = {}
    for record in studies.records(result):
        found.setdefault(record.protocol, {})[record.metric] = record
    return found


def test_both_tokens_are_asked_for_latents_and_for_facts_of_the_pixels(result):
    found = by_protocol(result)
    assert set(found) == {f"{what}, {token} token" for what in ("latents", "image factors")
                          for token in ("mean", "class")}
    for protocol, rows in found.items():
        assert set(rows) >= {*COMPOSITES, "level 0"}, protocol
        assert (set(rows) >= set(LEVELS)) == protocol.startswith("latents")
        assert {r.n for r in rows.values()} == {80}
        composed = {*COMPOSITES, *LEVELS} & set(rows)
        assert ("x" in rows) == (protocol == "latents, mean token")
        assert {name for name, r in rows.items() if r.items is not None} == (
            set() if "class" in protocol else composed)


def test_scores_are_those_of_a_direct_call(result, untrained):
    encoder = studies.model(untrained).encoder
    train, test = (extract_features(encoder, studies.images("menagerie", split, count), "mean")
                   for split, count in (("train", 160), ("test", 80)))
    known, asked = (factors("menagerie", split, count)["latents"]
                    for split, count in (("train", 160), ("test", 80)))
    expected = latent_items(train, test, known, asked)
    found = by_protocol(result)["latents, mean token"]
    assert set(found) == set(expected)
    for name, items in expected.items():
        assert found[name].value == pytest.approx(items.mean(), abs=1e-5), name


def test_position_is_the_objects_own_and_the_pixels_have_theirs(result):
    found = by_protocol(result)
    both = [found[p] for p in ("latents, mean token", "image factors, mean token")]
    x, y, position = (both[0][name].value for name in ("x", "y", "position"))
    assert position == pytest.approx((x + y) / 2)
    assert both[1]["position"].value == pytest.approx(both[1]["centre of mass"].value)
    assert both[0]["level 0"].value == pytest.approx(both[1]["level 0"].value)


def test_the_second_time_it_is_found(result, untrained):
    again = LATENTS(untrained, **COUNTS)
    assert again.where == "cache" and not again.stale
    values = [[r.value for r in studies.records(one)] for one in (again, result)]
    assert values[0] == values[1]


def test_pixels_are_a_baseline_of_their_own(untrained):
    found = by_protocol(PIXEL_LATENTS(untrained, **COUNTS))
    assert set(found) == {f"{what}, {kind}" for what in ("latents", "image factors")
                          for kind in ("pixels", "mean patch")}
    assert found["image factors, mean patch"]["mean colour"].value > 0.999
    record = found["latents, pixels"]["position"]
    assert record.setting == {"dataset": "menagerie"} and record.seed == 0


def test_components_are_fitted_on_the_training_images_alone():
    train, test = (probing.raw_pixels(studies.images("menagerie", split, 40))
                   for split in ("train", "test"))
    (X, Z), kept = compressed(train, test, 5)
    _, values, axes = np.linalg.svd(train.image - train.image.mean(0), full_matrices=False)
    for found, bank in ((X, train), (Z, test)):
        expected = (bank.image - train.image.mean(0)) @ axes[:5].T
        assert found.image.shape == (40, 5)
        np.testing.assert_allclose(abs(found.image[:, :3]), abs(expected[:, :3]), atol=0.05)
    assert kept == pytest.approx((values[:5] ** 2).sum() / (values**2).sum(), rel=1e-2)


def test_pictures_without_known_causes_keep_the_facts_of_their_pixels(monkeypatch):
    def clothes(dataset, split, count, size, root):
        rng = np.random.default_rng(len(split))
        size = rng.integers(8, 30, count)
        there = np.arange(32) < size[:, None]
        grey = 255 * (there[:, None] & there[:, :, None]) * rng.random(count)[:, None, None]
        images = np.repeat(grey[:, None], 3, 1).astype(np.uint8)
        return ImageSet(images, rng.integers(0, 10, count), tuple("abcdefghij"), dataset,
                        f"{split} {count}")

    for module in (latents, studies.sets):
        monkeypatch.setattr(module, "images", clothes)
    encoder = studies.model(replace(PLAIN, views=0))
    monkeypatch.setattr(probing, "model", lambda setting, if_stale: encoder)
    latents.factors.cache_clear()
    value = latents._latents(studies.Setting("fashion_mnist", **COMMON), "show", 200, 100)
    latents.factors.cache_clear()
    rows = {(row["protocol"], row["metric"]): row for row in value["records"]}
    assert {row["status"] for key, row in rows.items() if "factors" in key[0]} == {"ok"}
    assert rows["image factors, mean token", "scale"]["value"] > 0.3
    unknown = [row for key, row in rows.items() if key[0].startswith("latents")]
    assert len(unknown) == 2 * 8 and {row["metric"] for row in unknown} == {*COMPOSITES, *LEVELS}
    assert {(row["status"], row["value"], row["reason"]) for row in unknown} == {
        ("not tested", None, "the causes of photographs are not known")}


def test_latents_of_other_pictures_are_refused(monkeypatch):
    monkeypatch.setattr(latents, "draw", lambda split, n, *a, **k: studies.sets.menagerie("val", n))
    latents.factors.cache_clear()
    with pytest.raises(RuntimeError, match="are not those of the studies"):
        factors("menagerie", "test", 30)


# Similarity of models


@pytest.fixture(scope="module")
def crossed():
    return CROSS_CKA(PLAIN, test_images=40, **SERIES)


def test_the_models_of_both_series_and_the_control_are_compared():
    found = compared(replace(PLAIN, seed=3, ratio=0.25, unit=16), **SERIES)
    assert {name: (s.ratio, s.unit, s.views) for name, s in found.items()} == {
        "0.5": (0.5, 4, 96), "0.75": (0.75, 4, 96), "unit 8": (0.75, 8, 96),
        "untrained": (0.5, 4, 0)}
    assert {(s.seed, s.preset, s.train_images) for s in found.values()} == {(3, "toy", 64)}


def test_every_pair_of_blocks_is_that_of_a_direct_call(crossed):
    value, models = crossed.value, compared(PLAIN, **SERIES)
    test = studies.images("menagerie", "test", 40)
    encoders = [studies.model(s).encoder for s in models.values()]
    assert value["models"] == list(models) and value["cka"].shape == (2, 2, 4, 2, 4, 2)
    for i, levelled in enumerate((True, False)):
        for r, representation in enumerate(("cls", "mean")):
            expected = cross_model_cka(encoders[0], encoders[3], test, representation,
                                       levelled=levelled)
            np.testing.assert_allclose(value["cka"][i, r, 0, :, 3], expected, atol=1e-4)
    assert value["inputs"] == ["levelled", "raw"]
    assert value["representations"] == ["class token", "mean token"]


def test_likeness_is_mutual_and_complete_with_oneself(crossed):
    cka = crossed.value["cka"]
    np.testing.assert_allclose(cka, cka.transpose(0, 1, 4, 5, 2, 3), atol=1e-6)
    own = cka[:, :, np.arange(4), -1, np.arange(4), -1]
    np.testing.assert_allclose(own, 1, atol=1e-6)


def test_a_record_is_one_pair_seen_from_one_of_the_two(crossed):
    found = studies.records(crossed)
    assert len(found) == 3 * 3 * 4  # of three trained models, to the other three, four protocols
    rows = {(r.setting["ratio"], r.setting["unit"], r.metric): r.value for r in found
            if r.protocol == "similarity of models, mean token, levelled"}
    assert set(rows) == {(0.5, 4, f"cka to {b}") for b in ("0.75", "unit 8", "untrained")} | {
        (0.75, 4, f"cka to {b}") for b in ("0.5", "unit 8", "untrained")} | {
        (0.75, 8, f"cka to {b}") for b in ("0.5", "0.75", "untrained")}
    assert rows[0.5, 4, "cka to unit 8"] == rows[0.75, 8, "cka to 0.5"] == pytest.approx(
        crossed.value["cka"][0, 1, 0, -1, 2, -1])
    assert {r.n for r in found} == {40} and "seed" not in found[0].setting


def test_the_model_that_asks_does_not_matter_but_its_seed_and_recipe_do(crossed):
    def name(setting):
        return CROSS_CKA.key(setting, test_images=40, **SERIES).name

    assert CROSS_CKA(replace(PLAIN, ratio=0.5), test_images=40, **SERIES).where == "cache"
    others = [replace(PLAIN, seed=1), replace(PLAIN, views=64), studies.Setting("fashion_mnist")]
    assert len({name(s) for s in [PLAIN, *others]}) == 4
