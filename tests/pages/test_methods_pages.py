"""Methods row by row: each number in its own row and measure, the paper's beside the right one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mae_lib import runs, studies
from mae_lib.book.parameters import read_flat
from mae_lib.evaluation.records import EvalRecord, not_tested, to_value
from mae_lib.ledger import paper
from mae_lib.ledger.design_rows import (
    BLOCK,
    BLOCK_HALF,
    COLOURED,
    CROPPED,
    FIXED_CROP,
    GRID,
    SIMMIM,
    TOKENS,
)
from mae_lib.ledger.rows import (
    BOTH,
    BYOL,
    BYOL_DROPPED,
    CLASS,
    CMAE,
    DROPPED,
    IDENTITY,
    INDEPENDENT,
    JITTERED,
    JITTERED_INPUT,
    MAE,
    MOCO,
    POOLED,
    RMAE,
    SCRATCH,
    SUPERVISED,
    few,
    longer,
    on_few,
)
from mae_lib.pages import methods, papers
from mae_lib.studies import Plan, Setting, design, family, video
from mae_lib.studies.settings import without_seed

N = 200  # test images
SETS = ("menagerie", "fashion_mnist")
ROWS = {SCRATCH: {"views": 0}, MAE: {}, RMAE: {"method": "r-mae"}, CMAE: {"method": "c-mae"}}
RIGHT = {name: 40 + 20 * i for i, name in enumerate(ROWS)}  # images, on the first set, seed 0
KINDS = {studies.FINETUNING: [("fine-tuned", "accuracy", 0)],
         studies.LINEAR_PROBE: [("linear probe, cls", "accuracy", 1),
                                ("linear probe, mean", "accuracy", 2)],
         studies.RECONSTRUCTION: [("own masks, pasted", "psnr", 3), ("unmasked", "psnr", 4),
                                  ("own masks, hidden", "psnr", 5)],
         studies.OCCLUSION: [("occlusion, mean token, levelled", "effective rank", 6)]}
BARE = studies.OCCLUSION  # whose records have no value an image


def settings(name: str, sets=SETS[:1], seeds=(0,)) -> list[Setting]:
    return [Setting(data, preset="toy", seed=seed, **ROWS[name]) for data in sets for seed in seeds]


def right(setting: Setting, more: int) -> int:
    """Images that a run gets right: another number for each run and protocol."""
    name = next(name for name in ROWS if setting in settings(name, SETS, range(9)))
    return RIGHT[name] + 5 * more + setting.seed ** 2 + 30 * SETS.index(setting.dataset)


def result(study, setting: Setting) -> runs.Result:
    about = {"setting": without_seed(setting), "seed": setting.seed, "split": "test",
             "dataset": f"{setting.dataset} test"}
    found = [not_tested("none", **about, protocol="fine-tuned", metric="loss")]
    for protocol, metric, more in KINDS[study]:
        items = np.roll(np.arange(N) < right(setting, more), setting.seed).astype(float)
        found.append(EvalRecord(**about, protocol=protocol, metric=metric, value=items.mean(), n=N,
                                items=None if study is BARE else items))
    return runs.Result(to_value(found), {"seconds": 1}, "cache")


@pytest.fixture
def plan():
    """What pages ask of a plan, and a count of the sweeps."""
    asked = []

    def sweep(study, chosen):
        asked.append(study.kind)
        return studies.Sweep(list(chosen), [result(study, s) for s in chosen])

    return SimpleNamespace(sweep=sweep, asked=asked, method_seeds=(0,))


def rows(sets=SETS[:1], seeds=(0,)):
    return {name: settings(name, sets, seeds) for name in ROWS}


def test_one_run_has_its_number_and_wilsons_interval_over_images(plan):
    found, sweeps = methods.measured(plan, rows(), "fine-tuned (%)")
    assert dict(zip(found.row, found.value, strict=True)) == pytest.approx(
        {name: 100 * n / N for name, n in RIGHT.items()})
    low, high = stats.binomtest(RIGHT[RMAE], N).proportion_ci(method="wilson")
    one, = found[found.row == RMAE].itertuples()
    assert (one.low, one.high) == pytest.approx((100 * low, 100 * high)) and one.over == "images"
    assert one.text == f"{100 * RIGHT[RMAE] / N:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert set(found.dataset) == {"menagerie"} and set(found.panel) == {"fine-tuned (%)"}
    assert len(sweeps) == len(ROWS)


def test_several_runs_have_students_interval_over_runs(plan):
    found, _ = methods.measured(plan, rows(seeds=(0, 1, 2)), "linear probe, mean token (%)")
    shares = 100 * np.array([RIGHT[MAE] + 10 + s**2 for s in range(3)]) / N
    low, high = stats.t.interval(0.95, 2, shares.mean(), stats.sem(shares))
    one, = found[found.row == MAE].itertuples()
    assert (one.value, one.low, one.high) == pytest.approx((shares.mean(), low, high))
    assert one.seeds == 3 and one.over == "runs"


def test_two_measures_of_a_study_ask_for_it_once(plan):
    found, sweeps = methods.measured(plan, rows(), "linear probe (%)", "fine-tuned (%)",
                                     "linear probe, mean token (%)")
    assert plan.asked == ["linear_probe"] * 4 + ["finetuning"] * 4 and len(sweeps) == 8
    wide = found.pivot(index="row", columns="measure", values="value")
    assert (wide["linear probe (%)"] - wide["fine-tuned (%)"]).tolist() == pytest.approx([2.5] * 4)


def test_only_what_reconstructs_has_a_psnr_and_it_is_in_decibels(plan):
    found, _ = methods.measured(plan, rows(), "PSNR (dB)", "PSNR, hidden (dB)")
    assert list(found.row) == [MAE, RMAE] * 2
    assert found.value.tolist() == pytest.approx([(RIGHT[r] + more) / N for more in (15, 25)
                                                  for r in (MAE, RMAE)])


def test_data_sets_stay_apart_by_key_and_panel(plan):
    found, _ = methods.measured(plan, rows(SETS), "fine-tuned (%)")
    assert list(found.dataset) == list(SETS) * 4
    assert set(found.panel) == {"Menagerie: fine-tuned (%)", "Fashion-MNIST: fine-tuned (%)"}
    mae = found[found.row == MAE].set_index("dataset").value
    assert (mae.fashion_mnist - mae.menagerie) == pytest.approx(100 * 30 / N)
    html = methods.tables(found, "All rows.")
    assert html.count("<table") == 2
    assert all(f"<caption>{name}: All rows.<" in html for name in ("Menagerie", "Fashion-MNIST"))


def test_the_papers_number_stands_beside_its_own_row_and_measure(plan):
    found, _ = methods.measured(plan, rows(), "fine-tuned (%)", "PSNR (dB)")
    printed = papers.printed("S004.T1")
    table = methods.beside(found, printed)
    assert list(table.columns) == [
        "pretraining", "ours, fine-tuned (%)", "Kong and Zhang, fine-tuned (%)", "ours, PSNR (dB)",
        "Kong and Zhang, PSNR (dB)"]
    assert table.pretraining.tolist() == list(ROWS)
    numbers = table.set_index("pretraining")["Kong and Zhang, fine-tuned (%)"]
    assert numbers.dropna().to_dict() == {SCRATCH: 80.9, MAE: 83.1, RMAE: 82.7}
    assert table["ours, PSNR (dB)"].isna().tolist() == [True, False, False, True]
    drawn = methods.with_printed(found, printed).set_index(["measure", "row"]).paper
    assert drawn["PSNR (dB)"].to_dict() == {MAE: 22.2, RMAE: 23.7}
    assert drawn["fine-tuned (%)"].isna().tolist() == [False, False, False, True]
    assert "<td>22.2</td>" in methods.tables(found, "T.", printed)


def test_without_printed_numbers_only_ours_are_shown(plan):
    found, _ = methods.measured(plan, rows(), "fine-tuned (%)")
    assert list(methods.beside(found, head="row").columns) == ["row", "ours, fine-tuned (%)"]
    assert "Kong" not in methods.tables(found, "Ours.")


def test_a_gap_of_one_run_is_paired_over_its_images(plan):
    pairs = [(RMAE, MAE), (MAE, SCRATCH)]
    table = methods.gaps(plan, rows(), "fine-tuned (%)", iter(pairs))
    assert table.difference.tolist() == ["R-MAE less MAE", "MAE less no pretraining"]
    assert table["mean"].tolist() == pytest.approx([10, 10])
    values = np.zeros(N)
    values[RIGHT[MAE]:RIGHT[RMAE]] = 100
    half = stats.norm.ppf(0.975) * values.std(ddof=1) / N**0.5
    assert table["95 % interval"][0] == f"[{10 - half:+.1f}, {10 + half:+.1f}]"
    assert table["each run"].tolist() == ["+10.0", "+10.0"] and "data set" not in table


def test_a_gap_of_several_runs_is_over_those_that_both_rows_have(plan):
    some = rows(seeds=(0, 1, 2)) | {MAE: settings(MAE, seeds=(2, 0))}
    table = methods.gaps(plan, some, "PSNR (dB)", [(RMAE, MAE)], papers.printed("S004.T1"))
    assert table["each run"][0] == "+0.10, +0.10" and table["mean"][0] == pytest.approx(0.1)
    assert table["Kong and Zhang"][0] == pytest.approx(23.7 - 22.2)


def test_runs_of_two_data_sets_are_not_mistaken_for_each_other(plan):
    some = rows(SETS) | {SCRATCH: settings(SCRATCH, SETS[1:])}
    pairs = [(CMAE, MAE), (MAE, SCRATCH)]
    table = methods.gaps(plan, some, "fine-tuned (%)", pairs, papers.printed("S004.T2"))
    assert table["data set"].tolist() == ["Menagerie"] * 2 + ["Fashion-MNIST"] * 2
    assert table["mean"].round(6).tolist() == pytest.approx([20, np.nan, 20, 10], nan_ok=True)
    assert table["each run"].tolist() == ["+20.0", "", "+20.0", "+10.0"]
    assert table["95 % interval"][1] == "–"
    assert table["Kong and Zhang"].tolist() == [-0.2, 2.2] * 2


def test_gaps_of_several_measures_stand_pair_by_pair(plan):
    pairs, measures = [(RMAE, MAE), (CMAE, MAE)], ["linear probe (%)", "fine-tuned (%)"]
    table = methods.gaps_by_measure(plan, rows(), measures, iter(pairs), papers.printed("S004.T1"),
                                    by="theirs")
    assert table.iloc[:, :2].values.tolist() == [[f"{a} less {b}", m] for a, b in pairs
                                                 for m in measures]
    apart = methods.gaps(plan, rows(), "fine-tuned (%)", pairs)
    assert table["95 % interval"].tolist()[1::2] == apart["95 % interval"].tolist()
    assert table["theirs"].tolist()[1] == pytest.approx(-0.4)
    assert table["theirs"].isna().tolist() == [True, False, True, True]


def test_a_row_that_only_the_paper_has_stands_in_its_place(plan):
    found, _ = methods.measured(plan, rows(), "fine-tuned (%)")
    table = methods.beside(found, {"fine-tuned (%)": {"other": 90.0}}, rows=[MAE, "other"])
    assert table.pretraining.tolist() == [MAE, "other"]
    assert table["ours, fine-tuned (%)"].isna().tolist() == [False, True]
    assert table["Kong and Zhang, fine-tuned (%)"].isna().tolist() == [True, False]


def test_a_measure_without_a_value_an_image_has_no_interval_from_one_run(plan):
    found, _ = methods.measured(plan, rows(), "effective rank")
    assert found.text.tolist() == [f"{(n + 30) / N:.1f}" for n in RIGHT.values()]
    with pytest.raises(ValueError, match="paired records must hold items"):
        methods.gaps(plan, rows(), "effective rank", [(MAE, SCRATCH)])
    table = methods.gaps(plan, rows(seeds=(0, 1)), "effective rank", [(MAE, SCRATCH)])
    assert table["each run"][0] == "+0.1, +0.1"


@pytest.mark.parametrize(("seeds", "said"), [((0,), "over test images"), ((0, 1, 2), "3 training")])
def test_captions_say_what_intervals_are_over(plan, seeds, said):
    plan.method_seeds = seeds
    assert said in methods.spread(plan.method_seeds)


def test_what_cannot_be_compared_is_refused(plan):
    with pytest.raises(ValueError, match="must hold runs to compare, got none"):
        methods.measured(plan, {SCRATCH: settings(SCRATCH)}, "PSNR (dB)")
    for call in (methods.measured, methods.gaps):
        with pytest.raises(ValueError, match="measure must be one of .*, got 'speed'"):
            call(plan, rows(), "speed", []) if call is methods.gaps else call(plan, rows(), "speed")
    with pytest.raises(ValueError, match="table must be S004.T5 or one of .*, got 'S000.T1'"):
        papers.printed("S000.T1")


# Of our rows what tells the paper's from all others of its table, by the names of its columns.
OURS = "MAE (our impl.)"
NAMES = {
    "S004.T1": {SCRATCH: {"method": "Random Init", "epochs": 100}, MAE: {"method": OURS},
                MOCO: {"method": "MoCo v3"}, RMAE: {"method": "R-MAE"},
                INDEPENDENT: {"method": "R-MAE dagger (T2 ratio 25% independent)"},
                IDENTITY: {"method": "R-MAE double-dagger (T2 = identity)"}},
    "S004.T2": {SCRATCH: {"method": "Random Init"}, MOCO: {"method": "MoCo v3"},
                MAE: {"method": OURS, "epochs": 100}, CMAE: {"method": "C-MAE", "epochs": 100},
                longer(MAE): {"method": OURS, "epochs": 400},
                longer(CMAE): {"method": "C-MAE", "epochs": 400}},
    "S004.T3": {CLASS: {"measurement": "instance-wise", "class token": True},
                POOLED: {"patch tokens": "average"},
                CMAE: {"class token": None, "patch tokens": "each"},
                BOTH: {"class token": True, "patch tokens": "each"}},
    "S004.T4": {MAE: {"method": "MAE"}, JITTERED: {"method": "MAE + color jitter (whole image)"},
                JITTERED_INPUT: {"method": "MAE + color jitter (unmasked only)"},
                CMAE: {"method": "C-MAE"}, DROPPED: {"method": "C-MAE w/o mask token"},
                BYOL: {"method": "C-MAE (BYOL loss)"},
                BYOL_DROPPED: {"method": "C-MAE w/o mask token (BYOL loss)"}},
    "S004.T5": {"nothing": (0, 0, 0), "mask": (1, 0, 0), "cutmix": (0, 1, 0), "colour": (0, 0, 1),
                "mask + cutmix": (1, 1, 0), "mask + colour": (1, 0, 1),
                "cutmix + colour": (0, 1, 1), "mask + cutmix + colour": (1, 1, 1)},
    "S004.T6": {SCRATCH: {"pretrain images": "Random Init", "FT epochs": 100}}
    | {few(n, how): {"pretrain images": n, "stronger aug": how == "crops"}
       for n in (1, 10, 100, 1000) for how in ("", "crops") if (n, how) != (1, "")},
    "S004.T7": {few(1000, "one class"): {"n categories": 1}, few(1000, "random"): {
        "strategy": "random"}, few(1000, "each class"): {"strategy": "one per class"}},
    "S004.T8": {SCRATCH: {"method": "Random Init"}}
    | {on_few(name, 1000): {"method": theirs} for name, theirs in (
        (SUPERVISED, "Supervised"), (MOCO, "MoCo v3"), (MAE, "MAE"), (RMAE, "R-MAE"),
        (CMAE, "C-MAE"))}}
MEASURED = {"FT acc": "fine-tuned (%)", "PSNR": "PSNR (dB)", "lin prob": "linear probe (%)",
            "FT10 acc": "few labels (%)"}


def looked_up(table: str) -> dict[tuple[str, str], float]:
    """``{(measure, our row): number}`` by the labels of the printed table."""
    whole, found = paper.table(table), {}
    if table == "S004.T5":
        places = whole.set_index(["patch masking", "cutmix", "color"])
        return {("fine-tuned (%)", f"{name}: {cell}"): places.loc[tuple(map(bool, at)), name]
                for cell, at in NAMES[table].items() for name in ("MAE", "C-MAE")}
    for row, labels in NAMES[table].items():
        there = pd.Series(True, whole.index)
        for column, value in labels.items():
            there &= whole[column].isna() if value is None else whole[column] == value
        line, = whole[there].to_dict("records")
        found |= {(MEASURED[c], row): v for c, v in line.items() if c in MEASURED and pd.notna(v)}
    return found


@pytest.mark.parametrize("table", NAMES)
def test_printed_numbers_stand_under_our_names(table):
    found = papers.printed(table)
    assert {(m, row): v for m, part in found.items() for row, v in part.items()} == looked_up(table)
    assert set(found) <= set(methods.MEASURES)


PLAN = Plan.of(read_flat(runs.ROOT / "params" / "paper.yaml", runs.ROOT))


@pytest.mark.parametrize("number", range(1, 9))
def test_every_printed_row_is_one_that_is_trained(number):
    table = f"S004.T{number}"
    ours = getattr(family, f"table{number}")(PLAN) | (
        family.rows(PLAN, MOCO) if number == 2 else {})
    assert {row for part in papers.printed(table).values() for row in part} <= set(ours)


@pytest.mark.parametrize("table", [name for name in papers.PRINTED_ROWS if "S003" in name])
def test_so_is_every_row_that_the_talk_shows(table):
    with_clips = replace(PLAN, clip_seeds=(0,))
    rows = design.every_row(with_clips) | video.samplings(with_clips)
    ours = {name for name, settings in rows.items() if settings}
    assert {row for part in papers.printed(table).values() for row in part} <= ours


@pytest.mark.parametrize(("table", "row", "numbers"), [
    ("S004.T1", IDENTITY, {"fine-tuned (%)": 82.7, "PSNR (dB)": 22.9}),
    ("S004.T3", POOLED, {"fine-tuned (%)": 82.6}),
    ("S004.T4", BYOL, {"linear probe (%)": 26.9, "fine-tuned (%)": 82.8, "few labels (%)": 65.2}),
    ("S004.T8", on_few(CMAE, 1000), {"linear probe (%)": 20.1, "fine-tuned (%)": 82.1,
                                     "few labels (%)": 61.9}),
    ("S003.mae_aug", CROPPED, {"fine-tuned (%)": 84.9, "linear probe (%)": 73.5}),
    ("S003.mae_aug", COLOURED, {"fine-tuned (%)": 84.3, "linear probe (%)": 71.9}),
    ("S003.mae_aug", FIXED_CROP, {"fine-tuned (%)": 84.7, "linear probe (%)": 73.1}),
    ("S003.mae_aug", MAE, {"fine-tuned (%)": 84.0, "linear probe (%)": 65.7}),
    ("S003.mask_sampling", MAE, {"fine-tuned (%)": 84.9, "linear probe (%)": 73.5}),
    ("S003.mask_sampling", BLOCK, {"fine-tuned (%)": 82.8, "linear probe (%)": 63.9}),
    ("S003.mask_sampling", BLOCK_HALF, {"fine-tuned (%)": 83.9, "linear probe (%)": 72.3}),
    ("S003.mask_sampling", GRID, {"fine-tuned (%)": 84.0, "linear probe (%)": 66.0}),
    ("S003.mask_token_encoder", TOKENS, {"fine-tuned (%)": 84.2, "linear probe (%)": 59.6}),
    ("S003.simmim_head", SIMMIM[1], {"fine-tuned (%)": 82.8})])
def test_some_numbers_as_read_in_the_paper(table, row, numbers):
    found = papers.printed(table)
    assert {measure: part[row] for measure, part in found.items()} == numbers
