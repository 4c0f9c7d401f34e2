"""Methods of clips and of world models by name: each is the builder's, with one thing set."""

import json
import math

import pytest
import torch

from mae_lib.models.clips.encoder import ClipEncoder
from mae_lib.models.clips.siamese import SiamMAE
from mae_lib.models.encoder import Encoder
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.wider import KINDS, build, rebuilt
from mae_lib.models.worlds.autoencoder import WorldAutoencoder
from mae_lib.models.worlds.memory import FrameAndMemory
from mae_lib.models.worlds.siamese import FeatureSiamMAE
from mae_lib.models.worlds.stem import Stem
from mae_lib.models.worlds.views import TwoViews

# Which network a name stands for, what it looks at, and tokens along each axis at toy size.
MADE = {"mae-st": (MaskedAutoencoder, ClipEncoder, (4, 8, 8)),
        "videomae": (MaskedAutoencoder, ClipEncoder, (4, 8, 8)),
        "siam-mae": (SiamMAE, Encoder, (8, 8)), "siam-mae symmetric": (SiamMAE, Encoder, (8, 8)),
        "mwm": (WorldAutoencoder, Encoder, (4, 4)),
        "mwm reward": (WorldAutoencoder, Encoder, (4, 4)),
        "mwm patches": (WorldAutoencoder, Encoder, (4, 4)),
        "mwm views": (TwoViews, Encoder, (4, 4)),
        "mwm view hidden": (TwoViews, Encoder, (4, 4)),
        "mwm memory": (FrameAndMemory, Encoder, (4, 4)),
        "siam-mwm": (FeatureSiamMAE, Encoder, (4, 4))}
CLIPS = ("mae-st", "videomae", "siam-mae", "siam-mae symmetric")
PARTNERS = {"mwm views": "view", "mwm view hidden": "view", "mwm memory": "memory",
            "siam-mwm": "past"}
SAMPLED = ("mae-st", "videomae")
MEAN, STD = (0.25, 0.5, 0.75), (0.5, 0.25, 0.125)


def toy(name: str, ratio: float = 0.75, seed: int = 0, **settings):
    return build(name, "toy", ratio=ratio, seed=seed, **settings)


def shown_to(name: str, batch: int = 2) -> torch.Tensor:
    """Noise in the shape that a method learns from: clips, or single frames."""
    frames = (8,) if name in (*CLIPS, "siam-mwm") else ()
    views = (2,) if PARTNERS.get(name) == "view" else ()
    return torch.rand(batch, *views, 3, *frames, 32, 32,
                      generator=torch.Generator().manual_seed(1))


def drawn(model, batch: int = 2):
    """Masks, and points and bytes where these are wanted, too."""
    more = {"rewards": torch.arange(batch)} if model.config.get("reward") else {}
    more |= {"memory": torch.zeros(batch, 128)} if "memory_ratio" in model.config else {}
    return model.sample_mask(batch, torch.Generator().manual_seed(0), **more)


def test_all_kinds_are_known_here():
    assert set(KINDS) == set(MADE)
    assert {name for name, kind in KINDS.items() if kind.clips} == set(CLIPS)
    assert {name for name, kind in KINDS.items() if kind.sampled} == set(SAMPLED)
    assert {name: kind.partner for name, kind in KINDS.items() if kind.partner} == PARTNERS


@pytest.mark.parametrize("name", MADE)
def test_names_stand_for_these_networks(name):
    made, (method, encoder, grid) = toy(name), MADE[name]
    assert type(made) is method and type(made.encoder) is encoder
    assert tuple(made.encoder.grid) == grid
    assert (made.encoder.cls_token is None) == (name == "videomae")
    if method is WorldAutoencoder:
        stems = [part for part in made.modules() if isinstance(part, Stem)]
        assert len(stems) == (name != "mwm patches")
        assert set(made.decoder.counts) == {"frame"} | ({"reward"} if "reward" in name else set())


@pytest.mark.parametrize("preset", ["toy", "laptop"])
@pytest.mark.parametrize("name", MADE)
def test_a_kind_learns_from_what_it_says(name, preset):
    made = build(name, preset, ratio=0.75, seed=0)
    side = made.encoder.size[0]
    inputs = torch.nn.functional.interpolate(shown_to(name).flatten(0, -4), side)  # any shape
    inputs = inputs.unflatten(0, shown_to(name).shape[:-3])
    loss = made(inputs, drawn(made))
    loss.backward()
    assert loss.isfinite() and loss.ndim == 0
    assert all(p.grad.abs().sum() > 0 for p in made.encoder.blocks[0].mlp.parameters())
    other = inputs[:, :, 0] if inputs.ndim > 4 else inputs[:, :, None]
    with pytest.raises(ValueError, match="must have shape"):
        made(other, drawn(made))


@pytest.mark.parametrize("ratio", [0.5, 0.75])
@pytest.mark.parametrize("name", MADE)
def test_the_ratio_is_the_share_that_is_hidden(name, ratio):
    mask, tokens = drawn(toy(name, ratio)), math.prod(MADE[name][2])
    hidden = round(ratio * tokens)
    both = {"mwm views": 2 * hidden, "mwm view hidden": hidden + tokens}  # of two views
    assert mask.hidden.shape == (2, both.get(name, hidden))
    assert mask.visible.shape[1] + mask.hidden.shape[1] == (2 if "view" in name else 1) * tokens


