"""Rows of Kong and Zhang's tables: each is MAE with what its name says, trained once."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from test_plan import PARAMETERS, differing

from mae_lib import runs, studies
from mae_lib.ledger import occlusion_rules, paper
from mae_lib.ledger.outcomes import METHOD, NoVerdict, Outcomes
from mae_lib.ledger.rows import (
    BARE,
    BOTH,
    BYOL,
    BYOL_DROPPED,
    CHOSEN,
    CLASS,
    CMAE,
    DROPPED,
    EXTRAS,
    IDENTITY,
    INDEPENDENT,
    JITTERED,
    JITTERED_INPUT,
    MAE,
    MOCO,
    ONE,
    PHOTOGRAPH,
    POOLED,
    RMAE,
    SCRATCH,
    SUPERVISED,
    factorial,
    few,
    longer,
    on_few,
)
from mae_lib.measurements import OUTCOMES, series_of
from mae_lib.models.contrastive import Contrastive
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.siamese import RMAE as SiameseMAE
from mae_lib.models.simmim import MaskTokens
from mae_lib.models.supervised import Supervised
from mae_lib.models.varied import VariedMAE
from mae_lib.models.views import Augmentation
from mae_lib.studies import Plan, family, program
from mae_lib.studies.sets import training_images

COUNTS = [1, 10, 1000]
PLAN = Plan.of(PARAMETERS | {
    "preset": "toy", "ratios": [0.5, 0.75], "seeds": [0, 1, 2],
    "method_datasets": ["menagerie", "fashion_mnist"], "method_seeds": [1, 2],
    "method_views": 640, "few_counts": COUNTS, "photograph_crops": 6,
    "occlusion_ratios": [0.25, 0.75], "finetune_epochs": 1, "few_label_epochs": 1})
ROWS = family.every_row(PLAN)
TABLES = {f"table{i}": getattr(family, f"table{i}")(PLAN) for i in range(1, 9)}
TIERS = ("smoke", "laptop", "gpu", "paper")


def tier(name: str) -> Plan:
    found = yaml.safe_load((runs.ROOT / "params" / f"{name}.yaml").read_text())
    return Plan.of(found | {"lr": float(found["lr"]), "workers": 1})


def of(row: str, seed: int = 1) -> studies.Setting:
    """A row's run on the Menagerie."""
    found, = [s for s in ROWS[row] if (s.dataset, s.seed) == ("menagerie", seed)]
    return found


# What is in a row

@pytest.mark.parametrize("row", ROWS)
def test_rows_are_paired_by_data_set_and_seed(row):
    assert sorted((s.dataset, s.seed) for s in ROWS[row]) == [
        (d, seed) for d in ("fashion_mnist", "menagerie") for seed in (1, 2)]
    first, *others = [replace(s, dataset="menagerie", seed=0) for s in ROWS[row]]
    assert all(s == first for s in others)


def test_the_mae_that_all_are_compared_with_is_the_usual_one():
    found = of(MAE)
    assert (found.ratio, found.unit, found.vit_patch, found.views, found.method,
            found.augment, found.chosen) == (0.75, 4, 4, 640, None, None, None)
    assert differing(found, next(s for s in PLAN.ratio_series if (
        s.dataset, s.seed, s.ratio) == ("menagerie", 1, .75))) == {"views"}
    usual = replace(PLAN, method_views=PLAN.views)
    assert set(family.base(usual)) <= set(PLAN.ratio_series)


def test_the_control_without_pretraining_is_that_of_the_other_chapters():
    assert ROWS[SCRATCH] == [s for s in PLAN.untrained if s.seed in (1, 2)]
    assert {s.views for row, held in ROWS.items() for s in held} == {0, 640, 1280}


FEW = {few(count, how) for count in COUNTS for how in ("", "crops")} | set(CHOSEN) | {PHOTOGRAPH}
ON_FEW = {on_few(name, 1000) for name in (SUPERVISED, MOCO, MAE, RMAE, CMAE)}
LONGER = {longer(MAE), longer(CMAE)}


@pytest.mark.parametrize("row", [name for name in ROWS if name != SCRATCH])
def test_a_row_differs_from_mae_in_nothing_but_what_it_names(row):
    """Views, images and seeds stay equal unless they are what the table is about."""
    allowed = {"method", "augment"}
    if row in LONGER:
        allowed |= {"views"}
    elif row in FEW:
        allowed = {"train_images", "chosen", "augment"}
    elif row in ON_FEW:
        allowed = {"train_images", "chosen", "method"}
    found = differing(of(row), of(MAE))
    assert found <= allowed
    assert (found == set()) == (row in (MAE, factorial(MAE, ("mask",))))
    assert ("views" in found) == (row in LONGER)
    assert {"train_images", "chosen"} <= found or row not in FEW | ON_FEW


