"""Picture files of every kind come out as RGB; the others say what is wrong."""

import io
import struct

import layouts
import numpy as np
import pytest
from PIL import Image

from mae_lib.data.files.decoding import BadImage, check, decode

PIXELS = layouts.pixels(0)
GREY = PIXELS[..., 1]


def png(array_or_image, **options) -> bytes:
    image = array_or_image
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    return layouts.encoded(image, "PNG", **options)


def test_colour_comes_back_as_it_was_from_bytes_and_from_a_path(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(png(PIXELS))
    for source in (file, str(file), file.read_bytes()):
        found = decode(source)
        assert found.mode == "RGB" and np.array_equal(np.asarray(found), PIXELS)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_is_repeated(mode):
    grey = Image.fromarray(GREY).convert(mode)
    expected = np.asarray(grey.convert("L"))
    assert np.array_equal(np.asarray(decode(png(grey))), np.stack([expected] * 3, -1))


def test_a_palette_is_looked_up():
    few = Image.fromarray(PIXELS).quantize(7)
    assert np.array_equal(np.asarray(decode(png(few))), np.asarray(few.convert("RGB")))


def over_white(colour, opacity):
    return np.round(255 + (colour.astype(float) - 255) * opacity[..., None] / 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_shows_white(mode):
    colour = PIXELS if mode == "RGBA" else np.stack([GREY] * 3, -1)
    opacity = np.linspace(0, 255, GREY.size).reshape(GREY.shape).astype(np.uint8)
    image = Image.fromarray(PIXELS if mode == "RGBA" else GREY)
    image.putalpha(Image.fromarray(opacity))
    found = np.asarray(decode(png(image))).astype(float)
    assert abs(found - over_white(colour, opacity)).max() <= 1
    assert (found[opacity == 0] == 255).all() and opacity.min() == 0


@pytest.mark.parametrize("transparency", [2, bytes([255, 255, 0, 255, 255])])
def test_a_transparent_colour_of_a_palette_shows_white(transparency):
    few = Image.fromarray(PIXELS).quantize(5)
    data = png(few, transparency=transparency)
    expected = np.asarray(few.convert("RGB")).copy()
    expected[np.asarray(few) == 2] = 255
    assert (np.asarray(few) == 2).any()
    assert np.array_equal(np.asarray(decode(data)), expected)


def test_cmyk_becomes_the_colour_that_its_inks_make():
    inks = Image.fromarray(PIXELS).convert("CMYK")
    found = np.asarray(decode(layouts.encoded(inks, "TIFF")))
    assert np.array_equal(found, np.asarray(inks.convert("RGB")))
    found = np.asarray(decode(layouts.encoded(inks, "JPEG", quality=95))).astype(int)
    assert abs(found - PIXELS).max() < 12


def test_of_16_bits_the_high_byte_is_kept_for_grey_as_for_colour():
    deep = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    expected = np.repeat((deep // 256).astype(np.uint8)[..., None], 3, -1)
    assert np.array_equal(np.asarray(decode(png(deep))), expected)
    assert np.array_equal(np.asarray(decode(layouts.encoded(Image.fromarray(deep), "TIFF"))),
                          expected)
    assert np.array_equal(np.asarray(decode(png16_colour(deep))), expected)


def png16_colour(grey: np.ndarray) -> bytes:
    """A PNG of three equal channels of 16 bits, which Pillow reads but does not write."""
    import zlib

    height, width = grey.shape
    rows = np.repeat(grey[..., None], 3, -1).astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name: bytes, body: bytes) -> bytes:
        return (struct.pack(">I", len(body)) + name + body
                + struct.pack(">I", zlib.crc32(name + body)))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw))
            + chunk(b"IEND", b""))


def test_32_bit_grey_within_16_bits_is_read_like_it_and_floats_by_their_unit():
    deep = np.linspace(0, 65535, 600).astype(np.int32).reshape(20, 30)
    found = np.asarray(decode(layouts.encoded(Image.fromarray(deep), "TIFF")))
    assert np.array_equal(found[..., 0], deep // 256)
    unit = (deep / 65535).astype(np.float32)
    found = np.asarray(decode(layouts.encoded(Image.fromarray(unit), "TIFF")))
    assert abs(found[..., 0] - 255 * unit).max() <= 0.5


@pytest.mark.parametrize("values", [np.full((4, 4), 70000, np.int32),
                                    np.full((4, 4), -1, np.int32),
                                    np.full((4, 4), 1.5, np.float32),
                                    np.full((4, 4), np.nan, np.float32)])
def test_numbers_without_a_known_white_are_refused(values):
    with pytest.raises(BadImage, match="deep.tif holds numbers from .*which is white"):
        decode(layouts.encoded(Image.fromarray(values), "TIFF"), "deep.tif")


TURNS = {1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud,
         5: lambda x: x.transpose(1, 0, 2), 6: lambda x: np.rot90(x, -1),
         7: lambda x: np.rot90(x, 2).transpose(1, 0, 2), 8: np.rot90}


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_the_rotation_of_the_camera_is_carried_out(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = layouts.encoded(Image.fromarray(PIXELS), format, exif=exif)
    assert np.array_equal(np.asarray(decode(data)), TURNS[orientation](PIXELS))


def test_damaged_exif_is_left_out_without_a_warning():
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03\0\0\0\x01\xff"
    plain, data = (layouts.encoded(Image.fromarray(PIXELS), exif=exif) for exif in (b"", broken))
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        Image.open(io.BytesIO(data)).getexif()
    assert np.array_equal(np.asarray(decode(data)), np.asarray(decode(plain)))


def test_of_an_animation_the_first_frame_counts():
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    data = png(frames[0], save_all=True, append_images=frames[1:])
    assert np.array_equal(np.asarray(decode(data)), PIXELS)


CUT = {format: layouts.encoded(Image.fromarray(PIXELS), format)
       for format in ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")}


@pytest.mark.parametrize("look", [decode, check])
@pytest.mark.parametrize("format", CUT)
def test_a_cut_file_is_refused_by_name(format, look):
    look(CUT[format], "whole")
    with pytest.raises(BadImage, match="b/some.jpg (is cut short or damaged|has a damaged header|"
                                       "holds no picture)"):
        look(CUT[format][:len(CUT[format]) // 2], "b/some.jpg")


@pytest.mark.parametrize("look", [decode, check])
@pytest.mark.parametrize("how, reason", [
    ("empty", r"is empty \(0 bytes\)"), ("text", "holds no picture that Pillow knows"),
    ("cut", r"is cut short or damaged \(")])
def test_a_file_that_is_no_picture_is_refused_by_path_and_reason(tmp_path, how, reason, look):
    file = layouts.damage(layouts.write(tmp_path / "n01" / "a.JPEG", 1), how)
    with pytest.raises(BadImage, match=f"n01/a.JPEG {reason}"):
        look(file)


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path):
    with pytest.raises(BadImage, match="nothing.jpg is no file"):
        decode(tmp_path / "nothing.jpg")
    with pytest.raises(BadImage, match="is no file"):
        decode(tmp_path)


@pytest.mark.parametrize("factor", [1.5, 3])  # Pillow warns from 1 on and refuses from 2 on
def test_a_decompression_bomb_is_refused_in_a_sentence(monkeypatch, factor):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(GREY.size / factor))
    with pytest.raises(BadImage, match="big.png has more pixels than Pillow lets pass, for fear"):
        decode(png(PIXELS), "big.png")


def test_a_check_accepts_what_decodes_and_does_not_decode_twice_as_much():
    for data in (layouts.encoded(Image.fromarray(PIXELS)), png(PIXELS)):
        assert check(data) is None
