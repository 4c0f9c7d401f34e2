"""Oracles O8.1 to O8.4, double loops over pairs, and other libraries' forms of the same numbers."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mae_lib.models.encoder import take
from mae_lib.models.methods import mae
from mae_lib.models.uniformity import (
    FEATURES,
    UMAE,
    gaussian_uniformity,
    uniformity,
    uniformity_of_others,
)

CLOSE = {"rtol": 1e-10, "atol": 0}
SHAPES = ((1, 5), (2, 1), (3, 7), (7, 3), (6, 6), (40, 12))


def shaken(seed: int = 0, **changes):
    """A toy autoencoder whose random weights leave nothing at zero, in double precision."""
    base = mae("toy", seed=seed, **changes).double()
    with torch.no_grad():
        for i, parameter in enumerate(p for p in base.parameters() if p.requires_grad):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i + seed))
            parameter.add_(0.1 * noise)
    return base


def gaussians(shape, seed: int = 0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a, b) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def loop(features, skip_itself: bool) -> float:
    """Mean squared cosine, one pair after another."""
    rows = features.tolist()
    found = [cosine(a, b) ** 2 for i, a in enumerate(rows) for j, b in enumerate(rows)
             if not (skip_itself and i == j)]
    return sum(found) / len(found)


@pytest.fixture
def images(generator):
    return torch.rand(5, 3, 32, 32, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_means_agree_with_loops_and_with_each_other(shape):
    """O8.4 as well: leaving an image's pair with itself out."""
    f, count = gaussians(shape), shape[0]
    assert uniformity(f).item() == pytest.approx(loop(f, False), rel=1e-12)
    if count > 1:
        others = uniformity_of_others(f).item()
        assert others == pytest.approx(loop(f, True), rel=1e-12)
        assert others == pytest.approx((count * uniformity(f).item() - 1) / (count - 1), rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(5))
def test_it_lies_between_its_bounds(shape, seed):
    """O8.1."""
    found = uniformity(gaussians(shape, seed)).item()
    assert max(1 / shape[0], 1 / shape[1]) * (1 - 1e-12) <= found <= 1 + 1e-12


@pytest.mark.parametrize("count", [1, 2, 9])
def test_it_is_1_exactly_for_features_on_a_line(count):
    line = gaussians((count, 1)) * gaussians((1, 6), 1)
    assert uniformity(line).item() == pytest.approx(1, abs=1e-12)
    if count > 1:
        bent = line + 0.1 * gaussians((count, 6), 2)
        assert uniformity(bent) < 0.999


def test_it_is_1_over_d_for_tight_frames_and_1_over_n_for_orthonormal_features():
    angles = torch.arange(5, dtype=torch.float64) * 2 * math.pi / 5
    pentagon = torch.stack([angles.cos(), angles.sin()], 1)
    assert uniformity(pentagon).item() == pytest.approx(1 / 2, rel=1e-12)
    orthonormal = torch.linalg.qr(gaussians((7, 7)))[0]
    frame = torch.cat([orthonormal, orthonormal.flip(0) @ torch.linalg.qr(gaussians((7, 7), 1))[0]])
    assert uniformity(frame).item() == pytest.approx(1 / 7, rel=1e-12)
    assert uniformity(3 * orthonormal[:4]).item() == pytest.approx(1 / 4, rel=1e-12)
    assert uniformity_of_others(orthonormal[:4]).item() == pytest.approx(0, abs=1e-12)


def test_turning_scaling_and_signs_change_nothing():
    """O8.2."""
    f = gaussians((9, 6))
    turn = torch.linalg.qr(gaussians((6, 6), 1))[0]
    length, sign = gaussians((9, 1), 2).exp(), gaussians((9, 1), 3).sign()
    assert (sign < 0).any() and (sign > 0).any()
    for measure in (uniformity, uniformity_of_others):
        torch.testing.assert_close(measure(length * sign * f @ turn), measure(f), **CLOSE)
    torch.testing.assert_close(gaussian_uniformity(length * f @ turn), gaussian_uniformity(f),
                               **CLOSE)
    assert abs(gaussian_uniformity(sign * f) - gaussian_uniformity(f)) > 1e-3


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_the_gaussian_measure_agrees_with_the_published_form(sharpness):
    f = gaussians((11, 4))
    wanted = torch.pdist(F.normalize(f, dim=1)).square().mul(-sharpness).exp().mean().log()
    torch.testing.assert_close(gaussian_uniformity(f, sharpness), wanted, **CLOSE)


