"""Clips in a page: every pixel is there, in its place, and nothing is asked of another site."""

import re
from base64 import b64decode
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torchvision.io import decode_png

from mae_lib.figures import player


class Tags(HTMLParser):
    """``[(tag, attributes)]`` of a piece of HTML."""

    def __init__(self, html: str):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


def noise(count: int = 3, height: int = 5, width: int = 7, seed: int = 0) -> np.ndarray:
    shape = 3, count, height, width
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def sheets(html: str) -> list[np.ndarray]:
    """Decoded pictures ``[3, H, W]``, by libpng; the library writes them with another."""
    found = []
    for picture in Tags(html).all("img"):
        data = b64decode(picture["src"].removeprefix("data:image/png;base64,"), validate=True)
        found.append(decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8)).numpy())
    return found


@pytest.mark.parametrize("count", [2, 7, 8, 9, 17])
@pytest.mark.parametrize(("height", "width"), [(5, 7), (16, 16), (1, 2)])
def test_every_frame_is_in_its_place_bit_for_bit(count, height, width):
    rows = {name: noise(count, height, width, seed) for seed, name in enumerate("ab")}
    html = player(rows, "c", "t")
    columns = int(Tags(html).all("figure")[0]["data-columns"])
    assert columns == min(count, 8)
    for sheet, clip in zip(sheets(html), rows.values(), strict=True):
        left = np.ones(sheet.shape[1:], bool)
        for t in range(count):
            line, column = divmod(t, columns)
            place = (slice(line * height, (line + 1) * height),
                     slice(column * width, (column + 1) * width))
            assert np.array_equal(sheet[(slice(None), *place)], clip[:, t])
            left[place] = False
        assert (sheet[:, left] == 255).all() and left.sum() < columns * height * width


def test_a_clip_need_not_lie_in_one_piece():
    clip = noise(4, 6, 8)
    turned = np.ascontiguousarray(clip.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    assert player({"a": turned[:, ::-1]}, "c", "t") == player(
        {"a": clip[:, ::-1].copy()}, "c", "t")


def test_words_are_said_as_they_were_given():
    words = {"<i>one</i>": noise(), 'two & "three"': noise(seed=1)}
    html = player(words, 'a < b & "c"', "it's <b>", name="fig-clip")
    tags = Tags(html)
    assert [p["alt"] for p in tags.all("img")] == [f"it's <b>; {label}" for label in words]
    assert not tags.all("i") and not tags.all("b")
    labels = re.findall(r"<span>([^<]*)</span><div", html)
    assert [unescape(label) for label in labels] == list(words)
    caption, = re.findall(r"<figcaption>([^<]*)</figcaption>", html)
    assert unescape(caption) == 'a < b & "c"'
    assert tags.all("figure")[0]["id"] == "fig-clip"
    assert "id" not in Tags(player(words, "c", "t")).all("figure")[0]


def test_controls_are_those_of_the_browser_and_hidden_until_a_script_runs():
    tags = Tags(player({"a": noise(12)}, "c", "t", frames_per_second=2.5))
    assert tags.all("button") == [{"type": "button"}]
    bar, = tags.all("input")
    assert (bar["type"], bar["min"], bar["max"], bar["step"]) == ("range", "1", "12", "1")
    assert "hidden" in next(p for p in tags.all("p") if p["class"] == "mae-player-bar")
    assert tags.all("figure")[0]["data-rate"] == "2.5"


def test_nothing_is_asked_of_another_site():
    html = player({"a": noise()}, "c", "t")
    assert not re.search(r"https?:|@import|url\(", html)
    assert {tag for tag, found in Tags(html).found if "src" in found} == {"img"}
    assert not Tags(html).all("link")


@pytest.mark.parametrize(("width", "wide"), [(16, 160), (32, 160), (64, 128), (84, 168),
                                             (96, 192), (160, 160), (400, 400)])
def test_a_pixel_is_a_whole_number_of_pixels_of_the_page(width, wide):
    html = player({"a": noise(2, 3, width)}, "c", "t")
    assert f"--wide: {wide}px; --shape: {width} / 3;" in html and wide % width == 0


CLIP = noise()
KIND = r"rows\['a'\] must be an array of bytes \[3,T,H,W\] with T of 2 or more, got "


@pytest.mark.parametrize(("rows", "message"), [
    ({}, r"rows must hold clips under labels, got the labels \[\]"),
    ({"": CLIP}, r"rows must hold clips under labels, got the labels \[''\]"),
    ({"a": CLIP / 255}, KIND + r"float64 \[3, 3, 5, 7\]"),
    ({"a": CLIP.astype(np.int64)}, KIND + r"int64 \[3, 3, 5, 7\]"),
    ({"a": CLIP[:, 0]}, KIND + r"uint8 \[3, 5, 7\]"),
    ({"a": CLIP[None]}, KIND + r"uint8 \[1, 3, 3, 5, 7\]"),
    ({"a": noise(4).swapaxes(0, 1)}, KIND + r"uint8 \[4, 3, 5, 7\]"),
    ({"a": CLIP[:, :1]}, KIND + r"uint8 \[3, 1, 5, 7\]"),
    ({"a": CLIP[..., :0]}, KIND + r"uint8 \[3, 3, 5, 0\]"),
    ({"a": torch.from_numpy(CLIP)}, KIND + r"torch.uint8 \[3, 3, 5, 7\]"),
    ({"a": CLIP.tolist()}, KIND + r"list \[3, 3, 5, 7\]"),
    ({"b": CLIP, "a": CLIP[:, :2]}, r"of one shape, got \[\[3, 2, 5, 7\], \[3, 3, 5, 7\]\]"),
    ({"b": CLIP, "a": CLIP[..., :2]}, r"of one shape, got \[\[3, 3, 5, 2\], \[3, 3, 5, 7\]\]")])
def test_other_arrays_than_clips_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        player(rows, "c", "t")


@pytest.mark.parametrize(("words", "message"), [
    ({"caption": ""}, "caption and alt must say what is shown, got '' and 't'"),
    ({"alt": ""}, "caption and alt must say what is shown, got 'c' and ''"),
    *(({"frames_per_second": rate}, "frames_per_second must be above 0, at most 60, got "
       + re.escape(repr(rate))) for rate in (0, -1, 60.1, float("nan"), float("inf"), "8", None)),
    *(({"name": name}, "name must be a letter, then letters, digits, - and _, got "
       + re.escape(repr(name))) for name in ("", "1a", "a b", 'a"', "ä", "a\n"))])
def test_words_and_numbers_that_mean_nothing_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        player({"a": CLIP}, **{"caption": "c", "alt": "t", **words})
