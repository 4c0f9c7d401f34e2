"""Runs on clips: what is compared with what, trained, found again and measured, at toy size."""

import json
import zlib
from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from test_plan import PARAMETERS
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mae_lib import dry_run, measurements, runs, sources, studies
from mae_lib.data.clip_sets import DIRECTIONS, ClipSet, directions
from mae_lib.data.menagerie import clips as menagerie_clips
from mae_lib.evaluation.filled_clips import filling_records
from mae_lib.evaluation.propagation import bound_records, frame_features, propagation_records
from mae_lib.evaluation.records import EvalRecord, from_value, to_value
from mae_lib.ledger.experiments import verdicts_of
from mae_lib.ledger.outcomes import Outcomes
from mae_lib.ledger.video_rows import (
    AGNOSTIC,
    CLIPS,
    HIDDEN,
    SCRATCH,
    SIAMESE,
    STILL,
    SYMMETRIC,
    TUBES,
    before,
    with_labels,
)
from mae_lib.ledger.video_rules import MOVES, READ, RULES, TRACKED, TUNED
from mae_lib.models.wider import KINDS, build
from mae_lib.studies import Plan, Setting, clips, program, sets, video
from mae_lib.studies.probing import pooled
from mae_lib.training.finetune import FinetuneConfig, FinetuneResult
from mae_lib.training.pretrain import pretrain
from mae_lib.training.schedule import Recipe

pytestmark = pytest.mark.usefixtures("shared_results")

COUNT = 24
COMMON = {"preset": "toy", "views": 48, "batch": 16, "lr": 1e-3, "train_images": COUNT}
SMALL = COMMON | {"patch": 8, "width": 16, "depth": 1, "decoder_width": 8, "seed": 2}
OF_FRAMES = [name for name, kind in KINDS.items()
             if not (kind.clips or kind.partner or "reward" in name)]
OF_CLIPS = [name for name, kind in KINDS.items() if kind.clips]
RUNS = {name: Setting(dataset="menagerie_clips", method=name, **SMALL) for name in OF_CLIPS} | {
    name: Setting(method=name, **SMALL) for name in OF_FRAMES}
PLAN = Plan.of(PARAMETERS | {
    "preset": "toy", "views": 640, "clip_seeds": [0, 1, 2], "clip_views": 48, "clip_images": COUNT,
    "clip_ratios": [0.5, 0.75, 0.9], "clip_counts": [8, 12, COUNT], "clip_tuning_views": 72,
    "pair_views": 96, "tracked_clips": 3, "design_seeds": [0, 1, 2], "ratios": [0.1, 0.75, 0.9],
    "method_datasets": ["menagerie"], "method_seeds": [0], "method_views": 640,
    "probe_images": 16, "probe_test_images": 12})


@pytest.fixture(scope="module", autouse=True)
def data_folder(shared_results):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAE_LIB_DATA", str(shared_results / "data"))
        yield


# Which runs there are

ST, VIDEO, PAIR = ([Setting(dataset="menagerie_clips", method=method, seed=seed, ratio=0.9,
                            batch=32, lr=1e-3, preset="toy", views=48, train_images=COUNT,
                            target="normalised")
                    for seed in range(3)] for method in ("mae-st", "videomae", "siam-mae"))
OF_PAIRS = [replace(s, ratio=0.95, patch=2, views=96) for s in PAIR]


def changed(base: list[Setting], **changes) -> list[Setting]:
    return [replace(s, **changes) for s in base]


def test_a_row_is_its_papers_method_with_one_thing_changed():
    assert video.samplings(PLAN) == {
        SCRATCH: changed(ST, views=0), "MAE-ST": ST,
        "MAE-ST, tubes": changed(ST, sampling="tube"),
        "MAE-ST, frames": changed(ST, sampling="frame", ratio=0.75),
        "MAE-ST, blocks": changed(ST, sampling="block", ratio=0.75),
        "VideoMAE": VIDEO, "VideoMAE, tubes, .75": changed(VIDEO, ratio=0.75),
        "VideoMAE, random": changed(VIDEO, sampling="agnostic"),
        "VideoMAE, frames": changed(VIDEO, sampling="frame", ratio=0.75)}


