"""Oracles O7.1 to O7.6, and a loop over patches; all in double precision."""

import pytest
import torch
from torch import nn

from mae_lib.models.losses import masked_mse
from mae_lib.models.masks import mask_from_binary, nothing_hidden, random_mask
from mae_lib.models.methods import mae
from mae_lib.models.siamese import RMAE, SECOND, TwoMasks, region_error

CLOSE = {"rtol": 1e-10, "atol": 0}
WEIGHTS = (0.1, 1.0, 7.0)


def shaken(seed: int = 0, target: str = "normalised"):
    """A toy autoencoder whose random weights leave nothing at zero, in double precision."""
    base = mae("toy", target=target, seed=seed).double()
    with torch.no_grad():
        for i, parameter in enumerate(p for p in base.parameters() if p.requires_grad):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i + seed))
            parameter.add_(0.1 * noise)
    return base


class Said(nn.Module):
    """A decoder that says what it is told to, for one branch and then for the other."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = iter(answers)

    def everywhere(self, latent, mask):
        return next(self.answers)


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 32, 32, generator=generator, dtype=torch.float64)


@pytest.fixture
def answers(generator):
    """Predictions ``[3, 64, 48]`` of both branches."""
    return torch.randn(2, 3, 64, 48, generator=generator, dtype=torch.float64).unbind()


def loop(prediction, wanted, places) -> float:
    """Mean squared error over (image, patch) pairs, one number after another."""
    squares = [(p - w) ** 2 for b, k in places
               for p, w in zip(prediction[b, k].tolist(), wanted[b, k].tolist(), strict=True)]
    return sum(squares) / len(squares)


def compared(masks):
    """Pairs (image, patch) hidden from the first branch and shown to the second."""
    return [(b, k) for b, (hidden, shown) in enumerate(zip(masks.hidden.tolist(),
                                                           masks.visible2.tolist(), strict=True))
            for k in sorted(set(hidden) & set(shown))]


def plain_loss(base, images, masks) -> torch.Tensor:
    """MAE's loss of the first branch, where the branches are compared."""
    wanted = base.target(base.encoder.patches(images))
    return region_error(base.predict(images, masks.first), wanted, masks.compared.double())


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("target", ["pixel", "normalised"])
def test_the_loss_agrees_with_a_loop_over_patches(images, generator, second, weight, target):
    base = shaken(target=target)
    model = RMAE(base, second, weight)
    masks = model.sample_mask(3, generator)
    one, two = (base.predict(images, mask) for mask in (masks.first, masks.second))
    wanted, places = base.target(base.encoder.patches(images)), compared(masks)
    assert model(images, masks).item() == pytest.approx(
        loop(one, two, places) + weight * loop(two, wanted, places), rel=1e-10)


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_of_mae_is_at_most_so_many_times_that_of_r_mae(images, generator, second, weight,
                                                                seed):
    base = shaken(seed)
    model = RMAE(base, second, weight)
    masks = model.sample_mask(3, generator)
    plain = plain_loss(base, images, masks)
    assert 0 < plain <= (1 + 1 / weight) * model(images, masks)
    if second != "independent":  # there the whole of what the first branch misses is compared
        torch.testing.assert_close(plain, base(images, masks.first), **CLOSE)


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_both_are_equal_where_the_branches_err_in_proportion(images, answers, generator, second,
                                                             weight):
    model = RMAE(shaken(), second, weight)
    masks = model.sample_mask(3, generator)
    wanted, two = model.target(model.encoder.patches(images)), answers[1]
    region = masks.compared.double()

    def both(one):
        model.decoder = Said(one, two)
        return region_error(one, wanted, region), (1 + 1 / weight) * model(images, masks)

    torch.testing.assert_close(*both(two + weight * (two - wanted)), **CLOSE)
    less, more = both(two + weight * (two - wanted) + 0.1 * answers[0])
    assert less < more * (1 - 1e-6)


