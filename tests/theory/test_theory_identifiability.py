import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import r2_score

from mae_lib import identification
from mae_lib.theory.families import figure4
from mae_lib.theory.graph import GraphError
from mae_lib.theory.identifiability import scores as scoring
from mae_lib.theory.identifiability.cases import CASES, run
from mae_lib.theory.identifiability.estimators import Estimator, Flow
from mae_lib.theory.identifiability.graph_world import graph_world
from mae_lib.theory.identifiability.rules import RULES, Rule
from mae_lib.theory.identifiability.scores import POINTS, explained, whitened
from mae_lib.theory.identifiability.worlds import WORLDS, world


def draw(name: str, n: int = 4000, seed: int = 0):
    made = (graph_world(figure4(), ["x1", "x2", "x5", "x6"], seed) if name == "graph"
            else world(name, seed))
    return made(n, torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [*WORLDS, "graph"])
def test_a_world_is_the_same_for_the_same_seed(name):
    assert all(torch.equal(a, b) for a, b in zip(draw(name), draw(name), strict=True))
    assert not torch.equal(draw(name).x_m, draw(name, seed=1).x_m)


@pytest.mark.parametrize("name", ["leaky", "linear", "s_m on c"])
def test_both_observations_are_invertible_functions_of_their_latents(name):
    """The Jacobian of the mixing, by differences of nearby samples, has full rank."""
    sample = draw(name, 3000)
    for latents, observed in (((sample.c, sample.s_m), sample.x_m),
                              ((sample.c, sample.s_mc), sample.x_mc)):
        z, x = torch.cat(latents, 1), observed
        middle = z - z.mean(0)
        near = middle.square().sum(1).argsort()[:60]
        a, b = z[near] - z[near].mean(0), x[near] - x[near].mean(0)
        slope = torch.linalg.lstsq(a, b).solution
        assert torch.linalg.svdvals(slope).min() > 0.05


def test_latents_depend_on_each_other_as_the_world_says():
    def tied(a, b):
        return explained(a[:2 * POINTS].double().numpy(), b[:2 * POINTS].double().numpy())

    plain, on_c, on_mc = (draw(n) for n in ("leaky", "s_m on c", "s_m on s_mc"))
    assert tied(plain.c, plain.s_mc) > 0.3 and tied(plain.c, plain.s_m) < 0.05
    assert tied(on_c.c, on_c.s_m) > 0.3 and tied(on_mc.s_mc, on_mc.s_m) > 0.3
    half = draw("half of c")
    assert tied(half.x_mc, half.c[:, :1]) > 0.9 and tied(half.x_mc, half.c[:, 1:]) < 0.05


def test_the_mean_zero_world_has_no_conditional_mean_and_the_biased_one_has():
    for name, below in (("mean zero", True), ("biased sign", False)):
        sample = draw(name, 100_000)
        upper = sample.c[:, 0] > 1
        assert (sample.x_m[upper, 0].mean().abs() < 0.05) == below
        torch.testing.assert_close(sample.x_m[:, :2], sample.c * sample.s_m)


def test_a_flow_is_invertible():
    torch.manual_seed(0)
    flow, x = Flow(4), torch.randn(50, 4)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: flow(row[None])[0]))(x)
    assert torch.linalg.svdvals(jacobians).min() > 1e-2
    z = flow(x)
    for rotation, condition in reversed(list(zip(flow.rotations, flow.conditions, strict=True))):
        fixed, moved = z.split([2, 2], 1)
        scale, shift = condition(fixed).chunk(2, 1)
        z = torch.cat([fixed, (moved - shift) * torch.exp(-torch.tanh(scale))], 1) @ rotation.T
    torch.testing.assert_close(z, x, rtol=1e-4, atol=1e-4)


def test_the_energy_score_is_least_for_the_true_law():
    """Draws from the true law beat a law that is shifted, too wide or too narrow."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 2, generator=rng)

    class Law(Estimator):
        def encode(self, x_mc):
            return x_mc

        def decode(self, code, rng):
            return self.shift + self.width * torch.randn(len(code), 2, generator=rng)

    losses = []
    for shift, width in [(0, 1), (0.5, 1), (0, 1.5), (0, 0.6)]:
        law = Law(2, 2, 2, "energy")
        law.shift, law.width = shift, width
        losses.append(float(law.loss(x, x, rng)))
    assert losses[0] == min(losses) and min(losses[1:]) > losses[0] + 0.01


def test_explained_variance_is_high_for_functions_and_zero_for_noise():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * POINTS, 2))
    assert explained(x, np.stack([np.sin(x[:, 0]), x.prod(1)], 1)) > 0.95
    assert explained(x, rng.standard_normal((2 * POINTS, 2))) < 0.05


def test_it_is_reported_on_points_that_chose_nothing():
    """Points of the last quarter have no influence on the fit."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2 * POINTS, 1))
    y = x + 0.1 * rng.standard_normal(x.shape)
    worse = y.copy()
    worse[-POINTS // 2:] = rng.permutation(worse[-POINTS // 2:])
    assert explained(x, y) > 0.9 > 0.1 > explained(x, worse)


def test_whitening_shows_a_leak_in_a_direction_of_little_variance():
    rng = np.random.default_rng(2)
    c, other = rng.standard_normal((2, 2 * POINTS, 1))
    code = np.hstack([c, 0.01 * other]) @ np.linalg.qr(rng.standard_normal((2, 2)))[0]
    white = whitened(code)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(2), atol=1e-8)
    assert explained(c, white) < 0.7
    assert whitened(np.hstack([c, 1e-6 * other])).shape[1] == 1
    assert r2_score(c, white @ np.linalg.lstsq(white, c, rcond=None)[0]) > 0.99


