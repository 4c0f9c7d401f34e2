"""Sets of picture files: what a batch holds, and what happens to files that cannot be read."""

import pickle
import shutil

import layouts
import numpy as np
import pytest
import torch
from PIL import Image

from mae_lib.data.files.corrupt import CorruptImage, TooManyBadImages
from mae_lib.data.files.decoding import BadImage
from mae_lib.data.files.parallel import parallel
from mae_lib.data.files.readable import readable
from mae_lib.data.files.sets import FileSet, batches, decoded
from mae_lib.data.files.transforms import CentreView, pretraining_view
from mae_lib.data.images import ImageSet, check_images
from mae_lib.data.protocols import Images

CLASSES = ("cat", "dog")
NAMES = [f"{c}/{i}.png" for c in CLASSES for i in range(5)]


@pytest.fixture
def root(tmp_path):
    for seed, name in enumerate(NAMES):
        layouts.write(tmp_path / name, seed)
    return tmp_path


def file_set(root, **options) -> FileSet:
    options = {"transform": CentreView(16), "view": pretraining_view(16)} | options
    return FileSet(root, NAMES, np.repeat([0, 1], 5), CLASSES, "tiny", **options)


def test_a_batch_is_the_centre_view_over_255(root):
    images = file_set(root)
    assert len(images) == 10 and images.size == (16, 16)
    expected = [np.asarray(CentreView(16)(layouts.picture(seed))) for seed in (7, 2)]
    found = images.batch([7, 2])
    check_images(found, size=(16, 16))
    assert np.allclose(found.numpy(), np.stack(expected).transpose(0, 3, 1, 2) / 255, atol=1e-7)


@pytest.mark.parametrize("index", [slice(2, 5), [4, 4, 0], np.arange(10) > 6, np.array([-1])])
def test_index_means_what_it_means_to_numpy(root, index):
    images = file_set(root)
    whole = images.batch(slice(None))
    assert torch.equal(images.batch(index), whole[np.arange(10)[index]])


def test_what_a_set_of_images_is(root):
    memory = ImageSet(np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 0]), ("a",), "dark", "mark")
    assert isinstance(memory, Images) and isinstance(file_set(root), Images)
    assert not isinstance(memory.images, Images)


def test_a_view_depends_on_picture_and_seed_not_on_its_company(root):
    images = file_set(root)
    together = images.views([3, 8, 3], [5, 5, 6])
    check_images(together, size=(16, 16))
    assert torch.equal(images.views([8], [5])[0], together[1])
    assert torch.equal(images.views(np.array([3]), np.array([6]))[0], together[2])
    assert not torch.equal(together[0], together[2])
    assert torch.equal(images.subset([8]).views([0], [5])[0], together[1])


def test_views_need_a_view_and_a_seed_for_each(root):
    with pytest.raises(ValueError, match="view must be set for random views of tiny, got None"):
        file_set(root, view=None).views([0], [0])
    with pytest.raises(ValueError, match="seeds must be 2, one an item, got 1"):
        file_set(root).views([0, 1], [0])


def test_the_fingerprint_tells_contents_and_views_but_not_places(root, tmp_path_factory):
    mark = file_set(root).fingerprint
    moved = shutil.copytree(root, tmp_path_factory.mktemp("elsewhere") / "copy")
    assert file_set(moved).fingerprint == mark
    others = [file_set(root, transform=CentreView(16, 17)), file_set(root, view=None),
              file_set(root).subset(slice(9))]
    layouts.write(moved / NAMES[0], 99, height=40)
    marks = [mark, file_set(moved).fingerprint, *(other.fingerprint for other in others)]
    (moved / NAMES[0]).unlink()
    assert len({*marks, file_set(moved).fingerprint}) == 6


def test_a_subset_keeps_labels_and_options(root):
    some = file_set(root, max_corrupt=3).subset([9, 1])
    assert some.labels.tolist() == [1, 0] and some.max_corrupt == 3
    assert [some.path(i).name for i in range(2)] == ["4.png", "1.png"]


def test_standardisation_is_mean_and_deviation_of_all_pixels(root):
    images = file_set(root)
    values = images.batch(slice(None)).double().numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    mean, deviation = images.standardisation()
    assert np.allclose(mean, values.mean(1), atol=1e-4)
    assert np.allclose(deviation, values.std(1), atol=1e-4)


@pytest.mark.parametrize("how", ["empty", "cut", "text"])
def test_evaluation_stops_at_a_file_that_cannot_be_read_and_names_it(root, how):
    layouts.damage(root / NAMES[3], how)
    with pytest.raises(BadImage, match=f"{NAMES[3]} (is empty|is cut|holds)"):
        file_set(root).batch(slice(None))


def test_unreadable_files_can_be_left_out_beforehand(root):
    layouts.damage(root / NAMES[3], "cut"), layouts.damage(root / NAMES[8], "empty")
    kept, bad = readable(file_set(root, max_corrupt=2))
    assert list(bad) == [NAMES[3], NAMES[8]] and "is empty" in bad[NAMES[8]]
    assert len(kept) == 8 and kept.labels.tolist() == [0] * 4 + [1] * 4
    assert len(kept.batch(slice(None))) == 8
    assert kept.fingerprint != file_set(root).fingerprint


def test_a_whole_set_stays_the_same(root):
    images = file_set(root)
    assert readable(images) == (images, {})


@pytest.mark.parametrize("limit, fits", [(2, True), (1, False), (0, False), (0.2, True),
                                         (0.1, False), (0.11, True), (0.0, False)])
