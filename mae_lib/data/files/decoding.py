"""Picture files as RGB: one way in for everything that is read from disk or from a shard."""

from __future__ import annotations

import io
import math
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# The filters of Python's warnings belong to the whole process: one thread changes them at a time.
_QUIET = threading.Lock()
_TOO_MANY = ("more pixels than Pillow lets pass, for fear of a decompression bomb "
             "(see PIL.Image.MAX_IMAGE_PIXELS)")


class BadImage(ValueError):
    """A picture that cannot be used; the message names its file and what is wrong."""


def decode(source: bytes | str | Path, name: str | None = None) -> Image.Image:
    """The picture in a file, or in the bytes of one, as RGB, upright, in its own size.

    Grey is repeated, palettes are looked up, CMYK is converted as Pillow does. What is transparent
    shows white. Of 16 bits a channel the high byte is kept, which is what Pillow does to colour
    (its own conversion of grey would cut at 255). The rotation that a camera noted (EXIF) is
    carried out. Of an animation the first frame counts; colour profiles are not applied.

    Args:
        name: what the message of an error calls the picture; the path if None.

    Raises:
        BadImage: no such file, an empty, cut or damaged one, one that holds no picture, more pixels
            than Pillow's guard against decompression bombs allows, or numbers without a white.
        OSError: the file is there but could not be read.
    """
    name = name or ("bytes" if isinstance(source, bytes) else str(source))
    image = opened(source, name)
    try:
        image.load()
        return _rgb(ImageOps.exif_transpose(image), name)
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # a damaged file may trip a decoder anywhere
        raise BadImage(f"{name} is cut short or damaged ({error})") from error


def check(source: bytes | str | Path, name: str | None = None) -> None:
    """Raise as :func:`decode` would for a damaged file; JPEG at an eighth of its size, so sooner.
    """
    name = name or ("bytes" if isinstance(source, bytes) else str(source))
    image = opened(source, name)
    if image.format != "JPEG" or not image.draft("RGB", (1, 1)):
        decode(source, name)
        return
    try:
        image.load()
    except Exception as error:
        raise BadImage(f"{name} is cut short or damaged ({error})") from error


def opened(source: bytes | str | Path, name: str) -> Image.Image:
    """The picture with its header read only."""
    data = source if isinstance(source, bytes) else _read(Path(source), name)
    if not data:
        raise BadImage(f"{name} is empty (0 bytes)")
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged EXIF, which is then left out
        try:
            image = Image.open(io.BytesIO(data))
            if "exif" in image.info:
                image.getexif()
        except Image.DecompressionBombError as error:
            raise BadImage(f"{name} has {_TOO_MANY}") from error
        except Image.UnidentifiedImageError as error:
            raise BadImage(f"{name} holds no picture that Pillow knows") from error
        except Exception as error:
            raise BadImage(f"{name} has a damaged header ({error})") from error
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise BadImage(f"{name} has {_TOO_MANY}")
    return image


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadImage(f"{name} is no file") from error


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_bytes(np.asarray(image), name))
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.new("RGBA", seen.size, "white")
        image.alpha_composite(seen)
    return image.convert("RGB")


def _bytes(values: np.ndarray, name: str) -> np.ndarray:
    """Grey levels of more than 8 bits as bytes: 0 to 65,535 as integers, 0 to 1 as floats."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.floor(255 * values + 0.5).astype(np.uint8)
    if values.dtype.kind in "iu" and low >= 0 and high < 2**16:
        return (values >> 8).astype(np.uint8)
    raise BadImage(f"{name} holds numbers from {low:g} to {high:g}: it does not say which is white")
