"""What the chapter on section 3.6 shows: masks and losses as trained, tables without mix-ups."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

matplotlib.use("agg")

from mae_lib import figures, runs, studies  # noqa: E402
from mae_lib.data.groups import menagerie_groups  # noqa: E402
from mae_lib.evaluation.records import EvalRecord, to_value  # noqa: E402
from mae_lib.models.margins import kept_share  # noqa: E402
from mae_lib.models.masks import Mask  # noqa: E402
from mae_lib.pages import suggestions  # noqa: E402


def drawn_pixels(hidden: np.ndarray, margin: int) -> np.ndarray:
    """Hidden pixels further than ``margin`` from every visible one, by comparing all pairs."""
    places = np.stack(np.nonzero(~hidden))
    rows, columns = np.indices(hidden.shape)
    far = np.maximum(abs(rows[..., None] - places[0]), abs(columns[..., None] - places[1]))
    return hidden & (far.min(-1) > margin)


def test_each_loss_leaves_out_what_its_margin_says():
    images, found = suggestions.left_out([1, 2], 0.75, "laptop", 2)
    assert images.shape == (2, 3, 32, 32)
    assert images.min() >= 0 and images.max() <= 1
    assert list(found) == ["seen", "usual loss", "margin 1", "margin 2", "scattered"]
    for i in range(2):
        hidden = found["seen"][i]
        assert hidden.mean() == 0.75 and np.array_equal(found["usual loss"][i], ~hidden)
        for margin in (1, 2):
            assert np.array_equal(~found[f"margin {margin}"][i], drawn_pixels(hidden, margin))


def test_the_control_leaves_out_as_many_hidden_pixels_but_others():
    _, found = suggestions.left_out([2, 1], 0.75, "laptop", 3)
    first, control, seen = found["margin 1"], found["scattered"], found["seen"]
    assert np.array_equal(first.sum((1, 2)), control.sum((1, 2)))
    assert not (~control & ~seen).any() and not np.array_equal(first, control)


def test_weights_land_on_the_pixels_they_belong_to():
    mask = Mask(torch.tensor([[2, 1]]), torch.tensor([[3, 0]]))
    weights = torch.zeros(1, 2, 4)
    weights[0, 0, 1] = weights[0, 1, 2] = 1  # upper right of patch 3, lower left of patch 0
    found = suggestions._on_the_picture(weights, mask, 2, (2, 2))[0]
    assert np.argwhere(found).tolist() == [[1, 0], [2, 3]]


def test_a_border_has_fewer_visible_neighbours_so_more_pixels_count_than_by_the_formula():
    shares = [suggestions.counted(m, 0.75, "laptop", masks=200) for m in (0, 1, 2)]
    assert shares[0] == 1 and 1 > shares[1] > shares[2]
    assert all(shares[m] > kept_share(4, m, 48, 64) for m in (1, 2))
    everywhere = suggestions.left_out([1], 0.75, "laptop", 200)[1]
    direct = (~everywhere["margin 1"]).sum() / everywhere["seen"].sum()
    assert shares[1] == pytest.approx(direct, abs=0.01)


def test_policies_hide_equally_much_and_whole_ones_only_one_group_in_part():
    images, hidden, groups = suggestions.guided(["whole", "anti"], 0.75, "laptop", 6)
    assert images.shape == (6, 3, 32, 32) and list(hidden) == ["random", "whole", "anti"]
    assert np.array_equal(groups.reshape(6, 64), menagerie_groups("test", 6, 32, patch=4).groups)
    for masks in hidden.values():
        assert masks.shape == (6, 8, 8) and (masks.sum((1, 2)) == 48).all()
    for mask, of in zip(hidden["whole"], groups, strict=True):
        shares = [mask[of == g].mean() for g in np.unique(of)]
        assert sum(0 < share < 1 for share in shares) <= 1


ARMS = {"usual": {}, "margin 2": {"margin": 2}, "scattered": {"margin": 1, "scattered": True},
        "split": {"policy": "split"}}


def sweep_of(metric: str, protocols: list[str], value: float) -> studies.Sweep:
    """A result for each arm and one at another ratio, all different."""
    settings = [studies.Setting(**more) for more in ARMS.values()] + [studies.Setting(ratio=0.1)]
    results = []
    for i, setting in enumerate(settings):
        about = {"setting": studies.settings.without_seed(setting), "seed": 0, "n": 1,
                 "dataset": "menagerie", "split": "test", "metric": metric}
        results.append(runs.Result(to_value([EvalRecord(**about, protocol=p, value=value * (
            1 + i / 10)) for p in protocols]), {}, "cache"))
    return studies.Sweep(settings, results)


def test_each_arm_is_one_row_with_its_own_numbers():
    probed = sweep_of("accuracy", ["linear probe, cls", "linear probe, mean"], 0.5)
    table = suggestions.compared(probed, sweep_of("psnr", ["unmasked"], 20.0), 0.75, "menagerie")
    assert table.arm.tolist() == list(ARMS)
    assert table["class token (%)"].tolist() == ["50.0", "55.0", "60.0", "65.0"]
    assert table["mean token (%)"].tolist() == table["class token (%)"].tolist()
    assert table["PSNR (dB)"].tolist() == ["20.00", "22.00", "24.00", "26.00"]


def test_arms_have_names_even_where_no_run_has_a_margin():
    assert suggestions.arms(pd.DataFrame({"ratio": [0.1, 0.9]})).arm.tolist() == ["usual"] * 2


def summary(dataset: str, protocol: str, metrics: list[str], value: float) -> pd.DataFrame:
    return pd.DataFrame([{"dataset": dataset, "ratio": 0.1, "unit": 4, "protocol": protocol,
                          "metric": name, "value": value} for name in metrics])


def test_the_true_causes_come_before_what_pixels_say_of_them():
    factors = list(suggestions.FACTORS)
    both = pd.concat([summary("A", "image factors, class token", factors, 0.1),
                      summary("A", "latents, class token", factors, 0.9),
                      summary("A", "latents, mean token", factors, 0.5),
                      summary("B", "image factors, class token", factors, 0.3)])
    found = suggestions.low_level(summary("A", "unmasked", ["PSNR (dB)", "SSIM"], 20), both)
    shown = dict(zip(found.panel, found.value, strict=True))
    assert len(shown) == len(found) == 7 and shown["A: PSNR (dB)"] == 20
    assert [shown[f"{name}: scale (R²)"] for name in "AB"] == [0.9, 0.3]


def near(curve: np.ndarray, **setting) -> tuple[studies.Setting, runs.Result]:
    setting = studies.Setting(**setting)
    about = {"setting": studies.settings.without_seed(setting), "seed": setting.seed, "n": 1,
             "dataset": "menagerie medium32 test", "split": "test", "protocol": "own masks"}
    records = [EvalRecord(**about, metric=name, value=i / 10)
               for i, name in enumerate(reversed(suggestions.SHARES))]
    value = to_value(records) | {"curve/ratio 0.75": curve, "curve/own masks": curve - 9}
    return setting, runs.Result(value, {}, "cache")


def test_curves_by_distance_are_means_over_runs_under_one_ratio_of_masks():
    fill = [0.5, 0.7, 0.9]
    found = [near(np.array([[a, b, c], fill, [0, 0, 0]]), ratio=ratio, seed=seed)
             for ratio, seed, (a, b, c) in ((0.75, 0, (1, 2, 3)), (0.75, 1, (3, 4, 5)),
                                            (0.9, 0, (7, 8, 9)))]
    measured = studies.Sweep(*map(list, zip(*found, strict=True)))
    table = suggestions.by_distance(measured, 0.75)
    lines = {name: part.sort_values("distance").value.tolist()
             for name, part in table.groupby("line")}
    assert lines == {"trained at 0.75": [2, 3, 4], "trained at 0.9": [7, 8, 9],
                     "harmonic fill": pytest.approx(fill)}
    assert table.line.iloc[-1] == "harmonic fill" and table.line.iloc[0] == "trained at 0.75"
    assert set(table.panel) == {"Menagerie: relative error"} and set(table.distance) == {1, 2, 3}
    shares = suggestions.gradients(measured, 0.9)
    assert shares.columns.tolist() == ["dataset", "gradient, near", "area, near",
                                       "gradient, far", "area, far"]
    assert shares.iloc[0].tolist() == ["Menagerie", "0.30", "0.20", "0.10", "0.00"]


def test_what_is_hidden_is_grey_and_groups_have_borders():
    images = np.random.default_rng(0).random((2, 3, 8, 8))
    hidden = np.zeros((2, 2, 2), bool)
    hidden[1, 0, 1] = True
    groups = np.array([[[0, 0], [0, 0]], [[0, 1], [0, 1]]])
    axes = figures.mask_grid(images, {"a": hidden}, groups).axes
    assert [ax.get_title() for ax in axes] == ["groups", "a", "", ""]
    shown = np.moveaxis(np.asarray(axes[3].images[0].get_array()), -1, 0)
    assert (shown[:, :4, 4:] == 0.55).all()
    assert np.allclose(shown[:, 4:], images[1][:, 4:])
    assert np.allclose(shown[:, :4, :4], images[1][:, :4, :4])
    assert np.allclose(np.asarray(axes[1].images[0].get_array()), np.moveaxis(images[0], 0, -1))
    assert [len(ax.collections[0].get_segments()) for ax in (axes[0], axes[2])] == [0, 0]
    segments = np.array(axes[2].collections[1].get_segments())
    assert (segments[..., 0] == 3.5).all() and segments[..., 1].min() == -0.5
    assert segments[..., 1].max() == 7.5 and len(segments) == 8


@pytest.mark.parametrize(("images", "hidden", "groups", "message"), [
    ([], {"a": []}, None, "got 0 images"), (np.zeros((1, 3, 8, 8)), {}, None, "and 0 masks"),
    (np.zeros((1, 3, 8, 8)), {"a": np.zeros((1, 3, 3))}, None, r"8 and 8, got \[1, 3, 3\]"),
    (np.zeros((1, 3, 8, 8)), {"a": np.zeros((1, 2, 2))}, np.zeros((2, 2, 2)), "for 'groups'")])
def test_masks_that_do_not_fit_are_refused(images, hidden, groups, message):
    with pytest.raises(ValueError, match=message):
        figures.mask_grid(images, hidden, groups)
