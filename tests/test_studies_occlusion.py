"""Features under occlusion, at toy size, against the same measured directly and by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ortho_group
from test_plan import PARAMETERS

from mae_lib import studies
from mae_lib.evaluation.similarity import (
    PooledPixels,
    block_features,
    occlusion_cka,
    occlusion_masks,
    occlusion_retrieval,
)
from mae_lib.studies.finetuning import tuned
from mae_lib.studies.occlusion import effective_rank
from mae_lib.studies.sets import images_of

pytestmark = pytest.mark.usefixtures("shared_results")

UNTRAINED = studies.Setting(preset="toy", views=0, train_images=40, seed=3)
COUNT, RATIOS, DRAWS = 24, (0.25, 0.5, 0.9), 2
SHOWN = {"test_images": COUNT, "occlusion_ratios": RATIOS, "occlusion_draws": DRAWS}
TUNING = {"probe_images": 96, "probe_test_images": 96, "finetune_epochs": 1}
POOLS = {"class token": "cls", "mean token": "mean"}
INPUTS = {"levelled": True, "raw": False}


@pytest.fixture(scope="module")
def test_set(shared_results):
    return images_of(UNTRAINED, "test", COUNT)


@pytest.fixture(scope="module")
def result(shared_results):
    return studies.OCCLUSION(UNTRAINED, **SHOWN)


@pytest.fixture(scope="module")
def encoder(shared_results):
    return studies.model(UNTRAINED).encoder


def by_name(result) -> dict[tuple[str, str], float]:
    """Values by protocol and metric."""
    found = {(r.protocol, r.metric): r.value for r in studies.records(result)}
    assert len(found) == len(studies.records(result))
    return found


def slope(y, x) -> float:
    """Of the least-squares line, as covariance over variance."""
    y, x = np.asarray(y), np.asarray(x)
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def unbiased_cka(X, Y) -> float:
    """From Gram matrices with zero diagonals (Song et al. 2012)."""
    def hsic(K, L):
        n, one = len(K), np.ones(len(K))
        K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
        across = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
        return (np.trace(K @ L) + across - 2 * (one @ K @ L @ one) / (n - 2)) / (n * (n - 3))
    K, L = (np.asarray(Z, float) @ np.asarray(Z, float).T for Z in (X, Y))
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("inputs", INPUTS)
def test_cka_is_that_of_the_evaluation(result, encoder, test_set, pool, inputs):
    direct = occlusion_cka(encoder, test_set, RATIOS, DRAWS, POOLS[pool], levelled=INPUTS[inputs])
    found, protocol = by_name(result), f"occlusion, {pool}, {inputs}"
    assert direct.shape == (3, encoder.depth, DRAWS)
    assert found[protocol, "cka"] == pytest.approx(direct.mean(), abs=1e-9)
    curve = [found[protocol, f"cka {r:g}"] for r in RATIOS]
    assert curve == pytest.approx(direct.mean((1, 2)).tolist(), abs=1e-9)
    assert found[protocol, "slope"] == pytest.approx(slope(direct.mean((1, 2)), RATIOS))
    kept = result.value["cka"][result.value["inputs"].index(inputs),
                               result.value["representations"].index(pool)]
    assert np.allclose(kept, direct, atol=1e-6) and kept.dtype == np.float32


@pytest.mark.parametrize("inputs", INPUTS)
def test_retrieval_is_that_of_the_evaluation(result, encoder, test_set, inputs):
    direct = occlusion_retrieval(encoder, test_set, RATIOS, DRAWS, levelled=INPUTS[inputs])
    found, protocol = by_name(result), f"occlusion, mean token, {inputs}"
    assert found[protocol, "retrieval"] == pytest.approx(direct.mean())
    assert [found[protocol, f"retrieval {r:g}"] for r in RATIOS] == pytest.approx(
        direct.mean((1, 2)).tolist())
    assert np.allclose(result.value["retrieval"][result.value["inputs"].index(inputs)],
                       direct.mean(2))
    assert not any(metric.startswith("retrieval") for p, metric in found if "class" in p)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("inputs", INPUTS)
def test_pairs_that_do_not_belong_together_are_the_null(result, encoder, test_set, pool, inputs):
    """The largest CKA of any block, of either sign, with the images in another order."""
    blocks = block_features(encoder, test_set, POOLS[pool], levelled=INPUTS[inputs])
    order = np.random.default_rng(0).permutation(COUNT)
    expected = max(abs(unbiased_cka(block, block[order])) for block in blocks)
    found = by_name(result)
    protocol = f"occlusion, {pool}, {inputs}"
    assert found[protocol, "shuffled pairs"] == pytest.approx(expected, rel=1e-5)
    assert found[protocol, "shuffled pairs"] < found[protocol, f"cka {RATIOS[0]:g}"]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("inputs", INPUTS)
def test_the_rank_is_that_of_the_last_block(result, encoder, test_set, pool, inputs):
    """From eigenvalues of the covariance, of which singular values are the roots."""
    last = block_features(encoder, test_set, POOLS[pool], levelled=INPUTS[inputs])[-1]
    values = np.sqrt(np.linalg.eigvalsh(np.cov(last.T.astype(float))).clip(1e-30))
    shares = values / values.sum()
    expected = np.prod(shares**-shares)
    found = by_name(result)[f"occlusion, {pool}, {inputs}", "effective rank"]
    assert found == pytest.approx(expected, rel=1e-3) and 1 < found < last.shape[1]


def test_records_say_what_was_measured_where(result):
    records = studies.records(result)
    assert len(records) == 2 * 2 * (4 + 3) + 2 * (1 + 3)
    assert {(r.dataset, r.seed, r.split, r.n) for r in records} == {("menagerie", 3, "test", COUNT)}
    assert all(r.setting["views"] == 0 and "seed" not in r.setting for r in records)
    assert result.value["ratios"] == list(RATIOS)


def test_all_models_are_shown_the_same_patches():
    masks = [occlusion_masks(COUNT, (8, 8), 0.5, DRAWS) for _ in range(2)]
    assert masks[0].equal(masks[1]) and masks[0].shape == (DRAWS, COUNT, 32)


# Effective rank, closed forms

def spread(values, count=40, width=7, seed=0) -> np.ndarray:
    """Features with these singular values, with a mean of their own."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(count, len(values)))
    left = np.linalg.qr(left - left.mean(0))[0]  # columns of mean 0, orthonormal
    right = ortho_group.rvs(width, random_state=seed)[:len(values)]
    return left * values @ right + rng.normal(size=width)


