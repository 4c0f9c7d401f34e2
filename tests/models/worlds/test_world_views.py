"""Two views of one moment."""

import pytest
import torch

from mae_lib.models.encoder import take
from mae_lib.models.patches import patchify
from mae_lib.models.targets import TARGETS
from mae_lib.models.worlds.autoencoder import mwm
from mae_lib.models.worlds.views import mwm_views, two_crops, view_mask

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def shaken(**options):
    """The toy with every trainable parameter moved: two views of 16 tokens."""
    method = mwm_views("toy", **{"seed": 0} | options)
    torch.manual_seed(0)
    for p in method.parameters():
        if p.requires_grad:
            p.data.add_(0.05 * torch.randn_like(p))
    return method


@pytest.fixture
def views(generator):
    return torch.rand(3, 2, 3, 32, 32, generator=generator)


def hidden_of_views(mask):
    return mask.binary().bool().unflatten(1, (2, -1))


def test_each_view_has_a_mask_of_its_own(generator):
    hidden = hidden_of_views(view_mask(200, (4, 4), 0.75, generator=generator))
    assert (hidden.sum(2) == 12).all()
    assert (hidden[:, 0] != hidden[:, 1]).any(1).float().mean() > 0.9
    assert (hidden.float().mean(0) - 0.75).abs().max() < 4 * (0.75 * 0.25 / 200) ** 0.5


@pytest.mark.parametrize("ratio, count", [(0.75, 12), (0, 0)])
def test_one_view_is_hidden_as_a_whole_either_with_equal_chance(ratio, count, generator):
    mask = view_mask(400, (4, 4), ratio, whole=True, generator=generator)
    hidden = hidden_of_views(mask).sum(2)
    gone = hidden == 16
    assert (gone.sum(1) == 1).all() and (hidden[~gone] == count).all()
    assert abs(gone[:, 0].float().mean() - 0.5) < 4 * 0.5 / 400**0.5
    for part in mask:
        assert (part.diff(dim=1) > 0).all()
    assert torch.equal(torch.cat(mask, 1).sort(1).values, torch.arange(32).expand(400, -1))


@pytest.mark.parametrize("whole", [False, True])
def test_views_are_encoded_side_by_side(whole, views, generator):
    """Against each view embedded alone, one sequence put together in order."""
    method = shaken(whole=whole)
    mask = method.sample_mask(3, generator)
    encoder, decoder = method.encoder, method.decoder
    tokens = [encoder.embed(encoder.patches(views[:, v])) + method.view_embed[v] for v in (0, 1)]
    latent = encoder.encode(take(torch.cat(tokens, dim=1), mask.visible))
    found = decoder(latent, mask)
    expected = torch.cat([found["first"], found["second"]], dim=1)
    torch.testing.assert_close(method.predict(views, mask), expected, **CLOSE)
    assert expected.shape == (3, 32, 192)
    assert torch.equal(decoder.pos_embed[0, 1:17], decoder.pos_embed[0, 17:])
    every = method.features(views)
    torch.testing.assert_close(every.patches, encoder.encode(torch.cat(tokens, 1)).patches, **CLOSE)
    assert every.patches.shape == (3, 32, 32) and every.cls.shape == (3, 32)


def test_the_stem_does_not_look_from_one_view_into_the_other(views):
    method = shaken()
    other = views.clone()
    other[:, 1] = 0.5
    before, after = (method._embedded(method._patches(x)) for x in (views, other))
    assert torch.equal(before[:, :16], after[:, :16])
    assert not torch.isclose(before[:, 16:], after[:, 16:]).all(2).any()


@pytest.mark.parametrize("scored", ["all", "hidden"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_agrees_with_a_loop(scored, target, views, generator):
    method = shaken(scored=scored, target=target)
    mask = method.sample_mask(3, generator)
    predicted, mean, std = method.predict(views, mask), method.encoder.mean, method.encoder.std
    errors = []
    for b in range(3):
        for n in range(32) if scored == "all" else mask.hidden[b].tolist():
            row, col = n % 16 // 4 * 8, n % 4 * 8
            x = views[b, n // 16, :, row:row + 8, col:col + 8].permute(1, 2, 0)
            x = ((x - mean) / std).flatten().double()
            if target == "normalised":
                x = (x - x.mean()) / (x.var() + 1e-6).sqrt()
            errors.append((predicted[b, n].double() - x).square().mean().item())
    assert method(views, mask).item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_a_hidden_view_is_explained_by_the_other_alone(views, generator):
    """What is predicted for it depends on the view that shows, and not on its own pixels."""
    method = shaken(whole=True, ratio=0)
    mask = method.sample_mask(3, generator)
    gone = hidden_of_views(mask).all(2)
    views.requires_grad_()
    take(method.predict(views, mask), mask.hidden).square().sum().backward()
    moved = views.grad.abs().amax((2, 3, 4)) > 0
    assert torch.equal(moved, ~gone)
    cells = patchify(views.grad[~gone], 8).abs().amax(2)
    assert (cells > 0).all()


def test_every_weight_learns(views, generator):
    method = shaken()
    method(views, method.sample_mask(3, generator)).backward()
    for name, p in method.named_parameters():
        assert p.requires_grad == (not name.endswith("pos_embed"))
        assert not p.requires_grad or p.grad.abs().sum() > 0, name


def test_it_has_little_more_than_the_autoencoder_of_one_view():
    """A vector a view in encoder and decoder, and another head."""
    count = [sum(p.numel() for p in m.parameters() if p.requires_grad)
             for m in (mwm_views(seed=0), mwm(reward=False, seed=0))]
    assert count[0] - count[1] == 2 * 256 + 2 * 256 + 256 * 192 + 192


def test_views_are_two_corners_of_a_picture(generator):
    images = torch.rand(2, 3, 5, 7, generator=generator)
    found = two_crops(images, (3, 6))
    assert found.shape == (2, 2, 3, 3, 6)
    assert torch.equal(found[:, 0], images[:, :, 0:3, 0:6])
    assert torch.equal(found[:, 1], images[:, :, 2:5, 1:7])
    for size in ((6, 6), (5, 8)):
        with pytest.raises(ValueError, match=r"size must be at most 5x7, the images', got"):
            two_crops(images, size)


BAD = [({"ratio": 1.0}, r"ratio must lie in \[0, 1\), got 1.0"),
       ({"ratio": 0.99, "whole": True}, "some of 16 patches visible and hide some, got 0.99"),
       ({"ratio": 0, "scored": "hidden"}, "ratio must be above 0 where hidden tokens alone"),
       ({"scored": "visible"}, "scored must be one of all, hidden, got 'visible'"),
       ({"target": "hog"}, "target must be one of pixel, normalised, got 'hog'"),
       ({"padding": "circular"}, "padding must be one of zeros, reflect, replicate, got"),
       ({"reward": 1}, "overrides must be among .* got reward")]


@pytest.mark.parametrize("options, message", BAD)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mwm_views("toy", **options)


def test_a_whole_view_alone_may_be_what_is_scored(views, generator):
    method = shaken(whole=True, ratio=0, scored="hidden")
    assert method(views, method.sample_mask(3, generator)).isfinite()


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 3, 3, 32, 32)])
def test_views_of_another_number_are_refused(shape, generator):
    method = shaken()
    with pytest.raises(ValueError, match=r"images must have shape \[B,2,3,32,32\], got \[2, 3"):
        method(torch.rand(shape), method.sample_mask(2, generator))
