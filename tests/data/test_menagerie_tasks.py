"""Cue conflict, scenes, clips and graphs."""

import json

import networkx as nx
import numpy as np
import pytest

from mae_lib.data.menagerie import (
    CLASSES,
    clips,
    coco,
    cue_conflict,
    draw,
    picture_graph,
    scenes,
)
from mae_lib.data.menagerie.tables import PREFERRED_TEXTURE


@pytest.mark.parametrize("cue", ["texture", "coat"])
def test_shape_and_coat_are_those_declared(cue):
    drawn = cue_conflict(200, cue=cue)
    assert np.array_equal(drawn.latents["class"], drawn.shapes)
    assert np.array_equal(drawn.latents["texture"], PREFERRED_TEXTURE[drawn.textures])
    assert (drawn.shapes != drawn.textures).all()
    assert drawn.image_set().labels is drawn.shapes


def test_congruent_pictures_wear_their_own_coat():
    drawn = cue_conflict(50, congruent=True)
    assert np.array_equal(drawn.shapes, drawn.textures)


def test_all_pairs_of_shape_and_coat_are_about_equally_frequent():
    drawn = cue_conflict(4800, size=16)
    counts = np.zeros((16, 16))
    np.add.at(counts, (drawn.shapes, drawn.textures), 1)
    assert np.trace(counts) == 0
    assert counts[~np.eye(16, dtype=bool)].min() >= 4  # 20 expected


def test_a_coat_has_a_hue_of_its_own_and_a_texture_has_not():
    coat, plain = cue_conflict(800, size=16, cue="coat"), cue_conflict(800, size=16)
    spread = [[np.ptp(d.latents["hue"][d.textures == k]) for k in range(16)] for d in (coat, plain)]
    assert max(spread[0]) < 0.041 < 0.7 < min(spread[1])
    centres = np.sort([coat.latents["hue"][coat.textures == k].mean() for k in range(16)])
    assert np.diff(centres).min() > 0.05


def test_shape_only_is_flat_and_texture_only_fills_the_frame():
    flat = cue_conflict(20, shown="shape")
    assert (flat.latents["texture_contrast"] == 0).all()
    full = cue_conflict(60, size=48, shown="texture")
    assert (full.parts > 0).all()


def test_texture_only_pictures_do_not_show_the_shape():
    first = cue_conflict(8, shown="texture", noise=0.0)
    assert all(np.ptp(first.parts, axis=(1, 2)) == 0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
def test_coco_annotations_load_in_pycocotools(tmp_path):
    from pycocotools.coco import COCO

    pictures = scenes(25, 48)
    (tmp_path / "scenes.json").write_text(json.dumps(coco(pictures)))
    loaded = COCO(tmp_path / "scenes.json")
    assert len(loaded.getImgIds()) == 25 and len(loaded.getCatIds()) == 16
    shown = np.stack([pictures.masks(k).any(axis=(1, 2)) for k in range(4)], 1)
    assert len(loaded.getAnnIds()) == shown.sum()
    for note in loaded.loadAnns(loaded.getAnnIds()):
        mask = loaded.annToMask(note).astype(bool)
        assert mask.sum() == note["area"]
        rows, columns = np.nonzero(mask)
        assert note["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    name = loaded.loadCats(loaded.loadAnns([1])[0]["category_id"])[0]["name"]
    assert name in {CLASSES[k] for k in pictures.labels[0] if k >= 0}


def test_coco_wants_one_name_an_image():
    with pytest.raises(ValueError, match="names must be 2 file names, got 1"):
        coco(scenes(2, 32), ["a.png"])


def test_scenes_hold_one_to_four_objects():
    pictures = scenes(120, 32)
    counts = (pictures.labels >= 0).sum(1)
    assert set(counts) == {1, 2, 3, 4}
    assert all(pictures.instances.max(axis=(1, 2)) <= counts)


def test_a_scene_is_the_same_alone_and_in_a_batch():
    batch, alone = scenes(7, 40), scenes(1, 40, start=6)
    assert np.array_equal(alone.images[0], batch.images[6])
    assert np.array_equal(alone.marks[0], batch.marks[6])


def test_a_clip_is_the_same_alone_and_starts_as_a_shorter_clip():
    batch = clips(3, frames=6)
    assert batch.images.shape == (3, 3, 6, 32, 32) and batch.marks.shape == (3, 6, 32, 32)
    assert np.array_equal(clips(1, frames=6, start=2).images[0], batch.images[2])
    assert np.array_equal(clips(3, frames=1).images[:, :, 0], batch.images[:, :, 0])


def test_masks_move_as_their_object_does():
    found = clips(200, frames=5, size=64, rot=0.0)
    drift = found.motions[0]["velocity"] * 0.5  # four steps of one eighth
    checked = 0
    for i, mask in enumerate(found.instances == 1):
        inside = not (mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any())
        alone = (found.instances[i] == 2).sum() == 0
        if inside and alone and abs(found.motions[0]["wave"][i]) < 0.5:
            centres = [(2 * np.argwhere(m).mean(0)[::-1] + 1) / 64 - 1 for m in mask[[0, 4]]]
            assert np.abs(centres[1] - centres[0] - drift[i]).max() < 0.08
            checked += 1
    assert checked >= 5


def test_frames_differ_and_hills_scroll():
    found = clips(8, frames=3)
    assert (found.images[:, :, 0] != found.images[:, :, 2]).any(axis=(1, 2, 3)).all()
    still = clips(8, frames=3, noise=0.0, clutter=0)
    background = (still.marks == 0).all(1)
    moved = (still.images[:, :, 0] != still.images[:, :, 2]).any(1)
    assert (moved & background).any(axis=(1, 2)).all()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: clips(2, frames=0), "frames must be an integer of at least 1, got 0"),
    (lambda: scenes(2, most=5), "most must be 1, 2, 3 or 4, got 5"),
    (lambda: cue_conflict(2, cue="colour"), "cue must be one of texture, coat, got 'colour'"),
    (lambda: cue_conflict(2, shown="none"), "shown must be one of both, shape, texture"),
    (lambda: picture_graph(np.zeros((4, 6)), 2), "marks must be a square"),
    (lambda: picture_graph(np.zeros((4, 4)), 3), "patch must divide the side 4, got 3"),
])
def test_bad_requests_get_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_patches_hang_on_the_parts_that_show_in_them():
    marks = draw("train", 1, 32).parts[0]
    graph = picture_graph(marks, 4)
    for row, column in np.ndindex(8, 8):
        seen = set(np.unique(marks[4 * row:4 * row + 4, 4 * column:4 * column + 4]).tolist())
        expected = {"background" if m == 0 else f"object 0 part {m - 1}" for m in seen}
        assert set(graph.predecessors(f"patch {row} {column}")) == expected


def test_picture_graph_is_a_dag_with_one_root_and_levels_that_fall():
    pictures = scenes(3, 64)
    for marks in pictures.marks:
        graph = picture_graph(marks, 8)
        assert nx.is_directed_acyclic_graph(graph)
        assert [node for node, degree in graph.in_degree if degree == 0] == ["image"]
        level = nx.get_node_attributes(graph, "level")
        assert all(level[a] > level[b] for a, b in graph.edges)
        leaves = [node for node, degree in graph.out_degree if degree == 0]
        assert len(leaves) == 64
