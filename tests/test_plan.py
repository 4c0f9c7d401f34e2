"""A tier's plan: the series of the papers, each run once, and arms that differ in one thing."""

import pytest
import yaml

from mae_lib import runs, studies
from mae_lib.models.masks import visible_count
from mae_lib.studies import ARMS, Plan, program

PARAMETERS = {
    "datasets": ["menagerie", "fashion_mnist"], "seeds": [0, 1], "preset": "laptop",
    "views": 3200, "batch": 32, "lr": 1e-3, "ratios": [0.1, 0.75, 0.9], "units": [4, 8, 16],
    "unit_ratio": 0.75, "train_images": 64, "patches": [4, 8, 16], "arm_datasets": ["menagerie"],
    "arm_ratios": [0.1, 0.75, 0.9], "arm_seeds": [0], "longer": 2.0, "margins": [1, 2],
    "policies": ["whole", "anti"], "probe_images": 8, "probe_test_images": 8, "test_images": 8,
}
PLAN = Plan.of(PARAMETERS | {"something else": 1})


def differing(one, other) -> set[str]:
    one, other = one.described(), other.described()
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_series_vary_what_they_are_named_for():
    assert len(PLAN.core) == 2 * 2 * 5 == len(set(PLAN.core))
    assert {s.ratio for s in PLAN.ratio_series} == {0.1, 0.75, 0.9}
    assert {(s.ratio, s.unit) for s in PLAN.ratio_series} == {(r, 4) for r in (0.1, 0.75, 0.9)}
    assert {(s.ratio, s.unit) for s in PLAN.unit_series} == {(0.75, u) for u in (4, 8, 16)}
    assert {(s.patch, s.unit) for s in PLAN.coupled_series} == {(None, 4), (8, 8), (16, 16)}


def test_the_smallest_coupled_patch_is_a_run_of_the_core():
    assert [s for s in PLAN.coupled_series if s.patch is None] == [
        s for s in PLAN.unit_series if s.unit == 4]


def test_every_seed_of_a_data_set_has_an_untrained_control():
    assert sorted((s.dataset, s.seed, s.views) for s in PLAN.untrained) == [
        (d, seed, 0) for d in ("fashion_mnist", "menagerie") for seed in (0, 1)]


@pytest.mark.parametrize(("name", "field"), [("equal tokens", "views"), ("longer", "views"),
                                             ("normalised", "target"), ("margin", "margin"),
                                             ("guided", "policy")])
def test_an_arm_differs_from_the_core_in_one_thing(name, field):
    arm = PLAN.arm(name)
    assert arm and {s.dataset for s in arm} == {"menagerie"}
    found = [min((differing(setting, usual) for usual in PLAN.core), key=len) for setting in arm]
    assert {field} in found and all(names <= {field} for names in found)


def test_equal_tokens_are_equal_to_within_a_batch():
    for setting in PLAN.arm("equal tokens"):
        seen = setting.views * (1 + visible_count(64, setting.ratio))
        assert abs(seen - 3200 * 17) <= 32 * 64 and setting.views % 32 == 0


def test_at_the_usual_ratio_equal_tokens_are_the_usual_run():
    odd = Plan.of(PARAMETERS | {"views": 1000})  # no whole batches
    assert {s.ratio for s in odd.arm("equal tokens")} == {0.1, 0.75, 0.9}
    assert set(odd.arm("equal tokens")) & set(odd.beside_arms) == {
        s for s in odd.core if (s.dataset, s.ratio, s.unit, s.seed) == ("menagerie", 0.75, 4, 0)}


@pytest.mark.parametrize("name", ARMS)
def test_arms_have_their_own_seeds(name):
    assert {s.seed for s in PLAN.arm(name)} == {0}
    assert set(PLAN.arm(name)) <= set(program(PLAN)[studies.PRETRAINING])


def test_an_unknown_arm_is_refused():
    with pytest.raises(ValueError, match="name must be one of equal tokens, longer"):
        PLAN.arm("shorter")


def test_what_is_not_set_does_not_enter_the_key():
    plain = studies.Setting(train_images=64)
    key = studies.PRETRAINING.key(plain)
    assert "patch" not in key.settings and "policy" not in key.settings
    names = {studies.PRETRAINING.key(s).name for s in (
        plain, studies.Setting(train_images=64, patch=8, unit=8),
        studies.Setting(train_images=64, margin=1), studies.Setting(train_images=64,
                                                                    policy="whole"))}
    assert len(names) == 4


def test_published_networks_are_those_of_the_laptop_tiers_first_seed():
    """Figures draw from one seed; the weights of the others are not committed."""
    tier = yaml.safe_load((runs.ROOT / "params" / "laptop.yaml").read_text())
    plan = Plan.of(tier | {"lr": float(tier["lr"]), "seeds": tier["seeds"][:1]})
    found = {s: runs.find(studies.PRETRAINING.key(s), if_stale="show") for s in plan.core}
    assert {s: result.stale if result else "missing" for s, result in found.items()} == {
        s: [] for s in plan.core}


def test_the_program_trains_first_and_holds_everything_once():
    work = program(PLAN)
    first, *rest = work
    assert first is studies.PRETRAINING
    trained = work[first]
    assert len(trained) == len(set(trained))
    assert set(PLAN.core + PLAN.coupled_series).union(*map(PLAN.arm, ARMS)) == set(trained)
    for study in rest:
        assert {s for s in work[study] if s.views} <= set(trained), study.kind
        assert len(work[study]) == len(set(work[study])), study.kind


def test_a_plan_gives_a_study_the_arguments_it_asks_for():
    key = PLAN.key(studies.LINEAR_PROBE, PLAN.core[0])
    assert (key.settings["probe_images"], key.settings["probe_test_images"]) == (8, 8)
    assert "test_images" not in key.settings
