"""Labels carried through clips by features, and the scores of what arrives."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.morphology import dilation, disk
from sklearn.metrics import jaccard_score

from mae_lib.data.menagerie import clips as draw_clips
from mae_lib.evaluation import tracking
from mae_lib.evaluation.propagation import (
    bound_records,
    frame_features,
    label_shares,
    propagate,
    propagation_records,
)
from mae_lib.evaluation.tracking import (
    centroids,
    contour_accuracy,
    label_map,
    located,
    mark_count,
    region_similarity,
    tracking_scores,
)
from mae_lib.models.encoder import Encoder

GRID = (3, 4)
ABOUT = {"setting": {"ratio": 0.95}, "seed": 3, "split": "test"}


@pytest.fixture(scope="module")
def clips():
    return draw_clips(6, 4, 32)


@pytest.fixture
def marks(clips):
    return torch.from_numpy(clips.marks)


def encoder():
    torch.manual_seed(0)
    return Encoder(32, 4, 16, 1, 2)


def slow_propagate(features, labels, grid, recent, top, radius, temperature):
    """One cell of one frame of one clip after another."""
    found = np.zeros((*features.shape[:3], labels.shape[-1]))
    found[:, 0] = labels
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    for b, t, cell in np.ndindex(features.shape[:3]):
        if t == 0:
            continue
        seen = []
        for s in range(t):
            for other in range(features.shape[2]):
                (y, x), (v, u) = divmod(cell, grid[1]), divmod(other, grid[1])
                if (s == 0 or s >= t - recent) and math.hypot(y - v, x - u) <= radius:
                    seen.append((unit[b, t, cell] @ unit[b, s, other], found[b, s, other]))
        seen = sorted(seen, key=lambda pair: -pair[0])[:top]
        weights = [math.exp(similarity / temperature) for similarity, _ in seen]
        found[b, t, cell] = sum(w * label for w, (_, label) in zip(weights, seen, strict=True))
        found[b, t, cell] /= sum(weights)
    return found


@pytest.mark.parametrize("recent, top, radius, temperature", [
    (7, 5, None, 0.1), (1, 3, None, 0.7), (0, 5, None, 0.1), (2, 1, None, 0.1), (2, 4, 1.5, 0.2),
    (7, 100, None, 0.5), (3, 9, 0.5, 0.1)])
def test_propagation_agrees_with_a_loop(recent, top, radius, temperature, generator):
    features = torch.randn(2, 5, 12, 6, generator=generator)
    labels = torch.rand(2, 12, 3, generator=generator)
    found = propagate(features, labels, GRID, recent=recent, top=top, radius=radius,
                      temperature=temperature)
    slow = slow_propagate(features.double().numpy(), labels.numpy(), GRID, recent, top,
                          math.inf if radius is None else radius, temperature)
    np.testing.assert_allclose(found.numpy(), slow, rtol=1e-4, atol=1e-6)


def test_what_moves_is_followed_wherever_it_goes(generator):
    """Every cell has a look of its own and jumps anywhere from frame to frame."""
    looks, labels = torch.randn(2, 12, 8, generator=generator), torch.rand(2, 12, 3)
    order = torch.stack([torch.randperm(12, generator=generator) for _ in range(5)])
    order[0] = torch.arange(12)
    features = looks[:, order] * (1 + torch.rand(2, 5, 12, 1))  # lengths do not count
    assert torch.allclose(propagate(features, labels, GRID, top=1), labels[:, order])


def test_labels_stay_shares(generator):
    features = torch.randn(2, 4, 12, 6, generator=generator)
    labels = torch.rand(2, 12, 3, generator=generator).softmax(-1)
    found = propagate(features, labels, GRID)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 4, 12))


def test_frames_are_encoded_one_by_one(clips):
    x, network = torch.from_numpy(clips.images[:2]).float() / 255, encoder()
    features = frame_features(network, x)
    assert features.shape == (2, 4, 64, 16) and not features.requires_grad
    torch.testing.assert_close(features[1, 2], network(x[1:, :, 2]).patches[0], rtol=1e-5,
                               atol=1e-5)


def test_shares_are_counted(marks):
    found = label_shares(marks[:2], 17, (8, 4))
    assert found.shape == (2, 4, 32, 17)
    for b, t, cell in np.ndindex(2, 4, 32):
        y, x = cell // 4 * 4, cell % 4 * 8
        piece = marks[b, t, y:y + 4, x:x + 8].flatten().long()
        expected = torch.bincount(piece, minlength=17) / 32
        torch.testing.assert_close(found[b, t, cell], expected)


def test_label_maps_interpolate_between_the_centres_of_cells(generator):
    soft = torch.rand(2, 3, 12, 5, generator=generator)
    found = label_map(soft, GRID, (12, 20))
    places = np.meshgrid((np.arange(12) + 0.5) / 4 - 0.5, (np.arange(20) + 0.5) / 5 - 0.5,
                         indexing="ij")
    for b, t in np.ndindex(2, 3):
        planes = [ndimage.map_coordinates(soft[b, t, :, k].reshape(GRID).double().numpy(), places,
                                          order=1, mode="nearest") for k in range(5)]
        assert np.array_equal(found[b, t].numpy(), np.argmax(planes, axis=0))


def blobs(generator, count=12, size=(20, 30)):
    noise = ndimage.gaussian_filter(torch.randn(count, *size, generator=generator).numpy(),
                                    (0, 3, 3))
    return torch.from_numpy(noise > 0.02).reshape(2, -1, *size)


def test_j_is_the_jaccard_score(generator):
    found, truth = blobs(generator), blobs(generator)
    expected = [[jaccard_score(t.flatten(), f.flatten()) for f, t in zip(*pair, strict=True)]
                for pair in zip(found, truth, strict=True)]
    np.testing.assert_allclose(region_similarity(found, truth).numpy(), expected, rtol=1e-6)


def slow_contour(mask):
    height, width = mask.shape
    edge = np.zeros_like(mask)
    for y, x in np.ndindex(height, width):
        down, right = min(y + 1, height - 1), min(x + 1, width - 1)
        edge[y, x] = any(mask[y, x] != other for other in (mask[down, x], mask[y, right],
                                                          mask[down, right]))
    return edge


def slow_f(found, truth, reach):
    """DAVIS's f_boundary.py, as it is described there."""
    one, other = slow_contour(found), slow_contour(truth)
    near_one, near_other = (dilation(e.astype(np.uint8), disk(reach)) > 0 for e in (one, other))
    if not one.any() and not other.any():
        return 1.0
    if not one.any() or not other.any():
        return 0.0
    precision, recall = near_other[one].mean(), near_one[other].mean()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("tolerance, reach", [(0.008, 1), (0.05, 2), (0.1, 4)])