def test_ratios_vary_the_ratio_alone():
    assert video.ratios(PLAN) == {0.5: changed(ST, ratio=0.5), 0.75: changed(ST, ratio=0.75),
                                  0.9: ST}


def test_sizes_vary_the_number_of_clips_alone():
    counts = (8, 12, COUNT)
    assert video.sizes(PLAN) == {
        TUBES: {n: changed(VIDEO, train_images=n) for n in counts},
        AGNOSTIC: {n: changed(ST, train_images=n) for n in counts},
        before(TUBES): {n: changed(VIDEO, train_images=n, views=0) for n in counts},
        before(AGNOSTIC): {n: changed(ST, train_images=n, views=0) for n in counts}}


def test_pairs_differ_in_what_is_masked_or_in_having_a_past():
    assert video.pairs(PLAN) == {
        SCRATCH: changed(OF_PAIRS, views=0), SIAMESE: OF_PAIRS,
        SYMMETRIC: changed(OF_PAIRS, method="siam-mae symmetric"),
        STILL: changed(OF_PAIRS, method=None, dataset="menagerie", ratio=0.75, unit=2)}


def test_on_a_game_both_methods_hide_random_tubelets_and_tubes_and_learn_pixels():
    of_game = {"dataset": "boxing_clips", "target": "pixel", "train_images": PLAN.world_frames}
    assert video.games(PLAN) == {
        "MAE-ST": changed(ST, **of_game), "MAE-ST, tubes": changed(ST, **of_game, sampling="tube"),
        "VideoMAE": changed(VIDEO, **of_game),
        "VideoMAE, random": changed(VIDEO, **of_game, sampling="agnostic")}


def test_rows_of_one_seed_start_from_the_same_weights_and_seeds_from_others():
    named = video.samplings(PLAN)
    rows = [name for name in named if name.startswith("MAE-ST")] + [SCRATCH]
    first = {name: studies.network(named[name][1]).state_dict() for name in rows}
    usual, other = (studies.network(s).state_dict() for s in named[AGNOSTIC][1:])
    for name in rows:
        assert all(torch.equal(first[name][key], usual[key]) for key in usual), name
    moved = "encoder.blocks.0.attn.qkv.weight"
    assert not torch.equal(usual[moved], other[moved])


def test_every_run_is_held_once_and_trained_before_it_is_looked_at():
    work, every = program(PLAN), video.every_run(PLAN)
    assert next(iter(work)) is studies.PRETRAINING and len(every) == len(set(every))
    assert set(every) == {s for part in (
        video.samplings(PLAN).values(), video.ratios(PLAN).values(), video.pairs(PLAN).values(),
        video.games(PLAN).values(), *(rows.values() for rows in video.sizes(PLAN).values()))
        for held in part for s in held}
    for settings in work.values():
        assert len(settings) == len(set(settings))
        assert {s for s in settings if s.views and s in set(every)} <= set(
            work[studies.PRETRAINING])
    of_clips = {study: [s for s in settings if s in set(every)]
                for study, settings in work.items()}
    compared = {s for held in (*video.samplings(PLAN).values(), *video.ratios(PLAN).values())
                for s in held}
    assert set(of_clips[studies.LINEAR_PROBE]) == set(of_clips[studies.MOTION]) == compared
    assert set(of_clips[studies.PROPAGATION]) == {
        s for held in video.pairs(PLAN).values() for s in held}
    assert work[studies.FILLING] == [s for held in video.games(PLAN).values() for s in held]
    assert len(of_clips[studies.CLIP_TUNING]) == 4 * 3 * 3
    assert len(work[studies.TRACKING_BOUNDS]) == 1
    assert set(of_clips[studies.PRETRAINING]) == {s for s in every if s.views}


def test_without_seeds_there_are_no_runs_on_clips():
    none = replace(PLAN, clip_seeds=())
    assert video.every_run(none) == []
    work = program(none)
    assert not any(work[study] for study in (studies.MOTION, studies.CLIP_TUNING,
                                             studies.PROPAGATION, studies.TRACKING_BOUNDS,
                                             studies.FILLING))
    assert work[studies.PRETRAINING] == [s for s in program(PLAN)[studies.PRETRAINING]
                                         if s not in set(video.every_run(PLAN))]