@pytest.mark.parametrize("name", ["no training", "squared error", "code too small",
                                  "code too large", "mean zero"])
def test_training_finds_what_the_theory_says(name):
    """Slow, some five seconds each."""
    found = pd.DataFrame([{"case": name, "seed": 1, **run(name, seed=1, steps=800)}])
    assert identification.expectations(found)["as expected"][0] == "1\xa0of\xa01", found


def test_a_case_is_deterministic(monkeypatch):
    monkeypatch.setattr(scoring, "POINTS", 80)
    assert run("energy", 3, 5) == run("energy", 3, 5) != run("energy", 4, 5)


@pytest.mark.parametrize("name", CASES)
def test_every_case_runs_and_has_rules(name, monkeypatch):
    monkeypatch.setattr(scoring, "POINTS", 80)
    assert np.isfinite([run(name, 0, 1)[rule.score] for rule in RULES[name]]).all()


def test_rules_hold_on_their_side_of_the_bound_only():
    for sign, values in {">": [False, True, False], "<": [True, False, True],
                         "within": [False, False, True]}.items():
        assert [Rule("leak", sign, 0.1).holds(v) for v in (-0.5, 0.5, 0.05)] == values


def test_trials_are_found_again_and_tabled(tmp_path, monkeypatch):
    monkeypatch.setenv("MAE_LIB_CACHE", str(tmp_path))
    monkeypatch.setenv("MAE_LIB_PUBLISHED", str(tmp_path / "none"))
    measured = identification.experiment(["no training"], [0, 1], 1)
    again = identification.experiment(["no training"], [0, 1], 1)
    assert [r.where for r in again.results] == ["cache"] * 2
    table = identification.summary(identification.scores(measured))
    assert table.case.tolist() == ["no training"] and "±" in table["code → c"][0]


def test_what_was_expected_is_counted_and_the_seeds_without_it_are_named():
    rows = [("mean zero, energy", 0, 0.95), ("mean zero, energy", 1, 0.7),
            ("mean zero, energy", 4, 0.9), ("mean zero", 0, 0.5), ("mean zero", 1, 0.65),
            ("mean zero", 4, 0.85)]
    found = pd.DataFrame(rows, columns=["case", "seed", "code > c"]).assign(variance=1e-5)
    table = identification.expectations(found).set_index("case").replace("\xa0", " ", regex=True)
    assert table["as expected"].to_dict() == {"mean zero, energy": "1 of 3; not seed 1, 4",
                                              "mean zero": "3 of 3"}
    assert table.expected.to_dict() == {
        "mean zero, energy": "code → c > 0.88; code → c − that of “mean zero” > 0.1",
        "mean zero": "variance < 0.001"}
    alone = identification.expectations(found[found.case == "mean zero, energy"])
    assert alone["as expected"][0].endswith("not\xa0seed\xa01") and "−" not in alone.expected[0]


def test_the_chart_has_a_row_a_case():
    rows = [("energy", 0, 0.5, 0.9), ("energy", 1, 0.7, 0.9), ("mean zero", 0, 0.1, 0.2)]
    found = pd.DataFrame(rows, columns=["case", "seed", "code > c", "c > code"])
    left = identification.chart(found).axes[0]
    assert [label.get_text() for label in left.get_yticklabels()] == ["energy", "mean zero"]
    seeds, means = left.lines
    np.testing.assert_allclose(seeds.get_xydata(), [[0.5, 0], [0.7, 0], [0.1, 1]])
    np.testing.assert_allclose(means.get_xydata(), [[0.6, 0], [0.1, 1]])


def test_only_the_latent_graph_is_stale_when_the_search_changes():
    fresh = {case: identification.IDENTIFIABILITY.key(identification.Trial(case, 0, 1)).freshness()
             for case in ("squared error", "squared error, latent graph")}
    assert {name for name in fresh["squared error"] if name.startswith("mae_lib.theory.")} == {
        f"mae_lib.theory.identifiability{part}"
        for part in ("", ".cases", ".estimators", ".scores", ".worlds")}
    assert "mae_lib.theory.search" in fresh["squared error, latent graph"]
    assert not any("rules" in name for one in fresh.values() for name in one)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: world("flat", 0), "name must be one of leaky, .*, half of c, got 'flat'"),
    (lambda: graph_world(figure4(), ["z1"], 0), "z1"),
    (lambda: Estimator(4, 4, 2, "mae"), "loss must be one of mse, energy, invertible"),
    (lambda: Estimator(4, 4, 2, "mse", "nothing"), "sees one of code, magnitude, projection"),
    (lambda: run("squared error", 0, 0), "at least one step, got 'squared error' and 0"),
    (lambda: identification.Trial("best", 0, 1), "case must be one of no training"),
])
def test_bad_input_gets_a_sentence(call, message):
    with pytest.raises((ValueError, GraphError), match=message):
        call()
