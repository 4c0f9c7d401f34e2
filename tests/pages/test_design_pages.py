"""Series of design choices: each number at its own level, ours or printed; masks and views are
those of training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_plan import PARAMETERS

from mae_lib import runs, studies
from mae_lib.data.menagerie import draw
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.ledger.design_rows import (
    BLOCK,
    COLOURED,
    CROPPED,
    DEPTH,
    FIXED_CROP,
    GRID,
    HIDDEN,
    LENGTH,
    SIMMIM,
    SIZE,
    WIDTH,
)
from mae_lib.ledger.rows import MAE, SCRATCH
from mae_lib.models.cost import counted
from mae_lib.models.views import Augmentation, recoloured
from mae_lib.pages import costs, design, methods
from mae_lib.studies import Plan
from mae_lib.studies import design as tables
from mae_lib.studies.settings import without_seed

PLAN = Plan.of(PARAMETERS | {
    "preset": "toy", "method_datasets": ["menagerie"], "method_seeds": [7], "method_views": 640,
    "design_seeds": [0, 1], "decoder_depths": [2, 1], "decoder_widths": [16, 8],
    "encoder_widths": [16, 32], "lengths": [4, 2], "scratch_epochs": 5, "finetune_epochs": 2,
    "probe_images": 300, "train_images": 64, "unit_patch": 4, "patches": []})
PROBE, MEAN, TUNED = design.MEASURES
N = 100


def measured_by(accuracy):
    """A plan whose every sweep finds ``accuracy(study, setting)`` percent of ``N`` images right."""
    protocols = {studies.LINEAR_PROBE: "linear probe, cls", studies.FINETUNING: "fine-tuned",
                 studies.FROM_SCRATCH: "from scratch"}

    def result(study, setting):
        items = (np.arange(N) < accuracy(study, setting)).astype(float)
        record = EvalRecord(without_seed(setting), setting.seed, "menagerie test", "test",
                            protocols[study], "accuracy", items.mean(), N, items)
        return runs.Result(to_value([record]), {"seconds": 1}, "cache")

    def sweep(study, chosen):
        return studies.Sweep(list(chosen), [result(study, s) for s in chosen])

    own = {name: getattr(PLAN, name) for name in PLAN.__dataclass_fields__}
    return type("Measured", (Plan,), {"sweep": lambda self, *args: sweep(*args)})(**own)


def of_depth(study, setting):
    """40 and 50 % for one block, 10 more for two; fine-tuned 5 more."""
    return (40 + 10 * setting.seed + 10 * (setting.decoder_depth == 2)
            + 5 * (study is studies.FINETUNING))


@pytest.fixture
def by_depth():
    return methods.measured(measured_by(of_depth), design.levels(PLAN, DEPTH), PROBE, TUNED)[0]


def test_levels_ascend_and_widths_of_decoders_are_shares():
    assert list(design.levels(PLAN, DEPTH)) == [1, 2]
    assert list(design.levels(PLAN, LENGTH)) == [1, 2, 4]
    assert list(design.levels(PLAN, SIZE)) == [16, 32]
    found = design.levels(PLAN, WIDTH)
    assert {share: s[0].shape["decoder_width"] for share, s in found.items()} == {.25: 8, .5: 16}


def test_printed_series_stand_at_their_levels():
    deep, wide = design.printed_levels(DEPTH), design.printed_levels(WIDTH)
    assert deep == {TUNED: {1: 84.8, 2: 84.9, 4: 84.9, 8: 84.9, 12: 84.4},
                    PROBE: {1: 65.5, 2: 70.0, 4: 71.9, 8: 73.5, 12: 73.3}}
    assert wide[PROBE] == {.125: 69.1, .25: 71.3, .5: 73.5, .75: 73.1, 1: 73.1}
    assert design.printed_levels(HIDDEN) == {}


def test_curves_have_theirs_below_ours_in_the_same_order(by_depth):
    found = design.curves(by_depth, design.printed_levels(DEPTH))
    assert list(dict.fromkeys(found.panel)) == [PROBE, TUNED, f"He et al.: {PROBE}",
                                                f"He et al.: {TUNED}"]
    theirs = found[found.whose == "He et al."].set_index(["panel", "row"]).value
    assert theirs[f"He et al.: {PROBE}", 12] == 73.3 and theirs[f"He et al.: {TUNED}", 12] == 84.4
    ours = found[found.whose == "ours"].set_index(["panel", "row"]).value
    assert ours.to_dict() == pytest.approx({(PROBE, 1): 45, (PROBE, 2): 55, (TUNED, 1): 50,
                                            (TUNED, 2): 60})
    only_probe = by_depth[by_depth.measure == PROBE]
    assert len(design.curves(only_probe, design.printed_levels(DEPTH))) == 2 + 5
    assert len(design.curves(by_depth)) == 4


def test_a_table_has_every_level_of_either(by_depth):
    cost = {1: 1.0, 2: 1.256}
    table = design.by_level(by_depth, cost, "blocks", design.printed_levels(DEPTH))
    assert list(table.columns) == ["blocks", "training, times", f"ours, {PROBE}",
                                   f"He et al., {PROBE}", f"ours, {TUNED}", f"He et al., {TUNED}"]
    assert table.blocks.tolist() == ["1", "2", "4", "8", "12"]
    assert table["training, times"].tolist()[:2] == ["1.00", "1.26"]
    assert table[f"ours, {PROBE}"].str.partition(" ")[0].tolist()[:2] == ["45.0", "55.0"]
    assert table.iloc[2:, [1, 2, 4]].isna().all(axis=None)
    assert table[f"He et al., {PROBE}"].tolist() == [65.5, 70.0, 71.9, 73.5, 73.3]
    assert design.by_level(by_depth, cost, "blocks").blocks.tolist() == ["1", "2"]


def test_other_levels_stand_beside_the_usual_one_run_by_run():
    found = design.gaps_of_levels(measured_by(of_depth), DEPTH, PROBE, TUNED)
    assert found.difference.tolist() == [f"2 less {MAE}"] * 2  # toy has one block
    assert found.measure.tolist() == [PROBE, TUNED]
    assert found["mean"].tolist() == pytest.approx([10, 10])
    assert found["each run"].tolist() == ["+10.0, +10.0"] * 2


@pytest.mark.parametrize("change", [{}, {"decoder_depth": 2}, {"width": 16}, {"ratio": 0.5},
                                    {"method": "mae tokens"}, {"method": "simmim"}])
def test_a_step_takes_three_times_the_products_of_a_forward_pass(change):
    setting = replace(tables.mask_tokens(PLAN)[MAE][0], **change)
    forward = counted(studies.network(setting), torch.rand(1, 3, 32, 32))
    assert costs.step_macs(setting) == 3 * forward


def test_a_training_costs_its_steps():
    assert design.training_costs(PLAN, LENGTH) == {1: 1, 2: 2, 4: 4}
    deep, usual = design.training_costs(PLAN, DEPTH), tables.mask_tokens(PLAN)[MAE][0]
    networks = [studies.network(replace(usual, decoder_depth=n)) for n in (1, 2)]
    one, two = (counted(network, torch.rand(1, 3, 32, 32)) for network in networks)
    assert deep == {1: 1, 2: pytest.approx(two / one)} and two > one


def test_long_training_stands_beside_mae():
    def accuracy(study, setting):
        return {studies.FROM_SCRATCH: 70, studies.FINETUNING: 80 if setting.views else 50}[study]

    found, sweeps = design.from_scratch(measured_by(accuracy))
    assert dict(zip(found.row, found.value, strict=True)) == {
        SCRATCH: 50, MAE: 80, design.SCRATCH_LONG: 70}
    assert set(found.measure) == set(found.panel) == {TUNED} and (found.seeds == 2).all()
    assert [len(sweep.settings) for sweep in sweeps] == [2, 2, 2]
    assert design.printed_from_scratch() == {TUNED: {design.SCRATCH_LONG: 82.5, MAE: 84.9}}


def test_the_long_training_sees_what_the_others_see_together():
    seen = design.pictures_seen(replace(PLAN, method_views=900))
    assert seen.values.tolist() == [[SCRATCH, "0", "600"], [MAE, "900", "600"],
                                    [design.SCRATCH_LONG, "0", "1,500"]]


def test_masks_are_those_of_training():
    rows = tables.sampling(PLAN) | tables.simmim(PLAN)
    images, hidden = design.masks({name: rows[name] for name in (MAE, BLOCK, GRID, SIMMIM[0])}, 3)
    assert images.shape == (3, 3, 32, 32)
    assert {name: set(cells.sum((1, 2))) for name, cells in hidden.items()} == {
        MAE: {48}, BLOCK: {48}, GRID: {48}, SIMMIM[0]: {40}}
    squares = {name: cells.reshape(3, 4, 2, 4, 2).sum((2, 4)) for name, cells in hidden.items()}
    assert (squares[GRID] == 3).all() and set(np.unique(squares[SIMMIM[0]])) == {0, 4}
    assert not np.isin(squares[MAE], (0, 4)).all()
    assert not (hidden[MAE][0] == hidden[MAE][1]).all()


def test_views_are_those_of_training_with_the_same_numbers_in_all_rows():
    rows = tables.augmentation(PLAN)
    found = design.views({name: rows[name] for name in (MAE, FIXED_CROP, CROPPED, COLOURED)}, 4)
    plain = studies.images_of(rows[MAE][0], "test", 4).batch(slice(4))
    assert (found[MAE] == plain.numpy()).all()
    drawn = Augmentation(crop=True, colour=True).draw(4, 1, torch.Generator().manual_seed(0))
    wanted = recoloured(torch.from_numpy(found[CROPPED]), drawn.colour[:, 0])
    np.testing.assert_allclose(found[COLOURED], wanted, atol=1e-6)
    assert not np.allclose(found[COLOURED], found[CROPPED], atol=0.05)
    assert not np.allclose(found[FIXED_CROP], found[CROPPED], atol=0.05)
    assert all(images.min() >= 0 and images.max() <= 1 for images in found.values())


def test_hidden_figures_are_counted_patch_by_patch():
    rows = {"random": tables.sampling(PLAN)[MAE], "blocks": tables.sampling(PLAN)[BLOCK]}
    found, patches = design.hidden_figures(rows, 40, seed=3)
    pictures = draw("test", 40, 32, "medium32")
    hidden, touched, lost = design.masks(rows, 40, seed=3)[1], [], dict.fromkeys(rows, 0)
    for n, figure in enumerate(pictures.masks):
        cells = {(y // 4, x // 4) for y, x in zip(*np.nonzero(figure), strict=True)}
        touched.append(len(cells))
        for row in rows:
            lost[row] += all(hidden[row][n][cell] for cell in cells)
    assert lost["blocks"] > lost["random"]
    assert found["masks"].tolist() == list(rows)
    assert found["figure wholly hidden (%)"].tolist() == [100 * n / 40 for n in lost.values()]
    assert patches == np.mean(touched)
