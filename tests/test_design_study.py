"""Runs of the design tables: each is MAE with the one thing changed that its name says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from test_plan import PARAMETERS

from mae_lib import studies
from mae_lib.ledger import design_rows as rows
from mae_lib.ledger.design_rules import COST
from mae_lib.ledger.rows import MAE, SCRATCH
from mae_lib.measurements import series_of
from mae_lib.models.masks import Mask, random_mask
from mae_lib.studies import Plan, design, family, program
from mae_lib.studies.distances import features, numbers

CHANGES = {
    rows.CROPPED: {"augment": "mask+crop"}, rows.FIXED_CROP: {"augment": "mask+fixed"},
    rows.COLOURED: {"method": "mae jittered", "augment": "mask+crop+colour"},
    rows.GRID: {"sampling": "grid"},
    rows.BLOCK: {"sampling": "block"}, rows.BLOCK_HALF: {"sampling": "block", "ratio": 0.5},
    rows.TOKENS: {"method": "mae tokens"}, rows.UNIFORM: {"method": "u-mae"},
    **{row: {"method": name, "ratio": 0.6, "unit": 8} for row, name in zip(
        rows.SIMMIM, ("simmim", "simmim mlp", "simmim decoder", "simmim faithful"), strict=True)}}
LEVELS = {
    rows.HIDDEN: {0.1: {"ratio": 0.1}, 0.75: {}, 0.9: {"ratio": 0.9}},
    rows.LENGTH: {1: {}, 2: {"views": 1280}}, rows.DEPTH: {1: {}, 2: {"decoder_depth": 2}},
    rows.WIDTH: {8: {"decoder_width": 8}, 16: {}}, rows.SIZE: {16: {"width": 16}, 32: {}}}
PLAN = Plan.of(PARAMETERS | {
    "preset": "toy", "method_datasets": ["menagerie"], "method_seeds": [0], "method_views": 640,
    "design_seeds": [1, 2], "decoder_depths": [1, 2], "decoder_widths": [8, 16],
    "encoder_widths": [16, 32], "lengths": [2], "scratch_epochs": 3, "finetune_epochs": 1})
BASE = family.base(design.own(PLAN))


def test_a_row_is_mae_with_one_thing_changed():
    found = design.every_row(PLAN)
    assert set(found) == {SCRATCH, MAE, *CHANGES}
    for name, change in CHANGES.items():
        assert found[name] == [replace(s, **change) for s in BASE], name
    assert found[MAE] == BASE and [s.seed for s in BASE] == [1, 2]
    assert [(s.seed, s.views) for s in found[SCRATCH]] == [(1, 0), (2, 0)]


@pytest.mark.parametrize("name", design.SERIES)
def test_a_series_varies_what_it_is_named_for(name):
    assert design.series(PLAN, name) == {level: [replace(s, **change) for s in BASE]
                                         for level, change in LEVELS[name].items()}


def test_colours_change_what_is_predicted_too():
    """He et al. change the picture before the network sees it."""
    setting = design.augmentation(PLAN)[rows.COLOURED][0]
    network = studies.network(replace(setting, train_images=64))
    assert network.augment.colour and network.augment.crop and network.jittered_target


@pytest.mark.parametrize("name", [MAE, rows.TOKENS, rows.UNIFORM, *rows.SIMMIM])
def test_a_loss_that_no_parts_of_a_batch_add_up_to_is_taken_at_once(name, generator):
    """Gradients of several passes add up to that of the batch only if the losses do."""
    setting = design.every_row(replace(PLAN, micro=2))[name][0]
    network, pictures = studies.network(setting).eval(), torch.rand(4, 3, 32, 32)
    mask = network.sample_mask(4, generator)
    parts = [network(pictures[part], Mask(*(index[part] for index in mask)))
             for part in (slice(0, 2), slice(2, 4))]
    adds_up = torch.isclose(network(pictures, mask), sum(parts) / 2, rtol=1e-5, atol=0).item()
    assert setting.micro == (2 if adds_up else None)


def test_an_unknown_series_is_refused():
    with pytest.raises(ValueError, match="name must be one of hidden share, .*, got 'heads'"):
        design.series(PLAN, "heads")


def test_every_run_is_trained_once_and_stands_where_the_ledger_looks():
    work, places = program(PLAN), series_of(PLAN)
    runs = design.every_run(PLAN)
    assert len(runs) == len(set(runs)) == 2 * (2 + len(CHANGES) + 6)
    trained = {s for s in runs if s.views}
    assert trained <= set(work[studies.PRETRAINING]) and set(runs) <= set(work[studies.FINETUNING])
    assert set(runs) <= set(work[studies.LINEAR_PROBE])
    for name, levels in LEVELS.items():
        for level in levels:
            for setting in design.series(PLAN, name)[level]:
                assert (name, level) in places[setting]
    assert all(("method", MAE) in places[s] for s in BASE)
    assert all(len(held) == len(set(held)) for held in places.values())
    assert [(s.seed, s.views) for s in work[studies.FROM_SCRATCH]] == [(1, 0), (2, 0)]


def test_without_seeds_there_are_no_runs_and_other_tables_stay():
    none = replace(PLAN, design_seeds=())
    assert design.every_run(none) == [] and program(none)[studies.DISTANCES] == []
    assert ("method", MAE) in series_of(none)[family.base(none)[0]]


def test_a_step_of_every_run_has_a_price():
    from mae_lib.measurements.table import _cost

    held = {name: _cost(settings[0])[COST] for name, settings in design.every_row(PLAN).items()}
    line, mlp, deep, own = (held[name] for name in rows.SIMMIM)
    assert held[MAE] < line < mlp < deep and own == line
    assert held[MAE] < held[rows.TOKENS] and held[rows.BLOCK_HALF] > held[rows.BLOCK] == held[MAE]


# Distances of classes

def test_numbers_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    X, y = rng.normal(1, 1, (40, 5)), rng.integers(0, 3, 40)
    apart, same = squareform(pdist(X)), y[:, None] == y
    other, pairs = ~same, np.triu(np.ones((40, 40), bool), 1)
    cosines = 1 - squareform(pdist(X, "cosine"))
    found = numbers(X, y)
    assert found["relative distance"] == pytest.approx(
        apart[same & pairs].mean() / apart[other & pairs].mean())
    assert found["cosine"] == pytest.approx(cosines[pairs].mean())
    assert found["uniformity"] == pytest.approx((cosines**2).mean())
    assert 1 < found["effective rank"] <= 5


def test_features_are_of_what_a_mask_shows(monkeypatch):
    setting = studies.Setting(preset="toy", views=0, train_images=64)
    encoder = studies.network(setting).encoder.eval()
    images = studies.images_of(setting, "test", 12)
    monkeypatch.setattr("mae_lib.studies.distances.BATCH", 5)
    found, whole = features(encoder, images, 0.75), features(encoder, images, 0.0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        plain = encoder(images.batch(slice(12)))
        for start in range(0, 12, 5):
            x = images.batch(slice(start, min(start + 5, 12)))
            seen = encoder(x, random_mask(len(x), (8, 8), 0.75, generator=generator).visible)
            here = slice(start, start + 5)
            np.testing.assert_allclose(found["class token"][here], seen.cls, atol=1e-5)
            np.testing.assert_allclose(found["mean token"][here], seen.patches.mean(1), atol=1e-5)
            np.testing.assert_allclose(found["class token, normed twice"][here],
                                       encoder.norm(seen.cls), atol=1e-5)
    np.testing.assert_allclose(whole["mean token"], plain.patches.mean(1), atol=1e-5)
