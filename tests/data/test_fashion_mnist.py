"""Fashion-MNIST: four ways to get it, checksums always."""

import gzip
import hashlib
import os
import struct

import numpy as np
import pytest

from mae_lib.data import fashion_mnist as module
from mae_lib.data.fashion_mnist import MissingDataset, fashion_mnist, parse_idx


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Four tiny files in a folder of their own, and no other source."""
    rng = np.random.default_rng(0)
    contents = {}
    for part, count in (("train", 12), ("t10k", 4)):
        contents[f"{part}-images-idx3-ubyte"] = idx(rng.integers(1, 256, (count, 28, 28)))
        contents[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count) % 10)
    good = tmp_path / "good"
    good.mkdir()
    for name, content in contents.items():
        (good / f"{name}.gz").write_bytes(gzip.compress(content))
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(module, "CONTENTS", sums)
    monkeypatch.setattr(module, "SPLITS", {"train": ("train", 0, 8), "val": ("train", 8, 12),
                                           "test": ("t10k", 0, 4)})
    monkeypatch.setenv("MAE_LIB_DATA", str(tmp_path / "cache"))
    forget()
    yield good
    forget()


def forget():
    module._contents.cache_clear()
    module._arrays.cache_clear()


def sources(monkeypatch, *folders):
    named = [(f"source {i}", lambda folder=folder: folder) for i, folder in enumerate(folders)]
    monkeypatch.setattr(module, "_sources", lambda: iter(named))


def test_images_are_padded_not_stretched_and_grey(tiny, monkeypatch):
    sources(monkeypatch, tiny)
    found = fashion_mnist("train")
    assert found.images.shape == (8, 3, 32, 32)
    frame = np.ones((32, 32), bool)
    frame[2:30, 2:30] = False
    assert (found.images[:, :, frame] == 0).all() and (found.images[:, :, ~frame] > 0).all()
    assert (found.images == found.images[:, :1]).all()


def test_train_and_validation_images_are_the_official_file_in_two(tiny, monkeypatch):
    sources(monkeypatch, tiny)
    both = np.concatenate([fashion_mnist(s).images[:, 0, 2:30, 2:30] for s in ("train", "val")])
    raw = gzip.decompress((tiny / "train-images-idx3-ubyte.gz").read_bytes())
    assert np.array_equal(both, parse_idx(raw, "x"))


@pytest.mark.parametrize("harm", ["truncated", "another file", "missing"])
def test_a_source_that_is_not_whole_is_passed_over(tiny, tmp_path, monkeypatch, harm):
    bad = tmp_path / "bad"
    bad.mkdir()
    for file in tiny.iterdir():
        (bad / file.name).write_bytes(file.read_bytes())
    victim = bad / "t10k-images-idx3-ubyte.gz"
    if harm == "missing":
        victim.unlink()
    else:
        content = victim.read_bytes()
        victim.write_bytes(content[:-30] if harm == "truncated" else gzip.compress(b"else"))
    sources(monkeypatch, bad, tiny)
    assert len(fashion_mnist("test")) == 4


def test_when_nothing_works_one_message_names_the_ways(tmp_path, tiny, monkeypatch):
    sources(monkeypatch, tmp_path / "none", tmp_path / "nothing")
    with pytest.raises(MissingDataset, match="apt-get install.*put the four files.*Tried: source 0"):
        fashion_mnist()


def test_the_debian_package_comes_before_a_download():
    names = [name for name, _ in module._sources()]
    assert names == ["our cache", "the Debian package's folder", "apt-get download",
                     "torchvision's download"]


@pytest.mark.parametrize(("split", "n", "message"), [
    ("dev", None, "split must be one of train, val, test, got 'dev'"),
    ("val", 5, r"n must lie in 1\.\.4"),
    ("val", 0, r"n must lie in 1\.\.4"),
])
def test_a_split_or_number_that_is_not_there_is_refused(tiny, monkeypatch, split, n, message):
    sources(monkeypatch, tiny)
    with pytest.raises(ValueError, match=message):
        fashion_mnist(split, n)


@pytest.mark.parametrize("content", [b"", b"\0\0\x09\1", idx(np.zeros((2, 3)))[:-1], b"\0\0\x08\3"])
def test_a_file_that_is_no_idx_file_is_refused(content):
    with pytest.raises(ValueError, match="name must"):
        parse_idx(content, "name")


def test_the_real_set_has_seventy_thousand_images_in_ten_equal_classes():
    try:
        sets = [fashion_mnist(split) for split in ("train", "val", "test")]
    except MissingDataset as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert [len(s) for s in sets] == [55_000, 5_000, 10_000]
    counts = [np.bincount(s.labels, minlength=10) for s in sets]
    assert (counts[0] + counts[1] == 6000).all() and (counts[2] == 1000).all()
