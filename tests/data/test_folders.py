"""Folders of pictures: which layouts are understood, and what is said of the others."""

import layouts
import numpy as np
import pytest

from mae_lib.data.files.transforms import CentreView, pretraining_view
from mae_lib.data.official import imagenet as imagenet_module
from mae_lib.data.official.folders import WrongLayout, folder
from mae_lib.data.official.imagenet import (
    COUNTS,
    IMAGENETTE,
    IMAGENETTE_COUNTS,
    class_names,
    imagenet,
    imagenette,
    wnids,
)


def test_a_folder_with_class_folders(tmp_path):
    for name in ("zoo/cat/1.jpg", "zoo/cat/deep/er/2.PNG", "zoo/ant/3.jpeg", "zoo/cat/.hidden.png",
                 "zoo/.cache/x.jpg"):
        layouts.write(tmp_path / name, 1)
    (tmp_path / "zoo/cat/notes.txt").write_text("no picture")
    (tmp_path / "zoo/empty").mkdir()
    images = folder(tmp_path / "zoo", size=16)
    assert images.classes == ("ant", "cat") and images.name == "zoo" and len(images) == 3
    assert [f.decode() for f in images.files] == ["ant/3.jpeg", "cat/1.jpg", "cat/deep/er/2.PNG"]
    assert images.labels.tolist() == [0, 1, 1] and images.batch(slice(None)).shape[0] == 3


def test_a_folder_without_class_folders_is_one_class(tmp_path):
    for k in range(3):
        layouts.write(tmp_path / f"mine/{k}.jpg", k)
    images = folder(tmp_path / "mine", size=16, view=pretraining_view(16))
    assert images.classes == ("mine",) and images.labels.tolist() == [0, 0, 0]
    assert images.path(2) == tmp_path / "mine/2.jpg"
    assert images.views([0], [1]).shape == (1, 3, 16, 16)


def test_pictures_beside_class_folders_are_ambiguous(tmp_path):
    layouts.write(tmp_path / "a.jpg", 1), layouts.write(tmp_path / "cat/b.jpg", 1)
    with pytest.raises(WrongLayout, match=r"either pictures or class folders, but holds 1 pictures "
                                          r"\(a.jpg\) beside 1 folders of pictures \(cat\)"):
        folder(tmp_path)


def test_a_folder_that_is_not_there_or_holds_nothing_says_so(tmp_path):
    (tmp_path / "data").mkdir(), (tmp_path / "data/readme.md").write_text("")
    with pytest.raises(WrongLayout, match=r"pics should be a folder of pictures.*does not exist; "
                                          r".*data holds 1 files \(readme.md\)"):
        folder(tmp_path / "data/pics")
    with pytest.raises(WrongLayout, match=r"should hold pictures .* but holds 1 files \(readme"):
        folder(tmp_path / "data")
    with pytest.raises(WrongLayout, match="should be a folder of pictures, .* but is a file"):
        folder(tmp_path / "data/readme.md")


def test_the_thousand_classes_are_sorted_wordnet_ids_with_their_words():
    assert len(wnids()) == 1000 and list(wnids()) == sorted(set(wnids()))
    assert (wnids()[0], wnids()[999]) == ("n01440764", "n15075141")
    names = class_names()
    assert (names[0], names[207], names[999]) == ("tench", "golden retriever", "toilet tissue")
    assert names[134] == names[517] == "crane"
    assert set(IMAGENETTE) < set(wnids())


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    return layouts.write_imagenet(tmp_path_factory.mktemp("imagenet"), wnids())


@pytest.mark.parametrize("split", ["train", "val"])
def test_imagenet_in_its_official_layout(thousand, split, monkeypatch):
    monkeypatch.setitem(COUNTS, split, 1000)
    images = imagenet(thousand, split, size=32)
    assert np.array_equal(images.labels, np.arange(1000)) and images.classes == wnids()
    assert images.name == f"ImageNet-1K {split}"
    assert images.transform == CentreView(32) and images.max_corrupt == 0.001
    assert images.path(3).parent.name == wnids()[3] and images.batch([3]).shape == (1, 3, 32, 32)


def test_a_half_copied_imagenet_is_noticed(thousand):
    with pytest.raises(WrongLayout, match=r"train should hold 1,281,167 pictures within 1 %, but "
                                          r"holds 1,000: was it copied or unpacked as a whole\?"):
        imagenet(thousand)
    assert len(imagenet(thousand, strict=False)) == 1000


def test_a_validation_set_without_class_folders_says_what_is_missing(tmp_path):
    for k in range(5):
        layouts.write(tmp_path / f"val/ILSVRC2012_val_{k:08}.JPEG", k)
    with pytest.raises(WrongLayout, match=r"val should hold 1000 class folders .*n01440764, .*; "
                                          r"missing or empty: 1000 .*; it holds 5 files .ILSVRC"):
        imagenet(tmp_path, "val")
    with pytest.raises(WrongLayout, match="should hold the folder train of ImageNet-1K, with 1000 "
                                          r"class folders like train/n01440764, but holds 1 folde"):
        imagenet(tmp_path, "train")
    with pytest.raises(ValueError, match="split must be one of train, val, got 'test'"):
        imagenet(tmp_path, "test")


@pytest.fixture(scope="module")
def nette(tmp_path_factory):
    """Both splits of Imagenette with as many files as it has: the last class makes up the rest."""
    root = tmp_path_factory.mktemp("nette") / "imagenette2-160"
    for split, count in IMAGENETTE_COUNTS.items():
        layouts.write_classes(root / split, IMAGENETTE[:9], count // 10)
        layouts.write_classes(root / split, IMAGENETTE[9:], count - 9 * (count // 10))
    return root


@pytest.mark.parametrize("split, count", [("train", 9469), ("val", 3925)])
def test_imagenette_with_the_official_number_of_files(nette, split, count):
    images = imagenette(nette, split, size=16)
    assert len(images) == count and images.classes == IMAGENETTE
    assert images.batch([0, count - 1]).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("removed, fits", [(39, True), (40, False)])
def test_one_file_in_a_hundred_may_be_missing(tmp_path, removed, fits):
    layouts.write_classes(tmp_path / "val", IMAGENETTE[:9], 392)
    layouts.write_classes(tmp_path / "val", IMAGENETTE[9:], 397 - removed)
    if fits:
        assert len(imagenette(tmp_path, "val")) == 3925 - removed
        return
    with pytest.raises(WrongLayout, match="should hold 3,925 pictures within 1 %, but holds 3,885"):
        imagenette(tmp_path, "val")


def test_class_folders_that_do_not_match_are_listed(tmp_path, monkeypatch):
    monkeypatch.setitem(imagenet_module.IMAGENETTE_COUNTS, "val", 16)
    layouts.write_classes(tmp_path / "val", IMAGENETTE[:8], 2)
    (tmp_path / "val" / IMAGENETTE[8]).mkdir()
    layouts.write_classes(tmp_path / "val", ["n99999999", "tench"], 2)
    with pytest.raises(WrongLayout, match=r"missing or empty: 2 \(n03445777, n03888257\), unknown: "
                                          r"2 \(n99999999, tench\); it holds 11 folders"):
        imagenette(tmp_path, "val")
    images = imagenette(tmp_path, "val", strict=False)
    assert len(images) == 16 and set(images.labels) == set(range(8))
