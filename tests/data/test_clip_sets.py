"""Clips as a set to learn from: bytes, labels, and what tells one set from another."""

import math

import numpy as np
import pytest
import torch

from mae_lib.data import clip_sets
from mae_lib.data.clip_sets import (
    DIRECTIONS,
    FRAMES,
    STARTS,
    ClipSet,
    directions,
    drawn,
    identify_clips,
    menagerie_clips,
)
from mae_lib.data.menagerie import CLASSES, clips
from mae_lib.data.protocols import Images
from mae_lib.models.clips.presets import MAE_ST, SIAM_MAE, VIDEO_MAE

COUNT, SIZE, PRESET = 160, 16, "medium32"
BYTES = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 6, 8), dtype=np.uint8)
LABELS = np.arange(9) % 3


def noise(**changes) -> ClipSet:
    return ClipSet(**{"clips": BYTES, "labels": LABELS, "classes": ("a", "b", "c"),
                      "name": "noise", "fingerprint": "noise"} | changes)


# The set

def test_it_has_the_face_of_a_set_of_images():
    found = noise()
    assert isinstance(found, Images) and len(found) == 9
    assert found.size == (6, 8)  # height and width, not the frames


@pytest.mark.parametrize("index", [slice(2, 5), [4, 0, 0], np.array([-1]), np.arange(9) % 2 == 0])
def test_a_batch_is_the_bytes_over_255(index):
    found = noise().batch(index)
    assert found.dtype == torch.float32 and found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), BYTES[index] / 255.0, atol=1e-7)


def test_training_on_a_batch_leaves_the_bytes_alone():
    before, found = BYTES.copy(), noise()
    found.batch(slice(None)).zero_()
    assert np.array_equal(found.clips, before)


@pytest.mark.parametrize("index", [slice(0, 9, 2), [0, 2, 4, 6, 8], np.arange(9) % 2 == 0])
def test_a_subset_is_the_same_whichever_way_it_is_asked_for(index):
    found = noise().subset(index)
    assert np.array_equal(found.clips, BYTES[::2]) and found.labels.tolist() == [0, 2, 1, 0, 2]
    assert (found.classes, found.name) == (("a", "b", "c"), "noise")
    assert found.fingerprint == noise().subset(slice(0, None, 2)).fingerprint


def test_sets_of_other_clips_or_labels_have_other_fingerprints():
    whole, other = noise(), (LABELS + 1) % 3
    sets = [whole, whole.subset(slice(4)), whole.subset([0, 1, 3, 2]),
            whole.labelled(LABELS, ("x", "y", "z")), whole.labelled(other, ("x", "y", "z"))]
    assert len({found.fingerprint for found in sets}) == len(sets)
    assert np.array_equal(sets[4].clips, BYTES) and sets[4].labels.tolist() == other.tolist()
    assert sets[4].classes == ("x", "y", "z")


def test_standardisation_is_mean_and_spread_of_all_pixels_of_a_channel():
    shifted = (BYTES // np.array([1, 2, 5], np.uint8)[:, None, None, None]).astype(np.uint8)
    mean, std = noise(clips=shifted).standardisation()
    pixels = shifted.astype(np.float64).transpose(1, 0, 2, 3, 4).reshape(3, -1) / 255
    np.testing.assert_allclose(mean, pixels.mean(1), atol=5.1e-5)  # four decimals
    np.testing.assert_allclose(std, pixels.std(1), atol=5.1e-5)


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"clips": BYTES / 255}, TypeError, "clips must be uint8, got float64"),
    ({"clips": BYTES[:, :, 0]}, ValueError, r"clips must have shape \[N,3,T,H,W\] with N at least "
                                            r"1, got \[9, 3, 6, 8\]"),
    ({"clips": BYTES[:, :2]}, ValueError, r"got \[9, 2, 4, 6, 8\]"),
    ({"clips": BYTES[:0], "labels": LABELS[:0]}, ValueError, r"got \[0, 3, 4, 6, 8\]"),
    ({"labels": LABELS[1:]}, ValueError, "labels must be 9 integers"),
    ({"labels": LABELS + 1}, ValueError, r"labels must lie in 0..2, got 1..3")])
def test_sets_that_cannot_be_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        noise(**changes)


# Menagerie clips

