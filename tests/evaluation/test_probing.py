import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from mae_lib.evaluation import logistic
from mae_lib.evaluation.features import FeatureBank
from mae_lib.evaluation.lars import GradientProbe, new_head, new_optimizer
from mae_lib.evaluation.logistic import LinearProbe
from mae_lib.evaluation.neighbours import NearestNeighbours
from mae_lib.evaluation.probing import knn_probe, linear_probe


def bank(X, y, start=0):
    return FeatureBank(np.asarray(X, np.float32)[:, None], np.asarray(y),
                       np.arange(start, start + len(X)))


def clusters(n, seed, classes=4, width=8, spread=1.0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, width)) * 1.2
    return centres[y] + spread * rng.normal(size=(n, width)), y


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    return bank(X[:1078], y[:1078]), bank(X[1078:], y[1078:], 1078)


@pytest.fixture(scope="module")
def noisy():
    return bank(*clusters(400, 0)), bank(*clusters(200, 1), 400)


# linear probe, L-BFGS

def test_the_linear_probe_is_scikit_learns_on_standardised_features(noisy):
    train, test = noisy
    result = linear_probe(train, test, C=0.1)
    mean, scale = train.image.mean(0), train.image.std(0)
    reference = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000)
    reference.fit((train.image - mean) / scale, train.y)
    expected = reference.decision_function((test.image - mean) / scale)
    assert np.allclose(result.logits, expected, atol=5e-3)
    assert result.accuracy == result.correct.mean() == result.probe.score(test.image, test.y)


def test_the_gradient_vanishes_at_the_solution(noisy):
    train, _ = noisy
    probe = LinearProbe(C=0.5).fit(train.image, train.y)
    X = torch.as_tensor((train.image - probe.mean_) / probe.scale_)
    weight = torch.tensor(probe.coef_, requires_grad=True)
    bias = torch.tensor(probe.intercept_, requires_grad=True)
    logits = X @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(train.y), reduction="sum")
    (loss + weight.square().sum() / (2 * 0.5)).backward()
    assert probe.converged_
    assert max(weight.grad.norm(), bias.grad.norm()) < 2e-4 * len(X)


def test_doubled_data_with_half_of_C_give_the_same_probe(noisy):
    train, _ = noisy
    once = LinearProbe(C=0.2, tol=1e-8).fit(train.image, train.y)
    twice = LinearProbe(C=0.1, tol=1e-8).fit(np.tile(train.image, (2, 1)), np.tile(train.y, 2))
    assert np.allclose(once.coef_, twice.coef_, atol=1e-5)


def test_a_constant_feature_and_the_scale_of_features_change_nothing(noisy):
    train, test = noisy
    plain = LinearProbe(C=0.2, tol=1e-8).fit(train.image, train.y)
    other = LinearProbe(C=0.2, tol=1e-8).fit(
        np.hstack([train.image * 1000 + 5, np.full((len(train), 1), 7.0)]), train.y)
    shifted = np.hstack([test.image * 1000 + 5, np.full((len(test), 1), 7.0)])
    assert np.allclose(plain.decision_function(test.image), other.decision_function(shifted),
                       atol=1e-4)


def test_two_classes_have_two_logits(noisy):
    X, y = clusters(100, 0, classes=2)
    probe = LinearProbe(C=1.0).fit(X, y + 5)
    reference = LogisticRegression(C=1.0).fit((X - probe.mean_) / probe.scale_, y)
    logits = probe.decision_function(X)
    assert np.allclose(logits[:, 1] - logits[:, 0],
                       reference.decision_function((X - probe.mean_) / probe.scale_), atol=1e-6)
    assert set(probe.predict(X)) == {5, 6}


def test_C_is_chosen_on_held_out_items_and_reported(noisy):
    train, test = noisy
    probe = linear_probe(train, test).probe
    best = max(probe.held_out_accuracy_.values())
    assert set(logistic.GRID) <= set(probe.held_out_accuracy_)
    assert probe.held_out_accuracy_[probe.C_] >= best - 1 / 40 - 1e-9
    assert linear_probe(train, test).probe.C_ == probe.C_


