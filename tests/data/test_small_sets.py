"""CIFAR-10, CIFAR-100 and STL-10 as torchvision keeps them."""

import copy

import layouts
import numpy as np
import pytest
from torchvision import datasets

from mae_lib.data.fashion_mnist import MissingDataset
from mae_lib.data.official.small_sets import small_set


@pytest.fixture
def with_checksums(monkeypatch):
    """torchvision's classes, whose checksums may be changed for the test."""
    for kind in (datasets.CIFAR10, datasets.CIFAR100, datasets.STL10):
        for field in ("train_list", "test_list", "meta"):
            if field in vars(kind):
                monkeypatch.setattr(kind, field, copy.deepcopy(getattr(kind, field)))


@pytest.mark.parametrize("name, kind", [("cifar10", datasets.CIFAR10),
                                        ("cifar100", datasets.CIFAR100)])
def test_cifar_is_read_in_order(tmp_path, with_checksums, name, kind):
    written = layouts.write_cifar(tmp_path, kind)
    parts = len(kind.train_list)
    train, test = (small_set(name, split, root=tmp_path) for split in ("train", "test"))
    assert np.array_equal(train.images, np.concatenate(written[:parts]))
    assert np.array_equal(test.images, written[-1]) and test.labels.tolist() == [parts, 0, 9]
    assert train.classes == tuple(f"class {k}" for k in range(10)) and train.size == (32, 32)
    assert train.fingerprint != test.fingerprint and train.name == f"{name} train"


def test_stl10_is_read_in_order(tmp_path, with_checksums):
    written = layouts.write_stl10(tmp_path, datasets.STL10)
    for split, images in written.items():
        found = small_set("stl10", split, root=tmp_path)
        assert np.array_equal(found.images, images) and found.size == (96, 96)
    assert small_set("stl10", "test", root=tmp_path).labels.tolist() == [0, 9, 1]
    assert found.classes == ("unlabelled",) and found.labels.tolist() == [0, 0, 0]


def test_the_first_images_alone(tmp_path, with_checksums):
    layouts.write_cifar(tmp_path, datasets.CIFAR10)
    whole, some = (small_set("cifar10", "train", n, root=tmp_path) for n in (None, 4))
    assert np.array_equal(some.images, whole.images[:4]) and len(some.labels) == 4
    assert some.fingerprint != whole.fingerprint
    with pytest.raises(ValueError, match=r"n must lie in 1..15 for cifar10 train, got 16"):
        small_set("cifar10", "train", 16, root=tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
def test_a_set_that_is_absent_says_where_it_was_looked_for(tmp_path, name):
    with pytest.raises(MissingDataset, match=f"{name} should lie in {tmp_path}/.* as torchvision "
                                             r"keeps it, but .*; download=True fetches it"):
        small_set(name, root=tmp_path)


def test_a_damaged_file_is_never_unpickled(tmp_path, with_checksums):
    layouts.write_cifar(tmp_path, datasets.CIFAR10)
    file = tmp_path / "cifar-10-batches-py/data_batch_3"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(MissingDataset, match="not there or damaged"):
        small_set("cifar10", root=tmp_path)


@pytest.mark.parametrize("arguments, message", [
    (("cifar",), "name must be one of cifar10, cifar100, stl10, got 'cifar'"),
    (("cifar10", "unlabeled"), "split must be one of train, test for cifar10, got 'unlabeled'")])
def test_names_that_there_are_not(arguments, message):
    with pytest.raises(ValueError, match=message):
        small_set(*arguments)