def test_the_gaussian_measure_at_both_ends():
    same, opposite = gaussians((1, 4)).expand(6, 4), torch.tensor([[1.0, 2.0], [-2.0, -4.0]])
    assert gaussian_uniformity(same).item() == pytest.approx(0, abs=1e-12)
    assert gaussian_uniformity(opposite, 3.0).item() == pytest.approx(-12, rel=1e-6)


@pytest.mark.parametrize("measure", [uniformity, uniformity_of_others, gaussian_uniformity])
def test_gradients_are_right_and_finite_where_features_coincide(measure):
    assert torch.autograd.gradcheck(measure, gaussians((4, 3)).requires_grad_())
    same = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    measure(same).backward()
    assert same.grad.isfinite().all()


def test_small_cosines_do_not_vanish_in_half_precision():
    """Cosines near 1e-4 have squares near 1e-8, below what float16 can hold."""
    f = torch.eye(8) + 5e-5 * torch.ones(8, 8)
    wanted = uniformity_of_others(f.double()).item()
    with torch.autocast("cpu", torch.float16):
        found = uniformity_of_others(f)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(wanted, rel=1e-3)
    assert uniformity(gaussians((6, 4)).half()).dtype == torch.float32
    assert (f.half() @ f.half().T)[0, 1].square() == 0  # what is avoided


def test_a_feature_of_length_0_has_cosine_0_with_all():
    f = torch.cat([gaussians((3, 4)), torch.zeros(1, 4, dtype=torch.float64)])
    assert uniformity(f).item() == pytest.approx(loop(f[:3], False) * 9 / 16, rel=1e-12)


def encoded(model, images, mask):
    return model.encoder(images, mask.visible)


def released(model, images, mask):
    """The features as the official code reads them, written out."""
    latent = encoded(model, images, mask)
    x = latent.cls if model.feature == "class" else latent.patches.mean(1)
    if not model.normed_twice:
        return x
    norm = model.encoder.norm if model.feature == "class" else model.fc_norm
    centred = x - x.mean(1, keepdim=True)
    spread = (centred.square().mean(1, keepdim=True) + norm.eps).sqrt()
    return centred / spread * norm.weight + norm.bias


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("twice", [True, False])
@pytest.mark.parametrize("weight", [0.01, 3.0])
def test_the_loss_is_that_of_mae_and_the_weighted_uniformity_of_masked_features(
        images, generator, feature, twice, weight):
    base = shaken(target="normalised")
    model = UMAE(base, weight, feature, twice).double()
    mask = model.sample_mask(5, generator)
    f = released(model, images, mask)
    torch.testing.assert_close(model.features(images, mask), f, **CLOSE)
    wanted = base(images, mask).item() + weight * loop(f, False)
    assert model(images, mask).item() == pytest.approx(wanted, rel=1e-10)


def test_features_of_the_masked_view_are_not_those_of_the_whole_image(images, generator):
    model = UMAE(shaken())
    mask = model.sample_mask(5, generator)
    painted = images.clone()  # hidden patches may hold anything
    patches = model.encoder.patches(images)
    hidden = mask.binary().unflatten(1, (8, 8)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    painted[hidden[:, None].expand_as(painted) > 0] = 0.5
    assert not torch.equal(take(model.encoder.patches(painted), mask.hidden),
                           take(patches, mask.hidden))
    assert torch.equal(model.features(painted, mask), model.features(images, mask))
    assert not torch.equal(model.features(images, mask), model.encoder(images).cls)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.encoder.named_parameters()
            if p.grad is not None}


