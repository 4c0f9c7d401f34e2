"""Fashion-MNIST: four ways to get it, checked, padded and never stretched."""

import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mae_lib.data import fashion_mnist as fm

COUNTS = {"train": 30, "t10k": 12}


def idx(array: np.ndarray) -> bytes:
    return (bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            + array.tobytes())


def tiny_contents() -> dict[str, bytes]:
    """Files of a few images in the official format; no pixel is black, so that padding shows."""
    rng, contents = np.random.default_rng(0), {}
    for part, count in COUNTS.items():
        pixels = rng.integers(1, 256, (count, 28, 28), dtype=np.uint8)
        contents[f"{part}-images-idx3-ubyte"] = idx(pixels)
        contents[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    return contents


def put(folder, contents: dict[str, bytes]):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


def forget() -> None:
    fm._contents.cache_clear()
    fm._arrays.cache_clear()


@pytest.fixture
def contents(tmp_path, monkeypatch):
    """Tiny files take the place of the real ones; no source has them yet."""
    contents = tiny_contents()
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(fm, "CONTENTS", sums)
    monkeypatch.setattr(fm, "SPLITS", {"train": ("train", 0, 25), "val": ("train", 25, 30),
                                       "test": ("t10k", 0, 12)})
    monkeypatch.setattr(fm, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("MAE_LIB_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(fm, "_fetch_debian_package", unreachable("no mirror"))
    monkeypatch.setattr(fm, "_fetch_with_torchvision", unreachable("no network"))
    forget()
    yield contents
    forget()


def unreachable(why: str):
    def fetch():
        raise OSError(why)
    return fetch


@pytest.fixture
def cached(contents, tmp_path):
    put(tmp_path / "cache" / "fashion-mnist", contents)
    return contents


# Where it comes from

def test_sources_are_tried_from_the_nearest_to_the_farthest(contents, tmp_path, monkeypatch):
    tried = []

    def source(name, folder):
        return name, lambda: tried.append(name) or folder
    good = put(tmp_path / "good", contents)
    names = [name for name, _ in fm._sources()]
    assert names == ["our cache", "the Debian package's folder", "apt-get download",
                     "torchvision's download"]
    monkeypatch.setattr(fm, "_sources", lambda: iter(
        [source(names[0], tmp_path / "none"), source(names[1], good), source(names[2], good)]))
    fm.fashion_mnist("test")
    assert tried == names[:2]


def test_our_cache_is_read_first(cached, tmp_path):
    assert len(fm.fashion_mnist("train")) == 25
    assert not (tmp_path / "debian").exists()


def break_file(file, how: str) -> None:
    content = file.read_bytes()
    if how == "missing":
        return file.unlink()
    file.write_bytes({"truncated": content[:-20], "half": content[:len(content) // 2], "empty": b"",
                      "no gzip": b"text" + content, "flipped": content[:30] + b"\xff\xff\xff\xff"
                      + content[34:], "another": gzip.compress(b"other")}[how])


@pytest.mark.parametrize("how", ["missing", "truncated", "half", "empty", "no gzip", "flipped",
                                 "another"])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_damaged_file_makes_the_next_source_be_tried(cached, tmp_path, how, name):
    expected = fm.fashion_mnist("train").images.copy()
    forget()
    put(fm.DEBIAN_FOLDER, cached)
    break_file(tmp_path / "cache" / "fashion-mnist" / f"{name}.gz", how)
    assert np.array_equal(fm.fashion_mnist("train").images, expected)


def test_when_nothing_works_every_way_and_its_failure_is_named(contents, tmp_path):
    put(tmp_path / "cache" / "fashion-mnist", contents)
    break_file(tmp_path / "cache" / "fashion-mnist" / "train-images-idx3-ubyte.gz", "another")
    with pytest.raises(fm.MissingDataset) as missing:
        fm.fashion_mnist("train")
    text = str(missing.value)
    for words in ("apt-get install dataset-fashion-mnist", "train-images-idx3-ubyte.gz",
                  str(tmp_path / "cache"), "our cache (", "its checksum differs",
                  "the Debian package's folder (", "apt-get download (no mirror)",
                  "torchvision's download (no network)"):
        assert words in text
    assert "\n" not in text


def test_a_failure_is_not_remembered(contents, tmp_path):
    with pytest.raises(fm.MissingDataset):
        fm.fashion_mnist("train")
    put(tmp_path / "cache" / "fashion-mnist", contents)
    assert len(fm.fashion_mnist("train")) == 25


@pytest.mark.parametrize("error, words", [
    (ModuleNotFoundError("No module named 'torchvision'"), "No module named 'torchvision'"),
    (subprocess.CalledProcessError(100, "apt-get", stderr=b"E: Unable to locate\nmore"),
     "E: Unable to locate)"),
    (subprocess.TimeoutExpired("apt-get", 300), "timed out"),
    (RuntimeError("Error downloading"), "Error downloading")])
def test_a_source_that_fails_in_its_own_way_is_no_crash(contents, monkeypatch, error, words):
    def fails():
        raise error
    monkeypatch.setattr(fm, "_fetch_with_torchvision", fails)
    with pytest.raises(fm.MissingDataset, match="torchvision's download") as missing:
        fm.fashion_mnist("test")
    assert words in str(missing.value)


def test_a_package_is_unpacked_checked_and_kept(contents, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(fm, "CONTENTS", {n: hashlib.sha256(c).hexdigest()
                                         for n, c in contents.items()})
    monkeypatch.setenv("MAE_LIB_DATA", str(tmp_path / "cache"))
    commands = []

    def run(command, folder):
        commands.append(command[0])
        if command[0] == "apt-get":
            open(os.path.join(folder, "x.deb"), "w").close()
        else:
            put(os.path.join(folder, "unpacked") / fm.DEBIAN_FOLDER.relative_to("/"), contents)
    monkeypatch.setattr(fm, "_run", run)
    kept = fm._fetch_debian_package()
    assert commands == ["apt-get", "dpkg-deb"] and kept == tmp_path / "cache" / "fashion-mnist"
    assert fm._read_folder(kept) == contents
    assert sorted(f.name for f in kept.iterdir()) == sorted(f"{name}.gz" for name in contents)


def test_a_download_says_nothing_on_the_error_stream(contents, monkeypatch, capsys, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(fm, "CONTENTS", {n: hashlib.sha256(c).hexdigest()
                                         for n, c in contents.items()})
    monkeypatch.setenv("MAE_LIB_DATA", str(tmp_path / "cache"))

    def download(root, download):
        print("100%|##########|", file=sys.stderr)
        put(Path(root, "FashionMNIST", "raw"), contents)
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets, "FashionMNIST", download)
    assert fm._read_folder(fm._fetch_with_torchvision()) == contents
    assert capsys.readouterr().err == ""


# The file format

@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 28, 28), ()])
def test_an_idx_file_is_read_back(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(fm.parse_idx(idx(np.asarray(array)), "a"), array)


GOOD = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize("content, message", [
    (b"", "a must be an idx file of unsigned bytes, got b''"),
    (GOOD[:3], "must be an idx file of unsigned bytes"),
    (GOOD[:9], "must be an idx file of unsigned bytes"),
    (b"\x00\x00\x0d" + GOOD[3:], "must be an idx file of unsigned bytes"),
    (b"\x89PNG" + GOOD[4:], "must be an idx file of unsigned bytes"),
    (GOOD[:-1], r"a must hold \[2, 3\] bytes, got 5"),
    (GOOD + b"x", r"a must hold \[2, 3\] bytes, got 7")])
def test_what_is_no_idx_file_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        fm.parse_idx(content, "a")


# Splits and images

def test_validation_is_the_end_of_the_training_file_and_in_nothing_else(cached):
    sets = {split: fm.fashion_mnist(split) for split in ("train", "val", "test")}
    assert {split: len(s) for split, s in sets.items()} == {"train": 25, "val": 5, "test": 12}
    seen = [image.tobytes() for s in sets.values() for image in s.images]
    assert len(set(seen)) == sum(COUNTS.values())
    both = np.concatenate([sets[s].images[:, 0, 2:30, 2:30] for s in ("train", "val")])
    assert np.array_equal(both, fm.parse_idx(cached["train-images-idx3-ubyte"], "images"))
    assert len({s.fingerprint for s in sets.values()}) == 3


def test_images_are_padded_not_stretched_and_grey(cached):
    images = fm.fashion_mnist("test").images
    official = fm.parse_idx(cached["t10k-images-idx3-ubyte"], "images")
    assert images.shape == (12, 3, 32, 32) and images.dtype == np.uint8
    assert np.array_equal(images[:, 0, 2:30, 2:30], official)
    inside = np.zeros((32, 32), bool)
    inside[2:30, 2:30] = True
    assert (images[..., ~inside] == 0).all() and (images[..., inside] > 0).all()
    assert (images == images[:, :1]).all()


def test_the_first_images_of_a_split_are_the_same_whatever_their_number(cached):
    few, all_of_them = fm.fashion_mnist("val", 3), fm.fashion_mnist("val")
    assert np.array_equal(few.images, all_of_them.images[:3])
    assert few.labels.tolist() == [5, 6, 7] and few.labels.dtype == np.int64
    assert few.fingerprint != all_of_them.fingerprint
    assert few.fingerprint == fm.fingerprint_of("val", 3) and few.name == "fashion_mnist val"


def test_what_the_files_hold_enters_the_fingerprint(cached, monkeypatch):
    before = fm.fingerprint_of("test", 2)
    changed = dict(fm.CONTENTS, **{"t10k-images-idx3-ubyte": "0" * 64})
    monkeypatch.setattr(fm, "CONTENTS", changed)
    assert fm.fingerprint_of("test", 2) != before


@pytest.mark.parametrize("n", [0, -1, 6])
def test_a_number_out_of_range_is_refused(cached, n):
    with pytest.raises(ValueError, match=rf"n must lie in 1\.\.5 for split 'val', got {n}"):
        fm.fashion_mnist("val", n)


def test_an_unknown_split_is_refused_without_looking_for_the_data(contents):
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'dev'"):
        fm.fashion_mnist("dev")


def test_the_real_data_are_70000_images_with_as_many_of_each_class():
    try:
        sets = [fm.fashion_mnist(split) for split in ("train", "val", "test")]
    except fm.MissingDataset as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    assert [len(s) for s in sets] == [55_000, 5_000, 10_000]
    training = np.concatenate([s.labels for s in sets[:2]])
    assert np.bincount(training).tolist() == [6000] * 10
    assert np.bincount(sets[2].labels).tolist() == [1000] * 10
    assert sets[0].classes[sets[0].labels[0]] == "Ankle boot"  # as the authors' own example shows
    assert sets[2].images[:, 0, 2:30, 2:30].mean() / 255 == pytest.approx(0.2868, abs=1e-4)
    forget()


# When the authors packed each pair of files (31 August 2017): it stands in the archives' headers.
PACKED = {"train": 1504176606, "t10k": 1504176627}


@pytest.mark.skipif(not shutil.which("gzip"), reason="packing again needs the program gzip")
def test_the_real_data_are_those_whose_md5_torchvision_lists():
    """Our checksums are of what Debian has; torchvision's are of the authors' archives. Packed
    again under the authors' header, our files must be these archives to the byte."""
    datasets = pytest.importorskip("torchvision.datasets")
    try:
        contents = fm._contents()
    except fm.MissingDataset as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    for archive, md5 in datasets.FashionMNIST.resources:
        name = archive.removesuffix(".gz")
        packed = subprocess.run(["gzip", "-6n"], input=contents[name], capture_output=True).stdout
        header = struct.pack("<4BI2B", 0x1F, 0x8B, 8, 8, PACKED[name.split("-")[0]], 0, 3)
        assert hashlib.md5(header + name.encode() + b"\0" + packed[10:]).hexdigest() == md5
    forget()