@pytest.mark.parametrize("method", [None, "r-mae", *OF_FRAMES])
def test_clips_need_a_method_of_clips(method):
    with pytest.raises(ValueError, match="method must be one that learns from clips for "
                                         f"Menagerie clips, got '{method or 'mae'}'"):
        Setting(dataset="menagerie_clips", method=method)


@pytest.mark.parametrize("dataset", ["menagerie", "fashion_mnist", "pong"])
@pytest.mark.parametrize("method", OF_CLIPS)
def test_single_images_need_a_method_of_images(dataset, method):
    name = studies.DATASETS[dataset]
    with pytest.raises(ValueError, match="method must be one that learns from single images for "
                                         f"{name}, got '{method}'"):
        Setting(dataset=dataset, method=method)


def test_what_follows_the_parts_of_a_picture_is_refused_for_clips():
    with pytest.raises(ValueError, match="policy needs pictures whose parts are known, got "
                                         "'menagerie_clips'"):
        replace(RUNS["mae-st"], policy="whole")


# Training

@lru_cache(maxsize=len(RUNS))
def trained(setting: Setting) -> torch.nn.Module:
    """The same run by the loop itself."""
    made, images = studies.network(setting), sets.training_images(setting)
    recipe = Recipe(views=setting.views, batch=setting.batch, lr=setting.lr)
    pretrain(made, images, recipe, seed=setting.seed, backend="eager", progress=False)
    return made


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_trained_once_and_what_is_found_is_all_that_was_trained(name):
    run, initial = studies.PRETRAINING(RUNS[name]), studies.network(RUNS[name]).state_dict()
    assert run.value["losses"].shape == (3,) and np.isfinite(run.value["losses"]).all()
    again = studies.PRETRAINING(RUNS[name])
    assert again.where == "cache" and all(torch.equal(weight, again.value["weights"][key])
                                          for key, weight in run.value["weights"].items())
    found, expected = studies.model(RUNS[name]), trained(RUNS[name])
    assert type(found) is type(expected) and not found.training
    assert found.config == expected.config == json.loads(json.dumps(found.config))
    state, made = found.state_dict(), expected.state_dict()
    assert state.keys() == made.keys()
    for key, weight in made.items():
        fixed = key.endswith("pos_embed")
        assert torch.equal(state[key], weight if fixed else weight.half().float()), key
        assert torch.equal(weight, initial[key]) == fixed, key


@pytest.mark.parametrize("name", RUNS)
def test_what_is_found_predicts_and_encodes_as_it_was_trained(name):
    found, expected = studies.model(RUNS[name]), trained(RUNS[name])
    images = sets.images_of(RUNS[name], "test", 4).batch(slice(None))
    masks = [made.sample_mask(4, torch.Generator().manual_seed(0)) for made in (found, expected)]
    assert all(torch.equal(*both) for both in zip(*masks, strict=True))
    with torch.no_grad():
        one, other = (made.predict(images, masks[0]) for made in (found, expected))
        losses = [made(images, masks[0]).item() for made in (found, expected)]
    torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)  # half precision
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def test_weights_are_standardised_by_the_clips_that_are_learnt_from():
    setting = RUNS["mae-st"]
    drawn = menagerie_clips(COUNT, 8, 32, "medium32").images / 255
    encoder = studies.network(setting).encoder
    assert encoder.mean.numpy() == pytest.approx(drawn.mean((0, 2, 3, 4)), abs=5.1e-5)
    assert encoder.std.numpy() == pytest.approx(drawn.std((0, 2, 3, 4)), abs=5.1e-5)


# What they know

PROBED = {"probe_images": 96, "probe_test_images": 64}


def motion(split: str, count: int) -> ClipSet:
    """Clips that are labelled by direction, drawn anew."""
    images = sets.images("menagerie_clips", split, count, 32)
    return images.labelled(directions(split, count, 32, "medium32"), DIRECTIONS)


def features(encoder, images: ClipSet, pool: str) -> np.ndarray:
    with torch.no_grad():
        found = encoder(images.batch(slice(None)))
    return (found.cls if pool == "cls" else found.patches.mean(1)).double().numpy()


