"""What the chapter on Table 5 shows: pictures as the networks get them, effects by brute force."""

from itertools import product

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

matplotlib.use("agg")

from mae_lib import figures, runs, studies  # noqa: E402
from mae_lib.evaluation.records import records_of, to_value  # noqa: E402
from mae_lib.ledger.occlusion_rules import subsets  # noqa: E402
from mae_lib.ledger.rows import CMAE, MAE, SCRATCH, factorial  # noqa: E402
from mae_lib.models.family import NOTHING, method  # noqa: E402
from mae_lib.models.masks import random_mask  # noqa: E402
from mae_lib.models.methods import mae  # noqa: E402
from mae_lib.models.views import Augmentation  # noqa: E402
from mae_lib.pages import augmentations, papers  # noqa: E402
from mae_lib.studies import Setting, Sweep  # noqa: E402

SETTING = Setting(preset="toy")
GREY = 0.55


@pytest.fixture(scope="module")
def pictures():
    """``{subset: [2 images, 3 kinds, 3, 32, 32]}`` and the test images."""
    rows, titles = augmentations.views(SETTING, 2)
    assert titles == ["seen", "predicted", "view 2"] * 2
    assert list(rows) == [augmentations.label(subset) for subset in subsets()]
    shown = {subset: row.reshape(2, 3, 3, 32, 32)
             for subset, row in zip(subsets(), rows.values(), strict=True)}
    return shown, studies.images("menagerie", "test", 2).batch(slice(2))


@pytest.fixture(scope="module")
def drawn():
    """The numbers that the pictures are made with, in the order in which they are drawn."""
    generator = torch.Generator().manual_seed(0)
    mask = random_mask(2, (8, 8), 0.75, generator=generator)
    return mask, Augmentation(cutmix=True, colour=True).draw(2, 2, generator)


def is_grey(images: np.ndarray) -> np.ndarray:
    """Patches ``[..., 8, 8]`` whose every value is grey."""
    cells = images.reshape(*images.shape[:-3], 3, 8, 4, 8, 4)
    return (np.abs(cells - GREY) < 1e-6).all((-5, -3, -1))


def network(name: str, subset: tuple[str, ...]):
    return method(name, mae("toy", seed=0), augment="+".join(subset) or NOTHING, seed=0)


def test_without_augmentation_every_picture_is_the_image(pictures):
    shown, images = pictures
    for kind in range(3):
        assert np.array_equal(shown[()][:, kind], images.numpy())


@pytest.mark.parametrize("subset", subsets(), ids=augmentations.label)
def test_masks_hide_three_quarters_of_what_is_seen_and_the_rest_of_the_others(pictures, subset):
    seen, predicted, second = np.moveaxis(is_grey(pictures[0][subset]), 1, 0)
    if "mask" not in subset:
        assert not (seen.any() or predicted.any() or second.any())
        return
    assert (seen.sum((1, 2)) == 48).all() and np.array_equal(predicted, ~seen)
    assert np.array_equal(second, ~seen)


@pytest.mark.parametrize("subset", subsets(), ids=augmentations.label)
def test_mae_is_shown_and_asked_for_what_the_pictures_say(pictures, drawn, subset):
    model, (mask, numbers), got = network("mae", subset), drawn, {}
    show, target = model.show, model.target
    model.show = lambda encoder, patches, mask: (
        got.update(seen=patches, visible=mask.visible), show(encoder, patches, mask))[1]
    model.target = lambda patches: (got.update(asked=patches), target(patches))[1]
    own = [part if word in subset else part[..., :0] for word, part in
           (("crop", numbers.crop), ("colour", numbers.colour), ("cutmix", numbers.rectangle))]
    used = model.sample_mask(2, torch.Generator().manual_seed(0))
    parts = (*mask, *own) if "mask" in subset else (*used[:2], *own)
    shown, images = pictures
    model(images, type(used)(*parts))
    seen, predicted = (model.encoder.patches(torch.from_numpy(shown[subset][:, kind]))
                       for kind in (0, 1))
    rows = torch.arange(2)[:, None]
    visible = got["visible"]
    assert torch.allclose(seen[rows, visible], got["seen"][rows, visible], atol=1e-5)
    asked = predicted[rows, mask.hidden] if "mask" in subset else predicted
    assert torch.allclose(asked, got["asked"], atol=1e-5)


