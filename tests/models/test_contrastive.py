"""Oracles O7.7 to O7.13, and the network written out once more; identities in double precision."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mae_lib.models.contrastive import COMPARISONS, PLACES, Contrastive, Head, Paired, byol, infonce
from mae_lib.models.encoder import Encoder
from mae_lib.models.methods import MaskedAutoencoder, mae
from mae_lib.models.patches import patchify
from mae_lib.models.views import Augmentation, Drawn
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step

CLOSE = {"rtol": 1e-10, "atol": 1e-10}
COLOUR = Augmentation(colour=True)
DROPPED = {"shown": "dropped", "place": "mean"}
KINDS = [{"place": place, "comparison": comparison}
         for place in PLACES for comparison in COMPARISONS]
KINDS += [{"comparison": c, **DROPPED} for c in COMPARISONS]
KINDS += [{"place": "class", "shown": "dropped", "masked": False, "symmetric": True, "scale": 0.4},
          {"masked": False, "shown": "dropped"}, {"symmetric": True}]


def double(drawn):
    return drawn._make(x.double() if x.is_floating_point() else x for x in drawn)


def toy(augment=COLOUR, seed=0, **kind) -> Contrastive:
    """A small network whose target has other weights than the online one, in double precision."""
    base = mae("toy", size=16, depth=1, seed=seed)
    model = Contrastive(base, augment, seed=seed, **kind).double()
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i))
            parameter.add_(0.1 * noise)
    return model


@pytest.fixture
def images(generator):
    return torch.rand(4, 3, 16, 16, generator=generator, dtype=torch.float64)


@pytest.fixture
def pair(generator):
    """Queries and keys of 5 images at 3 places."""
    return torch.randn(2, 5, 3, 7, generator=generator, dtype=torch.float64).unbind()


def cosine(a, b) -> float:
    a, b = a.tolist(), b.tolist()
    return (sum(x * y for x, y in zip(a, b, strict=True))
            / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b)))


def loop(comparison, query, key, temperature=0.2) -> float:
    """The comparison of ``[B, P, D]``, one query after another."""
    terms = []
    for b, p in itertools.product(range(len(query)), range(query.shape[1])):
        if comparison == "byol":
            terms.append(2 - 2 * cosine(query[b, p], key[b, p]))
            continue
        scores = [cosine(query[b, p], other[p]) / temperature for other in key]
        terms.append(math.log(sum(math.exp(s) for s in scores)) - scores[b])
    return sum(terms) / len(terms)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_infonce_agrees_with_a_loop(pair, temperature):
    assert infonce(*pair, temperature).item() == pytest.approx(
        loop("infonce", *pair, temperature), rel=1e-10)


def test_byol_agrees_with_a_loop(pair):
    assert byol(*pair).item() == pytest.approx(loop("byol", *pair), rel=1e-10)


@pytest.mark.parametrize("images_in_all", [2, 5, 64])
def test_infonce_of_equal_features_is_the_logarithm_of_their_number(pair, images_in_all):
    one = pair[0][:1].expand(images_in_all, -1, -1)
    assert infonce(one, 3 * one).item() == pytest.approx(math.log(images_in_all), rel=1e-10)


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
def test_infonce_of_orthonormal_keys_that_match(generator, temperature):
    square = torch.randn(3, 7, 7, generator=generator, dtype=torch.float64)
    keys = torch.linalg.qr(square)[0][:, :5].transpose(0, 1)  # five rows at each of three places
    right = math.exp(1 / temperature)
    assert infonce(keys, keys, temperature).item() == pytest.approx(
        -math.log(right / (right + 4)), rel=1e-10)


@pytest.mark.parametrize("loss", [infonce, byol])
def test_the_length_of_features_means_nothing(pair, loss, generator):
    long, other = 0.01 + 100 * torch.rand(2, 5, 3, 1, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(loss(pair[0] * long, pair[1] * other), loss(*pair), **CLOSE)


@pytest.mark.parametrize("loss", [infonce, byol])
def test_places_are_compared_each_for_itself(pair, loss):
    alone = [loss(pair[0][:, p:p + 1], pair[1][:, p:p + 1]) for p in range(3)]
    torch.testing.assert_close(loss(*pair), sum(alone) / 3, **CLOSE)


def test_infonce_falls_as_the_right_image_comes_nearer_and_the_others_go(pair):
    query, key = pair[0].clone().requires_grad_(), pair[1].clone().requires_grad_()
    infonce(query, key).backward()
    assert (query.grad * query).sum(-1).abs().max() < 1e-12  # no way out by length alone
    step = 1e-3
    assert infonce(query - step * query.grad, key) < infonce(query, key)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(2, 8), st.integers(0, 99))
def test_byol_lies_between_0_and_4(batch, places, width, seed):
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, batch, places, width, generator=generator, dtype=torch.float64)
    assert 0 <= byol(query, key) <= 4
    assert byol(query, 3 * query).item() == pytest.approx(0, abs=1e-10)
    assert byol(query, -0.5 * query).item() == pytest.approx(4, abs=1e-10)


def through(head, x):
    """A projector or predictor, its normalisation written out."""
    hidden = x @ head.fc1.weight.T + head.fc1.bias
    if isinstance(head.norm, torch.nn.BatchNorm1d):
        rows = hidden.flatten(0, -2)
        middle, spread = rows.mean(0), rows.var(0, unbiased=False)
        hidden = (hidden - middle) / (spread + head.norm.eps).sqrt()
        hidden = hidden * head.norm.weight + head.norm.bias
    return F.gelu(hidden) @ head.fc2.weight.T + head.fc2.bias


def tokens(encoder, show, image, visible, hidden):
    """What the encoder returns of one image ``[T, D]``, class token first."""
    embedded = encoder.patch_embed(encoder.patches(image[None]))[0]
    positions = encoder.pos_embed[0, 1:]
    if hasattr(show, "token"):
        shown = [show.token[0, 0] if k in hidden else embedded[k] for k in range(len(embedded))]
        seen = [token + place for token, place in zip(shown, positions, strict=True)]
    else:
        seen = [embedded[k] + positions[k] for k in visible]
    x = torch.stack([encoder.cls_token[0, 0] + encoder.pos_embed[0, 0], *seen])[None]
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x)[0]


def compared(model, encoder, show, images, masks):
    """What is compared of a batch, ``[B, P, D]``."""
    every = torch.stack([tokens(encoder, show, *one) for one in zip(images, *masks, strict=True)])
    return {"token": every[:, 1:], "class": every[:, :1], "token and class": every,
            "mean": every[:, 1:].mean(1, keepdim=True)}[model.place]


def one_way(model, images, drawn, first, second) -> float:
    """The loss with ``first`` as the online view, by hand."""
    masks = [(drawn.visible.tolist(), drawn.hidden.tolist())] * 2
    if model.masked:
        masks[1] = masks[1][::-1]
    views = [model.augment(images, Drawn(*drawn[2:]), view) for view in (0, 1)]
    query = compared(model, model.encoder, model.show, views[first], masks[first])
    key = compared(model, model.target["encoder"], model.target["show"], views[second],
                   masks[second])
    return loop(model.comparison, through(model.predictor, through(model.projector, query)),
                through(model.target["projector"], key))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_loss_agrees_with_the_network_written_out(images, generator, kind):
    model = toy(Augmentation(crop=True, colour=True), **kind)
    drawn = double(model.sample_mask(4, generator))
    with torch.no_grad():
        wanted = one_way(model, images, drawn, 0, 1)
        if kind.get("symmetric"):
            wanted = (wanted + one_way(model, images, drawn, 1, 0)) / 2
        assert model(images, drawn).item() == pytest.approx(kind.get("scale", 1) * wanted,
                                                            rel=1e-10)


@pytest.mark.parametrize("kind", KINDS[:2], ids=str)
def test_both_directions_are_averaged(images, generator, kind):
    one, both = toy(**kind), toy(symmetric=True, **kind)
    drawn = double(one.sample_mask(4, generator))
    turned = Paired(drawn.hidden, drawn.visible, drawn.crop, drawn.colour.flip(1), drawn.rectangle)
    torch.testing.assert_close(both(images, drawn),
                               (one(images, drawn) + one(images, turned)) / 2, **CLOSE)


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_with_one_patch_each_token_is_the_mean_of_tokens(generator, comparison):
    """O7.12: placement (3) with a single patch is placement (2)."""
    encoder = Encoder(4, 4, 16, 1, 2)
    base, images = MaskedAutoencoder(encoder, torch.nn.Identity(), None, show=None, target=None,
                                     loss=None), torch.rand(3, 3, 4, 4, dtype=torch.float64)
    losses = []
    for place in ("token", "mean"):
        model = Contrastive(copy.deepcopy(base), COLOUR, masked=False, place=place,
                            comparison=comparison, seed=0).double()
        drawn = double(model.sample_mask(3, torch.Generator().manual_seed(1)))
        losses.append(model(images, drawn))
    torch.testing.assert_close(*losses, **CLOSE)


def names_of_target(model):
    """Pairs of parameters, the target's and the online one's, by name."""
    online = dict(model.named_parameters())
    return {name: (old, online[name.removeprefix("target.")])
            for name, old in online.items() if name.startswith("target.")}


def test_the_target_starts_as_a_copy_without_gradient_and_without_predictor():
    model = Contrastive(mae("toy", seed=0), COLOUR, seed=0)
    pairs = names_of_target(model)
    assert {name.split(".")[1] for name in pairs} == {"encoder", "show", "projector"}
    for old, new in pairs.values():
        assert torch.equal(old, new) and old is not new and not old.requires_grad
    rest = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert rest == {"encoder", "show", "projector", "predictor"}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_no_gradient_reaches_the_target_and_one_reaches_all_else(images, generator, kind):
    model = toy(**kind)
    model(images, double(model.sample_mask(4, generator))).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("target.") or name.endswith("pos_embed"):
            assert parameter.grad is None, name
        elif name == "show.token" and not model.masked:  # no patch that it could stand for
            assert not parameter.grad.any()
        else:
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("kind", [{}, DROPPED], ids=str)
def test_pixels_that_only_the_target_sees_get_no_gradient(images, generator, kind):
    model = toy(**kind)
    drawn = double(model.sample_mask(4, generator))
    images.requires_grad_()
    unchanged = torch.tensor([1.0, 1, 1, 0, 0]).double().expand(4, 2, 5)  # contrast mixes all
    model(images, drawn._replace(colour=unchanged)).backward()
    reached = patchify(images.grad, 4).abs().amax(-1) > 0
    hidden = torch.zeros(4, 16, dtype=torch.bool).scatter(1, drawn.hidden, True)
    assert torch.equal(reached, ~hidden)


@pytest.mark.parametrize("kind", [{}, {"comparison": "byol"}, DROPPED], ids=str)
@pytest.mark.parametrize("momentum", [0.996, 0.5, 1.0, 0.0])
def test_after_each_step_the_target_follows_and_by_so_much(images, generator, kind, momentum):
    """O7.10 and O7.13: after the optimizer, and exactly frozen or copied at the ends."""
    model = toy(momentum=momentum, **kind)
    step = compile_step(model, adamw(model, Recipe(views=40, batch=4)), "eager")
    for _ in range(3):
        before = {name: old.clone() for name, (old, _) in names_of_target(model).items()}
        online = {name: new.clone() for name, (_, new) in names_of_target(model).items()}
        step(images, double(model.sample_mask(4, generator)), 1e-2)
        for name, (old, new) in names_of_target(model).items():
            assert torch.equal(new, online[name]) == name.endswith("pos_embed"), name
            if momentum in (0, 1):
                assert torch.equal(old, before[name] if momentum else new), name
            torch.testing.assert_close(old, momentum * before[name] + (1 - momentum) * new, **CLOSE)


def test_the_target_keeps_no_statistics_of_batches():
    model = Contrastive(mae("toy", seed=0), COLOUR, comparison="byol", seed=0)
    assert {name for name, _ in model.named_buffers()} == {
        f"{part}encoder.{name}" for part in ("", "target.") for name in ("mean", "std")}
    x = torch.randn(6, 5, 32)
    trained = model.projector(x)
    assert torch.equal(model.eval().projector(x), trained)


def test_heads_have_the_published_size():
    with torch.device("meta"):
        plain, normed = Head(768), Head(768, norm=True)
    assert plain.fc1.out_features == 2048 and plain.fc2.out_features == 768
    assert sum(p.numel() for p in plain.parameters()) == 3_148_544
    assert sum(p.numel() for p in normed.parameters()) == 3_148_544 + 2 * 2048


def test_heads_and_mask_token_start_as_the_rest_of_mae_does():
    model = Contrastive(mae("toy", width=384, depth=1, heads=6, seed=0), COLOUR, seed=0)
    spread = model.show.token.std().item() / 0.02
    assert abs(spread - 1) < 4 / (2 * 384) ** 0.5
    for head in (model.projector, model.predictor):
        for layer in (head.fc1, head.fc2):
            limit = (6 / (384 + 1024)) ** 0.5  # Xavier's
            assert limit * 0.99 < layer.weight.abs().max() <= limit and not layer.bias.any()
    assert not torch.equal(model.projector.fc1.weight, model.predictor.fc1.weight)


def test_the_seed_decides_the_heads_and_nothing_else():
    state = torch.get_rng_state()
    first, again, other = (Contrastive(mae("toy", seed=0), COLOUR, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
        same = torch.equal(weight, other.state_dict()[name])
        assert same == ("encoder" in name or name.endswith("bias")), name


@pytest.mark.parametrize("kind", KINDS[:2], ids=str)
def test_the_encoder_is_trained_in_place(kind):
    base = mae("toy", seed=0)
    assert Contrastive(base, COLOUR, **kind).encoder is base.encoder


def test_the_two_views_are_a_mask_and_its_complement_with_colours_of_their_own(generator):
    drawn = Contrastive(mae("toy", seed=0), COLOUR).sample_mask(5, generator)
    both = torch.cat([drawn.visible, drawn.hidden], 1).sort(1).values
    assert torch.equal(both, torch.arange(64).expand(5, -1)) and drawn.visible.shape == (5, 16)
    assert drawn.colour.shape == (5, 2, 5) and not torch.equal(*drawn.colour.unbind(1))


def test_without_masks_both_views_are_whole(generator):
    drawn = Contrastive(mae("toy", seed=0), COLOUR, masked=False).sample_mask(5, generator)
    assert torch.equal(drawn.visible, torch.arange(64).expand(5, -1))
    assert drawn.hidden.shape == (5, 0)


def test_rows_of_what_was_drawn_belong_to_these_images(images, generator):
    """BYOL's loss without batch normalisation is a mean over images."""
    model = toy(Augmentation(crop=True, colour=True), comparison="byol")
    for head in (model.projector, model.predictor, model.target["projector"]):
        head.norm = torch.nn.Identity()
    drawn = double(model.sample_mask(4, generator))
    halves = [model(images[rows], drawn._make(part[rows] for part in drawn))
              for rows in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(sum(halves) / 2, model(images, drawn), **CLOSE)


def test_a_single_image_has_nothing_to_be_told_from(images, generator):
    model = toy()
    with pytest.raises(ValueError, match="images must be a batch of at least 2 for InfoNCE, .*, "
                                         "got 1"):
        model(images[:1], double(model.sample_mask(1, generator)))
    alone = toy(comparison="byol")
    assert 0 < alone(images[:1], double(alone.sample_mask(1, generator))) < 4


BAD = [({"shown": "zeros"}, "shown must be one of mask tokens, dropped, got 'zeros'"),
       ({"place": "patch"}, "place must be one of token, class, mean, .* class, got 'patch'"),
       ({"comparison": "triplet"}, "comparison must be one of infonce, byol, got 'triplet'"),
       ({"shown": "dropped"}, "place must be 'class' or 'mean' where hidden patches are dropped: "
                              "the two views have no patch in common, got 'token'"),
       ({"shown": "dropped", "place": "token and class"}, "got 'token and class'"),
       ({"momentum": -0.1}, r"momentum must lie in \[0, 1\], got -0\.1"),
       ({"momentum": 1.1}, r"momentum must lie in \[0, 1\], got 1\.1"),
       ({"temperature": 0.0}, r"temperature must be above 0, got 0\.0")]


@pytest.mark.parametrize("kind, message", BAD, ids=[str(kind) for kind, _ in BAD])
def test_settings_that_cannot_be_met_are_refused(kind, message):
    with pytest.raises(ValueError, match=message):
        Contrastive(mae("toy", seed=0), COLOUR, **kind)


def test_tokens_may_be_compared_where_nothing_is_dropped():
    assert Contrastive(mae("toy", seed=0), COLOUR, shown="dropped", masked=False).place == "token"