def test_f_agrees_with_a_loop(tolerance, reach, generator, monkeypatch):
    monkeypatch.setattr(tracking, "TOLERANCE", tolerance)  # of a diagonal of 36.06 pixels
    found, truth = blobs(generator, 6), blobs(generator, 6)
    found[0, 0], found[0, 1], truth[0, 1], truth[0, 2] = False, False, False, True
    expected = [[slow_f(f.numpy(), t.numpy(), reach) for f, t in zip(*pair, strict=True)]
                for pair in zip(found, truth, strict=True)]
    np.testing.assert_allclose(contour_accuracy(found, truth).numpy(), expected, rtol=1e-6)


def test_masks_that_agree_score_one_and_empty_ones_as_in_davis(generator):
    full, none = blobs(generator), torch.zeros(2, 6, 20, 30, dtype=torch.bool)
    for score in (region_similarity, contour_accuracy):
        assert torch.equal(score(full, full), torch.ones(2, 6))
        assert torch.equal(score(none, none), torch.ones(2, 6))
        assert not score(none, full).any() and not score(full, none).any()


def test_a_square_moved_by_a_pixel_has_its_closed_form():
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[0, 4:8, 4:8] = masks[1, 4:8, 5:9] = True
    assert region_similarity(*masks).item() == pytest.approx(12 / 20)
    assert contour_accuracy(*masks).item() == 1  # within a pixel


def test_centroids_are_those_of_scipy(generator):
    weights = torch.rand(3, 9, 7, generator=generator)
    expected = [ndimage.center_of_mass(plane.double().numpy()) for plane in weights]
    np.testing.assert_allclose(centroids(weights).numpy(), expected, rtol=1e-5)
    assert centroids(torch.zeros(4, 4)).isnan().all()


def test_points_are_where_their_strongest_cells_are():
    soft = torch.zeros(1, 12, 2)
    soft[0, 5, 0] = 0.5  # second row, second column of cells of 4x5 pixels
    soft[0, [0, 1, 2, 4, 5, 6, 11], 1] = torch.tensor([4.0, 2, 4, 4, 1, 4, 1])
    found = located(soft, GRID, (12, 20))
    assert found[0, 0].tolist() == [5.5, 7.0]  # the middle of the cell
    expected = [(8 / 18 + 0.5) * 4 - 0.5, (18 / 18 + 0.5) * 5 - 0.5]  # the two weakest left out
    assert found[0, 1].tolist() == pytest.approx(expected)