@pytest.mark.parametrize(("name", "pools"), [("mae-st", {"cls", "mean"}), ("videomae", {"mean"})])
def test_the_probe_of_motion_is_a_logistic_regression(name, pools):
    """At one of the strengths that it chooses from."""
    setting = RUNS[name]
    value = clips._motion(setting, "show", **PROBED)
    found = {r.protocol: r for r in from_value(value)}
    assert set(found) == {f"motion probe, {pool}" for pool in pools}
    encoder = studies.model(setting).encoder
    train, test = motion("train", 96), motion("test", 64)
    for pool in pools:
        record, scaler = found[f"motion probe, {pool}"], StandardScaler()
        X = scaler.fit_transform(features(encoder, train, pool))
        Z, right = scaler.transform(features(encoder, test, pool)), []
        for power in range(-4, 3):
            by_hand = LogisticRegression(C=10.0**power, max_iter=2000).fit(X, train.labels)
            right.append((by_hand.predict(Z) == test.labels).astype(int).tolist())
        assert record.items.tolist() in right and record.value == np.mean(record.items)
        assert (record.metric, record.seed, record.split, record.n) == ("accuracy", 2, "test", 64)
        assert record.setting["method"] == name and "seed" not in record.setting


class Told(torch.nn.Module):
    """An encoder that knows the label of every clip, but turns some of them by an eighth."""

    def __init__(self, wrong: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.cls_token, self.known = None, {}
        for split, count, turned in (("train", 96, 0), ("test", 64, wrong)):
            images = motion(split, count)
            for i, (clip, label) in enumerate(zip(images.clips, images.labels, strict=True)):
                self.known[clip.tobytes()] = (int(label) + (i < turned)) % 8

    def forward(self, x):
        bytes_of = (x * 255).round().to(torch.uint8).numpy()
        labels = torch.tensor([self.known[clip.tobytes()] for clip in bytes_of])
        return SimpleNamespace(cls=None, patches=torch.eye(8)[labels][:, None].expand(-1, 4, -1))


@pytest.mark.parametrize("wrong", [0, 20])
def test_a_probe_of_motion_reads_what_is_there_to_be_read(wrong, monkeypatch):
    told = SimpleNamespace(encoder=Told(wrong))
    monkeypatch.setattr(clips, "model", lambda *_: told)
    record, = from_value(clips._motion(RUNS["videomae"], "show", **PROBED))
    assert record.items.tolist() == [0] * wrong + [1] * (64 - wrong)


@pytest.fixture
def calls(monkeypatch) -> list:
    """Fine-tuning is asked for, and not done."""
    seen = []

    def finetune(model, train, test, config, **_):
        seen.append((model, train, test, config))
        correct = np.arange(len(test)) % 4 == 0
        return FinetuneResult(float(correct.mean()), correct, np.zeros(0), np.zeros(2), None)

    monkeypatch.setattr(clips, "finetune", finetune)
    return seen


@pytest.mark.parametrize("count", [8, 12, COUNT])
def test_labelled_clips_are_those_of_pretraining_and_equally_many_are_seen(count, calls):
    setting = replace(RUNS["videomae"], train_images=count)
    value = clips._tuned(replace(setting, views=0), "show", probe_test_images=12,
                         clip_tuning_views=72)
    (_, train, test, config), = calls
    assert np.array_equal(train.clips, sets.training_images(setting).clips)
    assert len(train) == count and len(train) * config.epochs == 72
    assert config == replace(FinetuneConfig(), epochs=72 // count, augment=None, seed=2)
    drawn = menagerie_clips(12, 8, 32, "medium32", start=10**9)
    assert np.array_equal(test.clips, drawn.images) and np.array_equal(test.labels, drawn.labels)
    record, = from_value(value)
    assert (record.protocol, record.metric) == ("clips fine-tuned", "accuracy")
    assert record.items.tolist() == [1, 0, 0, 0] * 3 and record.setting["train_images"] == count


def test_networks_are_tuned_from_what_pretraining_left_and_controls_from_the_start(calls):
    for views in (48, 0):
        clips._tuned(replace(RUNS["mae-st"], views=views), "show", 12, 24)
    tuned, fresh = (call[0].encoder.state_dict() for call in calls)
    expected = studies.model(RUNS["mae-st"]).encoder.state_dict()
    initial = studies.network(RUNS["mae-st"]).encoder.state_dict()
    assert all(torch.equal(tuned[key], weight) for key, weight in expected.items())
    assert all(torch.equal(fresh[key], weight) for key, weight in initial.items())


def test_fewer_views_than_clips_are_one_pass(calls):
    clips._tuned(RUNS["mae-st"], "show", 12, 5)
    assert calls[0][3].epochs == 1


def test_a_network_of_clips_is_tuned_to_name_them(monkeypatch):
    """The whole way once, on three classes of clips that differ in colour."""
    rng = np.random.default_rng(0)

    def coloured(name: str, count: int) -> ClipSet:
        labels = np.arange(count) % 3
        pixels = rng.integers(0, 60, (count, 3, 8, 32, 32), dtype=np.uint8)
        pixels[np.arange(count), labels] += 150
        return ClipSet(pixels, labels, ("red", "green", "blue"), "colours", name)

    held = {"train": coloured("train", 24), "test": coloured("test", 30)}
    monkeypatch.setattr(clips, "images_of", lambda setting, split, count: held[split])
    record, = from_value(clips._tuned(replace(RUNS["videomae"], views=0), "show", 30, 480))
    assert record.n == 30 and record.value == record.items.mean() > 0.9


TRACKING = replace(RUNS["siam-mae"], patch=4, ratio=0.9)


@pytest.mark.parametrize("setting", [TRACKING, replace(
    TRACKING, method=None, dataset="menagerie", ratio=0.75)], ids=["pairs", "single pictures"])
def test_labels_are_carried_on_by_the_trained_encoder(setting):
    found = studies.records(studies.PROPAGATION(setting, tracked_clips=3))
    drawn = menagerie_clips(3, 8, 32, "medium32", start=10**9)
    expected = propagation_records(studies.model(setting).encoder, drawn, setting={}, seed=0,
                                   split="test")
    assert [r.metric for r in found] == [r.metric for r in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.items.dtype == np.float32 and one.value == pytest.approx(other.value)
        np.testing.assert_allclose(one.items, other.items, rtol=1e-6)
        assert (one.protocol, one.seed, one.dataset) == ("label propagation", 2,
                                                         "menagerie medium32 clips")
        assert one.setting == studies.settings.without_seed(setting)


def test_bounds_of_tracking_are_those_of_the_cells_of_a_setting():
    found = {(r.protocol, r.metric): r for r in studies.records(
        studies.TRACKING_BOUNDS(TRACKING, tracked_clips=3))}
    drawn = menagerie_clips(3, 8, 32, "medium32", start=10**9)
    for record in bound_records(drawn, (8, 8), split="test"):
        one = found.pop((record.protocol, record.metric))
        np.testing.assert_allclose(one.items, record.items, rtol=1e-6)
        if record.protocol == "ceiling: cells":
            assert one.value > found.get(("floor: still", record.metric), one).value - 1e-6
    assert found == {}
    keys = [studies.TRACKING_BOUNDS.key(s, tracked_clips=3).name for s in (
        TRACKING, replace(TRACKING, seed=5, views=0, ratio=0.5), replace(TRACKING, patch=2))]
    assert keys[0] == keys[1] != keys[2]


# Keys

@pytest.fixture
def another_source(monkeypatch):
    """Lets a module look as if its code had been changed."""
    def change(module: str) -> None:
        def closure(name: str) -> dict[str, str]:
            found = sources.import_closure(name)
            return found | {module: "another source"} if module in found else found
        monkeypatch.setattr(runs, "import_closure", closure)
    return change


PLAIN = Setting(unit=8, **SMALL)


@pytest.mark.parametrize(("module", "touched"), [
    ("clips.methods", ["mae-st", "videomae"]), ("clips.positions", ["mae-st", "videomae"]),
    ("clips.siamese", ["siam-mae", "siam-mae symmetric"]),
    ("worlds.autoencoder", OF_FRAMES), ("wider", []), ("family", [])])
def test_a_run_ages_by_its_own_builder_and_not_by_another(module, touched, another_source):
    for setting in (*RUNS.values(), PLAIN):
        assert studies.PRETRAINING(setting, if_stale="recompute").stale == []
    another_source(f"mae_lib.models.{module}")
    found = {name: runs.find(studies.PRETRAINING.key(s)).stale for name, s in RUNS.items()}
    reason = [f"mae_lib.models.{module} has changed"]
    assert found == {name: reason if name in touched else [] for name in RUNS}
    assert runs.find(studies.PRETRAINING.key(PLAIN)).stale == []


@pytest.mark.parametrize(("study", "arguments", "module"), [
    (studies.MOTION, PROBED, "mae_lib.evaluation.logistic"),
    (studies.MOTION, PROBED, "mae_lib.data.clip_sets"),
    (studies.CLIP_TUNING, {"probe_test_images": 8, "clip_tuning_views": 8},
     "mae_lib.training.finetune"),
    (studies.PROPAGATION, {"tracked_clips": 3}, "mae_lib.evaluation.tracking"),
    (studies.PROPAGATION, {"tracked_clips": 3}, "mae_lib.data.menagerie.clips"),
    (studies.TRACKING_BOUNDS, {"tracked_clips": 3}, "mae_lib.evaluation.tracking")])
def test_a_measurement_rests_on_the_code_that_makes_it(study, arguments, module):
    rests = study.key(RUNS["siam-mae"], **arguments).freshness()
    assert module in rests and "mae_lib.studies.clips" in rests


def test_a_probe_rests_on_the_library_that_fits_it():
    """As the probe of classes does."""
    for study in (studies.MOTION, studies.LINEAR_PROBE):
        assert "scikit-learn" in study.key(RUNS["mae-st"], **PROBED).freshness()


def test_every_word_of_a_setting_names_another_run():
    every = [*video.every_run(PLAN), *RUNS.values()]
    assert len({studies.PRETRAINING.key(s).identity["seed"] for s in every}) == 3
    assert len({studies.PRETRAINING.key(s).name for s in every}) == len(every)


def test_data_of_a_key_are_the_clips_that_are_used():
    setting = RUNS["mae-st"]
    data = studies.MOTION.key(setting, probe_images=16, probe_test_images=12).data
    assert data == {
        "train": sets.images_of(setting, "train", COUNT).fingerprint,
        "probe": sets.images_of(setting, "train", 16).fingerprint,
        "probe_test": sets.images_of(setting, "test", 12).fingerprint}
    assert len(set(data.values())) == 3


# Games

@pytest.fixture
def consoles():
    return pytest.importorskip("ale_py")


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_fingerprint_of_a_game_is_known_without_playing(split, consoles, monkeypatch):
    """As whatever was asked for: the frames say the same in the end."""
    played = sets._frames("pong", split, 12, 32)
    monkeypatch.setattr(sets, "record", None)
    assert sets.data_fingerprint("pong", split, 12, 32) == played.fingerprint
    others = {sets.data_fingerprint(*asked) for asked in (
        ("pong", "train", 12, 32), ("pong", "test", 12, 32), ("pong", split, 13, 32),
        ("pong", split, 12, 64), ("boxing", split, 12, 32))}
    assert len(others) == 5


def test_a_network_learns_from_the_frames_of_a_game(consoles):
    setting = Setting(dataset="pong", method="mwm", **SMALL | {"views": 16, "train_images": 12})
    images = sets.images_of(setting, "train", 12)
    assert images.size == (32, 32) and images.classes == ("pong",)
    run = studies.PRETRAINING(setting)
    assert len(run.value["losses"]) == 1 and np.isfinite(run.value["losses"]).all()
    assert studies.PRETRAINING.key(setting).data == {"train": images.fingerprint}
    assert not np.array_equal(images.images, sets.images_of(setting, "test", 12).images)


@pytest.mark.parametrize("split", ["train", "test"])
def test_clips_of_a_game_are_cut_from_its_frames_and_known_without_playing(split, consoles,
                                                                          monkeypatch):
    played = sets.images("boxing_clips", split, 20, 32)
    frames = sets._frames("boxing", split, 20, 32).images
    assert len(played) == 13 and np.array_equal(played.pixels([3])[0].swapaxes(0, 1), frames[3:11])
    monkeypatch.setattr(sets, "record", None)
    known = sets.data_fingerprint.__wrapped__  # not one that was kept
    assert known("boxing_clips", split, 20, 32) == played.fingerprint
    assert known("boxing_clips", split, 21, 32) != played.fingerprint
    assert known("boxing", split, 20, 32) != played.fingerprint


def test_hidden_parts_of_gameplay_are_scored_by_what_a_trained_network_draws(consoles):
    setting = Setting(dataset="boxing_clips", method="videomae", **SMALL | {"train_images": 30})
    found = studies.records(studies.FILLING(setting, world_test_frames=20))
    direct = filling_records(
        studies.model(setting), sets.images_of(setting, "test", 20), sets._frames(
            "boxing", "train", 30, 32).images, setting={}, seed=2, split="test", threshold=24)
    assert [(r.metric, r.value, r.n) for r in found] == [(r.metric, r.value, r.n) for r in direct]
    assert all(r.items is None and r.setting["method"] == "videomae" for r in found)
    rests = studies.FILLING.key(setting, world_test_frames=20)
    assert {"mae_lib.evaluation.filled_clips", "mae_lib.models.clips.targets",
            "mae_lib.data.atari.recording", "ale-py"} <= set(rests.freshness())


# Cost

@pytest.fixture
def macs_of(monkeypatch):
    """What a dry run counts for one result of a study."""
    def total(study, setting, **changes):
        monkeypatch.setattr(dry_run, "program", lambda plan: {study: [setting]})
        return dry_run.work(replace(PLAN, **changes))["exa-MACs"][0] * 1e18
    return total


def taken(function, *arguments, **named) -> float:
    """MACs that PyTorch counts while a function runs."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function(*arguments, **named)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", RUNS)
def test_a_training_takes_three_times_what_pytorch_counts_forward(name, macs_of):
    made, images = studies.network(RUNS[name]), sets.images_of(RUNS[name], "train", 4)
    mask = made.sample_mask(4, torch.Generator().manual_seed(0))
    forward = taken(made, images.batch(slice(None)), mask) / 4
    assert round(macs_of(studies.PRETRAINING, RUNS[name])) == round(3 * 48 * forward)


@pytest.mark.parametrize("name", ["mae-st", "videomae"])
def test_probes_take_one_pass_of_whole_clips(name, macs_of):
    setting = replace(RUNS[name], views=0)
    counted = sum(taken(pooled, studies.network(setting).encoder, sets.images_of(
        setting, split, count)) for split, count in (("train", 96), ("test", 64)))
    for study in (studies.MOTION, studies.LINEAR_PROBE):
        assert round(macs_of(study, setting, **PROBED)) == round(counted)


def test_tracking_takes_one_pass_of_every_frame(macs_of):
    encoder = studies.network(TRACKING).encoder
    images = sets.images_of(TRACKING, "test", 3).batch(slice(None))
    assert round(macs_of(studies.PROPAGATION, TRACKING)) == round(
        taken(frame_features, encoder, images))
    assert macs_of(studies.TRACKING_BOUNDS, TRACKING) == 0


def test_filling_takes_one_pass_of_masked_clips(macs_of):
    setting = replace(RUNS["videomae"], dataset="boxing_clips", views=0)
    made = build(setting.method, "toy", ratio=setting.ratio, **setting.shape)
    forward = taken(made, torch.zeros(1, 3, 8, 32, 32), made.sample_mask(1))
    assert round(macs_of(studies.FILLING, setting, world_test_frames=30)) == round(30 * forward)


def test_networks_of_clips_are_listed_with_their_size():
    found = dry_run.networks(PLAN).set_index(["method", "patch", "ratio"])
    assert found.index.is_unique
    trained_ = studies.network(video.pairs(PLAN)[SIAMESE][0])
    count = sum(p.numel() for p in trained_.parameters() if p.requires_grad)
    row = found.loc["siam-mae", 2, 0.95]
    assert row["runs"] == 3 and row["parameters (M)"] == pytest.approx(count / 1e6)
    # Tubes, frames and blocks at the same ratio are one kind of network.
    assert found.loc["mae-st", 4, 0.75]["runs"] == 3 * 3


# Into the ledger

STORED = {studies.MOTION: {"motion probe, cls": 1, "motion probe, mean": 2},
          studies.LINEAR_PROBE: {"linear probe, cls": 3, "linear probe, mean": 4},
          studies.CLIP_TUNING: {"clips fine-tuned": 5}, studies.PROPAGATION: {
              "label propagation": 6}}
OUTCOME = {MOVES: 2, READ: 4, TUNED: 5, TRACKED: 6}  # of the protocols above


@pytest.fixture(scope="module")
def stored() -> pd.DataFrame:
    """What is measured where these studies have all their results, which no file holds."""
    values, work = {}, program(PLAN)
    for study, protocols in STORED.items():
        metric = "j&f" if study is studies.PROPAGATION else "accuracy"
        for setting in work[study]:
            values[PLAN.key(study, setting).name] = to_value(
                EvalRecord({}, setting.seed, setting.dataset, "test", protocol, metric,
                           told(setting, number), 1) for protocol, number in protocols.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "find", lambda key, **_: (
            runs.Result(values[key.name], {}, "cache") if key.name in values else None))
        return measurements.measurements(PLAN, STORED)


def told(setting: Setting, number: int) -> float:
    """Something different for every run and protocol; below it what was not trained."""
    rest = zlib.crc32(repr((setting, number)).encode()) % 1000 / 10_000
    return (0.5 if setting.views else 0.1) + rest


def cell(table: pd.DataFrame, outcome: str, series: str, level) -> dict[int, float]:
    rows = table[(table.outcome == outcome) & (table.series == series) & (table.level == level)]
    assert set(rows.dataset) <= {"menagerie"} and rows.seed.is_unique
    return dict(zip(rows.seed, rows.value, strict=True))


def expected(outcome: str, settings: list[Setting]) -> dict[int, float]:
    factor = 1 if outcome == TRACKED else 100
    return {s.seed: pytest.approx(factor * told(s, OUTCOME[outcome])) for s in settings}


@pytest.mark.parametrize("outcome", [READ, MOVES])
def test_probes_of_clips_stand_in_the_menageries_rows(outcome, stored):
    for name, settings in video.samplings(PLAN).items():
        place = ("untrained", 0) if name == SCRATCH else (CLIPS, name)
        assert cell(stored, outcome, *place) == expected(outcome, settings), name
    for ratio, settings in video.ratios(PLAN).items():
        assert cell(stored, outcome, HIDDEN, ratio) == expected(outcome, settings)


def test_tuned_and_tracked_clips_stand_in_the_menageries_rows(stored):
    for name, by_count in video.sizes(PLAN).items():
        for count, settings in by_count.items():
            assert cell(stored, TUNED, with_labels(name), count) == expected(TUNED, settings)
    for name, settings in video.pairs(PLAN).items():
        place = ("untrained", 0) if name == SCRATCH else (CLIPS, name)
        assert cell(stored, TRACKED, *place) == expected(TRACKED, settings), name


def test_guards_find_the_control_of_every_outcome_of_clips(stored):
    found = Outcomes.of(stored, "menagerie")
    for outcome, settings in ((READ, video.samplings(PLAN)[SCRATCH]),
                              (MOVES, video.samplings(PLAN)[SCRATCH]),
                              (TRACKED, video.pairs(PLAN)[SCRATCH])):
        assert found.untrained(outcome).to_dict() == expected(outcome, settings)


def test_clips_are_no_data_set_of_their_own_and_images_keep_their_probe(stored):
    assert set(stored.dataset) == {"menagerie", "fashion_mnist"}
    of_images = stored[stored.outcome.isin(["linear", "linear mean"])]
    assert not set(of_images.series) & {CLIPS, HIDDEN, *map(with_labels, (TUBES, AGNOSTIC))}
    usual = PLAN.ratio_series[0]
    assert cell(stored[stored.dataset == usual.dataset], "linear", "ratio", usual.ratio)[
        usual.seed] == pytest.approx(100 * told(usual, 3))


def test_every_claim_about_clips_finds_all_that_it_compares(stored):
    """Also what is read beside it: nothing is not tested or void."""
    found = verdicts_of(stored, "menagerie")
    words = {name: found[name].word for name in RULES}
    assert not {"not tested", "void"} & set(words.values()), words
    assert {name: set(found[name].beside) for name in RULES} == {
        name: set(beside) for name, (_, beside) in RULES.items()}
    assert found["S-20"].beside["over no pretraining"].word == "supported"
