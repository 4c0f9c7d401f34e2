"""The claim on equations 3 to 8 of Kong and Zhang: MAE as a siamese network, R-MAE as a bound."""

import itertools

import numpy as np
import pytest
import torch

from mae_lib import theory_claims
from mae_lib.ledger import siamese
from mae_lib.ledger.claims import claims
from mae_lib.ledger.siamese import Case, Terms, terms


def by_loops(a, b, region) -> float:
    """Mean squared difference of the numbers of those patches that count."""
    found = [(float(x) - float(y)) ** 2 for i, j in np.ndindex(*region.shape) if region[i, j]
             for x, y in zip(a[i, j], b[i, j], strict=True)]
    return sum(found) / len(found)


def test_both_equations_hold_in_every_draw():
    verdict = siamese.equations_hold(20, 1)
    assert verdict.word == "supported"
    assert list(verdict.parts) == ["equation 7 is equation 3: 40 trials",
                                   "bound by R-MAE: 40 trials"]


def test_a_single_failure_refutes_the_claim(monkeypatch):
    true = list(siamese.cases(2, 1))
    apart = true[0]._replace(solved=Terms(1.0, 1.0 + 1e-9, 0.0))
    above = true[0]._replace(mae=(1 + 1 / true[0].weight) * true[0].relaxed + 1e-9)
    for wrong, part in ((apart, "equation 7 is equation 3"), (above, "bound by R-MAE")):
        monkeypatch.setattr(siamese, "cases", lambda *_, wrong=wrong: [wrong, *true[1:]])
        verdict = siamese.equations_hold(2, 1)
        means = {name: effect.mean for name, effect in verdict.parts.items()}
        assert verdict.word == "not supported" and means.pop(f"{part}: 4 trials") == -0.25
        assert list(means.values()) == [0]


def test_a_loss_that_is_a_thousandth_too_small_is_found_out(monkeypatch):
    true = Terms.relaxed
    monkeypatch.setattr(Terms, "relaxed", lambda self, weight: 0.999 * true(self, weight))
    assert siamese.equations_hold(10, 0).word == "not supported"


def test_errors_are_means_over_the_patches_of_the_region():
    rng = np.random.default_rng(0)
    one, two, target = rng.normal(size=(3, 2, 5, 4))
    region = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
    found = terms(*map(torch.from_numpy, (one, two, target, region)))
    assert found == pytest.approx((by_loops(one, target, region), by_loops(one, two, region),
                                   by_loops(two, target, region)))
    assert found.relaxed(0.5) == pytest.approx(found.distance + found.residual / 2)


def test_the_best_bound_over_lambda_is_the_triangle_inequality():
    found = Terms(mae=1.0, distance=0.7, residual=0.2)
    bounds = [found.bound(weight) for weight in np.geomspace(1e-3, 1e3, 20_001)]
    assert min(bounds) == pytest.approx((0.7**0.5 + 0.2**0.5) ** 2, rel=1e-6)
    assert found.bound(0) == np.inf and Terms(1.0, 0.0, 1.0).bound(0) == np.inf


@pytest.mark.parametrize("weight", [0.01, 1.0, 30.0])
def test_the_bound_is_met_where_the_second_decoding_divides_the_way_by_lambda(weight):
    one, target = torch.randn(2, 3, 6, 2, dtype=torch.float64,
                              generator=torch.Generator().manual_seed(0))
    region = torch.ones(3, 6, dtype=torch.float64)
    met = terms(one, (one + weight * target) / (1 + weight), target, region)
    assert met.bound(weight) == pytest.approx(met.mae)
    near = terms(one, 0.01 + (one + weight * target) / (1 + weight), target, region)
    assert near.bound(weight) > near.mae == met.mae


def test_a_draw_is_what_mae_and_its_second_branch_say(monkeypatch):
    seen = []

    class Spied(siamese.RMAE):
        def forward(self, images, masks):
            seen.append((network, self, images, masks))
            return super().forward(images, masks)

    network = siamese.mae("toy", seed=0, **siamese.SMALL).double().requires_grad_(False)
    monkeypatch.setattr(siamese, "RMAE", Spied)
    rng, generator = np.random.default_rng(3), torch.Generator().manual_seed(3)
    kinds = set()
    for weight in (0.2, 5.0, 1.0, 1.0, 1.0, 1.0):
        case = siamese._of_network(network, weight, rng, generator)
        _, branches, x, masks = seen.pop()
        assert case.solved.mae == pytest.approx(float(network(x, masks.first)))  # MAE's own loss
        one, two = (network.predict(x, mask) for mask in (masks.first, masks.second))
        where, target = masks.compared.numpy(), network.encoder.patches(x)
        assert case.mae == pytest.approx(by_loops(one, target, where))
        assert case.relaxed == pytest.approx(by_loops(one, two, where)
                                             + weight * by_loops(two, target, where))
        kinds.add(branches.second)
    assert len(kinds) > 1


def test_draws_are_of_many_kinds_repeatable_and_often_tight():
    found = list(siamese.cases(30, 0))
    assert len(found) == 60
    again, other = (next(siamese.cases(1, seed)) for seed in (0, 1))
    assert again[1:] == found[0][1:] != other[1:]
    assert all(c.solved.residual < 1e-24 and c.solved.mae > 1e-3 for c in found)
    weights = [c.weight for c in found]
    assert min(weights) < 0.01 and max(weights) > 100
    share = [c.mae / ((1 + 1 / c.weight) * c.relaxed) for c in found]
    assert sum(s > 0.9999 for s in share) > 5 and sum(s < 0.5 for s in share) > 5


def test_outside_the_region_the_second_decoding_may_say_anything():
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for weight, _ in itertools.product((0.1, 10.0), range(3)):
        case = siamese._of_predictions(weight, rng, generator)
        assert isinstance(case, Case) and case.solved.residual == 0
        assert case.solved.distance == case.solved.mae == case.mae


class Anything:
    """Answers whatever is asked of it."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: "another"


def test_the_ledger_asks_for_as_many_draws_as_the_claim_wants(monkeypatch):
    for name in ("theory", "mask_graphs", "identification", "world_rules"):
        monkeypatch.setattr(theory_claims, name, Anything())
    for name in ("weakest", "pixel_dependence"):
        monkeypatch.setattr(theory_claims, name, lambda *args: "another")
    monkeypatch.setattr(siamese, "equations_hold", lambda draws, seed: (draws, seed))
    found = theory_claims.theory_claims(
        graphs=5, masks=1, ratios=[0.5], unit_ratio=0.75, trial_seeds=[0], trial_steps=1, images=1,
        pairs=1, distances=[1], seed=7)
    assert found.pop("O-5") == (theory_claims.DRAWS, 7) and theory_claims.DRAWS >= 1000
    assert set(found.values()) == {"another"}
    assert {claim.id for claim in claims(found)} == {
        *(f"K-T{i}" for i in (*range(1, 9), 10)), "S-23", "S-24", "S-30"}
