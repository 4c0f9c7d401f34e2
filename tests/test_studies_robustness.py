"""Shifted sets and cue conflict as studies, at toy size."""

import numpy as np
import pytest
import torch

from mae_lib import studies
from mae_lib.data.shifts import SHIFTS
from mae_lib.evaluation.probing import evaluate
from mae_lib.studies import robustness, shape_bias
from mae_lib.studies.probing import POOLS, banks
from mae_lib.studies.robustness import FILTER_NETWORK, ROBUSTNESS
from mae_lib.studies.shape_bias import SHAPE_BIAS, Seen, decide

pytestmark = pytest.mark.usefixtures("shared_results")

PLAIN = studies.Setting(preset="toy", views=0, train_images=64)
PROBES = {"probe_images": 200, "probe_test_images": 100}
FILTER = {"filter_images": 128, "filter_epochs": 1}
COUNTS = PROBES | FILTER | {"test_images": 40}


@pytest.fixture(scope="module", autouse=True)
def own_images():
    yield
    robustness.shifted_images.cache_clear()


def test_every_shift_and_pool_has_a_record_with_its_correct_items():
    found = studies.records(ROBUSTNESS(PLAIN, **COUNTS))
    assert [(r.split, r.protocol) for r in found] == [
        (name, f"robustness, {pool}") for name in SHIFTS for pool in POOLS]
    for r in found:
        assert (r.dataset, r.metric, r.n, r.items.dtype) == ("menagerie", "accuracy", 40, np.uint8)
        assert r.value == pytest.approx(r.items.mean()) and set(r.items) <= {0, 1}


def test_the_probes_are_those_of_the_linear_probe():
    linear = studies.LINEAR_PROBE(PLAIN, **PROBES)
    train = studies.images("menagerie", "train", 200)
    refitted = robustness._probes(studies.model(PLAIN).encoder, train, linear.value["C"])
    items = {r.protocol: r.items for r in studies.records(linear)}
    for pool, (_, test) in banks(PLAIN, "show", **PROBES).items():
        assert np.array_equal(evaluate(refitted[pool], test).correct,
                              items[f"linear probe, {pool}"])


def test_the_filter_is_one_small_network_for_all_models():
    found = FILTER_NETWORK(PLAIN, **FILTER)
    sizes = [w.numel() for w in found.value["weights"].values()]
    assert {w.dtype for w in found.value["weights"].values()} == {torch.float16}
    assert 2 * sum(sizes) < 120_000 and len(found.value["losses"]) == 2
    other = studies.Setting(ratio=0.5, seed=3)
    assert FILTER_NETWORK.key(other, **FILTER) == FILTER_NETWORK.key(PLAIN, **FILTER)


def test_the_filter_errs_on_all_that_it_keeps():
    test = robustness.shifted_images("menagerie", "filtered", 40, **FILTER)
    said = robustness.filter_network("menagerie", **FILTER)(test.batch(slice(None)))
    assert said.shape == (40,) and not (said == test.labels).any()


def test_the_key_rests_on_every_shifted_set():
    small, large = (ROBUSTNESS.key(PLAIN, **COUNTS | {"test_images": n}) for n in (40, 41))
    assert {"probe", "probe_test", "filter", "train", *SHIFTS} <= small.data.keys()
    assert all(small.data[name] != large.data[name] for name in SHIFTS)


@pytest.mark.parametrize(("train_images", "tested"), [(40_000, True), (40_001, False)])
def test_photographs_that_were_trained_on_are_no_filtered_set(train_images, tested, monkeypatch):
    setting = studies.Setting("fashion_mnist", views=0, preset="toy", train_images=train_images)
    shown = []
    for name in ("model", "LINEAR_PROBE", "_probes", "images_of"):
        monkeypatch.setattr(robustness, name, lambda *a, **k: FakeModel())
    monkeypatch.setattr(robustness, "shifted_images", lambda d, name, *a, **k: name)
    monkeypatch.setattr(robustness, "_score", lambda e, p, test, *a: shown.append(test) or [])
    records = robustness._robustness(setting, "show", **COUNTS)["records"]
    assert ("filtered" in shown) == tested and set(SHIFTS) - {"filtered"} <= set(shown)
    assert [r["status"] for r in records] == ([] if tested else ["not tested"] * 2)
    assert all("40001 were used for training" in r["reason"] for r in records)