@pytest.mark.parametrize("subset", subsets(), ids=augmentations.label)
def test_c_mae_compares_the_two_views_of_the_pictures(pictures, drawn, subset):
    model, (mask, numbers) = network("c-mae", subset), drawn
    if "mask" not in subset:
        mask = type(mask)(torch.arange(64).repeat(2, 1), torch.zeros(2, 0, dtype=int))
    used = type(model.sample_mask(2))(*mask, *numbers)
    shown, images = pictures
    for kind, (patches, shows) in zip((0, 2), model._views(images, used), strict=True):
        ours = model.encoder.patches(torch.from_numpy(shown[subset][:, kind]))
        rows = torch.arange(2)[:, None]
        assert torch.allclose(ours[rows, shows.visible], patches[rows, shows.visible], atol=1e-5)


def test_pictures_can_be_drawn():
    rows, titles = augmentations.views(SETTING, 2)
    axes = figures.reconstruction_grid(rows, titles).axes
    assert len(axes) == len(subsets()) * len(titles)


def numbers(start: float) -> dict[str, float]:
    """A different number for each cell of Table 5."""
    return {factorial(name, subset): start + 10 * (name == CMAE) + i + 0.5
            for name in (MAE, CMAE) for i, subset in enumerate(subsets())}


def measured(*datasets: str) -> pd.DataFrame:
    rows = [{"row": row, "dataset": data, "value": value + 40 * j, "low": 0.0, "high": 99.0,
             "text": f"{data} {row}", "measure": augmentations.MEASURE}
            for j, data in enumerate(datasets)
            for row, value in (numbers(0) | {SCRATCH: 33.0}).items()]
    return pd.DataFrame(rows)


def test_cells_stand_in_the_panel_of_their_method_with_their_printed_number():
    frame = augmentations.cells(measured("menagerie"), numbers(100))
    assert list(dict.fromkeys(frame.panel)) == ["MAE, fine-tuned (%)", "C-MAE, fine-tuned (%)"]
    assert len(frame) == 18
    for row in frame.itertuples():
        if row.row == SCRATCH:
            assert row.value == 33 and np.isnan(row.paper)
        else:
            own = numbers(0)[f"{row.method}: {row.row}"]
            assert row.value == own and row.paper == own + 100
    figures.dots(frame, "panel", reference=SCRATCH)


def test_the_table_has_a_line_a_subset_and_names_data_sets_where_there_are_several():
    table = augmentations.cells_table(measured("menagerie"), numbers(100))
    assert table.columns.tolist() == ["views made with", "ours, MAE", "Kong and Zhang, MAE",
                                      "ours, C-MAE", "Kong and Zhang, C-MAE"]
    lines = table.set_index("views made with")
    assert sorted(lines.index) == sorted([SCRATCH, *map(augmentations.label, subsets())])
    assert lines.loc["mask + colour", "ours, C-MAE"] == "menagerie C-MAE: mask + colour"
    assert lines.loc["mask + colour", "Kong and Zhang, C-MAE"] == numbers(100)[
        "C-MAE: mask + colour"]
    assert lines.loc[SCRATCH].isna().tolist() == [False, True, False, True]
    both = augmentations.cells_table(measured("menagerie", "fashion_mnist"), numbers(100))
    assert both["data set"].value_counts().to_dict() == {"Menagerie": 9, "Fashion-MNIST": 9}
    other = both[both["data set"] == "Fashion-MNIST"].set_index("views made with")
    assert other.loc["nothing", "ours, MAE"] == "fashion_mnist MAE: nothing"
    several = augmentations.cells(measured("menagerie", "fashion_mnist"), numbers(100))
    assert several.panel.nunique() == 4 and several.panel.iloc[-1].startswith("Fashion-MNIST: C-")


class Held:
    """In place of a plan: results that are there, by setting."""

    def __init__(self, results: dict[Setting, np.ndarray]):
        self.results = results

    def sweep(self, study, settings):
        assert study is studies.FINETUNING
        return Sweep(settings, [runs.Result(to_value(records_of(
            {"accuracy": self.results[s]}, setting={}, seed=s.seed, dataset="any name",
            split="test", protocol="fine-tuned")), {}, "cache") for s in settings])


def results(seeds, datasets=("menagerie",), images: int = 40):
    """Random answers of every cell of Table 5, and the rows that they belong to."""
    rng, rows, held = np.random.default_rng(3), {}, {}
    for i, name in enumerate(numbers(0)):
        rows[name] = [Setting(dataset=d, seed=s, views=32 * (i + 1))
                      for d in datasets for s in seeds]
        held |= {s: (rng.random(images) < 0.3 + 0.04 * i).astype(np.uint8) for s in rows[name]}
    return Held(held), rows