PLAIN, COLOUR, CROP = Augmentation(), Augmentation(colour=True), Augmentation(crop=True)
BOTH_VIEWS = Augmentation(crop=True, colour=True)
CONTRASTIVE = {  # Kong and Zhang, section 3 and Tables 3 and 4; mask tokens?, place, comparison
    CMAE: (True, "token", "infonce"), longer(CMAE): (True, "token", "infonce"),
    CLASS: (True, "class", "infonce"), POOLED: (True, "mean", "infonce"),
    BOTH: (True, "token and class", "infonce"), DROPPED: (False, "mean", "infonce"),
    BYOL: (True, "token", "byol"), BYOL_DROPPED: (False, "mean", "byol")}
NAMED = {RMAE: "complement", INDEPENDENT: "independent", IDENTITY: "identity"}


@pytest.mark.parametrize(("row", "second"), NAMED.items())
def test_siamese_rows_are_trained_with_the_second_mask_they_name(row, second):
    found = studies.network(of(row))
    assert type(found) is SiameseMAE and (found.second, found.weight) == (second, 1)


@pytest.mark.parametrize("row", CONTRASTIVE)
def test_contrastive_rows_are_trained_with_the_parts_they_name(row):
    found = studies.network(of(row))
    assert type(found) is Contrastive and found.masked and found.augment == COLOUR
    tokens, place, comparison = CONTRASTIVE[row]
    assert (isinstance(found.show, MaskTokens), found.place, found.comparison) == (
        tokens, place, comparison)
    assert (found.symmetric, found.scale) == (False, 1)
    assert (found.temperature, found.momentum) == (
        paper.scalars("S004")["temperature"], paper.scalars("S004")["ema_momentum"])


def test_moco_is_trained_on_whole_crops_in_other_colours():
    found = studies.network(of(MOCO))
    assert type(found) is Contrastive and not found.masked and found.augment == BOTH_VIEWS
    assert (found.place, found.comparison, found.symmetric) == ("class", "infonce", True)
    assert found.scale == pytest.approx(2 * found.temperature)  # Chen et al. 2021, algorithm 1


def test_the_supervised_row_is_trained_on_crops_with_the_labels():
    found = studies.network(of(SUPERVISED))
    assert type(found) is Supervised and found.augment == CROP
    assert found.head.out_features == 16
    labels = training_images(of(SUPERVISED)).labels
    index = np.array([5, 0, 63, 5])
    drawn = studies.masks(of(SUPERVISED), found)(index, None)
    assert drawn.labels.tolist() == labels[index].tolist()
    clothes, = [s for s in ROWS[SUPERVISED] if (s.dataset, s.seed) == ("fashion_mnist", 1)]
    assert clothes.method == "supervised"


@pytest.mark.parametrize(("row", "augment", "jittered"), [
    (JITTERED, COLOUR, True), (JITTERED_INPUT, COLOUR, False), (ONE, CROP, False),
    (few(10, "crops"), CROP, False)])
def test_maes_with_other_views_predict_what_they_should(row, augment, jittered, monkeypatch):
    monkeypatch.setattr("mae_lib.studies.sets.POOL", 64)
    found = studies.network(of(row))
    assert type(found) is VariedMAE and found.masked and found.augment == augment
    assert found.jittered_target == jittered


@pytest.mark.parametrize("subset", occlusion_rules.subsets())
def test_a_cell_of_table_5_has_the_augmentations_that_it_names(subset):
    words = Augmentation(**{name: name in subset for name in ("cutmix", "colour")})
    maes, cmae = (studies.network(of(factorial(name, subset))) for name in (MAE, CMAE))
    assert type(cmae) is Contrastive and (cmae.masked, cmae.augment) == ("mask" in subset, words)
    if subset == ("mask",):
        assert type(maes) is MaskedAutoencoder
    else:
        assert type(maes) is VariedMAE and not maes.jittered_target
        assert (maes.masked, maes.augment) == ("mask" in subset, words)


@pytest.mark.parametrize("row", [MAE, longer(MAE), few(10), PHOTOGRAPH, few(1000, "one class"),
                                 on_few(MAE, 1000)])
def test_the_other_rows_are_plain_maes(row, monkeypatch):
    monkeypatch.setattr("mae_lib.studies.sets.POOL", 64)
    assert type(studies.network(of(row))) is MaskedAutoencoder


def test_few_images_are_as_many_and_chosen_as_the_row_says():
    about = {row: (of(row).train_images, of(row).chosen) for row in FEW | ON_FEW}
    expected = {few(count, how): (count, "random") for count in COUNTS for how in ("", "crops")}
    expected |= {few(1000, how): (1000, how) for how in ("one class", "random", "each class")}
    assert about == expected | dict.fromkeys(ON_FEW, (1000, "each class")) | {
        PHOTOGRAPH: (6, "photograph")}
    assert {of(row).augment for row in FEW if row.endswith("crops")} == {"mask+crop"}
    assert {of(row).augment for row in FEW if not row.endswith("crops")} == {None}