def test_only_where_a_pair_is_masked_alike_is_the_past_hidden_too():
    plain, alike = (drawn(toy(name, 0.75)) for name in ("siam-mae", "siam-mae symmetric"))
    assert plain.shown.shape == (2, 64) and alike.shown.shape == (2, 16)
    assert torch.equal(plain.visible, alike.visible)  # else nothing differs
    one, other = (toy(name).state_dict() for name in ("siam-mae", "siam-mae symmetric"))
    assert all(torch.equal(weight, other[key]) for key, weight in one.items())


def places(mask, clip: int) -> set[tuple[int, int]]:
    """Time slice and place of what is hidden of a clip."""
    return {divmod(token, 64) for token in mask.hidden[clip].tolist()}


@pytest.mark.parametrize("name", SAMPLED)
def test_samplings_hide_tubes_frames_or_anything(name):
    masks = {how: drawn(toy(name, sampling=how), 4) for how in ("tube", "frame", "agnostic",
                                                                "block")}
    for clip in range(4):
        hidden = {how: places(mask, clip) for how, mask in masks.items()}
        assert hidden["tube"] == {(t, p) for t in range(4) for p in
                                  {place for _, place in hidden["tube"]}}
        assert hidden["frame"] == {(t, p) for p in range(64) for t in
                                   {time for time, _ in hidden["frame"]}}
        assert len({place for _, place in hidden["agnostic"]}) > 48
        assert {time for time, _ in hidden["agnostic"]} == set(range(4))
        assert len(hidden["block"]) == 192 and hidden["block"] != hidden["agnostic"]


@pytest.mark.parametrize(("name", "own"), [("mae-st", "agnostic"), ("videomae", "tube")])
def test_a_sampling_that_is_left_open_is_the_papers(name, own):
    left, said = drawn(toy(name)), drawn(toy(name, sampling=own))
    assert torch.equal(left.hidden, said.hidden)
    assert toy(name).config["sampling"] == own


@pytest.mark.parametrize("name", MADE)
def test_settings_reach_the_networks(name):
    made = toy(name, target="normalised", mean=MEAN, std=STD, width=16, decoder_width=8)
    assert made.encoder.width == 16 and made.decoder.embed.out_features == 8
    assert made.encoder.mean.tolist() == list(MEAN) and made.encoder.std.tolist() == list(STD)
    assert made.config["target"] == "normalised" and made.config["ratio"] == 0.75
    inputs = shown_to(name)
    assert not torch.allclose(made(inputs, drawn(made)), toy(
        name, target="pixel", mean=MEAN, std=STD, width=16, decoder_width=8)(inputs, drawn(made)))


@pytest.mark.parametrize("name", MADE)
def test_weights_are_a_function_of_the_seed_and_of_nothing_else(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (toy(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weight, same[key]) for key, weight in one.items())
    moved = "encoder.blocks.0.attn.qkv.weight"
    assert not torch.equal(one[moved], other[moved])


@pytest.mark.parametrize("name", MADE)
def test_a_config_that_went_through_json_gives_the_same_network_again(name):
    """All that weights do not hold: samplings, targets, sizes, standardisation."""
    sizes = {"width": 16, "decoder_depth": 2, "patch": MADE[name][2][0] if name == "mae-st" else 8}
    first = toy(name, 0.5, seed=3, target="normalised", mean=MEAN, std=STD,
                sampling="tube" if name == "mae-st" else None, **sizes)
    again = rebuilt(json.loads(json.dumps(first.config)))
    assert again.config == first.config
    again.load_state_dict(first.state_dict())
    inputs, masks = shown_to(name), drawn(first)
    for part, twin in zip(masks, drawn(again), strict=True):
        assert torch.equal(part, twin)
    assert torch.equal(again(inputs, masks), first(inputs, masks))


# What is refused

@pytest.mark.parametrize("name", ["mae", "simmim", ""])
def test_other_names_are_refused(name):
    known = ", ".join(MADE)
    with pytest.raises(ValueError, match=f"name must be one of {known}, got '{name}'"):
        build(name, "toy", ratio=0.75)


@pytest.mark.parametrize("name", [name for name in MADE if name not in SAMPLED])
def test_a_sampling_that_would_be_ignored_is_refused(name):
    with pytest.raises(ValueError, match=f"sampling must be left open for {name}, got 'tube'"):
        toy(name, sampling="tube")


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize(("settings", "message"), [
    ({"ratio": 1.0}, "ratio must"), ({"ratio": -0.1}, "ratio must"),
    ({"target": "tokens"}, "target must be one of pixel, normalised, got 'tokens'"),
    ({"frame": 8}, "overrides must be among .*size, .*, got frame")])
def test_what_the_builder_refuses_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        toy(name, **settings)


def test_unknown_samplings_and_presets_are_refused():
    with pytest.raises(ValueError, match="sampling must be one of agnostic, tube, frame, block, "
                                         "got 'grid'"):
        toy("mae-st", sampling="grid")
    with pytest.raises(ValueError, match="preset must be one of toy, laptop, .*, got 'tiny'"):
        build("siam-mae", "tiny", ratio=0.75)
