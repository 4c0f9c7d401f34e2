"""Fashion-MNIST (Xiao et al. 2017): 70,000 grey photographs of clothes, 28x28, ten classes, MIT.

Padded to 32x32 (never stretched) and repeated over three equal channels, so that chromatic metrics
run; chromatic and grey FSIM are then the same number.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from mae_lib.data.images import ImageSet, fingerprint

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# SHA-256 of the unpacked files: Debian's archives are packed anew, their contents are the same.
CONTENTS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
# Training images 55,000 to 59,999 are kept for validation.
SPLITS = {"train": ("train", 0, 55_000), "val": ("train", 55_000, 60_000),
          "test": ("t10k", 0, 10_000)}
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


class MissingDataset(RuntimeError):
    """Fashion-MNIST could not be had in any way; the message names the ways."""


def fashion_mnist(split: str = "train", n: int | None = None) -> ImageSet:
    """The first ``n`` images of a split (all if None).

    Args:
        split: ``"train"`` (55,000), ``"val"`` (5,000, the last of the official training file) or
            ``"test"`` (10,000).

    Raises:
        ValueError: unknown split, or ``n`` out of range.
        MissingDataset: no source works, or the files are damaged.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    file, start, stop = SPLITS[split]
    n = stop - start if n is None else n
    if not 1 <= n <= stop - start:
        raise ValueError(f"n must lie in 1..{stop - start} for split {split!r}, got {n}")
    images, labels = _arrays(file)
    chosen = slice(start, start + n)
    padded = np.pad(images[chosen], ((0, 0), (2, 2), (2, 2)))
    return ImageSet(np.repeat(padded[:, None], 3, axis=1), labels[chosen].astype(np.int64),
                    CLASSES, f"fashion_mnist {split}", fingerprint_of(split, n))


def fingerprint_of(split: str, n: int) -> str:
    """The fingerprint of ``fashion_mnist(split, n)``, known without loading it."""
    return fingerprint(*sorted(CONTENTS.values()), f"{split} {n}")


def cache_folder() -> Path:
    """Where the four files are kept: ``$MAE_LIB_DATA``, else ``~/.cache/mae_lib/data``."""
    return Path(os.environ.get("MAE_LIB_DATA", Path.home() / ".cache" / "mae_lib" / "data"))


@lru_cache(maxsize=2)
def _arrays(part: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    contents = _contents()
    return parse_idx(contents[images], images), parse_idx(contents[labels], labels)


@lru_cache(maxsize=1)
def _contents() -> dict[str, bytes]:
    """The four unpacked files from the first source that has them whole."""
    tried = []
    for name, source in _sources():
        try:
            return _read_folder(source())
        except (ImportError, OSError, ValueError, RuntimeError,
                subprocess.SubprocessError) as error:
            tried.append(f"{name} ({_first_line(error)})")
    raise MissingDataset(
        f"Fashion-MNIST was not found; install it with 'apt-get install {DEBIAN_PACKAGE}', or put "
        f"the four files {', '.join(f'{f}.gz' for f in CONTENTS)} into {cache_folder()}. "
        f"Tried: {'; '.join(tried)}")


def _sources() -> Iterator[tuple[str, Callable[[], Path]]]:
    """Ways to a folder with the four ``.gz`` files, in the order in which they are tried."""
    yield "our cache", lambda: cache_folder() / "fashion-mnist"
    yield "the Debian package's folder", lambda: DEBIAN_FOLDER
    yield "apt-get download", _fetch_debian_package
    yield "torchvision's download", _fetch_with_torchvision


def _fetch_debian_package() -> Path:
    """Fetch and unpack the Debian package as an ordinary user; keep its files in our cache."""
    with tempfile.TemporaryDirectory() as folder:
        _run(["apt-get", "download", DEBIAN_PACKAGE], folder)
        _run(["dpkg-deb", "-x", *map(str, Path(folder).glob("*.deb")), "unpacked"], folder)
        return _keep(Path(folder, "unpacked") / DEBIAN_FOLDER.relative_to("/"))


def _fetch_with_torchvision() -> Path:
    from torchvision.datasets import FashionMNIST

    quiet = contextlib.redirect_stderr(io.StringIO())  # its bar would stop the build of the book
    with tempfile.TemporaryDirectory() as folder, quiet:
        FashionMNIST(folder, download=True)
        return _keep(Path(folder, "FashionMNIST", "raw"))


def _keep(folder: Path) -> Path:
    """Copy the four files, checked, into our cache."""
    target = cache_folder() / "fashion-mnist"
    target.mkdir(parents=True, exist_ok=True)
    for name, content in _read_folder(folder).items():
        part = target / f".{name}.{os.getpid()}.part"
        part.write_bytes(gzip.compress(content, compresslevel=6, mtime=0))
        os.replace(part, target / f"{name}.gz")
    return target


def _read_folder(folder: Path) -> dict[str, bytes]:
    return {name: _unpacked(folder / f"{name}.gz", digest) for name, digest in CONTENTS.items()}


def _unpacked(file: Path, digest: str) -> bytes:
    try:
        content = gzip.decompress(file.read_bytes())
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{file} is cut short or damaged ({error})") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{file} does not hold what it should: its checksum differs")
    return content


def parse_idx(content: bytes, name: str) -> np.ndarray:
    """The array in an idx file of unsigned bytes (LeCun's MNIST format).

    Raises:
        ValueError: another type, or a length that does not fit the header.
    """
    start = 4 + 4 * content[3] if len(content) > 3 else 4
    if content[:3] != b"\x00\x00\x08" or len(content) < start:
        raise ValueError(f"{name} must be an idx file of unsigned bytes, got {content[:4]!r}")
    shape = np.frombuffer(content[4:start], ">u4").astype(int)
    data = content[start:]
    if len(data) != shape.prod():
        raise ValueError(f"{name} must hold {shape.tolist()} bytes, got {len(data)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _run(command: list[str], folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)


def _first_line(error: BaseException) -> str:
    output = getattr(error, "stderr", None)
    text = output.decode(errors="replace") if isinstance(output, bytes) and output else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0]
