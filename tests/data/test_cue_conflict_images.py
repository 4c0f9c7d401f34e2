"""The cue-conflict images in their official layout, scored as the paper does."""

import layouts
import numpy as np
import pytest

from mae_lib.data.files.decoding import BadImage
from mae_lib.data.official.cue_conflict_images import cue_conflict
from mae_lib.data.official.folders import WrongLayout
from mae_lib.data.official.human_categories import CATEGORIES, parse_cue_conflict
from mae_lib.evaluation import shape_bias as scoring


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return layouts.write_cue_conflict(tmp_path_factory.mktemp("cues") / "cue-conflict", CATEGORIES,
                                      variants=5)


def test_all_1280_files_are_read_with_both_their_cues(root):
    images, shapes, textures = cue_conflict(root)
    assert len(images) == len(shapes) == len(textures) == 1280
    assert images.classes == CATEGORIES
    assert [images.classes[k] for k in images.labels] == shapes.tolist()
    for i in range(0, 1280, 37):
        assert parse_cue_conflict(images.path(i)) == (shapes[i], textures[i])
    assert (shapes == textures).sum() == 80


def test_the_files_own_pixels_are_fed(root):
    images = cue_conflict(root).images
    files = {str(layouts.pixels(k, 224, 224).tobytes()) for k in range(2)}
    shown = images.pixels([0, 16]).permute(0, 2, 3, 1).numpy()
    assert {str(x.tobytes()) for x in shown} == files
    assert cue_conflict(root, size=32).images.batch([0]).shape == (1, 3, 32, 32)


def test_the_scores_take_the_set_as_it_is(root):
    _, shapes, textures = cue_conflict(root)
    by_shape = scoring.shape_bias(shapes, shapes, textures)
    assert (by_shape.bias, by_shape.shape_accuracy, by_shape.n_conflict) == (1, 1, 1200)
    by_texture = scoring.shape_bias(textures, shapes, textures)
    assert (by_texture.bias, by_texture.shape_accuracy) == (0, 0.0625)


def test_half_a_set_is_noticed(tmp_path):
    layouts.write_cue_conflict(tmp_path / "cues", CATEGORIES[:8])
    with pytest.raises(WrongLayout, match=r"missing or empty: 8 \(chair, clock, dog, elephant"):
        cue_conflict(tmp_path / "cues")
    layouts.write_cue_conflict(tmp_path / "some", CATEGORIES)
    with pytest.raises(WrongLayout, match="should hold 1,280 pictures within 1 %, but holds 256"):
        cue_conflict(tmp_path / "some")
    assert len(np.unique(cue_conflict(tmp_path / "some", strict=False).textures)) == 16


@pytest.mark.parametrize("name", ["cat/cat7.png", "cat/dog1-cat1.png", "cat/cat1-banana2.png"])
def test_names_of_another_form_are_refused(tmp_path, name):
    layouts.write(tmp_path / "cues" / name, 1)
    with pytest.raises(WrongLayout, match=f"files like cat/cat7-elephant2.png, .* holds {name}"):
        cue_conflict(tmp_path / "cues", strict=False)


def test_a_file_of_another_size_is_refused_when_it_is_shown(tmp_path):
    layouts.write_cue_conflict(tmp_path / "cues", ["cat"], ["dog"], size=100)
    images = cue_conflict(tmp_path / "cues", strict=False).images
    with pytest.raises(BadImage, match="cat1-dog2.png should be a picture of 224x224 pixels, but "
                                       "is one of 100x100"):
        images.batch([0])