def test_more_unreadable_files_than_allowed_are_an_error(root, limit, fits):
    layouts.damage(root / NAMES[3], "text"), layouts.damage(root / NAMES[8], "empty")
    if fits:
        assert len(readable(file_set(root, max_corrupt=limit))[0]) == 8
        return
    with pytest.raises(TooManyBadImages, match=f"2 of 10 pictures of tiny cannot be read, more "
                                               f"than max_corrupt={limit} allows; the first: .*"
                                               f"{NAMES[3]} holds no picture"):
        readable(file_set(root, max_corrupt=limit))


def test_in_training_the_next_picture_of_the_class_takes_the_place(root):
    layouts.damage(root / NAMES[3], "cut"), layouts.damage(root / NAMES[4], "empty")
    images = file_set(root, max_corrupt=2)
    with pytest.warns(CorruptImage) as told:
        found = images.views([3, 5], [11, 12])
    assert torch.equal(found[0], images.views([0], [11])[0])  # 3 and 4 fail, then around to 0
    assert torch.equal(found[1], images.views([5], [12])[0])
    assert [str(w.message).partition(" ")[0] for w in told] == [str(root / NAMES[i])
                                                                for i in (3, 4)]
    assert "takes its place (2 of at most 2)" in str(told[1].message)
    assert sorted(images.corrupt) == [3, 4]


def test_another_process_makes_the_same_batch_in_any_order(root):
    layouts.damage(root / NAMES[3], "cut"), layouts.damage(root / NAMES[4], "empty")
    with pytest.warns(CorruptImage):
        whole = file_set(root, max_corrupt=2).views(range(10), range(10))
    other = file_set(root, max_corrupt=2)
    with pytest.warns(CorruptImage):
        parts = [other.views([i], [i])[0] for i in reversed(range(10))]
    assert torch.equal(torch.stack(parts[::-1]), whole)


def test_a_file_is_reported_and_counted_once(root):
    layouts.damage(root / NAMES[3], "cut")
    images = file_set(root, max_corrupt=1)
    with pytest.warns(CorruptImage) as told:
        images.views([3, 3], [0, 1])
        images.views([3], [2])
    assert len(told) == 1 and list(images.corrupt) == [3]


def test_training_stops_beyond_the_limit_or_when_a_class_is_gone(root):
    for i in range(5, 10):
        layouts.damage(root / NAMES[i], "empty")
    with pytest.raises(TooManyBadImages, match="1 of 10 pictures of tiny cannot be read, more"):
        file_set(root, max_corrupt=0).views([7], [0])
    with (pytest.warns(CorruptImage),
          pytest.raises(BadImage, match="no picture of class 'dog' can be read; .*dog/2.png is")):
        file_set(root, max_corrupt=5).views([7], [0])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_set_in_order_whoever_decodes(root, workers):
    images = file_set(root)
    found = list(batches(images, 4, workers=workers))
    assert [len(x) for x in found] == [4, 4, 2]
    assert torch.equal(torch.cat(found), images.batch(slice(None)))


def test_workers_report_in_a_sentence(root):
    layouts.damage(root / NAMES[3], "empty")
    with pytest.raises(BadImage) as error:
        list(batches(file_set(root), 4, workers=1))
    assert str(error.value) == f"{root / NAMES[3]} is empty (0 bytes)"
    kept, bad = readable(file_set(root), workers=1)
    assert len(kept) == 9 and list(bad) == [NAMES[3]]


def test_workers_cannot_be_fewer_than_none():
    with pytest.raises(ValueError, match="workers must be at least 0, got -1"):
        list(parallel(abs, [1], -1))


def test_a_set_can_be_sent_to_another_process(root):
    images = file_set(root)
    sent = pickle.loads(pickle.dumps(images))
    assert sent.fingerprint == images.fingerprint and torch.equal(sent.batch([3]),
                                                                  images.batch([3]))


@pytest.mark.parametrize("change, message", [
    ({"files": []}, "files must hold at least one picture, got none below"),
    ({"labels": np.zeros(9, int)}, "labels must be 10 integers"),
    ({"view": pretraining_view(17)}, "view must have the size of transform, 16, got 17"),
    ({"max_corrupt": -1}, "max_corrupt must be at least 0, got -1")])
def test_sets_that_cannot_be_are_refused(tmp_path, change, message):
    whole = {"files": NAMES, "labels": np.repeat([0, 1], 5), "view": pretraining_view(16)}
    with pytest.raises(ValueError, match=message):
        FileSet(tmp_path, classes=CLASSES, name="tiny", transform=CentreView(16),
                **whole | change)


def test_decoded_once_the_same_square_is_seen_from_memory(root):
    images = decoded(file_set(root), 32)
    square = np.asarray(CentreView(32, 32)(layouts.picture(7)))
    assert np.array_equal(images.memory[7], square) and images.size == (16, 16)
    expected = np.asarray(Image.fromarray(square).resize((16, 16), Image.BICUBIC))
    assert np.abs(images.batch([7])[0].numpy() * 255 - expected.transpose(2, 0, 1)).max() <= 1
    shutil.rmtree(root / "dog")
    assert np.array_equal(images.views([8], [5])[0], images.subset([8]).views([0], [5])[0])


def test_decoding_beforehand_shows_in_the_fingerprint(root):
    marks = {s.fingerprint for s in (file_set(root), decoded(file_set(root), 32),
                                     decoded(file_set(root), 48))}
    assert len(marks) == 3
