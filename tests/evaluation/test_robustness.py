"""Scoring rules against a slow loop, and what accuracy predicts."""

import numpy as np
import pytest
from scipy.special import logit

from mae_lib.data.shifts import SHIFTS
from mae_lib.evaluation.robustness import RULES, effective_robustness, score_variant
from mae_lib.ledger import paper

K = 12
GROUPS = [{0}, {2, 5}, {3}, {7, 8, 11}, {9}, {10}]
ALLOWED = set().union(*GROUPS)


def random_case(seed, n=60):
    rng = np.random.default_rng(seed)
    logits = rng.integers(-4, 5, (n, K)) / 2  # ties are frequent
    return logits, [GROUPS[g] for g in rng.integers(0, len(GROUPS), n)]


def slow(logits, targets, rule, first):
    """Is one of the ``first`` best answers right, image by image."""
    right = []
    for row, target in zip(logits, targets, strict=True):
        if rule == "projected":
            order = sorted(range(len(GROUPS)), key=lambda g: -max(row[c] for c in GROUPS[g]))
            right.append(GROUPS.index(target) in order[:first])
        else:
            classes = sorted(ALLOWED) if rule == "restricted" else range(K)
            order = sorted(classes, key=lambda c: -row[c])  # stable: smaller index first
            right.append(bool(target & set(order[:first])))
    return np.array(right)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_equals_a_slow_loop(rule):
    for seed in range(20):
        logits, targets = random_case(seed)
        found = score_variant(logits, targets, ALLOWED, rule, groups=GROUPS)
        expected = slow(logits, targets, rule, 1)
        assert np.array_equal(found.correct, expected) and found.n == 60
        assert found.top1 == pytest.approx(expected.mean())
        assert found.top5 == pytest.approx(slow(logits, targets, rule, 5).mean())


def test_an_answer_that_is_right_among_all_is_right_among_the_allowed():
    violations = gains = 0
    for seed in range(84):  # 5,040 images
        logits, targets = random_case(seed)
        logits += np.random.default_rng(seed).normal(size=logits.shape)
        full, restricted, projected = (score_variant(logits, targets, ALLOWED, rule, groups=GROUPS)
                                       for rule in ("full", "restricted", "projected"))
        violations += (full.correct & ~restricted.correct).sum()
        gains += (restricted.correct & ~full.correct).sum()
        assert np.array_equal(restricted.correct, projected.correct)
    assert violations == 0 and gains > 100


def test_the_rules_agree_where_every_class_is_allowed():
    logits, targets = random_case(3)
    results = [score_variant(logits, targets, allowed, rule)
               for allowed in (None, range(K)) for rule in ("full", "restricted")]
    assert all(np.array_equal(results[0].correct, other.correct) for other in results)
    assert len({result.top5 for result in results}) == 1


@pytest.mark.parametrize("classes", [200, 113])
def test_constant_logits_give_chance(classes):
    allowed = range(3, 3 + classes)
    targets = [{c} for c in allowed]
    constant = score_variant(np.zeros((classes, 400)), targets, allowed)
    assert constant.top1 == pytest.approx(1 / classes) and constant.correct[0]
    rng = np.random.default_rng(0)
    tops = [score_variant(1e-9 * rng.random((classes, 400)), targets, allowed) for _ in range(100)]
    error = np.sqrt(1 / classes / (100 * classes))
    assert abs(np.mean([t.top1 for t in tops]) - 1 / classes) < 3 * error
    assert abs(np.mean([t.top5 for t in tops]) - 5 / classes) < 3 * np.sqrt(5) * error


@pytest.mark.parametrize("rule", RULES)
def test_the_truth_is_right_under_every_rule(rule):
    _, targets = random_case(1)
    logits = np.zeros((60, K))
    for row, target in zip(logits, targets, strict=True):
        row[max(target)] = 1
    assert score_variant(logits, targets, ALLOWED, rule, groups=GROUPS).top1 == 1


