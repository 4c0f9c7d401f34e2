"""Frames and clips of recordings: in the face of an image set, and never across an episode."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mae_lib.data.atari import Recording, clip_set, frame_set
from mae_lib.data.atari.settings import Settings
from mae_lib.data.images import ImageSet, check_images
from mae_lib.data.protocols import Images

pytest.importorskip("ale_py")  # settings are checked against its games


def recording(starts, game: str = "breakout", size=(4, 5), mark: str = "a") -> Recording:
    """Noise, in which episodes begin at ``starts``."""
    count = len(starts)
    frames = np.random.default_rng(count).integers(0, 256, (count, 3, *size), dtype=np.uint8)
    return Recording(frames, np.zeros(count, np.uint8), np.zeros(count, np.int32),
                     np.zeros((count, 128), np.uint8), np.array(starts, bool),
                     Settings(game, size=size), mark)


def episodes(*lengths: int) -> list[bool]:
    return [t == 0 for length in lengths for t in range(length)]


FIRST, OTHER = recording(episodes(5, 1, 9)), recording(episodes(7, 3), "pong", mark="b")


# Episodes

def test_an_episode_ends_where_the_next_begins_or_the_recording_ends():
    assert FIRST.episodes.tolist() == [[0, 5], [5, 6], [6, 15]]
    assert recording([True]).episodes.tolist() == [[0, 1]]


# Frames

def test_frames_are_a_set_of_images_labelled_by_game():
    images = frame_set([FIRST, OTHER, recording(episodes(4), mark="c")])
    assert isinstance(images, ImageSet) and isinstance(images, Images)
    assert images.classes == ("breakout", "pong") and images.size == (4, 5)
    assert images.labels.tolist() == [0] * 15 + [1] * 10 + [0] * 4
    assert np.array_equal(images.images[15:25], OTHER.frames)
    assert images.name == "atari breakout, pong"


@pytest.mark.parametrize("every", [1, 2, 4, 100])
def test_frames_may_be_every_so_many_th(every):
    images = frame_set([FIRST, OTHER], every)
    expected = [r.frames[t] for r in (FIRST, OTHER) for t in range(len(r)) if t % every == 0]
    assert np.array_equal(images.images, np.stack(expected))


def test_sets_of_frames_have_different_fingerprints():
    sets = [frame_set(FIRST), frame_set(FIRST, 2), frame_set([FIRST, OTHER]), frame_set(OTHER),
            frame_set([OTHER, FIRST])]
    assert len({images.fingerprint for images in sets}) == len(sets)
    assert frame_set(FIRST).fingerprint == frame_set([FIRST]).fingerprint


# Clips

def windows(recordings, frames: int, gap: int) -> list[tuple[int, int]]:
    """All places where a clip fits: no frame between its first and its last begins an episode."""
    span = 1 + gap * (frames - 1)
    return [(k, first) for k, r in enumerate(recordings) for first in range(len(r) - span + 1)
            if not any(r.starts[first + 1:first + span])]


@given(st.lists(st.lists(st.booleans(), max_size=20), min_size=1, max_size=3), st.integers(1, 5),
       st.integers(1, 3))
def test_clips_are_all_that_cross_no_start(starts, frames, gap):
    recordings = [recording([True, *some], size=(1, 2)) for some in starts]
    expected = windows(recordings, frames, gap)
    if not expected:
        with pytest.raises(ValueError, match="frames must be at most"):
            clip_set(recordings, frames, gap=gap)
        return
    clips = clip_set(recordings, frames, gap=gap)
    assert list(zip(clips.source.tolist(), clips.first.tolist(), strict=True)) == expected
    whole = np.stack([recordings[k].frames[first:first + 1 + gap * (frames - 1):gap]
                      for k, first in expected]).swapaxes(1, 2)
    assert np.array_equal(clips.pixels(slice(None)), whole)
    assert len(clips) == len(expected)


@pytest.mark.parametrize("index", [slice(2, 5), [4, 0, 0], np.array([-1]), np.arange(9) % 2 == 0])
def test_a_batch_is_the_bytes_over_255(index):
    clips = clip_set([FIRST, OTHER], 4, gap=2)
    assert len(clips) == 4
    clips = clip_set([FIRST, OTHER], 5)
    assert len(clips) == 9
    batch = clips.batch(index)
    chosen = np.arange(9)[index]
    assert batch.dtype == torch.float32 and batch.shape == (len(chosen), 3, 5, 4, 5)
    assert batch.is_contiguous()
    for clip, i in zip(batch, chosen, strict=True):
        for t, place in enumerate(clips.places([i])[0]):
            frame = (FIRST, OTHER)[clips.source[i]].frames[place]
            assert np.allclose(clip[:, t].numpy(), frame / 255.0, atol=1e-7)
    check_images(batch.transpose(1, 2).flatten(0, 1), size=clips.size)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_clips_may_begin_every_so_many_frames_of_an_episode(every):
    clips = clip_set(recording(episodes(5, 8)), 3, every=every)
    assert clips.first.tolist() == [*range(0, 3, every), *range(5, 11, every)]


def test_clips_have_the_face_of_a_set_of_images():
    clips = clip_set([FIRST, OTHER], 3)
    assert isinstance(clips, Images) and clips.size == (4, 5)
    assert clips.classes == ("breakout", "pong")
    assert clips.labels.tolist() == [0] * 10 + [1] * 6
    assert clips.name == "atari breakout, pong clips"
    assert clips.standardisation() == frame_set([FIRST, OTHER]).standardisation()


def test_sets_of_clips_have_different_fingerprints():
    sets = [clip_set(FIRST, 3), clip_set(FIRST, 4), clip_set(FIRST, 3, gap=2), clip_set(OTHER, 3),
            clip_set(FIRST, 3, every=2), clip_set([FIRST, OTHER], 3)]
    assert len({clips.fingerprint for clips in sets}) == len(sets)
    assert clip_set(FIRST, 3).fingerprint == clip_set([FIRST], 3).fingerprint


@pytest.mark.parametrize("frames, gap, most", [(10, 1, 9), (6, 2, 5), (3, 8, 2), (2, 9, 1)])
def test_a_clip_longer_than_any_episode_is_refused(frames, gap, most):
    with pytest.raises(ValueError, match=f"frames must be at most {most} with a gap of {gap}, since"
                                         f" no episode is longer than 9, got {frames}"):
        clip_set([OTHER, FIRST], frames, gap=gap)
    assert len(clip_set([OTHER, FIRST], most, gap=gap)) > 0


@pytest.mark.parametrize("make, message", [
    (lambda: frame_set([]), "recordings must hold at least one recording, got none"),
    (lambda: clip_set([]), "recordings must hold at least one recording, got none"),
    (lambda: frame_set(FIRST, 0), "every must be an integer of at least 1, got 0"),
    (lambda: clip_set(FIRST, 0), "frames must be an integer of at least 1, got 0"),
    (lambda: clip_set(FIRST, True), "frames must be an integer of at least 1, got True"),
    (lambda: clip_set(FIRST, 2.0), "frames must be an integer of at least 1, got 2.0"),
    (lambda: clip_set(FIRST, 2, gap=0), "gap must be an integer of at least 1, got 0"),
    (lambda: clip_set(FIRST, 2, every=-1), "every must be an integer of at least 1, got -1"),
    (lambda: frame_set([FIRST, recording(episodes(3), size=(4, 4))]),
     r"recordings must have one size, got \(4, 4\) and \(4, 5\)"),
    (lambda: clip_set([FIRST, recording(episodes(3), size=(4, 4))], 2),
     r"recordings must have one size, got \(4, 4\) and \(4, 5\)")])
def test_sets_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