@pytest.mark.parametrize("rank", [1, 2, 5, 7])
def test_equal_singular_values_count_as_many_directions(rank):
    assert effective_rank(spread(np.full(rank, 2.5))) == pytest.approx(rank)


@pytest.mark.parametrize(("values", "expected"), [
    ((3, 1), 4 / 3**0.75), ((2, 1, 1), 2 * 2**0.5), ((1, 1e-9), 1)])
def test_unequal_ones_count_by_their_entropy(values, expected):
    """exp(-sum p log p) of shares 3/4 and 1/4 is 4 / 3^.75; of 1/2, 1/4, 1/4 it is 2^1.5."""
    assert effective_rank(spread(np.array(values))) == pytest.approx(expected, rel=1e-6)


def test_the_rank_knows_no_place_scale_or_direction():
    features = np.random.default_rng(1).normal(size=(30, 6)) @ np.diag([5, 3, 2, 1, 1, .1])
    turned = features @ ortho_group.rvs(6, random_state=2)
    for other in (features + 100, features * 1e-3, turned, features[::-1]):
        assert effective_rank(other) == pytest.approx(effective_rank(features))


def test_features_that_are_all_alike_have_rank_1():
    assert effective_rank(np.ones((5, 3))) == 1
    assert effective_rank(np.ones((5, 3), np.float32)) == 1


# Other encoders