@pytest.mark.parametrize("split", STARTS)
def test_clips_are_the_menageries_labelled_by_their_first_object(split):
    found = menagerie_clips(split, 24, SIZE, PRESET)
    plain = clips(24, 8, SIZE, PRESET, start={"train": 0, "test": 10**9}[split])
    assert np.array_equal(found.clips, plain.images) and found.clips.shape == (24, 3, 8, 16, 16)
    assert np.array_equal(found.labels, plain.objects[0]["class"])
    assert found.classes == CLASSES and found.name == "menagerie medium32 clips"


def test_more_clips_begin_with_the_same_ones_and_splits_share_none():
    few, more, test = (menagerie_clips(split, n, SIZE, PRESET).clips
                       for split, n in (("train", 5), ("train", 24), ("test", 24)))
    assert np.array_equal(few, more[:5])
    assert not {clip.tobytes() for clip in more} & {clip.tobytes() for clip in test}
    assert len({clip.tobytes() for clip in more}) == 24


def test_the_networks_of_clips_take_as_many_frames_as_are_drawn():
    assert {shapes[name]["frames"] for shapes in (MAE_ST, VIDEO_MAE, SIAM_MAE)
            for name in ("toy", "laptop")} == {FRAMES}


def test_clips_are_drawn_once_for_their_labels_of_class_and_motion(monkeypatch):
    kept = drawn("train", 12, SIZE, PRESET)
    monkeypatch.setattr(clip_sets, "clips", None)
    assert drawn("train", 12, SIZE, PRESET) is kept
    assert len(directions("train", 12, SIZE, PRESET)) == 12


# Directions

def sector(x: float, y: float) -> str:
    """Which of eight equal sectors an arrow lies in; rows are counted downwards."""
    names = {0: "right", 45: "down right", 90: "down", 135: "down left", 180: "left",
             225: "up left", 270: "up", 315: "up right"}
    angle = math.degrees(math.atan2(y, x)) % 360
    return names[min(names, key=lambda middle: min(abs(angle - middle),
                                                   360 - abs(angle - middle)))]


def test_directions_are_the_sectors_of_the_velocities():
    velocity = drawn("test", COUNT, SIZE, PRESET).motions[0]["velocity"]
    found = directions("test", COUNT, SIZE, PRESET)
    assert [DIRECTIONS[k] for k in found] == [sector(x, y) for x, y in velocity.tolist()]
    assert found.dtype == np.int64 and set(found.tolist()) == set(range(8))


def test_an_object_is_seen_to_go_where_its_label_says():
    """In pixels: the middle of what shows of the first object, in the first and last frame."""
    shown = drawn("train", COUNT, SIZE, PRESET).instances == 1
    rows, cols = np.mgrid[:SIZE, :SIZE]
    alike = []
    for clip, label in zip(shown, directions("train", COUNT, SIZE, PRESET), strict=True):
        first, last = clip[0], clip[-1]
        if min(first.sum(), last.sum()) < 8:
            continue
        moved = np.array([cols[last].mean() - cols[first].mean(),
                          rows[last].mean() - rows[first].mean()])
        name = DIRECTIONS[label].split()
        said = np.array([("right" in name) - ("left" in name), ("down" in name) - ("up" in name)])
        alike.append(moved @ said / np.linalg.norm(moved) / np.linalg.norm(said))
    assert len(alike) > COUNT / 2 and np.mean(np.array(alike) > math.cos(math.pi / 4)) > 0.95


# Fingerprints

def test_a_fingerprint_is_known_from_the_first_clips_alone(monkeypatch):
    whole, asked = menagerie_clips("train", 24, SIZE, PRESET).fingerprint, []

    def seen(n, *rest, **named):
        asked.append(n)
        return clips(n, *rest, **named)

    monkeypatch.setattr(clip_sets, "clips", seen)
    assert identify_clips("train", 24, SIZE, PRESET) == whole
    assert max(asked) < 24


def test_whatever_changes_the_clips_changes_the_fingerprint():
    marks = [identify_clips(*asked) for asked in (
        ("train", 24, SIZE, PRESET), ("test", 24, SIZE, PRESET), ("train", 25, SIZE, PRESET),
        ("train", 3, SIZE, PRESET), ("train", 24, 20, PRESET), ("train", 24, SIZE, "default"))]
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("change", ["another world", "another length"])
def test_the_fingerprint_follows_what_the_code_draws(change, monkeypatch):
    """Without being told: the bytes of the first clips enter it."""
    usual = identify_clips("train", 24, SIZE, PRESET)
    monkeypatch.setattr(clip_sets, "FRAMES", 6 if change == "another length" else 8)
    if change == "another world":
        monkeypatch.setitem(STARTS, "train", 1)
    assert identify_clips("train", 24, SIZE, PRESET) != usual