@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("weight", [0.0, *WEIGHTS])
def test_with_a_lossless_second_branch_equation_7_is_equation_3(images, answers, generator, second,
                                                                weight):
    """d(z2) is right where the branches are compared and anything elsewhere: O7.2."""
    model = RMAE(shaken(), second, weight)
    masks = model.sample_mask(3, generator)
    wanted, (one, two) = model.target(model.encoder.patches(images)), answers
    lossless = torch.where(masks.compared[..., None] > 0, wanted, two)
    assert not torch.equal(lossless, wanted)
    model.decoder = Said(one, lossless)
    loss = model(images, masks)
    assert loss.item() == pytest.approx(loop(one, wanted, compared(masks)), rel=1e-10)
    if second != "independent":
        hidden = masks.hidden[..., None].expand(-1, -1, 48)
        torch.testing.assert_close(
            loss, masked_mse(one.gather(1, hidden), wanted.gather(1, hidden), masks.first), **CLOSE)


def test_branches_that_agree_leave_the_error_of_the_second_alone(images, answers, generator):
    for weight in (0.0, 1.0, 2.5):
        model = RMAE(shaken(), weight=weight)
        masks = model.sample_mask(3, generator)
        wanted = model.target(model.encoder.patches(images))
        model.decoder = Said(answers[0], answers[0])
        error = region_error(answers[0], wanted, masks.compared.double())
        torch.testing.assert_close(model(images, masks), weight * error, **CLOSE)


@pytest.mark.parametrize("ratio", [0.0, 0.75])
def test_nothing_to_compare_costs_nothing_and_keeps_the_graph(images, generator, ratio):
    """Two equal masks: what is hidden from one is hidden from the other, or nothing is (O7.6)."""
    model = RMAE(shaken())
    mask = (random_mask(3, (8, 8), ratio, generator=generator) if ratio
            else nothing_hidden(3, (8, 8)))
    masks = TwoMasks(*mask, *mask)
    loss = model(images, masks)
    loss.backward()
    assert masks.compared.sum() == 0 and loss.item() == 0
    for parameter in model.parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def test_without_weight_a_constant_decoder_costs_nothing(images, generator):
    base = shaken()
    nn.init.zeros_(base.decoder.pred.weight)
    masks = RMAE(base).sample_mask(3, generator)
    assert RMAE(base, weight=0.0)(images, masks).item() == 0
    assert RMAE(base, weight=1.0)(images, masks).item() == base(images, masks.first).item() > 0


def test_gradients_flow_through_both_branches(images, answers, generator):
    weight, (one, two) = 2.5, (x.clone().requires_grad_() for x in answers)
    model = RMAE(shaken(), weight=weight)
    masks = model.sample_mask(3, generator)
    wanted = model.target(model.encoder.patches(images))
    model.decoder = Said(one, two)
    model(images, masks).backward()
    share = 2 * masks.compared[..., None].double() / (48 * masks.compared.sum())
    torch.testing.assert_close(one.grad, (one - two).detach() * share, **CLOSE)
    torch.testing.assert_close(two.grad, (two - one + weight * (two - wanted)).detach() * share,
                               **CLOSE)


@pytest.mark.parametrize("second", SECOND)
def test_every_trainable_parameter_gets_a_gradient(images, generator, second):
    model = RMAE(shaken(), second)
    model(images, model.sample_mask(3, generator)).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert not parameter.requires_grad or parameter.grad.abs().max() > 0, name


def sampler_at_196(second: str) -> RMAE:
    """Masks of the published size: 14 x 14 patches, of which 49 are visible."""
    return RMAE(mae("toy", size=224, patch=16, width=8, heads=2, depth=1, seed=0), second)


@pytest.mark.parametrize("second", ["complement", "identity"])
def test_the_branches_are_compared_on_147_of_196_patches(generator, second):
    masks = sampler_at_196(second).sample_mask(20, generator)
    assert torch.equal(masks.compared, masks.first.binary())
    assert masks.compared.sum(1).tolist() == [147] * 20


def test_with_an_independent_mask_there_are_between_98_and_147_about_110_25(generator):
    masks = sampler_at_196("independent").sample_mask(2000, generator)
    assert masks.visible2.shape == (2000, 147) and masks.hidden2.shape == (2000, 49)
    sizes = masks.compared.sum(1).double()
    variance = 147 * 0.75 * 0.25 * 49 / 195  # hypergeometric: 147 of 196, of which 147 count
    assert abs(sizes.mean() - 110.25) < 4 * (variance / 2000) ** 0.5
    assert abs(sizes.var() / variance - 1) < 4 * (2 / 2000) ** 0.5
    assert sizes.min() >= 98 and sizes.max() <= 147


