"""World models as runs: games are data sets, rewards travel beside masks, errors go by area."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_plan import PARAMETERS

from mae_lib import studies
from mae_lib.data.atari import record
from mae_lib.evaluation.pixels import to_pixels
from mae_lib.evaluation.small_objects import small_object_records
from mae_lib.ledger.world_rules import FEATURES, GAMES, PATCHES, REWARDED, object_error
from mae_lib.measurements import judged_on_games, measurements
from mae_lib.models.masks import Mask
from mae_lib.models.worlds.autoencoder import WorldAutoencoder
from mae_lib.models.worlds.stem import Stem
from mae_lib.studies import Plan, program, worlds
from mae_lib.studies.sets import rewards

pytestmark = pytest.mark.usefixtures("shared_results")

PLAN = Plan.of(PARAMETERS | {
    "preset": "toy", "world_games": ["pong", "boxing"], "world_seeds": [0, 1], "world_views": 64,
    "world_frames": 300, "world_test_frames": 40})
ROWS = worlds.rows(PLAN)
SMALL = studies.Setting(dataset="pong", method="mwm", preset="toy", views=64, train_images=300,
                        batch=32, lr=1e-3)


def test_rows_differ_in_what_is_masked_alone():
    assert list(ROWS) == ["no training", PATCHES, FEATURES, REWARDED]
    assert [(s.dataset, s.seed) for s in ROWS[PATCHES]] == [
        (game, seed) for game in ("pong", "boxing") for seed in (0, 1)]
    for name, method in ((FEATURES, "mwm"), (REWARDED, "mwm reward")):
        assert ROWS[name] == [replace(s, method=method) for s in ROWS[PATCHES]]
    assert ROWS["no training"] == [replace(s, views=0) for s in ROWS[PATCHES]]


def test_the_program_trains_what_it_looks_at():
    work = program(PLAN)
    looked = set(worlds.every_run(PLAN))
    assert set(work[studies.SMALL_OBJECTS]) == looked
    assert {s for s in looked if s.views} <= set(work[studies.PRETRAINING])


def test_a_game_is_a_set_of_frames_and_another_player_is_the_test():
    train, test = (studies.images_of(SMALL, split, 300) for split in ("train", "test"))
    assert train.size == test.size == (32, 32) and len(train) == 300
    recording = record("pong", 300, seed=0, size=32)
    assert np.array_equal(train.images, recording.frames)
    assert not np.array_equal(train.images, test.images)
    from mae_lib.studies.sets import fingerprint_of_images

    assert fingerprint_of_images(SMALL, "train", 300) == train.fingerprint
    assert np.array_equal(rewards(SMALL), recording.rewards)


@pytest.mark.parametrize(("method", "stem", "reward"), [
    ("mwm", True, False), ("mwm patches", False, False), ("mwm reward", True, True)])
def test_a_network_is_trained_once_and_found(method, stem, reward):
    setting = replace(SMALL, method=method)
    run, found = studies.PRETRAINING(setting), studies.model(setting)
    assert run.value["losses"].shape == (2,) and np.isfinite(run.value["losses"]).all()
    assert type(found) is WorldAutoencoder
    assert (type(found.encoder.patch_embed) is Stem) == stem
    assert ("reward" in found.decoder.counts) == reward
    state, kept = found.encoder.state_dict(), run.value["weights"]
    assert all(torch.equal(state[name], tensor.float()) for name, tensor in kept.items()
               if name.startswith(("blocks", "patch_embed")))
    start = studies.network(setting).encoder.state_dict()
    assert not torch.equal(start["blocks.0.attn.qkv.weight"], state["blocks.0.attn.qkv.weight"])
    assert studies.PRETRAINING(setting).where == "cache"


def test_rewards_come_with_the_frames_that_they_belong_to(monkeypatch):
    setting = replace(SMALL, method="mwm reward")
    network = studies.network(setting)
    monkeypatch.setattr("mae_lib.studies.pretraining.rewards",
                        lambda _: np.arange(300, dtype=np.float32))
    drawn = studies.masks(setting, network)(np.array([7, 2, 299]), torch.Generator())
    assert drawn.rewards.tolist() == [7.0, 2.0, 299.0]


def test_errors_are_those_of_the_metric_and_stand_where_the_ledger_looks():
    plan = replace(PLAN, world_games=("pong",), world_seeds=(0,))
    setting, = worlds.rows(plan)[FEATURES]
    result = studies.SMALL_OBJECTS(setting, world_test_frames=40)
    direct = small_object_records(
        studies.model(setting), studies.images_of(setting, "test", 40), setting={}, seed=0,
        split="test", ratio=0.75, edges=worlds.EDGES, threshold=worlds.FAINT)
    found = {r.metric: r.value for r in studies.records(result)}
    assert found == {r.metric: r.value for r in direct}
    assert all(r.items is None for r in studies.records(result))
    table = measurements(plan, [studies.SMALL_OBJECTS])
    here = table[(table.dataset == GAMES) & (table.series == FEATURES)]
    assert set(here.outcome) == {object_error("pong")}
    name = "object error over background error, 1 to 3 px"
    assert here[here.level == 1].value.tolist() == [found[name]]
    assert judged_on_games(table)["S-21"].word == "not tested"


@pytest.mark.parametrize("count", [40, 10])
def test_a_film_is_of_the_frames_in_the_middle(count):
    setting = replace(SMALL, views=0)
    result = studies.SMALL_OBJECTS(setting, world_test_frames=count)
    drawn, hidden = result.value["drawn"], result.value["hidden"]
    rows = worlds.filmed(count)
    length = min(16, count)
    assert drawn.shape == (length, 3, 32, 32) and hidden.shape == (length, 32, 32)
    assert (hidden.reshape(length, -1).mean(1) == 0.75).all()
    frames = studies.images_of(setting, "test", count)
    assert rows.stop - rows.start >= length and abs(rows.start + 8 - count // 2) <= 8
    network = studies.model(setting)
    cells = torch.from_numpy(hidden[:, ::8, ::8].reshape(length, -1))
    order = cells.int().argsort(dim=1, stable=True)
    prediction = network.predict(frames.batch(rows), Mask(order[:, :4], order[:, 4:]))
    pixels = to_pixels(prediction, frames.batch(rows), network).pixels
    assert (pixels * 255 - torch.from_numpy(drawn)).abs().max() < 0.51


@pytest.mark.parametrize(("wrong", "message"), [
    ({"dataset": "menagerie_clips"}, "method must be one that learns from clips for Menagerie "
                                     "clips, got 'mwm'"),
    ({"method": "mae-st"}, "method must be one that learns from single images for Pong, got "
                           "'mae-st'")])
def test_frames_and_clips_are_not_mixed_up(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **wrong)
