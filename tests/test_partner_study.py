"""World models with something beside the frame: trained on games, tested beside strangers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_plan import PARAMETERS

from mae_lib import dry_run, studies
from mae_lib.data.atari import moving, record
from mae_lib.evaluation.partners import OVER_STRANGERS
from mae_lib.evaluation.pixels import to_pixels
from mae_lib.models.masks import Mask
from mae_lib.models.wider import KINDS, build
from mae_lib.studies import PARTNERS, Plan, partners, program

pytestmark = pytest.mark.usefixtures("shared_results")

FRAMES = 40
PLAN = Plan.of(PARAMETERS | {
    "preset": "toy", "world_games": ["pong", "boxing"], "world_seeds": [0, 1], "world_views": 64,
    "world_frames": 200, "world_test_frames": FRAMES})
ROWS = partners.rows(PLAN)
FIRST = {name: settings[0] for name, settings in ROWS.items()}
SEEN = {"two views": {"three quarters of both views hidden", "the second view hidden as a whole"},
        "frame and memory": {"frame beside the memory", "memory beside the frame"},
        "two frames": {"future after the past"}}
SEEN["two views, one hidden"] = SEEN["two views"]


@pytest.fixture(scope="module")
def results(shared_results):
    return {name: PARTNERS(s, world_test_frames=FRAMES) for name, s in FIRST.items()}


def test_rows_are_of_the_first_game_and_differ_in_what_is_beside():
    assert list(ROWS) == ["two views", "two views, one hidden", "frame and memory", "two frames"]
    for name, settings in ROWS.items():
        assert [(s.dataset, s.seed) for s in settings] == [("pong", 0), ("pong", 1)]
        assert {s.ratio for s in settings} == {0.875 if name == "two frames" else 0.75}
    whole = partners.rows(replace(PLAN, preset="laptop"))
    assert {s.ratio for s in whole["two frames"]} == {0.95}  # of 64 cells, of which a toy has 16
    assert set(program(PLAN)[PARTNERS]) == {s for settings in ROWS.values() for s in settings}


def test_all_that_sees_something_beside_is_compared():
    assert {s.method for s in FIRST.values()} == {n for n, k in KINDS.items() if k.partner}


@pytest.mark.parametrize("name", ROWS)
def test_a_network_is_trained_and_tested_in_every_way(name, results):
    found = studies.records(results[name])
    assert {r.protocol for r in found} == SEEN[name]
    assert all(r.value > 0 and r.split == "test" and r.dataset == "pong" for r in found)
    assert results[name].value["losses"].shape == (2,)
    assert PARTNERS(FIRST[name], world_test_frames=FRAMES).where == "cache"


@pytest.mark.parametrize("name", ROWS)
def test_regions_share_the_pixels_out(name):
    setting = FIRST[name]
    network = build(setting.method, "toy", ratio=setting.ratio, seed=0)
    for case in partners.cases(setting, network, FRAMES).values():
        side = setting.size
        assert case.frames.shape[1:] == (3, side, side)
        parts = case.regions
        assert np.array_equal(parts["objects"], moving(case.frames, threshold=24))
        assert (parts["objects"] ^ parts["still pixels"]).all()
        if "views" in name:
            assert (parts["in both views"] ^ parts["in one view"]).all()
            assert parts["in both views"].mean() == 0.25


def test_what_is_in_both_views_is_the_same_in_both():
    views = partners.seen(FIRST["two views"], "test", 6).batch(slice(None))
    assert views.shape == (6, 2, 3, 32, 32)
    frames = torch.from_numpy(record("pong", 6, seed=1, size=48).frames) / 255
    assert torch.equal(views[:, 0], frames[..., :32, :32])
    assert torch.equal(views[:, 1], frames[..., 16:, 16:])
    assert torch.equal(views[:, 1, :, :16, :16], views[:, 0, :, 16:, 16:])


def test_pictures_are_the_frame_what_is_seen_and_what_is_drawn(results):
    for name, result in results.items():
        frame, masked, true, other = result.value["pictures"].swapaxes(0, 1)
        assert frame.dtype == np.uint8 and frame.shape == (4, 3, 32, 32)
        changed = (masked != frame).any(1)
        assert (masked.swapaxes(0, 1)[:, changed] == 128).all()
        share = changed.reshape(4, -1).mean(1)
        assert (share <= (1.0 if "views" in name else FIRST[name].ratio)).all()
        assert not np.array_equal(true, other), name
    frames = record("pong", FRAMES, seed=1, size=32).frames
    assert np.array_equal(results["frame and memory"].value["pictures"][:, 0],
                          frames[np.linspace(0, FRAMES - 1, 4).astype(int)])


def test_a_frame_in_the_future_is_tested_four_frames_on():
    setting = FIRST["two frames"]
    network = build(setting.method, "toy", ratio=setting.ratio, seed=0).eval()
    case, = partners.cases(setting, network, FRAMES).values()
    recording = record("pong", FRAMES, seed=1, size=32)
    assert np.array_equal(case.frames[0], recording.frames[4])
    rows, seen = np.array([5]), []
    network.predict = lambda clips, drawn: (seen.append((clips, drawn)),
                                            torch.zeros(1, 16, 192))[1]
    drawn = case.draw(rows, np.array([9]))
    (clips, mask), = seen
    assert torch.equal(clips[0, :, 0], torch.from_numpy(recording.frames[9]) / 255)
    assert torch.equal(clips[0, :, 4], torch.from_numpy(recording.frames[9]) / 255)
    assert (int(mask.first), int(mask.second), mask.hidden.shape) == (0, 4, (1, 14))
    flat = to_pixels(torch.zeros(1, 16, 192), clips[:, :, 4], network).pixels
    assert torch.equal(drawn.pixels, flat)
    assert drawn.hidden.sum() == 14 * 64
    assert torch.equal(Mask(mask.visible, mask.hidden).hidden, mask.hidden)


def test_true_memories_are_told_from_those_of_strangers():
    """A planted network that knows the memory of every frame, but for one."""
    setting = FIRST["frame and memory"]
    network = build(setting.method, "toy", ratio=0.75, seed=0).eval()
    memory = torch.from_numpy(record("pong", FRAMES, seed=1, size=32).memory).float()
    network.predict_memory = lambda images, drawn: memory
    assert np.isnan(partners.bytes_told(setting, network, FRAMES))  # no error beside anyone
    index = {frame.numpy().tobytes(): i for i, frame in enumerate(
        partners.seen(setting, "test", FRAMES).batch(slice(None)))}

    def reads(images, drawn):
        return torch.stack([memory[index[image.numpy().tobytes()]] + 1 for image in images])

    network.predict_memory = reads
    _, _, masks = partners._frames_and_memory(setting, network, FRAMES)
    hidden = masks(np.arange(FRAMES))[1].binary().bool().repeat_interleave(8, 1)
    strange = memory[(np.arange(FRAMES) + FRAMES // 2) % FRAMES] + 1
    expected = 1 / ((strange - memory) ** 2)[hidden].mean()
    assert partners.bytes_told(setting, network, FRAMES) == pytest.approx(float(expected), rel=1e-5)


def test_it_is_counted_among_what_a_tier_takes():
    table = dry_run.work(PLAN).set_index("kind")
    assert table.loc["partners", "results"] == 8 and table.loc["partners", "data"] == "pong"
    macs = {name: dry_run._of_an_image(s).forward for name, s in FIRST.items()}
    assert macs["two views"] > 1.5 * dry_run._of_an_image(
        replace(FIRST["two views"], method="mwm")).forward
    expected = sum(2 * (3 * 64 + 2 * FRAMES) * each for each in macs.values())
    assert table.loc["partners", "exa-MACs"] * 1e18 == pytest.approx(expected)


def test_results_know_which_frames_they_are_of():
    views, memory = (PARTNERS.key(FIRST[name], world_test_frames=FRAMES)
                     for name in ("two views", "frame and memory"))
    assert views.data["test"] != memory.data["test"]  # larger frames
    longer = PARTNERS.key(FIRST["two views"], world_test_frames=FRAMES + 1)
    assert longer.data["test"] != views.data["test"]
    assert OVER_STRANGERS.format("objects") in {r.metric for r in studies.records(
        PARTNERS(FIRST["two views"], world_test_frames=FRAMES))}