@pytest.mark.parametrize("start, size", [(0, 147), (49, 98)])
def test_both_ends_of_that_range_exist(start, size):
    hidden, hidden2 = torch.ones(1, 196), torch.zeros(1, 196)
    hidden[:, :49], hidden2[:, start:start + 49] = 0, 1
    masks = TwoMasks(*mask_from_binary(hidden), *mask_from_binary(hidden2))
    assert masks.compared.sum() == size


def test_an_independent_mask_hides_a_quarter_wherever_the_first_one_does(generator):
    masks = RMAE(mae("toy", seed=0), "independent").sample_mask(4000, generator)
    first, second = masks.first.binary().bool(), masks.second.binary()
    for part in (first, ~first):
        assert abs(second[part].mean() - 0.25) < 4 * (0.1875 / part.sum()) ** 0.5


def test_masks_complement_each_other(generator):
    masks = RMAE(mae("toy", seed=0)).sample_mask(5, generator)
    assert torch.equal(masks.visible2, masks.hidden) and torch.equal(masks.hidden2, masks.visible)
    assert torch.equal(masks.first.binary() + masks.second.binary(), torch.ones(5, 64))
    assert masks.visible.shape == (5, 16)


def test_an_identical_second_branch_sees_everything(generator):
    masks = RMAE(mae("toy", seed=0), "identity").sample_mask(5, generator)
    assert masks.hidden2.shape == (5, 0)
    assert torch.equal(masks.visible2, torch.arange(64).expand(5, -1))


@pytest.mark.parametrize("second", SECOND)
def test_where_branches_are_compared_agrees_with_sets(generator, second):
    masks = RMAE(mae("toy", ratio=0.6, seed=0), second).sample_mask(5, generator)
    assert [tuple(pair) for pair in masks.compared.nonzero().tolist()] == compared(masks)


@pytest.mark.parametrize("second", SECOND)
def test_the_first_mask_is_that_of_the_sampler(second):
    base = mae("toy", ratio=0.5, unit=8, seed=0)
    found = RMAE(base, second).sample_mask(4, torch.Generator().manual_seed(3))
    wanted = base.sample_mask(4, torch.Generator().manual_seed(3))
    assert torch.equal(found.visible, wanted.visible) and torch.equal(found.hidden, wanted.hidden)


@pytest.mark.parametrize("second", SECOND)
def test_rows_of_what_was_drawn_are_masks_of_these_images(images, generator, second):
    model = RMAE(shaken(), second)
    drawn = model.sample_mask(3, generator)
    parts = [drawn._make(part[rows] for part in drawn) for rows in (slice(0, 1), slice(1, 3))]
    assert all(isinstance(part, TwoMasks) for part in parts)
    assert torch.equal(torch.cat([part.compared for part in parts]), drawn.compared)
    if second != "independent":  # else images weigh by how many of their patches are compared
        first, rest = model(images[:1], parts[0]), model(images[1:], parts[1])
        torch.testing.assert_close((first + 2 * rest) / 3, model(images, drawn), **CLOSE)


def test_the_autoencoder_is_trained_in_place_and_predicts_as_before(images, generator):
    base = shaken()
    model, mask = RMAE(base), base.sample_mask(3, generator)
    assert model.encoder is base.encoder and model.decoder is base.decoder
    assert model.state_dict().keys() == base.state_dict().keys()
    assert torch.equal(model.predict(images, mask), base.predict(images, mask))


def test_words_and_weights_that_cannot_be_are_refused():
    base = mae("toy", seed=0)
    with pytest.raises(ValueError, match="second must be one of complement, independent, identity, "
                                         "got 'both'"):
        RMAE(base, "both")
    with pytest.raises(ValueError, match=r"weight must not be negative, got -0\.5"):
        RMAE(base, weight=-0.5)