@pytest.mark.parametrize(("accuracy", "expected"), [
    ({0.01: 0.5, 0.1: 0.9, 1.0: 0.8}, 0.1),
    ({0.01: 0.9, 0.1: 0.9, 1.0: 0.9, 10.0: 0.9}, 1.0),  # flat: the edge is no optimum
    ({0.1: 0.9, 1.0: 0.8, 10.0: 0.9}, 0.1),             # a tie: the stronger penalty
    ({1.0: 0.8, 10.0: 0.8999, 100.0: 0.9}, 10.0),       # within the slack of the best
    ({1.0: 0.8, 10.0: 0.85, 100.0: 0.9}, 100.0),
])
def test_the_choice_of_C(accuracy, expected):
    assert logistic._choose(accuracy, 1e-3) == expected


def test_a_best_C_on_the_edge_extends_the_grid(noisy, monkeypatch):
    train, test = noisy
    monkeypatch.setattr(logistic, "GRID", (1e-8, 1e-7))
    chosen = []

    def rising(accuracy, slack):
        chosen.append(max(accuracy))
        return min(chosen[-1], 1e-5)
    monkeypatch.setattr(logistic, "_choose", rising)
    assert linear_probe(train, test).probe.C_ == 1e-5
    assert chosen == pytest.approx([1e-7, 1e-6, 1e-5, 1e-4])


def test_no_best_C_at_all_is_an_error(noisy, monkeypatch):
    monkeypatch.setattr(logistic, "_choose", lambda accuracy, slack: min(accuracy))
    with pytest.raises(ValueError, match="C must have a best value inside"):
        linear_probe(*noisy)


def test_no_convergence_is_a_flag_and_not_a_warning(digits):
    train, _ = digits
    probe = LinearProbe(C=1.0, max_iter=3).fit(train.image, train.y)
    assert not probe.converged_ and probe.n_iter_ == 3


def test_other_warnings_of_a_fit_are_passed_on(noisy, monkeypatch):
    def fit(self, X, y):
        import warnings
        warnings.warn("something else", FutureWarning, stacklevel=1)
    monkeypatch.setattr(LogisticRegression, "fit", fit)
    with pytest.warns(FutureWarning, match="something else"):
        logistic._fit_quietly(LogisticRegression(), None, None)


def test_views_of_an_image_are_held_out_together():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    X = rng.normal(size=(200, 1, 300)).repeat(4, axis=1)  # labels are noise, views are equal
    probe = LinearProbe().fit(X, y)
    assert max(probe.held_out_accuracy_.values()) < 0.85  # a view seen in training would give 1


def test_views_count_as_items(noisy):
    train, test = noisy
    doubled = FeatureBank(train.X.repeat(2, axis=1), train.y, train.ids)
    once = linear_probe(train, test, C=0.2).logits
    assert np.allclose(linear_probe(doubled, test, C=0.1).logits, once, atol=2e-3)


def test_digits_are_read_by_both_forms(digits):
    assert linear_probe(*digits, C=0.05).accuracy > 0.95
    assert linear_probe(*digits, method="sgd", batch=256, epochs=30).accuracy > 0.94


# LARS

def _reference_lars(p, g, mu, lr):
    """One step as He et al. describe it: trust ratio for matrices, momentum SGD for vectors."""
    if p.ndim > 1:
        norm, update = torch.norm(p), torch.norm(g)
        one = torch.ones_like(norm)
        ratio = torch.where(norm > 0, torch.where(update > 0, 0.001 * norm / update, one), one)
        g = g.mul(ratio)
    mu.mul_(0.9).add_(g)
    p.add_(mu, alpha=-lr)


def test_lars_is_he_et_als_bit_for_bit(generator):
    head = new_head(16, 5, generator)[1]
    optimizer = new_optimizer(head, "lars")
    mine = [p.detach().clone() for p in (head.weight, head.bias)]
    momenta = [torch.zeros_like(p) for p in mine]
    for step in range(20):
        lr = 0.1 * (step + 1)
        for group in optimizer.param_groups:
            group["lr"] = lr
        for p, own, mu in zip((head.weight, head.bias), mine, momenta, strict=True):
            p.grad = torch.randn(p.shape, generator=generator)
            _reference_lars(own, p.grad, mu, lr)
        optimizer.step()
    assert torch.equal(head.weight, mine[0]) and torch.equal(head.bias, mine[1])


def test_the_first_step_of_lars_is_relative_for_the_weight_only(generator):
    head = new_head(16, 5, generator)[1]
    before = head.weight.detach().clone()
    optimizer = new_optimizer(head, "lars")
    head(torch.randn(8, 16, generator=generator)).square().sum().backward()
    optimizer.step()
    length = (head.weight.detach() - before).norm()
    assert length.item() == pytest.approx(0.001 * before.norm().item(), rel=1e-4)
    assert torch.allclose(head.bias.detach(), -head.bias.grad)