def test_after_tuning_it_is_the_tuned_encoder_that_is_looked_at(test_set):
    found = studies.TUNED_OCCLUSION(UNTRAINED, **SHOWN, **TUNING)
    classifier = tuned(UNTRAINED, "show", 96, 96, 1).classifier
    direct = occlusion_cka(classifier.encoder, test_set, RATIOS, DRAWS)
    untrained = occlusion_cka(studies.model(UNTRAINED).encoder, test_set, RATIOS, DRAWS)
    cka = by_name(found)["occlusion, mean token, levelled", "cka"]
    assert cka == pytest.approx(direct.mean(), abs=1e-9)
    assert abs(cka - untrained.mean()) > 1e-4


def test_pixels_in_the_place_of_a_network_are_mean_patches(test_set):
    """Unbiased CKA of the mean of all patches with the mean of those that are shown, by loops."""
    result = studies.PIXEL_OCCLUSION(UNTRAINED, **SHOWN)
    found = by_name(result)
    images = test_set.images.astype(np.float64) / 255
    patches = np.array([[image[:, r:r + 4, c:c + 4].transpose(1, 2, 0).ravel()
                         for r in range(0, 32, 4) for c in range(0, 32, 4)] for image in images])
    for ratio in RATIOS:
        each = []
        for shown in occlusion_masks(COUNT, (8, 8), ratio, DRAWS).numpy():
            masked = np.array([p[k].mean(0) for p, k in zip(patches, shown, strict=True)])
            each.append(unbiased_cka(patches.mean(1), masked))
        assert found["occlusion, mean token, raw", f"cka {ratio:g}"] == pytest.approx(
            np.mean(each), rel=1e-4)
    assert result.value["representations"] == ["mean token"]
    assert not any("class" in protocol for protocol, _ in found)
    assert result.value["cka"].shape == (2, 1, 3, 1, DRAWS)


def test_pixels_are_levelled_and_found_again_like_a_networks_features(test_set):
    found = by_name(studies.PIXEL_OCCLUSION(UNTRAINED, **SHOWN))
    pixels = PooledPixels(32, 4)
    for inputs, levelled in INPUTS.items():
        protocol = f"occlusion, mean token, {inputs}"
        cka = occlusion_cka(pixels, test_set, RATIOS, DRAWS, levelled=levelled)
        hits = occlusion_retrieval(pixels, test_set, RATIOS, DRAWS, levelled=levelled)
        assert found[protocol, "cka"] == pytest.approx(cka.mean(), abs=1e-9)
        assert found[protocol, "retrieval"] == pytest.approx(hits.mean())


def test_pixels_depend_on_the_data_set_alone():
    def key(**changes):
        return studies.PIXEL_OCCLUSION.key(replace(UNTRAINED, **changes), **SHOWN)

    assert key(seed=4, ratio=.5, views=64).name == key().name
    assert key(dataset="fashion_mnist").name != key().name
    assert studies.PIXEL_OCCLUSION.networks(replace(UNTRAINED, views=64), **SHOWN) == []


@pytest.mark.parametrize("study", [studies.OCCLUSION, studies.PIXEL_OCCLUSION])
@pytest.mark.parametrize(("ratio", "message"), [
    (1.0, r"ratio must lie in \[0, 1\), got 1.0"), (-0.1, r"ratio must lie in \[0, 1\), got -0.1"),
    (0.99, "ratio must leave some of 64 patches visible and hide some, got 0.99")])
def test_a_share_that_cannot_be_dropped_is_refused(study, ratio, message):
    arguments = SHOWN | {"occlusion_ratios": (0.5, ratio)}
    with pytest.raises(ValueError, match=message):
        study(UNTRAINED, **arguments)


@pytest.mark.parametrize("ratios", [[0.5], [0.5, 0.5]])
def test_a_slope_needs_two_shares(ratios):
    with pytest.raises(ValueError, match="occlusion_ratios must hold two different shares or more, "
                                         "got "):
        studies.Plan.of(PARAMETERS | {"occlusion_ratios": ratios})


def test_a_chapter_that_drops_no_patches_needs_no_shares():
    assert studies.Plan.of(PARAMETERS).occlusion_ratios == ()
