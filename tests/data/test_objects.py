import numpy as np
import pytest

from mae_lib.data.menagerie import CLASSES, scenes
from mae_lib.data.objects import ObjectSet, scene_objects


def one(**changes) -> ObjectSet:
    """One picture with one object."""
    mask = np.zeros((1, 16, 16), bool)
    mask[0, 2:6, 3:10] = True
    given = {"images": np.zeros((1, 3, 16, 16), np.uint8), "boxes": [np.array([[3, 2, 10, 6]])],
             "labels": [np.array([1])], "masks": [mask], "categories": ("thing",),
             "name": "one", "fingerprint": "one"}
    return ObjectSet(**given | changes)


def test_targets_are_what_torchvision_asks_for():
    target = one().target(0)
    assert {name: str(x.dtype) for name, x in target.items()} == {
        "boxes": "torch.float32", "labels": "torch.int64", "masks": "torch.uint8"}
    assert target["boxes"].tolist() == [[3, 2, 10, 6]] and target["masks"].sum() == 28


def test_an_image_may_be_empty():
    none = one(boxes=[np.zeros((0, 4))], labels=[np.zeros(0, int)],
               masks=[np.zeros((0, 16, 16), bool)])
    assert none.target(0)["boxes"].shape == (0, 4)


def test_scenes_keep_every_object_with_its_class_and_tight_box():
    drawn = scenes(20, 48, "medium32", start=5)
    found = scene_objects(drawn)
    assert found.categories == CLASSES and found.size == (48, 48)
    assert np.array_equal(found.images, drawn.images)
    for i in range(20):
        kept = [k for k in range(4) if drawn.labels[i, k] >= 0 and drawn.masks(k)[i].any()]
        assert len(kept) == len(found.labels[i])
        for row, k in enumerate(kept):
            assert found.labels[i][row] == 1 + drawn.objects[k]["class"][i]
            y, x = np.nonzero(drawn.masks(k)[i])
            assert found.boxes[i][row].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
            assert np.array_equal(found.masks[i][row], drawn.masks(k)[i])


@pytest.mark.parametrize(("changes", "message"), [
    ({"boxes": [np.array([[3, 2, 17, 6]])]}, "boxes must have a positive size inside 16x16"),
    ({"boxes": [np.array([[-1, 2, 10, 6]])]}, "boxes must have a positive size inside 16x16"),
    ({"boxes": [np.array([[3, 2, 3, 6]])]}, r"got \[3.0, 2.0, 3.0, 6.0\] in image 0"),
    ({"boxes": [np.array([[3, 2, np.nan, 6]])]}, "boxes must have a positive size"),
    ({"labels": [np.array([0])]}, r"labels must lie in 1..1, since 0 is the background, got 0"),
    ({"labels": [np.array([2])]}, r"labels must lie in 1..1"),
    ({"labels": [np.array([1, 1])]}, r"must have shapes \[2,4\] and \[2,16,16\]"),
    ({"masks": [np.zeros((1, 8, 8), bool)]}, r"got \[1, 4\] and \[1, 8, 8\]"),
    ({"boxes": []}, "boxes must hold one array for each of 1 images, got 0"),
    ({"images": np.zeros((0, 3, 16, 16), np.uint8)}, r"images must have shape \[N,3,H,W\]"),
])
def test_objects_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        one(**changes)


def test_pictures_are_bytes():
    with pytest.raises(TypeError, match="images must be uint8, got float32"):
        one(images=np.zeros((1, 3, 16, 16), np.float32))