def test_frozen_batch_norm_standardises_with_its_running_statistics(digits):
    train, test = digits
    probe = GradientProbe("sgd", epochs=12, batch=256).fit(train.image, train.y)
    norm, linear = probe.head_
    X = (test.image - norm.running_mean.numpy()) / np.sqrt(norm.running_var.numpy() + 1e-6)
    expected = X @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    assert np.allclose(probe.decision_function(test.image), expected, atol=1e-4)


def test_a_small_lars_budget_is_announced(digits):
    train, test = digits
    with pytest.warns(UserWarning, match="LARS budget is .* below 1"):
        result = linear_probe(train, test, "lars", batch=256)
    steps = 90 * (1078 // 256)
    assert result.probe.budget_ == pytest.approx(0.001 * 0.1 * steps / 2, rel=0.02)
    assert result.accuracy < 0.9  # underfits, as announced


def test_enough_lars_budget_reaches_l_bfgs(digits):
    result = linear_probe(*digits, "lars", batch=256, base_lr=6.4)
    assert result.probe.budget_ > 1
    assert abs(result.accuracy - linear_probe(*digits).accuracy) < 0.015


def test_the_budget_of_the_imagenet_recipe():
    from mae_lib.training.schedule import Recipe
    recipe = Recipe(views=90 * 78 * 16384, batch=16384, lr=6.4, warmup=10 / 90)
    assert GradientProbe()._budget(recipe) == pytest.approx(22, rel=0.05)


def test_gradient_probes_use_every_view_and_depend_on_the_seed(digits):
    train, _ = digits
    X = np.stack([train.image, train.image + 1], axis=1)
    first = GradientProbe("sgd", epochs=11, batch=256, seed=1).fit(X, train.y)
    again = GradientProbe("sgd", epochs=11, batch=256, seed=1).fit(X, train.y)
    other = GradientProbe("sgd", epochs=11, batch=256, seed=2).fit(X, train.y)
    assert torch.equal(first.head_[1].weight, again.head_[1].weight)
    assert not torch.equal(first.head_[1].weight, other.head_[1].weight)
    assert first.head_[0].running_mean.mean() > train.image.mean() + 0.3


# nearest neighbours

@pytest.mark.parametrize("temperature", [None, 0.07])
def test_neighbours_equal_a_slow_loop(noisy, temperature):
    train, test = noisy
    probe = NearestNeighbours(7, temperature=temperature).fit(train.image, train.y)
    unit = train.image / np.linalg.norm(train.image, axis=1, keepdims=True)
    for x, votes in zip(test.image[:20], probe.decision_function(test.image[:20]), strict=True):
        similarity = unit @ (x / np.linalg.norm(x))
        expected = np.zeros(4)
        for i in np.argsort(-similarity)[:7]:
            expected[train.y[i]] += 1 if temperature is None else np.exp(similarity[i] / 0.07)
        assert np.allclose(votes, expected, rtol=1e-3)


def test_neighbours_equal_scikit_learn(digits):
    train, test = digits
    reference = KNeighborsClassifier(1, metric="cosine").fit(train.image, train.y)
    ours = NearestNeighbours(1, temperature=None).fit(train.image, train.y)
    assert np.mean(ours.predict(test.image) == reference.predict(test.image)) > 0.999


def test_each_item_is_its_own_nearest_neighbour(digits):
    train, _ = digits
    assert NearestNeighbours(1).fit(train.image, train.y).score(train.image, train.y) == 1


def test_equal_votes_go_to_the_smallest_label():
    probe = NearestNeighbours(2, temperature=None).fit(np.eye(3), [9, 4, 7])
    assert probe.predict([[1.0, 1.0, 0.0]]).tolist() == [4]


def test_chunks_change_nothing(noisy, monkeypatch):
    train, test = noisy
    whole = knn_probe(train, test)
    monkeypatch.setattr("mae_lib.evaluation.neighbours.CHUNK", 900)
    parts = knn_probe(train, test)
    assert all(np.allclose(whole[k].logits, parts[k].logits, rtol=1e-4) for k in (1, 10, 20))


# both

def test_orthogonal_clusters_are_told_apart_by_every_probe():
    X = np.repeat(np.eye(2, 6), 30, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(60, 6))
    train, test = bank(X, np.repeat([0, 1], 30)), bank(X[::2], np.repeat([0, 1], 15), 60)
    results = [linear_probe(train, test), *knn_probe(train, test).values()]
    assert [r.accuracy for r in results] == [1, 1, 1, 1]


def test_permuted_labels_give_chance(noisy):
    X, _ = clusters(800, 0)
    y = np.random.default_rng(5).permutation(np.arange(800) % 4)
    train, test = bank(X[:400], y[:400]), bank(X[400:], y[400:], 400)
    error = 3 * np.sqrt(0.25 * 0.75 / 400)
    for result in (linear_probe(train, test), knn_probe(train, test)[20]):
        assert abs(result.accuracy - 0.25) < error


def test_a_result_becomes_a_record_with_the_correct_items(noisy):
    result = knn_probe(*noisy, k=(1,))[1]
    record = result.record("knn 1", setting={"ratio": 0.5}, seed=2, dataset="d", split="test")
    assert record.value == pytest.approx(result.accuracy)
    assert record.n == 200 and np.array_equal(record.items, result.correct)


@pytest.mark.parametrize("probe", [LinearProbe(C=2.0, seed=3), GradientProbe("sgd", epochs=20),
                                   NearestNeighbours(5)])
def test_probes_follow_scikit_learns_contract(probe, noisy):
    train, test = noisy
    copy = clone(probe)
    assert copy.get_params() == probe.get_params() and not vars(copy).keys() - probe.get_params()
    assert copy.fit(train.image, train.y) is copy
    assert copy.predict(test.image).shape == (200,)
    assert copy.score(test.image, test.y) == np.mean(copy.predict(test.image) == test.y)


X, y = clusters(40, 0)
BAD = [
    (bank(X, y), bank(X[:, :5], y, 40), "features of one length"),
    (bank(X, y), bank(X, y, 39), "must not share images, got 1"),
    (bank(X[y < 3], y[y < 3]), bank(X, y, 40), r"train must hold every class of test.*\[3\]"),
    (bank(X, y), bank(X[y < 3], y[y < 3], 40), r"test must hold every class of train.*\[3\]"),
]


@pytest.mark.parametrize(("train", "test", "message"), BAD)
@pytest.mark.parametrize("probe", [linear_probe, knn_probe])
def test_banks_that_do_not_fit_are_refused(probe, train, test, message):
    with pytest.raises(ValueError, match=message):
        probe(train, test)


NAN = np.where(np.arange(320).reshape(40, 8) == 5, np.nan, X)


@pytest.mark.parametrize(("fit", "message"), [
    (lambda: linear_probe(bank(X, y), bank(X, y, 40), "adam"), "method must be"),
    (lambda: knn_probe(bank(X, y), bank(X, y, 40), k=(40,)), "k must lie in 1..39"),
    (lambda: LinearProbe(C=0).fit(X, y), "C must be positive"),
    (lambda: LinearProbe(C="best").fit(X, y), "C must be positive or 'cv'"),
    (lambda: LinearProbe().fit(NAN, y), "X must be finite"),
    (lambda: LinearProbe().fit(X, y[:-1]), "X and y must have shapes"),
    (lambda: LinearProbe().fit(X, y * 0), "at least two classes"),
    (lambda: LinearProbe().fit(X[:5], y[:5]), "every class twice"),
    (lambda: LinearProbe(C=1.0).fit(X, y).predict(X[:, :3]), "X must have shape"),
    (lambda: GradientProbe("adam").fit(X, y), "optimizer must be"),
    (lambda: GradientProbe(warmup=90).fit(X, y), "warmup must lie in"),
    (lambda: GradientProbe().fit(NAN, y), "X must be finite"),
    (lambda: GradientProbe().fit(X, y[:-1]), "X and y must have shapes"),
    (lambda: GradientProbe().fit(X, y * 0), "at least two classes"),
    (lambda: NearestNeighbours(3).fit(NAN, y), "X must be finite"),
    (lambda: NearestNeighbours(3).fit(X, y[:-1]), "X and y must have shapes"),
    (lambda: NearestNeighbours(3).fit(X, y).predict(X[:, :3]), "X must have shape"),
])
def test_bad_input_is_refused_in_one_sentence(fit, message):
    with pytest.raises(ValueError, match=message):
        fit()
