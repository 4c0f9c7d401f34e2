"""What the chapters on shape bias and on latents show, against slow counts."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from scipy.stats import t as student

from mae_lib.data.images import ImageSet
from mae_lib.data.menagerie import CLASSES, cue_conflict, draw
from mae_lib.evaluation.latents import image_factors, known_latents
from mae_lib.evaluation.records import EvalRecord
from mae_lib.evaluation.shape_bias import shape_bias
from mae_lib.pages import causes
from mae_lib.studies import Plan, Setting, Sweep

PLAIN = {"ratio": 0.5, "unit": 4}


def record(metric, value, protocol, n=400, seed=0, items=None, **changes):
    return EvalRecord(PLAIN | changes, seed, "menagerie", "test", protocol, metric, value, n, items)


MENAGERIE = Plan(("menagerie",), (0,), "toy", 0, 1, 1.0, (0.5,), (4,), 0.5, 1)


def swept(values, ratios=(0.1, 0.9), unit=4):
    """A sweep whose results hold ``values``, one a ratio."""
    settings = [Setting(ratio=r, unit=unit) for r in ratios]
    return Sweep(settings, [SimpleNamespace(value=v) for v in values])


# Shape bias


@pytest.mark.parametrize("accuracy", [0.1, 0.3, 0.6, 0.9])
def test_a_simulated_probe_that_is_blind_to_coats_has_the_blind_bias(accuracy):
    rng, n = np.random.default_rng(0), 200_000
    shapes = rng.integers(16, size=n)
    textures, wrong = ((shapes + rng.integers(1, 16, n)) % 16 for _ in range(2))
    said = np.where(rng.random(n) < accuracy, shapes, wrong)
    found = shape_bias(said, shapes, textures)
    error = np.sqrt(found.bias * (1 - found.bias) / found.n_decisive)
    assert causes.blind_bias(accuracy) == pytest.approx(found.bias, abs=4 * error)


def test_guessing_gives_a_blind_bias_of_one_half_and_the_ends_stay_the_ends():
    assert causes.blind_bias(1 / 16) == pytest.approx(0.5)
    assert causes.blind_bias(np.array([-0.1, 0, 1, 1.1])).tolist() == [0, 0, 1, 1]


def test_one_run_has_the_interval_of_a_share_and_several_that_of_runs():
    one = [record("shape bias", 130 / 200, "coat cue, cls", n=200),
           record("coverage", 200 / 400, "coat cue, cls")]
    table = causes.cues(one).set_index("metric")
    for metric, (k, n) in {"shape bias": (130, 200), "coverage": (200, 400)}.items():
        low, high = binomtest(k, n).proportion_ci(method="wilson")
        assert (table.low[metric], table.high[metric]) == pytest.approx((low, high))
    values = [0.6, 0.65, 0.76]
    runs = [record("shape bias", v, "texture cue, mean", seed=i) for i, v in enumerate(values)]
    row = causes.cues(runs).iloc[0]
    half = student.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert (row.low, row.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert (row.cue, row.token) == ("plain texture", "mean token")


def test_accuracies_keep_the_interval_over_their_items():
    items = np.repeat([1, 0], [100, 300])
    table = causes.cues([record("shape accuracy", 0.25, "coat cue, cls", items=items)])
    half = 1.96 * items.std(ddof=1) / 20
    assert table.high[0] - table.low[0] == pytest.approx(2 * half, rel=1e-3)
    blind = causes.blind(table).iloc[0]
    assert blind.metric == "shape bias" and blind.low < blind.value < blind.high
    assert blind.value == pytest.approx(0.25 / (0.25 + 0.75 / 15))


def test_bias_by_class_is_the_mean_over_runs_of_those_that_decided():
    rng = np.random.default_rng(1)
    each = rng.random((4, 16)).astype(np.float32)
    each[0, 3] = each[1, 5] = each[3, 5] = np.nan
    measured = swept([{"per_class/coat cue, cls": v} for v in each], (0.1, 0.9, 0.1, 0.9))
    found = causes.bias_by_class(measured, "coat")
    assert list(found.index) == list(CLASSES) and list(found.columns) == ["0.1", "0.9"]
    for k, name in enumerate(CLASSES):
        for ratio, rows in {"0.1": (0, 2), "0.9": (1, 3)}.items():
            values = [each[i, k] for i in rows if not np.isnan(each[i, k])]
            assert (np.isnan(found.loc[name, ratio]) if not values
                    else found.loc[name, ratio] == pytest.approx(np.mean(values)))


def test_the_pictures_are_those_of_the_test_in_four_versions():
    rows, titles = causes.conflict_pictures(MENAGERIE, [4, 1])
    whole = cue_conflict(6, cue="coat")
    np.testing.assert_array_equal(rows["coat"] * 255, whole.images[[4, 1]])
    assert titles == [f"{CLASSES[whole.shapes[i]]},\n{CLASSES[whole.textures[i]]}" for i in (4, 1)]
    assert len(rows) == 4 and len({images.tobytes() for images in rows.values()}) == 4
    corners = [images[:, :, :4, :4] for name, images in rows.items() if name != "coat\nalone"]
    assert all(np.array_equal(corners[0], c) for c in corners[1:])  # one landscape


# Latents


def latent_rows(ratio=0.5):
    metrics = ["class", "level 0", "level 4", "light"]
    return [record(m, i / 10, f"{what}, {token}", ratio=ratio) for i, m in enumerate(metrics)
            for what in ("latents", "image factors") for token in ("mean token", "class token")]


def test_levels_come_from_the_highest_down_and_only_from_known_latents():
    found = causes.held(latent_rows())
    assert found.metric.tolist() == ["level 4"] * 2 + ["level 0"] * 2
    assert found.panel.unique().tolist() == [causes.LEVELS["level 4"], causes.LEVELS["level 0"]]
    assert set(found.protocol) == {"mean token", "class token"}
    assert set(causes.held(latent_rows(), ["light"]).value) == {0.3}


def test_a_reference_line_is_that_of_the_first_protocol():
    one = causes.held(latent_rows())
    other = one.assign(value=one.value + [0, 5, 0, 5])
    lines = causes.references(raw_pixels=other, untrained=one)
    assert lines == {causes.LEVELS["level 4"]: {"raw pixels": 0.2, "untrained": 0.2},
                     causes.LEVELS["level 0"]: {"raw pixels": 0.1, "untrained": 0.1}}


def test_every_latent_that_is_read_out_has_a_row():
    drawn = draw("test", 30, 32, "medium32")
    pictures = ImageSet(drawn.images, drawn.labels, CLASSES, "few", "")
    assert set(causes.causes()) == {*known_latents(drawn.latents), *image_factors(pictures)}
    assert len(causes.causes()) == len(set(causes.causes()))


def test_single_causes_are_grouped_by_their_level():
    mean = [r for r in latent_rows() if r.protocol == "latents, mean token"]
    rows = causes.held(mean, causes.causes())
    table = causes.cause_by_cause({"0.5": rows, "pixels": rows[rows.metric != "light"]})
    assert list(table.index) == [("4", "class"), ("1", "light")]
    assert table.loc[("1", "light"), "0.5"] == 0.3 and np.isnan(table.loc[("1", "light"), "pixels"])


# Similarity


def test_similarities_are_the_mean_over_seeds_of_the_inputs_and_tokens_asked_for():
    rng = np.random.default_rng(2)
    values = [{"cka": rng.random((2, 2, 3, 4, 3, 4)), "models": ["0.1", "0.9", "untrained"],
               "inputs": ["levelled", "raw"], "representations": ["class token", "mean token"]}
              for _ in range(2)]
    found = causes.similarities(swept(values), "menagerie", inputs="raw",
                                representation="class token")
    assert found.shape == (12, 12)
    for (a, model), (b, other) in [((0, "0.1"), (2, "untrained")), ((1, "0.9"), (0, "0.1"))]:
        for i in range(4):
            wanted = sum(v["cka"][1, 0, a, i, b, 3] for v in values) / 2
            assert found.loc[(model, i + 1), (other, 4)] == pytest.approx(wanted)
    last = causes.last_block(found)
    assert isinstance(last, pd.DataFrame) and list(last.columns) == ["0.1", "0.9", "untrained"]
    assert last.loc["0.9", "untrained"] == found.loc[("0.9", 4), ("untrained", 4)]
