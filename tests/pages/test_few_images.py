"""What the chapters on few images show: the pictures trained on, and who changes places."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

matplotlib.use("agg")

from mae_lib import runs, studies  # noqa: E402
from mae_lib.data.subsets import crops_of_photograph  # noqa: E402
from mae_lib.evaluation.records import EvalRecord, to_value  # noqa: E402
from mae_lib.ledger import paper  # noqa: E402
from mae_lib.ledger.rows import MAE, MOCO, SCRATCH, SUPERVISED  # noqa: E402
from mae_lib.pages import few_images  # noqa: E402
from mae_lib.studies import Plan, family, sets  # noqa: E402

POOL = 240
PROBE, TUNED = "linear probe (%)", "fine-tuned (%)"


@pytest.fixture
def plan(monkeypatch):
    monkeypatch.setattr(sets, "POOL", POOL)  # the real one takes a minute to draw
    return Plan(datasets=("menagerie",), seeds=(0,), preset="toy", views=32, batch=32, lr=1e-3,
                ratios=(0.75,), units=(4,), unit_ratio=0.75, train_images=40,
                method_datasets=("menagerie",), method_seeds=(4, 5), method_views=32,
                few_counts=(1, 10), photograph_crops=6)


@pytest.fixture
def labels():
    """The label of a picture of the pool, by its pixels."""
    pool = studies.images("menagerie", "train", POOL)
    held = {image.tobytes(): int(label)
            for image, label in zip(pool.images, pool.labels, strict=True)}
    return lambda picture: held[np.rint(255 * picture).astype(np.uint8).tobytes()]


def test_pictures_are_those_of_the_first_seeds_networks(plan, labels):
    found = few_images.pictures(plan, 8)
    assert list(found) == ["1 image, crops", "10 images, one class", "10 images, random",
                           "10 images, each class", "crops of one photograph"]
    assert all(images.shape == (8, 3, 32, 32) for images in found.values())
    kinds = {name: [labels(image) for image in found[name]] for name in list(found)[1:4]}
    assert len(set(kinds["10 images, one class"])) == 1
    assert len(set(kinds["10 images, each class"])) == 8
    setting = family.table6(plan)["1 image"][0]
    alone = sets.training_images(setting)
    assert setting.seed == 4 and len(alone) == 1
    assert np.array_equal(found["10 images, random"][0], alone.batch([0])[0])


def test_the_first_picture_is_whole_and_the_others_are_parts_of_it(plan):
    first, *crops = few_images.pictures(plan, 8)["1 image, crops"]
    assert np.array_equal(first, few_images.pictures(plan, 8)["10 images, random"][0])
    for crop in crops:
        assert (crop.max((1, 2)) <= first.max((1, 2)) + 1e-6).all()
        assert (crop.min((1, 2)) >= first.min((1, 2)) - 1e-6).all()
        assert not np.allclose(crop, first, atol=0.01)
    assert len({crop.tobytes() for crop in crops}) == 7


def test_few_crops_of_the_photograph_are_repeated(plan):
    shown = few_images.pictures(plan, 8)["crops of one photograph"]
    crops = crops_of_photograph(6, 32, seed=4).images / 255
    assert np.allclose(shown, crops[[0, 1, 2, 3, 4, 5, 0, 1]], atol=1e-6)


def test_classes_are_counted_by_row(plan):
    rows = family.table7(plan)
    one, random, each = few_images.classes_seen(rows)
    assert (one, each) == (1, 10)  # ten pictures of ten classes
    assert random == len(set(sets.training_images(
        rows["10 images, random"][0]).labels.tolist())) and 1 < random <= 10


class Trained:
    """In place of a plan: losses at the end that are there, by setting."""

    def __init__(self, losses: dict):
        self.losses = losses

    def sweep(self, study, settings):
        assert study is studies.LOSSES
        made = [[EvalRecord(studies.settings.without_seed(s), s.seed, s.dataset, "train",
                            "training", name, value, 9) for name, value in (
                                ("loss slope", -1.0), ("final loss", self.losses[s]))]
                for s in settings]
        return studies.Sweep(settings, [runs.Result(to_value(part), {}, "cache")
                                        for part in made])


def test_losses_are_those_at_the_end_of_what_was_trained():
    rows = {name: [studies.Setting(views=views, dataset=data)
                   for data in list(studies.DATASETS)[:2]]
            for name, views in (("a", 32), ("none", 0), ("b", 64))}
    losses = {s: 0.1 + i for i, s in enumerate([*rows["a"], *rows["b"]])}
    table = few_images.final_losses(Trained(losses), rows)
    assert table.values.tolist() == [["a", "0.100", "Menagerie"], ["a", "1.100", "Fashion-MNIST"],
                                     ["b", "2.100", "Menagerie"], ["b", "3.100", "Fashion-MNIST"]]
    runs_of = [studies.Setting(seed=seed) for seed in range(3)]
    losses = dict(zip(runs_of, (0.2, 0.3, 0.7), strict=True))
    table = few_images.final_losses(Trained(losses), {"a": runs_of})
    low, high = stats.t.interval(0.95, 2, 0.4, stats.sem([0.2, 0.3, 0.7]))
    assert table.values.tolist() == [["a", f"0.400 [{low:.3f}, {high:.3f}]"]]


def test_table_8_stands_under_the_names_of_its_methods(plan):
    rows, printed = few_images.same_images(plan)
    assert list(rows) == [SCRATCH, "supervised", "MoCo v3", "MAE", "R-MAE", "C-MAE"]
    assert list(rows.values()) == list(family.table8(plan).values())
    table = paper.table("S004.T8")
    for measure, column in ((PROBE, "lin prob"), (TUNED, "FT acc"), ("few labels (%)", "FT10 acc")):
        assert list(printed[measure].values()) == table[column].tolist()
        assert list(printed[measure]) == list(rows)


def found(datasets=("menagerie",)) -> pd.DataFrame:
    values = {PROBE: [5.0, 40, 35, 20, 22, 18], TUNED: [60.0, 61, 62, 70, 65, 66],
              "few labels (%)": [0.0, 1, 2, 3, 4, 5]}
    names = [SCRATCH, SUPERVISED, MOCO, MAE, "R-MAE", "C-MAE"]
    return pd.DataFrame([{"dataset": data, "measure": measure, "row": row, "value": value}
                         for data in datasets for measure, column in values.items()
                         for row, value in zip(names, column, strict=True)])


def test_places_are_those_of_each_panel_by_itself(plan):
    _, printed = few_images.same_images(plan)
    ranks = few_images.ranked(found(("menagerie", "fashion_mnist")), printed, [PROBE, TUNED])
    assert list(dict.fromkeys(ranks.panel)) == ["Kong and Zhang", "ours, Menagerie",
                                                "ours, Fashion-MNIST"]
    ours = ranks[ranks.panel == "ours, Menagerie"].set_index("row")
    assert ours[PROBE].to_dict() == {SCRATCH: 6, SUPERVISED: 1, MOCO: 2, MAE: 4, "R-MAE": 3,
                                     "C-MAE": 5}
    assert ours[TUNED].to_dict() == {SCRATCH: 6, SUPERVISED: 5, MOCO: 4, MAE: 1, "R-MAE": 3,
                                     "C-MAE": 2}
    theirs = ranks[ranks.panel == "Kong and Zhang"].set_index("row")
    for measure in (PROBE, TUNED):
        values = np.array([printed[measure][row] for row in theirs.index])
        assert theirs[measure].tolist() == stats.rankdata(-values).tolist()
    assert theirs.loc[MOCO].drop("panel").tolist() == [1, 6]


def test_a_paper_without_all_numbers_has_no_panel():
    for printed in ({}, {PROBE: {MAE: 1.0}}):
        assert set(few_images.ranked(found(), printed, [PROBE, TUNED]).panel) == {
            "ours, Menagerie"}


def test_slopes_join_the_places_of_a_row_and_name_it_once(plan):
    _, printed = few_images.same_images(plan)
    ranks = few_images.ranked(found(), printed, [PROBE, TUNED])
    figure = few_images.slopes(ranks)
    figure.canvas.draw()
    assert [ax.get_title() for ax in figure.axes] == ["Kong and Zhang", "ours, Menagerie"]
    for ax, (_, part) in zip(figure.axes, ranks.groupby("panel", sort=False), strict=True):
        lines = [line.get_ydata().tolist() for line in ax.lines]
        assert lines == part[[PROBE, TUNED]].to_numpy().tolist()
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["linear probe", "fine-tuned"]
        bottom, top = ax.get_ylim()
        assert bottom > top  # the first place on top
    words = {text.xy[1]: text.get_text() for text in figure.axes[0].texts}
    assert words == {1: "MAE", 2.5: "R-MAE, C-MAE", 4: "supervised", 5: "no pretraining",
                     6: "MoCo v3"}
    colours = [[line.get_color() for line in ax.lines] for ax in figure.axes]
    assert colours[0] == colours[1] and len(set(colours[0])) == 6


@pytest.mark.parametrize(("columns", "rows", "message"), [
    ([PROBE], 6, "got 6 rows and 1 measures"), ([PROBE, TUNED], 0, "got 0 rows and 2 measures"),
    ([PROBE, TUNED, "few labels (%)"], 6, "got 6 rows and 3 measures")])
def test_other_than_two_measures_are_refused(columns, rows, message):
    ranks = few_images.ranked(found(), {}, columns)[:rows]
    with pytest.raises(ValueError, match=f"ranks must have rows and two measures, {message}"):
        few_images.slopes(ranks)