class FakeModel:
    encoder, value = None, {"C": {}}


# cue conflict

def seen_by(sees_shape, sees_texture, seed=0):
    """What an encoder sees that has one column for each shape, or coat, or both."""
    rng, kinds = np.random.default_rng(seed), {}
    for name, n in (("fit congruent", 480), ("fit conflict", 480), ("conflict", 320),
                    ("congruent", 160), ("shape only", 160), ("texture only", 160)):
        shapes = rng.permutation(np.arange(n) % 16)
        textures = shapes if "congruent" in name else (shapes + rng.integers(1, 16, n)) % 16
        columns = [sees_shape * np.eye(16)[shapes] * (name != "texture only"),
                   sees_texture * np.eye(16)[textures] * (name != "shape only")]
        X = np.concatenate(columns, 1) + 0.05 * rng.normal(size=(n, 32))
        kinds[name] = Seen(X, shapes, textures)
    return kinds


def test_an_encoder_that_sees_shape_only_has_bias_1():
    bias, right = decide(seen_by(1, 0))
    assert bias.bias > 0.99 and bias.shape_hits > 0.99
    means = {name: items.mean() for name, items in right.items()}
    for name in ("accuracy, congruent", "accuracy, shape only", "decodable shape"):
        assert means[name] > 0.99
    for name in ("accuracy, texture only", "decodable texture"):
        assert means[name] < 0.2


def test_an_encoder_that_sees_texture_only_has_bias_0():
    bias, right = decide(seen_by(0, 1))
    assert bias.bias < 0.01 and right["texture accuracy"].mean() > 0.99
    assert right["decodable texture"].mean() > 0.99 > 0.2 > right["decodable shape"].mean()


def test_a_cue_that_is_seen_need_not_be_preferred():
    bias, right = decide(seen_by(1, 0.3))
    assert bias.bias > 0.95
    assert right["decodable texture"].mean() > 0.9


def test_the_halves_of_the_features_are_the_pools():
    seen = Seen(np.arange(12).reshape(2, 6), np.zeros(2), np.ones(2))
    assert seen.pool("cls").features.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert seen.pool("mean").features.tolist() == [[3, 4, 5], [9, 10, 11]]


def test_few_decisions_give_no_bias_but_everything_else():
    result = SHAPE_BIAS(PLAIN, conflict_images=64)
    found = studies.records(result)
    protocols = {f"{cue} cue, {pool}" for cue in ("texture", "coat") for pool in POOLS}
    assert {r.protocol for r in found} == protocols and len(found) == 9 * 4
    bias = [r for r in found if r.metric == "shape bias"]
    assert all(r.value is None and "decisive images, 300 are needed" in r.reason for r in bias)
    for protocol in protocols:
        values = {r.metric: r for r in found if r.protocol == protocol}
        hits = values["shape accuracy"].items + values["texture accuracy"].items
        assert hits.max() <= 1 and hits.shape == (64,) and hits.dtype == np.uint8
        assert values["coverage"].value == pytest.approx(hits.mean())
        assert result.value[f"per_class/{protocol}"].shape == (16,)


def test_enough_decisions_give_the_share_of_shape():
    bias, right = decide(seen_by(1, 0))
    about = {"setting": {}, "seed": 0, "dataset": "d", "split": "test", "protocol": "p"}
    records = shape_bias.bias_records(bias, about)
    assert [(r.metric, r.value, r.n) for r in records] == [
        ("shape bias", bias.bias, bias.n_decisive), ("coverage", bias.coverage, 320)]
    said = {name: right[f"{name} accuracy"].sum() for name in ("shape", "texture")}
    assert bias.n_decisive == sum(said.values()) >= 300
    assert bias.bias == pytest.approx(said["shape"] / bias.n_decisive)


def test_clothes_have_no_texture_of_their_own():
    setting = studies.Setting("fashion_mnist", preset="toy", views=0, train_images=64)
    found = studies.records(SHAPE_BIAS(setting, conflict_images=64))
    assert len(found) == 4
    assert {(r.status, r.reason) for r in found} == {("not tested", shape_bias.NO_TEXTURE)}