def test_without_weight_it_is_mae_to_the_bit(images, generator):
    """O8.3."""
    base = shaken()
    model, mask = UMAE(base, 0.0), base.sample_mask(5, generator)
    assert torch.equal(model(images, mask), base(images, mask))
    found, wanted = (gradients(m, m(images, mask)) for m in (model, base))
    assert found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in found)


def test_an_online_classifier_would_change_no_gradient_of_the_encoder(images, generator):
    """O8.3: why there is none."""
    model, head = UMAE(shaken()), nn.Linear(32, 4).double()
    mask, labels = model.sample_mask(5, generator), torch.tensor([0, 1, 2, 3, 0])
    alone = gradients(model, model(images, mask))
    detached = model.features(images, mask).detach()
    both = gradients(model, model(images, mask) + F.cross_entropy(head(detached), labels))
    assert head.weight.grad.abs().max() > 0
    assert all(torch.equal(alone[name], both[name]) for name in alone)


@pytest.mark.parametrize("feature", FEATURES)
def test_every_trainable_parameter_gets_a_gradient(images, generator, feature):
    model = UMAE(shaken(), 1.0, feature).double()
    model(images, model.sample_mask(5, generator)).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert not parameter.requires_grad or parameter.grad.abs().max() > 0, name


def test_gradient_descent_on_it_spreads_the_features(images, generator):
    model = UMAE(mae("toy", seed=0).double(), 1.0)
    mask, rate = model.sample_mask(5, generator), 0.05
    before = uniformity(model.features(images, mask)).item()
    for _ in range(5):
        model.zero_grad()
        uniformity(model.features(images, mask)).backward()
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                if parameter.grad is not None:
                    parameter.sub_(rate * parameter.grad)
    assert uniformity(model.features(images, mask)).item() < 0.9 * before


@pytest.mark.parametrize("feature", FEATURES)
def test_the_autoencoder_is_trained_in_place_and_predicts_as_before(images, generator, feature):
    base = shaken(ratio=0.5, unit=8)
    model, mask = UMAE(base, feature=feature), base.sample_mask(5, generator)
    assert model.encoder is base.encoder and model.decoder is base.decoder
    assert model.config == base.config
    added = {"fc_norm.weight", "fc_norm.bias"} if feature == "mean" else set()
    assert model.state_dict().keys() == base.state_dict().keys() | added
    assert torch.equal(model.predict(images, mask), base.predict(images, mask))


def test_masks_are_those_of_the_sampler():
    base = mae("toy", ratio=0.5, unit=8, seed=0)
    found, wanted = (m.sample_mask(4, torch.Generator().manual_seed(3)) for m in (UMAE(base), base))
    assert torch.equal(found.visible, wanted.visible) and torch.equal(found.hidden, wanted.hidden)


def test_words_weights_and_features_that_cannot_be_are_refused():
    base = mae("toy", seed=0)
    with pytest.raises(ValueError, match=r"weight must not be negative, got -0\.5"):
        UMAE(base, -0.5)
    with pytest.raises(ValueError, match="feature must be one of class, mean, got 'cls'"):
        UMAE(base, feature="cls")
    base.encoder.cls_token = None
    with pytest.raises(ValueError, match="feature must be 'mean' for an encoder without a class "
                                         "token, got 'class'"):
        UMAE(base)
    for measure, least in ((uniformity, 1), (uniformity_of_others, 2), (gaussian_uniformity, 2)):
        with pytest.raises(ValueError, match=rf"features must have shape \[N,D\] with N at least "
                                             rf"{least}, got \[3\]"):
            measure(torch.ones(3))
        with pytest.raises(ValueError, match=rf"N at least {least}, got \[{least - 1}, 3\]"):
            measure(torch.ones(least - 1, 3))
    with pytest.raises(ValueError, match="sharpness must be above 0, got 0"):
        gaussian_uniformity(torch.eye(3), 0)