def regression(values: dict[str, float], name: str) -> dict[str, float]:
    """Main effects of one method as twice the coefficients of a saturated model in -1 and 1."""
    signs = np.array(list(product((-1, 1), repeat=3)))
    cells = [tuple(word for word, s in zip(("mask", "cutmix", "colour"), row, strict=True) if s > 0)
             for row in signs]
    a, b, c = signs.T
    design = np.stack([np.ones(8), a, b, c, a * b, a * c, b * c, a * b * c], 1)
    found = np.linalg.solve(design, [values[factorial(name, cell)] for cell in cells])
    return dict(zip(("masking", "cutmix", "colour"), 2 * found[1:4], strict=True))


def beside_mask(values: dict[str, float], name: str) -> float:
    more = ("mask + cutmix", "mask + colour", "mask + cutmix + colour")
    return sum(values[f"{name}: {cell}"] for cell in more) / 3 - values[f"{name}: mask"]


def test_effects_are_those_of_a_regression_with_all_interactions():
    plan, rows = results([0])
    printed = papers.printed("S004.T5")[augmentations.MEASURE]
    table = augmentations.effects(plan, rows | {SCRATCH: []}, printed).set_index("gain by")
    assert table.index.tolist() == ["masking", "cutmix", "colour", "others, beside masking"]
    assert len(table.columns) == 6
    ours = {name: 100 * plan.results[part[0]].mean() for name, part in rows.items()}
    for values, whose in ((ours, "ours"), (printed, "Kong and Zhang")):
        by_method = {name: regression(values, name) | {
            "others, beside masking": beside_mask(values, name)} for name in (MAE, CMAE)}
        by_method["C-MAE less MAE"] = {effect: by_method[CMAE][effect] - by_method[MAE][effect]
                                       for effect in table.index}
        for name, effects in by_method.items():
            for effect, value in effects.items():
                shown = table.loc[effect, f"{whose}, {name}"]
                number = float(shown.split(" [")[0]) if whose == "ours" else shown
                assert number == pytest.approx(value, abs=0.051 if whose == "ours" else 1e-9)


def test_one_run_has_an_interval_over_the_same_images():
    plan, rows = results([0])
    a, b = rows["MAE: mask"][0], rows["C-MAE: mask"][0]
    found = augmentations.contrasts(plan, rows, {
        "gap": lambda table: table["MAE: mask"] - table["C-MAE: mask"]})
    each = [100.0 * (int(x) - int(y))
            for x, y in zip(plan.results[a], plan.results[b], strict=True)]
    mean = sum(each) / 40
    error = (sum((v - mean) ** 2 for v in each) / 39 / 40) ** 0.5
    row, = found.itertuples()
    assert (row.dataset, row.contrast, row.over) == ("menagerie", "gap", "images")
    assert [row.value, row.low, row.high] == pytest.approx(
        [mean, mean - 1.959964 * error, mean + 1.959964 * error], rel=1e-6)
    assert row.text == f"{row.value:.1f} [{row.low:.1f}, {row.high:.1f}]"


def test_several_runs_have_an_interval_over_runs_and_only_common_ones_count():
    plan, rows = results([0, 1, 2], ("menagerie", "fashion_mnist"))
    rows["MAE: mask"] = [s for s in rows["MAE: mask"] if (s.dataset, s.seed) != ("menagerie", 1)]
    gap = {"gap": lambda table: table["MAE: mask"] - table["MAE: nothing"]}
    found = augmentations.contrasts(plan, rows, gap).set_index("dataset")
    assert found.index.tolist() == ["fashion_mnist", "menagerie"]
    assert set(found.over) == {"runs"}
    for data, seeds in (("menagerie", (0, 2)), ("fashion_mnist", (0, 1, 2))):
        means = {name: {s.seed: plan.results[s].mean() for s in rows[name] if s.dataset == data}
                 for name in ("MAE: mask", "MAE: nothing")}
        each = [100 * (means["MAE: mask"][s] - means["MAE: nothing"][s]) for s in seeds]
        low, high = stats.ttest_1samp(each, 0).confidence_interval(0.95)
        assert found.loc[data, ["value", "low", "high"]].tolist() == pytest.approx(
            [np.mean(each), low, high])
    table = augmentations.effects(plan, rows, numbers(0))
    assert table["data set"].tolist() == ["Fashion-MNIST"] * 4 + ["Menagerie"] * 4


def test_rows_without_a_common_run_are_refused():
    plan, rows = results([0, 1])
    rows = {"MAE: mask": rows["MAE: mask"][:1], "MAE: nothing": rows["MAE: nothing"][1:]}
    with pytest.raises(ValueError, match="rows must have a training run in common, got none of 2"):
        augmentations.contrasts(plan, rows, {})
