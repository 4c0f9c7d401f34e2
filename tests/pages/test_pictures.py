"""Pictures of a network stand under the right ratio or size, beside their originals."""

import numpy as np
import pytest
import torch
from painted import SIZES, both_series, painted, setting, sweep

from mae_lib import studies
from mae_lib.evaluation.reconstruction import reconstruct_masked
from mae_lib.pages import pictures


def of_units(unit):
    found = sweep(both_series(), painted)
    return found.of([s for s in found.settings if s.unit == unit])


def test_read_outs_of_a_ratio_series_are_those_of_one_unit_and_the_first_seed():
    rows = pictures.read_outs(of_units(4), "menagerie")
    assert {label: set(np.unique(images * 255)) for label, images in rows.items()} == {
        "original": {51.0}, "ratio 0.1": {51.0 + 10 + 20}, "ratio 0.9": {51.0 + 90 + 20}}
    assert list(rows) == ["original", "ratio 0.1", "ratio 0.9"]


def test_without_a_unit_there_is_a_row_a_size():
    coupled = [setting(unit=u, patch=u) for u in SIZES]
    rows = pictures.read_outs(sweep(coupled, painted), "menagerie", by="unit")
    assert {label: np.unique(images * 255).item() for label, images in rows.items()} == {
        "original": 51, "4 pixels": 51 + 75 + 20, "8 pixels": 51 + 75 + 40}


def test_what_is_redrawn_stands_below_its_original_with_its_error():
    frames = pictures.redrawn(of_units(4), count=2)
    assert list(frames) == ["0.1", "0.9"]
    rows = frames["0.9"]
    assert {images.shape for images in rows.values()} == {(4, 3, 4, 4)}
    assert (rows["original"][:, 0, 0, 0] * 255).tolist() == [51, 51, 102, 102]
    assert rows["redrawn"] == pytest.approx(rows["original"] + 110 / 255)
    assert rows["difference"] == pytest.approx(np.full((4, 3, 4, 4), 110 / 255))


def test_maps_of_a_coupled_series_are_named_by_their_size():
    coupled = [setting(unit=u, patch=u) for u in SIZES]
    found = pictures.maps(sweep(coupled, lambda s: {
        "xy": np.full((5, 2), s.unit, np.float16), "labels": np.arange(5)}), "menagerie", by="unit")
    assert [(name, xy[0, 0]) for name, (xy, _) in found.items()] == [("4 pixels", 4),
                                                                    ("8 pixels", 8)]


def test_only_what_was_hidden_is_filled_in():
    settings = [setting(d, ratio=r, views=0) for d in ("menagerie", "fashion_mnist")
                for r in (0.25, 0.75)]
    frames = pictures.filled_in(settings, count=2)
    assert list(frames) == ["0.25", "0.75"]
    for ratio, rows in frames.items():
        hidden = (rows["seen"] != rows["original"]).any(1)
        assert hidden.mean(axis=(1, 2)) == pytest.approx(float(ratio), abs=0.01)
        assert np.isclose(rows["seen"].transpose(0, 2, 3, 1)[hidden], pictures.GREY).all()
        assert (rows["filled in"] == rows["original"]).all(1)[~hidden].all()
    own = frames["0.75"]["original"]
    for name, part in (("menagerie", own[:2]), ("fashion_mnist", own[2:])):
        assert np.array_equal(part, studies.images(name, "test", 2).batch(slice(None)))


def test_what_is_filled_in_does_not_depend_on_what_was_hidden():
    chosen = setting(ratio=0.75, views=0)
    rows = pictures.filled_in([chosen], count=2)["0.75"]
    network, seen = studies.model(chosen), torch.tensor(rows["seen"])
    x = torch.tensor(rows["original"])
    mask = network.sample_mask(2, torch.Generator().manual_seed(0))
    again = reconstruct_masked(network.eval(), torch.where(seen == x, x, 0.2), mask, paste=False)
    hidden = (rows["seen"] != rows["original"]).any(1, keepdims=True).repeat(3, 1)
    assert np.allclose(again.pixels.detach().numpy()[hidden], rows["filled in"][hidden], atol=1e-5)