def test_a_thousand_classes_fit():
    logits = np.random.default_rng(0).normal(size=(300, 1000))
    targets = [{int(row.argsort()[-3])} for row in logits]
    found = score_variant(logits, targets, None, "full")
    assert (found.top1, found.top5) == (0, 1)


ONES = np.ones((2, 4))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: score_variant(np.ones((3, 4)), [{0}] * 2), r"logits must have shape \[2,K\]"),
    (lambda: score_variant(np.ones((0, 4)), []), r"got \[0, 4\]"),
    (lambda: score_variant(ONES * np.nan, [{0}] * 2), "logits must be finite"),
    (lambda: score_variant(ONES, [{0}, set()]), r"targets must be sets .* not empty, got \[\]"),
    (lambda: score_variant(ONES, [{0}, {4}]), r"classes in 0..3, not empty, got \[4\]"),
    (lambda: score_variant(ONES, [{0}, {1}], {0, 2}), "targets must lie in allowed, got class 1"),
    (lambda: score_variant(ONES, [{0}] * 2, None, "open"), "rule must be one of restricted, full"),
    (lambda: score_variant(ONES, [{0}] * 2, None, "projected"), "groups must be given"),
    (lambda: score_variant(ONES, [{0}] * 2, None, "projected", groups=[{0, 1}, {2}]),
     r"each target must be one of groups, got \[0\]"),
    (lambda: score_variant(ONES, [{0}] * 2, None, "projected", groups=[{0}, {2, 0}]),
     "groups must be disjoint, got class 0 in two"),
    (lambda: effective_robustness([0.5, 0.6], [0.1, 0.2]), "at least 3 accuracies that differ"),
    (lambda: effective_robustness([0.5] * 3, [0.1, 0.2, 0.3]), "got 3 with 1 values"),
    (lambda: effective_robustness([0.5, 0.6, 0.7], [0.1, 0.2]), r"got shapes \[3\] and \[2\]"),
    (lambda: effective_robustness([0.5, 0.6, 1.0], [0.1, 0.2, 0.3]), "inside must lie in"),
    (lambda: effective_robustness([0.5, 0.6, 0.7], [0.0, 0.2, 0.3]), "outside must lie in"),
])
def test_bad_requests_get_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_settings_on_a_line_have_no_effective_robustness():
    x = np.linspace(-1, 2, 6)
    inside, outside = sigmoid(x), sigmoid(0.7 * x - 2)
    assert np.allclose(effective_robustness(inside, outside), 0, atol=1e-12)
    raised = effective_robustness(inside, sigmoid(0.7 * x - 1.6), (inside, outside))
    assert np.allclose(raised, 0.4)


def test_residuals_are_those_of_the_normal_equations():
    rng = np.random.default_rng(4)
    inside, outside = rng.uniform(0.2, 0.9, (2, 9))
    x, y = logit(inside), logit(outside)
    design = np.stack([x, np.ones(9)], axis=1)
    weights = np.linalg.solve(design.T @ design, design.T @ y)
    assert np.allclose(effective_robustness(inside, outside), y - design @ weights)


@pytest.mark.parametrize(("column", "expected"), [
    ("IN-v2", [0, 0, 0, 0, 0]), ("OJN", [0, 0, 0, 0, 0]), ("IN-R", [-.05, .07, .11, .04, -.18]),
    ("IN-A", [-.01, .05, .02, .07, -.12]), ("IN-S", [-.06, .11, .10, .07, -.21])])
def test_the_printed_ratio_series_has_the_known_residuals(column, expected):
    rows = paper.series("S000.T1", "ratio_series") / 100
    margin = 0.03 if column in ("IN-v2", "OJN") else 0.011
    assert np.allclose(effective_robustness(rows["IN1K"], rows[column]), expected, atol=margin)


def test_every_shift_stands_for_a_column_of_table_1():
    assert set(SHIFTS.values()) == set(paper.table("S000.T1").columns[3:])