# Names

ALIASES = [{MAE, factorial(MAE, ("mask",))}, {CMAE, factorial(CMAE, ("mask", "colour"))},
           {JITTERED_INPUT, factorial(MAE, ("mask", "colour"))},
           {few(1000), few(1000, "random")}, {few(1000, "each class"), on_few(MAE, 1000)}]


def test_one_run_may_have_several_names_and_is_trained_once():
    names: dict = {}
    for row in ROWS:
        names.setdefault(of(row), set()).add(row)
    assert sorted(map(sorted, (n for n in names.values() if len(n) > 1))) == sorted(
        map(sorted, ALIASES))
    places = series_of(PLAN)
    for aliases in ALIASES:
        same = {of(name) for name in aliases}
        assert len(same) == 1
        assert {level for series, level in places[same.pop()] if series == METHOD} == aliases
    trained = program(PLAN)[studies.PRETRAINING]
    found = [s for s in trained if s in {s for held in ROWS.values() for s in held}]
    assert len(found) == 4 * (len(ROWS) - len(ALIASES) - 1)  # one row is not trained


def test_a_name_means_the_same_in_every_table():
    figures = [family.figure1(PLAN), family.tuned(PLAN), family.probed(PLAN)]
    for part in [*TABLES.values(), *figures]:
        assert all(ROWS[name] == settings for name, settings in part.items())
    assert BARE in figures[0] and few(1) in figures[0]


# The tables of the paper

def printed(number: int, column: str) -> list:
    return paper.table(f"S004.T{number}")[column].tolist()


def test_table_1_has_the_methods_that_are_trained_here():
    known = {"Random Init": SCRATCH, "MAE (our impl.)": MAE, "R-MAE": RMAE, "MoCo v3": MOCO,
             "R-MAE dagger (T2 ratio 25% independent)": INDEPENDENT,
             "R-MAE double-dagger (T2 = identity)": IDENTITY}
    left_out = {"DINO", "BEiT", "CAE", "MAE"}  # MAE's own release is another training
    assert set(printed(1, "method")) == known.keys() | left_out
    assert set(TABLES["table1"]) == set(known.values())


def test_table_2_compares_two_lengths_of_training():
    ours = paper.table("S004.T2")
    ours = ours[ours.method.isin(["MAE (our impl.)", "C-MAE"])]
    assert list(zip(ours.method, ours.epochs, strict=True)) == [
        (m, e) for e in (100, 400) for m in ("MAE (our impl.)", "C-MAE")]
    assert list(TABLES["table2"]) == [SCRATCH, MAE, CMAE, longer(MAE), longer(CMAE)]
    assert of(longer(MAE)).views == of(longer(CMAE)).views == 2 * of(MAE).views


def test_table_3_has_its_four_places_in_order():
    expected = {("instance-wise", True, None): CLASS, ("instance-wise", None, "average"): POOLED,
                ("token-wise", None, "each"): CMAE, ("token-wise", True, "each"): BOTH}
    table = paper.table("S004.T3").astype(object)
    rows = table.where(table.notna(), None).iloc[:, :3].itertuples(index=False, name=None)
    assert [expected[row] for row in rows] == list(TABLES["table3"])


def test_table_4_has_its_seven_rows_in_order():
    names = {"MAE": MAE, "MAE + color jitter (whole image)": JITTERED, "C-MAE": CMAE,
             "MAE + color jitter (unmasked only)": JITTERED_INPUT,
             "C-MAE w/o mask token": DROPPED, "C-MAE (BYOL loss)": BYOL,
             "C-MAE w/o mask token (BYOL loss)": BYOL_DROPPED}
    assert [names[m] for m in printed(4, "method")] == list(TABLES["table4"])[1:]
    assert next(iter(TABLES["table4"])) == SCRATCH


def test_table_5_has_every_subset_with_both_methods():
    columns = paper.table("S004.T5")[["patch masking", "cutmix", "color"]].to_numpy()
    subsets = [tuple(e for e, used in zip(EXTRAS, row, strict=True) if used) for row in columns]
    assert set(TABLES["table5"]) == {factorial(m, s) for s in subsets for m in (MAE, CMAE)}
    assert len(TABLES["table5"]) == 16


def test_table_6_has_its_counts_with_and_without_stronger_views():
    table = paper.table("S004.T6")
    held = table[table["pretrain images"] != "Random Init"]
    rows = {few(int(n), "crops" if strong else "")
            for n, strong in zip(held["pretrain images"], held["stronger aug"], strict=True)}
    found = set(family.table6(replace(PLAN, few_counts=(1, 10, 100, 1000))))
    # Without crops the paper does not show one image; crops of one photograph are ours.
    assert found - rows == {SCRATCH, MAE, few(1), PHOTOGRAPH} and rows <= found


