"""Kong and Zhang, equations 3 to 8 and Figure 1: errors of both branches, features by name."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from mae_lib import runs, studies
from mae_lib.evaluation.records import EvalRecord, to_value
from mae_lib.figures.masks import GREY
from mae_lib.ledger.rows import MAE, PHOTOGRAPH, RMAE, SCRATCH, SUPERVISED
from mae_lib.ledger.siamese import Terms
from mae_lib.models.methods import mae
from mae_lib.pages import occlusion
from mae_lib.pages.occlusion import BEST, EXACT, FLAT, OWN, SAME
from mae_lib.studies import Plan, Setting, Sweep
from mae_lib.studies.settings import without_seed

COUNT = 8


@pytest.fixture(scope="module")
def network():
    return mae("toy", seed=0).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(COUNT, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def found(network, images):
    return occlusion.decoded(network, images, seed=1)


def by_loops(a, b, region) -> float:
    pairs = [(x, y) for i, j in np.ndindex(*region.shape) if region[i, j]
             for x, y in zip(a[i, j].tolist(), b[i, j].tolist(), strict=True)]
    return sum((x - y) ** 2 for x, y in pairs) / len(pairs)


# Equations 3 to 8


def test_the_second_branch_sees_what_the_first_does_not(network, images, found):
    assert torch.equal(found.images, images[COUNT // 2:])
    assert torch.equal(found.masks.visible2, found.masks.hidden)
    assert torch.equal(found.masks.compared, found.masks.first.binary())
    with torch.no_grad():
        one, two = (network.predict(found.images, mask) for mask in (
            found.masks.first, found.masks.second))
    torch.testing.assert_close(found.one, one)
    torch.testing.assert_close(found.two, two)
    torch.testing.assert_close(found.target, network.encoder.patches(found.images))


def test_the_linear_decoder_is_that_of_least_squares_on_other_pictures():
    rng = np.random.default_rng(0)
    codes, target = rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 9, 2))
    shown = np.stack([np.sort(rng.permutation(9)[:4]) for _ in range(6)])
    own = occlusion._linearly(*map(torch.from_numpy, (codes, target, shown)), 3).numpy()
    X = np.concatenate([np.column_stack([codes[i], np.ones(4)]) for i in range(3)])
    Y = np.concatenate([target[i, shown[i]] for i in range(3)])
    fit = np.linalg.solve(X.T @ X, X.T @ Y)  # the normal equations
    for i in range(6):
        assert own[i, shown[i]] == pytest.approx(np.column_stack([codes[i], np.ones(4)]) @ fit)
        assert not np.delete(own[i], shown[i], 0).any()


def test_tokens_that_hold_their_patches_are_decoded_without_error():
    draw = torch.Generator().manual_seed(0)
    target = torch.randn(6, 9, 2, generator=draw)
    shown = torch.rand(6, 9, generator=draw).argsort(1)[:, :5].sort(1).values
    codes = target.gather(1, shown[..., None].expand(-1, -1, 2)) @ torch.randn(
        2, 7, generator=draw) + 3
    own = occlusion._linearly(codes, target, shown, 3)
    region = torch.zeros(6, 9).scatter(1, shown, 1.0)[..., None]
    torch.testing.assert_close(own, target * region, atol=1e-4, rtol=1e-4)


def test_one_picture_is_too_few(network, images):
    with pytest.raises(ValueError, match="images must be two or more, got 1"):
        occlusion.decoded(network, images[:1])


def test_pictures_show_what_each_branch_sees_and_says_where_the_loss_looks(network, found):
    told = found._replace(one=found.target)
    rows = occlusion.branches(network, told, 3)
    assert list(rows) == ["1", "2", "3"]
    hidden = found.masks.first.binary().bool().view(-1, 8, 8).numpy().repeat(4, 1).repeat(4, 2)
    for row, x, gone in zip(rows.values(), found.images.numpy(), hidden[:3], strict=False):
        assert row.shape == (len(occlusion.TITLES), 3, 32, 32)
        picture, one, two, first, second, own = row
        assert np.array_equal(picture, x)
        assert np.array_equal(one, np.where(gone, np.float32(GREY), x))
        assert np.array_equal(two, np.where(gone, x, np.float32(GREY)))
        assert np.allclose(first, two, atol=1e-6)  # a decoding without error is the picture
        for decoding in (second, own):
            assert (decoding[:, ~gone] == np.float32(GREY)).all()
            assert not np.allclose(decoding[:, gone], x[:, gone], atol=0.05)


def test_errors_by_second_branch(found):
    errors = occlusion.seconds(found, 0.5)
    region = found.masks.compared.numpy()
    assert list(errors) == [SAME, OWN, EXACT, BEST, FLAT]
    for name, two in ((SAME, found.two), (OWN, found.own)):
        assert errors[name] == pytest.approx((by_loops(found.one, found.target, region),
                                              by_loops(found.one, two, region),
                                              by_loops(two, found.target, region)), rel=1e-4)
    mae_loss = errors[SAME].mae
    assert errors[EXACT] == pytest.approx((mae_loss, mae_loss, 0))
    assert errors[BEST].bound(0.5) == pytest.approx(mae_loss, rel=1e-5)
    flat = by_loops(torch.zeros_like(found.target), found.target, region)
    assert errors[FLAT] == pytest.approx((flat, 0, flat), rel=1e-4)


def test_the_table_and_the_curves_say_the_same(found):
    errors = occlusion.seconds(found, 2.0)
    table = occlusion.tabulated(errors, 2.0).set_index("second branch")
    own = table.loc[OWN]
    assert own["R-MAE (eq. 8)"] == pytest.approx(own["siamese (eq. 7)"] + 2 * own["constraint"])
    assert own["bound on MAE"] == pytest.approx(1.5 * own["R-MAE (eq. 8)"])
    curves = occlusion.against_weight(found, [0.0, 2.0]).set_index(["panel", "second branch", "λ"])
    for name in errors:
        assert curves.value["MAE's loss / its bound", name, 2.0] == table["MAE / bound"][name]
        assert curves.value["R-MAE's loss / (1 + λ)", name, 2.0] == pytest.approx(
            table["R-MAE (eq. 8)"][name] / 3)
        assert curves.value["MAE's loss / its bound", name, 0.0] == 0
    nothing = occlusion.tabulated(errors, 0.0, "network").set_index("network")
    assert np.isinf(nothing["bound on MAE"]).all() and nothing["R-MAE (eq. 8)"][FLAT] == 0


def test_below_the_threshold_one_colour_is_the_better_twin():
    errors = {SAME: Terms(0.2, 0.4, 0.6), FLAT: Terms(1.0, 0.0, 1.0)}
    limit = occlusion.tempted(errors)
    for weight, better in ((0.99 * limit, True), (1.01 * limit, False)):
        assert (errors[FLAT].relaxed(weight) < errors[SAME].relaxed(weight)) is better
    assert occlusion.temptation(errors).startswith("Below λ = 1.00 a network of one colour")
    errors[SAME] = Terms(0.2, 0.4, 1.1)
    assert occlusion.tempted(errors) == np.inf
    assert occlusion.temptation(errors).startswith("At any λ a network of one colour")


def test_networks_are_those_of_the_first_run_of_each_method(network, images, monkeypatch):
    asked, other = [], mae("toy", seed=5).eval()

    def model(setting, if_stale):
        asked.append((setting.method, setting.seed, setting.dataset, if_stale))
        return network if setting.method is None else other

    class Pictures:
        def batch(self, rows):
            return images[rows]

    monkeypatch.setattr(studies, "model", model)
    monkeypatch.setattr(studies, "images_of", lambda setting, split, count: Pictures())
    table = occlusion.trained_by(PLAN, COUNT, seed=1)
    assert asked == [(None, 3, "menagerie", "show"), ("r-mae", 3, "menagerie", "show")]
    mine, others = (occlusion.seconds(occlusion.decoded(n, images, 1), 1.0)
                    for n in (network, other))
    expected = np.array([mine[SAME], mine[OWN], others[SAME], others[OWN]])
    assert np.array(list(table.values())) == pytest.approx(expected, rel=1e-4)
    assert [name.partition(",")[0] for name in table] == [MAE, MAE, RMAE, RMAE]


# Figure 1

PLAN = Plan.of({"datasets": ["menagerie"], "seeds": [0], "preset": "toy", "views": 64, "batch": 32,
                "lr": 1e-3, "ratios": [0.75], "units": [4], "unit_ratio": 0.75, "train_images": 64,
                "method_datasets": ["menagerie", "fashion_mnist"], "method_seeds": [3, 4],
                "method_views": 32, "few_counts": [1, 10], "if_stale": "show"})
SHARES, DRAWS = [0.2, 0.8], 3
POOLS, INPUTS = ["class token", "mean token"], ["levelled", "raw"]
METRICS = {"cka": 0.0, "slope": -0.5, "shuffled pairs": 0.1, "effective rank": 5.0}


def result(setting: Setting, base: float, blocks: int, pools=POOLS) -> runs.Result:
    """CKA that tells input, pooling, share, block and draw apart: digits of a number."""
    shape = len(INPUTS), len(pools), len(SHARES), blocks, DRAWS
    steps = (1, 0.1, 0.01, 0.001, 0.0001)
    cka = base + sum(step * i for step, i in zip(steps, np.indices(shape), strict=True))
    about = {"setting": without_seed(setting), "seed": setting.seed, "dataset": "medium32",
             "split": "test", "n": 10}
    records = [EvalRecord(**about, protocol=f"occlusion, {pool}, {inputs}", metric=metric,
                          value=base + i + p / 10 + more)
               for i, inputs in enumerate(INPUTS) for p, pool in enumerate(pools)
               for metric, more in METRICS.items()]
    records += [EvalRecord(**about, protocol=f"occlusion, mean token, {inputs}",
                           metric="retrieval", value=base / 100 + 0.1 * i)
                for i, inputs in enumerate(INPUTS)]
    return runs.Result({**to_value(records), "cka": cka, "inputs": INPUTS, "ratios": SHARES,
                        "representations": list(pools)}, {"seconds": 1}, "cache")


def sweep(bases, blocks=2, pools=POOLS) -> Sweep:
    """One run for each base."""
    settings = [Setting(seed=seed, preset="toy") for seed in range(len(bases))]
    return Sweep(settings, [result(s, base, blocks, pools)
                            for s, base in zip(settings, bases, strict=True)])


def test_curves_are_of_the_inputs_and_the_token_asked_for():
    table = occlusion.curves({"a": sweep([10, 20])}, "raw", "mean token")
    assert len(table) == 2 * 2 * len(SHARES)
    place = table.set_index(["row", "seed", "share", "block"]).value
    for seed, base in ((0, 10), (1, 20)):
        for r, share in enumerate(SHARES):
            for block in (1, 2):
                expected = base + 1 + 0.1 + 0.01 * r + 0.001 * (block - 1) + 0.0001
                assert place["a", seed, share, block] == pytest.approx(expected)


def test_what_has_no_class_token_is_left_out():
    pixels = sweep([1], 1, ["mean token"])
    both = {"a": sweep([10]), "pixels": pixels}
    assert set(occlusion.curves(both, "levelled", "class token").row) == {"a"}
    mean = occlusion.curves(both, "levelled", "mean token")
    assert set(mean.row) == {"a", "pixels"}
    none = occlusion.curves({"pixels": pixels}, "levelled", "class token")
    assert none.empty and list(none) == list(mean)
    panels = occlusion.block_panels(occlusion.curves(both, "levelled", "class token"), none)
    assert set(panels.row) == {"a"}


@pytest.mark.parametrize(("blocks", "shown"), [(12, [3, 6, 9, 12]), (4, [1, 2, 3, 4]),
                                               (2, [1, 2]), (6, [2, 3, 5, 6])])
def test_at_most_four_blocks_have_panels_and_pixels_stand_in_each(blocks, shown):
    found = occlusion.curves({"a": sweep([10], blocks)}, "levelled", "mean token")
    pixels = occlusion.curves({"p": sweep([5], 1, ["mean token"])}, "levelled", "mean token")
    table = occlusion.block_panels(found, pixels)
    assert list(table.panel.unique()) == [f"block {b}" for b in shown]
    own = table[table.row == "a"].set_index(["panel", "share"]).value
    for b in shown:
        assert own[f"block {b}", 0.8] == pytest.approx(10.1 + 0.01 + 0.001 * (b - 1) + 0.0001)
    assert set(table[table.row == "p"].value.round(6)) == {5.0001, 5.0101}
    assert len(table[table.row == "p"]) == len(shown) * len(SHARES)


def test_intervals_are_over_runs_or_missing():
    table = pd.DataFrame({"row": ["a", "a", "a", "b"], "value": [1.0, 2.0, 4.5, 3.0]})
    found = occlusion.over_runs(table, ["row"]).set_index("row")
    low, high = stats.t.interval(0.95, 2, loc=2.5, scale=stats.sem([1, 2, 4.5]))
    assert found.loc["a"].tolist() == pytest.approx([2.5, low, high])
    assert found.loc["b"].value == 3 and found.loc["b", ["low", "high"]].isna().all()


def test_panels_of_means_hold_their_rows():
    found = occlusion.curves({"a": sweep([10]), "b": sweep([20]), PHOTOGRAPH: sweep([30])},
                             "levelled", "class token")
    table = occlusion.mean_panels(found, {"one": ["a", "b"], "two": [PHOTOGRAPH, "b"]})
    assert table.groupby("panel").row.unique().map(list).to_dict() == {
        "one": ["a", "b"], "two": ["b", "one photograph"]}
    value = table.set_index(["panel", "row", "share"]).value["one", "b", 0.8]
    assert value == pytest.approx(20 + 0.01 + 0.0005 + 0.0001)


def test_scores_have_readers_names_and_the_excess_is_run_by_run():
    networks = {MAE: sweep([11, 14]), SCRATCH: sweep([10, 12]),
                "pixels": sweep([1], 1, ["mean token"])}
    table = occlusion.scores(networks, "mean token").set_index(["row", "score"])
    assert table.value[MAE, "CKA, levelled"] == pytest.approx(12.6)
    assert table.value[MAE, "CKA, raw"] == pytest.approx(13.6)
    assert table.value[MAE, "retrieval, levelled (%)"] == pytest.approx(12.5)
    assert table.value[MAE, "retrieval, raw (%)"] == pytest.approx(22.5)
    assert table.value[MAE, occlusion.CHANGE] == pytest.approx((12.6 - 0.5) / 2)
    assert table.value[MAE, occlusion.RANK] == pytest.approx(17.6)
    assert table.value[MAE, occlusion.SHUFFLED] == pytest.approx(12.7)
    low, high = stats.t.interval(0.95, 1, loc=1.5, scale=stats.sem([1, 2]))
    assert table.loc[(MAE, occlusion.EXCESS), ["value", "low", "high"]].tolist() == pytest.approx(
        [1.5, low, high])
    assert table.value[SCRATCH, occlusion.EXCESS] == 0
    other = occlusion.scores(networks, "class token").set_index(["row", "score"])
    assert other.value[MAE, "CKA, levelled"] == pytest.approx(12.5)
    assert other.value[MAE, "retrieval, levelled (%)"] == pytest.approx(12.5)  # by the mean token
    assert ("pixels", "CKA, raw") not in other.index
    assert other.value["pixels", "retrieval, raw (%)"] == pytest.approx(11)


def test_a_wide_table_keeps_order_and_digits():
    found = occlusion.scores({"b": sweep([10]), "a": sweep([11.26])}, "mean token")
    table = occlusion.wide(found, {"CKA, raw": 1, "CKA, levelled": 3})
    assert list(table) == ["network", "CKA, raw", "CKA, levelled"]
    assert table.to_numpy().tolist() == [["b", "11.1", "10.100"], ["a", "12.4", "11.360"]]


def test_the_spread_over_masks_is_the_largest_of_any_run():
    calm, wild = sweep([10]), sweep([10])
    wild.results[0].value["cka"][0, 1, :, :, 2] += 0.05
    assert occlusion.mask_spread({"a": calm}, "levelled", "mean token") == pytest.approx(0.0002)
    both = {"a": calm, "b": wild}
    assert occlusion.mask_spread(both, "levelled", "mean token") == pytest.approx(0.0502)
    assert occlusion.mask_spread(both, "levelled", "class token") == pytest.approx(0.0002)
    assert occlusion.spread(PLAN, both, "mean token") == "95 % intervals over 2 training runs."
    one = replace(PLAN, method_seeds=(0,), occlusion_draws=DRAWS)
    assert "by up to 0.0502 between" in occlusion.spread(one, both, "mean token")
    single = replace(one, occlusion_draws=1)
    assert occlusion.spread(single, both, "mean token") == "One training run, so no intervals."


def test_rows_are_computed_in_one_sweep_and_stay_themselves(monkeypatch):
    asked = []

    def swept(self, study, settings):
        asked.append((study.kind, len(settings)))
        return Sweep(list(settings), [runs.Result({"of": s}, {}, "cache") for s in settings])

    monkeypatch.setattr(Plan, "sweep", swept)
    networks, pixels = occlusion.looked_at(PLAN)
    assert [kind for kind, _ in asked] == ["occlusion", "tuned_occlusion", "pixel_occlusion"]
    assert asked[0][1] == 9 * 2 and asked[1][1] == 2 * 2
    for name, found in networks.items():
        assert [s.seed for s in found.settings] == [3, 4], name
        assert {s.dataset for s in found.settings} == {"menagerie"}
        assert [r.value["of"] for r in found.results] == found.settings
    assert networks[MAE].settings[0].method is None
    assert networks[SUPERVISED].settings[0].method == "supervised"
    assert networks["from scratch"].settings == networks[SCRATCH].settings
    assert {s.dataset for s in pixels.settings} == {"menagerie"}
    for names in occlusion.parts(PLAN).values():
        assert set(names) <= set(networks) and len(names) == 4


@pytest.mark.parametrize(("inputs", "pooling", "message"), [
    ("flat", "mean token", "inputs must be 'levelled' or 'raw', got 'flat'"),
    ("raw", "mean", "pooling must be 'class token' or 'mean token', got 'mean'")])
def test_what_was_not_measured_is_refused(inputs, pooling, message):
    found = {"a": sweep([10])}
    for ask in (occlusion.curves, occlusion.mask_spread):
        with pytest.raises(ValueError, match=message):
            ask(found, inputs, pooling)
    if inputs == "raw":
        with pytest.raises(ValueError, match=message):
            occlusion.scores(found, pooling)
