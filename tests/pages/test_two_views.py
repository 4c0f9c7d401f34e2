"""Masks of two branches fit each other; losses come in the order in which they fell."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mae_lib import runs, studies
from mae_lib.models.contrastive import infonce
from mae_lib.pages import two_views
from mae_lib.studies import Setting


@pytest.fixture(scope="module")
def drawn():
    return two_views.branches(Setting(preset="toy", ratio=0.75), count=5)


def test_branches_see_what_the_paper_says(drawn):
    images, hidden = drawn
    assert images.shape == (5, 3, 32, 32) and images.min() >= 0 and images.max() <= 1
    assert list(hidden) == ["T1", "T2", "T2, a quarter", "compared"]
    shares = {name: masks.mean((1, 2)).tolist() for name, masks in hidden.items()}
    assert shares["T1"] == [0.75] * 5 and shares["T2"] == shares["T2, a quarter"] == [0.25] * 5
    assert np.array_equal(hidden["T1"], ~hidden["T2"])
    compared = ~hidden["compared"]
    assert np.array_equal(compared, hidden["T1"] & ~hidden["T2, a quarter"])
    assert len({masks.tobytes() for masks in hidden["T1"]}) == 5


def test_the_same_seed_gives_the_same_masks(drawn):
    _, again = two_views.branches(Setting(preset="toy", ratio=0.75), count=5)
    _, other = two_views.branches(Setting(preset="toy", ratio=0.75), count=5, seed=1)
    assert np.array_equal(again["T1"], drawn[1]["T1"])
    assert not np.array_equal(other["T1"], drawn[1]["T1"])


def plan(curves: dict) -> SimpleNamespace:
    """A plan whose runs have these losses, by data set and seed."""
    def sweep(study, settings):
        assert study is studies.LOSSES
        return studies.Sweep(settings, [runs.Result({"curve": curves[s.dataset, s.seed]}, {},
                                                    "cache") for s in settings])

    return SimpleNamespace(sweep=sweep, batch=32, method_datasets=("menagerie", "fashion_mnist"))


def test_losses_are_means_over_stretches_and_runs():
    one, two = np.repeat([4.0, 3.0, 2.0, 1.0], 25), np.repeat([2.0, 3.0, 0.0, 1.0], 25)
    settings = [Setting(preset="toy", seed=seed) for seed in (0, 1)]
    here = plan({("menagerie", 0): one, ("menagerie", 1): two})
    found, sweeps = two_views.losses(here, {"a": settings, "b": settings[:1]}, points=4)
    assert found.columns.tolist() == ["panel", "row", "done", "value"] and len(sweeps) == 2
    lines = {row: part.sort_values("done") for row, part in found.groupby("row")}
    assert lines["a"].value.tolist() == [3, 3, 1, 1] and lines["b"].value.tolist() == [4, 3, 2, 1]
    assert lines["a"].done.tolist() == [0.25, 0.5, 0.75, 1] and set(found.panel) == {"Menagerie"}


def test_a_short_training_has_as_many_points_as_steps():
    here = plan({("menagerie", 0): np.array([3.0, 2.0])})
    found, _ = two_views.losses(here, {"a": [Setting(preset="toy")]})
    assert found.value.tolist() == [3, 2] and found.done.tolist() == [0.5, 1]


def test_guessing_is_the_loss_of_features_that_are_all_alike():
    lines, alike = two_views.guessing(plan({})), torch.ones(32, 3, 4)
    assert set(lines) == {"Menagerie", "Fashion-MNIST"}
    assert lines["Menagerie"]["guessing"] == pytest.approx(infonce(alike, alike).item())