def test_table_7_has_its_three_ways_to_choose():
    assert printed(7, "strategy") == ["in one class", "random", "one per class"]
    assert list(TABLES["table7"]) == [few(1000, how) for how in (
        "one class", "random", "each class")] == list(CHOSEN)


def test_table_8_has_its_six_methods_in_order():
    names = {"Random Init": SCRATCH, "Supervised": on_few(SUPERVISED, 1000)} | {
        name: on_few(name, 1000) for name in (MOCO, MAE, RMAE, CMAE)}
    assert [names[m] for m in printed(8, "method")] == list(TABLES["table8"])


# The program

@pytest.mark.parametrize("name", TIERS)
def test_every_tier_trains_what_it_evaluates_once(name):
    plan = tier(name)
    work, rows = program(plan), family.every_row(plan)
    trained = work[studies.PRETRAINING]
    assert len(trained) == len(set(trained)) and all(s.views for s in trained)
    assert {s for held in rows.values() for s in held if s.views} <= set(trained)
    for study, settings in work.items():
        arguments = {n: getattr(plan, n) for n in study.arguments}
        assert len(settings) == len(set(settings)), study.kind
        assert {n for s in settings for n in study.networks(s, **arguments)} <= set(trained)


def test_each_evaluation_holds_the_rows_of_its_tables():
    work = program(PLAN)
    held = {study: set(work[study]) for study in work}

    def settings(*names: str) -> set:
        return {s for name in names for s in ROWS[name]}

    assert held[studies.FINETUNING] == settings(*ROWS)
    probed = {*TABLES["table4"], *TABLES["table8"], MOCO, SUPERVISED}
    assert held[studies.FEW_LABELS] == settings(*probed) <= held[studies.LINEAR_PROBE]
    assert held[studies.OCCLUSION] == settings(SCRATCH, MAE, RMAE, CMAE, MOCO, SUPERVISED, few(1),
                                               PHOTOGRAPH, BARE)
    assert held[studies.TUNED_OCCLUSION] == settings(SCRATCH, MAE)
    methods = {s for s in held[studies.RECONSTRUCTION] if s.method}
    assert methods == settings(RMAE, INDEPENDENT, IDENTITY)
    assert settings(MAE) <= held[studies.RECONSTRUCTION]
    assert {s.dataset for s in held[studies.PIXEL_OCCLUSION]} == set(PLAN.method_datasets)
    assert len(held[studies.PIXEL_OCCLUSION]) == 2


def test_without_methods_nothing_of_theirs_is_computed():
    work = program(replace(PLAN, method_seeds=()))
    series = PLAN.core + PLAN.coupled_series + [s for name in studies.ARMS for s in PLAN.arm(name)]
    assert set(work[studies.PRETRAINING]) == set(series)
    for study in (studies.FINETUNING, studies.FEW_LABELS, studies.OCCLUSION,
                  studies.TUNED_OCCLUSION):
        assert work[study] == []


def test_networks_of_the_ratio_series_are_fine_tuned_where_a_ratio_is_named():
    assert PLAN.finetuned == []
    named = replace(PLAN, finetune_ratios=(0.5,))
    assert named.finetuned == [s for s in PLAN.ratio_series if s.ratio == .5] + PLAN.untrained
    assert set(program(named)[studies.FINETUNING]) == set(named.finetuned) | {
        s for held in ROWS.values() for s in held}


class Asked(Outcomes):
    """Has runs of whatever a rule wants to know, and remembers what that was."""

    def values(self, outcome, series, level):
        if not outcome:  # there is no null
            return {}
        self.cells[outcome, series, level] = {}
        return {0: .31, 1: .3, 2: .29}

    def outcomes(self):
        return {outcome for outcomes in OUTCOMES.values() for outcome in outcomes}

    def untrained(self, outcome):
        return Outcomes("none", {}).untrained(outcome)


def test_the_laptop_tier_measures_all_that_the_rules_ask_for():
    asked = Asked("none", {})
    tests = [occlusion_rules.CONTRASTIVE_PROBES_BETTER]
    for test, beside in occlusion_rules.RULES.values():
        tests += [test, *beside.values()]
    for test in tests:
        try:
            test(asked, (1.0, 1.0))
        except NoVerdict as why:
            assert "DINO" in str(why)
    plan = tier("laptop")
    work, places = program(plan), series_of(plan)
    measured = {(outcome, series, level) for study, outcomes in OUTCOMES.items()
                for s in work[study] for series, level in places.get(s, ())
                for outcome in outcomes}
    assert len(asked.cells) > 50
    assert {cell for cell in asked.cells if cell not in measured} == set()