def slow_points(soft, marks, grid, alpha):
    """One point of one clip after another: hits and how many there are."""
    hits, seen = [], []
    side = marks.shape[-1] // grid[0]
    for b in range(len(marks)):
        hits.append(0), seen.append(0)
        for t, m in np.ndindex(marks.shape[1], soft.shape[-1]):
            now = marks[b, t] == m
            if t == 0 or m == 0 or not now.any() or not (marks[b, 0] == m).any():
                continue
            seen[-1] += 1
            box = np.argwhere((marks[b, t] > 0) & ((marks[b, t] - 1) // 8 == (m - 1) // 8))
            unit = 0.6 * np.linalg.norm(np.ptp(box, axis=0) + 1)
            strength = soft[b, t, :, m]
            best = np.argsort(-strength, kind="stable")[:5]
            if strength[best].sum() == 0:
                continue
            cells = np.stack(np.divmod(best, grid[1]), 1)
            place = (strength[best] @ cells / strength[best].sum() + 0.5) * side - 0.5
            away = np.linalg.norm(place - np.argwhere(now).mean(0))
            hits[-1] += away <= alpha * unit
    return np.array(hits) / seen


def test_scores_of_a_clip_agree_with_loops(marks, clips):
    features = frame_features(encoder(), torch.from_numpy(clips.images).float() / 255)
    first = label_shares(marks[:, 0], 17, (8, 8))
    soft = propagate(features, first, (8, 8))
    found = tracking_scores(soft, marks, (8, 8))
    for alpha in (0.1, 0.2):
        expected = slow_points(soft.double().numpy(), marks.numpy().astype(int), (8, 8), alpha)
        np.testing.assert_allclose(found[f"pck@{alpha}"].numpy(), expected, rtol=1e-6)
    things = torch.stack([soft[..., 0], soft[..., 1:9].sum(-1), soft[..., 9:].sum(-1)], dim=-1)
    maps, truth = label_map(things, (8, 8), (32, 32)).numpy(), clips.instances
    for b in range(len(marks)):
        objects = [k for k in (1, 2) if (truth[b, 0] == k).any()]
        j = [jaccard_score((truth[b, t] == k).ravel(), (maps[b, t] == k).ravel())
             for t in (1, 2, 3) for k in objects]
        f = [slow_f(maps[b, t] == k, truth[b, t] == k, 1) for t in (1, 2, 3) for k in objects]
        got = [found[name][b].item() for name in ("j", "f", "j&f")]
        assert got == pytest.approx([np.mean(j), np.mean(f), (np.mean(j) + np.mean(f)) / 2],
                                    rel=1e-5)


def test_masks_of_the_truth_at_full_resolution_score_one(marks):
    scores = tracking_scores(label_shares(marks, mark_count(marks), (32, 32)), marks, (32, 32))
    for name in ("j", "f", "j&f"):
        torch.testing.assert_close(scores[name], torch.ones(6))


def one_part(frames=3):
    """One part, a square of 2x2 pixels that goes right by two pixels a frame."""
    marks = torch.zeros(1, frames, 8, 8, dtype=torch.uint8)
    for t in range(frames):
        marks[0, t, 2:4, 2 * t:2 * t + 2] = 3
    return marks


def test_a_label_that_stays_while_its_part_goes_has_a_closed_form():
    marks = one_part()
    first = label_shares(marks[:, 0], 9, (4, 4))
    scores = tracking_scores(first[:, None].expand(1, 3, 16, 9), marks, (4, 4))
    assert scores["pck@0.1"].item() == scores["pck@0.2"].item() == scores["j"].item() == 0
    truth = tracking_scores(label_shares(marks, 9, (4, 4)), marks, (4, 4))
    assert truth["pck@0.1"].item() == truth["pck@0.2"].item() == 1


def test_what_was_hidden_at_first_or_is_now_is_not_scored():
    marks = one_part()
    marks[0, 1:, 6, 6] = 12  # another object that comes later
    marks[0, 2, 2:4, 4:6] = 0  # the part is gone in the last frame
    soft = label_shares(marks, 17, (4, 4))
    scores = tracking_scores(soft, marks, (4, 4))
    assert scores["pck@0.1"].item() == 1  # one point in one frame
    soft[:, 2] = 0
    soft[:, 2, :, 0] = 1
    assert tracking_scores(soft, marks, (4, 4))["j"].item() == tracking_scores(
        soft[:, :2], marks[:, :2], (4, 4))["j"].item() / 2 + 0.5  # empty as it should be


def test_a_clip_without_objects_has_no_score():
    marks = torch.cat([one_part(), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)])
    scores = tracking_scores(label_shares(marks, mark_count(marks), (4, 4)), marks, (4, 4))
    for value in scores.values():
        assert value[0].isfinite() and value[1].isnan()


def test_marks_are_counted_by_objects():
    marks = torch.zeros(1, 2, 4, 4, dtype=torch.uint8)
    assert mark_count(marks) == 9
    marks[0, 0, 0, 0] = 8
    assert mark_count(marks) == 9
    marks[0, 0, 0, 0] = 9
    assert mark_count(marks) == 17


def test_records_hold_every_clip_and_their_mean(clips, marks, monkeypatch):
    monkeypatch.setattr("mae_lib.evaluation.propagation.BATCH", 4)
    records = propagation_records(encoder(), clips, **ABOUT, top=3)
    features = frame_features(encoder(), torch.from_numpy(clips.images).float() / 255)
    soft = propagate(features, label_shares(marks[:, 0], 17, (8, 8)), (8, 8), top=3)
    expected = tracking_scores(soft, marks, (8, 8))
    assert [r.metric for r in records] == ["j", "f", "j&f", "pck@0.1", "pck@0.2"]
    for r in records:
        np.testing.assert_allclose(r.items, expected[r.metric].numpy(), rtol=1e-5)
        assert (r.setting, r.seed, r.split, r.protocol) == ({"ratio": 0.95}, 3, "test",
                                                            "propagation")
        assert r.dataset == clips.name and r.value == pytest.approx(r.items.mean())


def test_clips_without_objects_are_left_out_or_nothing_is_tested(clips):
    some, none = clips.marks.copy(), np.zeros_like(clips.marks)
    some[2] = 0
    for r in propagation_records(encoder(), replace(clips, marks=some), **ABOUT):
        assert r.n == 5 and np.isfinite(r.items).all()
    for r in propagation_records(encoder(), replace(clips, marks=none), **ABOUT):
        assert r.status == "not tested" and "nothing" not in r.reason and r.value is None


def test_bounds_are_what_stays_and_what_cells_can_tell(clips, marks):
    found = {(r.protocol, r.metric): r.value for r in bound_records(clips, (8, 8), split="test")}
    every = label_shares(marks, 17, (8, 8))
    for name, soft in (("floor: still", every[:, :1].expand_as(every)), ("ceiling: cells", every)):
        for metric, value in tracking_scores(soft, marks, (8, 8)).items():
            assert found[name, metric] == pytest.approx(value.mean().item(), rel=1e-5)
    assert found["floor: still", "j"] < found["ceiling: cells", "j"] < 1


F2 = torch.zeros(1, 2, 12, 3)
BAD = [((torch.zeros(1, 2, 11, 3), F2[:, 0]), {}, r"features must have shape \[B,T,12,D\], got"),
       ((torch.zeros(1, 12, 3), F2[:, 0]), {}, r"features must have shape \[B,T,12,D\], got"),
       ((F2[:, :1], F2[:, 0]), {}, "features must be of two frames at least, got 1"),
       ((F2, torch.zeros(1, 11, 3)), {}, r"labels must have shape \[1,12,K\], got \[1, 11, 3\]"),
       ((F2, torch.zeros(1, 12)), {}, r"labels must have shape \[1,12,K\], got \[1, 12\]"),
       ((F2, F2[:, 0]), {"top": 0}, "recent must be at least 0 and top at least 1, got 7 and 0"),
       ((F2, F2[:, 0]), {"recent": -1}, "recent must be at least 0 .* got -1 and 5"),
       ((F2, F2[:, 0]), {"temperature": 0.0}, "temperature must be positive, got 0.0")]


@pytest.mark.parametrize("arguments, options, message", BAD)
def test_what_does_not_fit_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        propagate(*arguments, GRID, **options)


def test_marks_that_do_not_fit_are_refused():
    marks = torch.zeros(1, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="marks of 8x8 pixels must divide into the grid 3x4"):
        label_shares(marks, 9, GRID)
    with pytest.raises(ValueError, match=r"marks must lie in 0\.\.8, got 0\.\.9"):
        label_shares(marks.index_fill(2, torch.tensor([1]), 9), 9, (4, 4))
