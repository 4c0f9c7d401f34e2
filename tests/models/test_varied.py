import itertools

import pytest
import torch

from mae_lib.models.masks import Mask
from mae_lib.models.methods import mae
from mae_lib.models.patches import patchify
from mae_lib.models.varied import Varied, VariedMAE
from mae_lib.models.views import Augmentation, cropped, pasted, recoloured

CHANGES = ("crop", "cutmix", "colour")
SUBSETS = [names for n in range(4) for names in itertools.combinations(CHANGES, n)]
CLOSE = {"rtol": 1e-10, "atol": 0}


def double(drawn):
    return drawn._make(x.double() if x.is_floating_point() else x for x in drawn)


@pytest.fixture
def images(generator):
    return torch.rand(4, 3, 32, 32, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("target", ["pixel", "normalised"])
def test_without_a_change_it_is_the_autoencoder_to_the_bit(generator, target):
    base, images = mae("toy", target=target, seed=0), torch.rand(4, 3, 32, 32)
    drawn = VariedMAE(base, Augmentation()).sample_mask(4, generator)
    for jittered in (False, True):
        model = VariedMAE(base, Augmentation(), jittered_target=jittered)
        assert torch.equal(model(images, drawn), base(images, Mask(*drawn[:2])))


def by_hand(base, images, drawn, changes, masked, jittered):
    """The loss from the whole prediction, its pieces taken one patch after another."""
    placed = cropped(images, drawn.crop[:, 0]) if "crop" in changes else images
    seen = pasted(placed, drawn.rectangle[:, 0]) if "cutmix" in changes else placed
    seen = recoloured(seen, drawn.colour[:, 0]) if "colour" in changes else seen
    wanted = base.target(base.encoder.patches(seen if jittered else placed))
    found = base.predict(seen, Mask(*drawn[:2]))
    counted = drawn.hidden if masked else drawn.visible
    squares = [(found[b, k] - wanted[b, k]).square().mean().item()
               for b, row in enumerate(counted.tolist()) for k in row]
    assert len(squares) == 4 * (48 if masked else 64)
    return sum(squares) / len(squares)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("jittered", [False, True])
@pytest.mark.parametrize("changes", SUBSETS)
def test_the_target_is_the_crop_itself_or_the_view(images, generator, changes, jittered, masked):
    base = mae("toy", target="normalised", seed=0).double()
    model = VariedMAE(base, Augmentation(**dict.fromkeys(changes, True)), masked=masked,
                      jittered_target=jittered)
    drawn = double(model.sample_mask(4, generator))
    assert model(images, drawn).item() == pytest.approx(
        by_hand(base, images, drawn, changes, masked, jittered), rel=1e-10)


def test_colours_reach_what_is_seen_and_not_what_is_wanted(images, generator):
    """Grey input: the loss knows the colours of hidden patches only through the target."""
    base = mae("toy", seed=0).double()
    model = VariedMAE(base, Augmentation(colour=True))
    drawn = double(model.sample_mask(4, generator))
    grey = drawn._replace(colour=torch.tensor([1.0, 1, 1, 0, 1]).double().expand(4, 1, 5))
    images.requires_grad_()
    model(images, grey).backward()
    per_channel = patchify(images.grad, 4).unflatten(-1, (16, 3))
    weights = per_channel / images.new_tensor([0.2989, 0.587, 0.114])
    by_grey = (weights.amax(-1) - weights.amin(-1)).amax(-1) < 1e-12  # a grey pixel's own weights
    hidden = torch.zeros(4, 64, dtype=torch.bool).scatter(1, drawn.hidden, True)
    assert torch.equal(by_grey, ~hidden)


@pytest.mark.parametrize("unit", [None, 8])
def test_masks_are_those_of_the_sampler_whatever_else_is_drawn(unit):
    base = mae("toy", unit=unit, ratio=0.5, seed=0)
    wanted = base.sample_mask(3, torch.Generator().manual_seed(4))
    for changes in SUBSETS:
        model = VariedMAE(base, Augmentation(**dict.fromkeys(changes, True)))
        drawn = model.sample_mask(3, torch.Generator().manual_seed(4))
        assert torch.equal(drawn.visible, wanted.visible)
        assert torch.equal(drawn.hidden, wanted.hidden)
        assert [part.numel() > 0 for part in drawn[2:]] == [
            name in changes for name in ("crop", "colour", "cutmix")]


def test_without_masking_nothing_is_hidden(generator):
    drawn = VariedMAE(mae("toy", seed=0), Augmentation(), masked=False).sample_mask(3, generator)
    assert torch.equal(drawn.visible, torch.arange(64).expand(3, -1))
    assert drawn.hidden.shape == (3, 0)


@pytest.mark.parametrize("changes", SUBSETS)
@pytest.mark.parametrize("masked", [True, False])
def test_gradients_are_numbers_and_reach_every_weight_that_is_used(generator, changes, masked):
    model = VariedMAE(mae("toy", seed=0), Augmentation(**dict.fromkeys(changes, True)),
                      masked=masked)
    model(torch.rand(2, 3, 32, 32), model.sample_mask(2, generator)).backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        elif masked or name != "decoder.mask_token":
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name
        else:  # no patch is hidden that it could stand for
            assert not parameter.grad.any()


@pytest.mark.parametrize("changes", [("crop", "colour"), ("colour",)])
def test_rows_of_what_was_drawn_are_views_of_these_images(images, generator, changes):
    model = VariedMAE(mae("toy", seed=0).double(), Augmentation(**dict.fromkeys(changes, True)))
    drawn = double(model.sample_mask(4, generator))
    halves = [model(images[rows], drawn._make(part[rows] for part in drawn))
              for rows in (slice(0, 2), slice(2, 4))]
    assert isinstance(drawn, Varied)
    torch.testing.assert_close(sum(halves) / 2, model(images, drawn), **CLOSE)


def test_the_autoencoder_is_trained_in_place():
    base = mae("toy", seed=0)
    model = VariedMAE(base, Augmentation(crop=True))
    assert model.encoder is base.encoder and model.decoder is base.decoder
    assert model.state_dict().keys() == base.state_dict().keys()
