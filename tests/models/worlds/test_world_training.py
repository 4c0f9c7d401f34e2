"""Masked world models go through `pretrain` as they are, and through their config."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch._dynamo.utils import counters

from mae_lib.models.worlds.autoencoder import mwm
from mae_lib.models.worlds.groups import beside
from mae_lib.models.worlds.memory import mwm_memory
from mae_lib.models.worlds.presets import PAIRS, WORLDS
from mae_lib.models.worlds.siamese import siam_mwm
from mae_lib.models.worlds.views import mwm_views
from mae_lib.training.pretrain import mask_generator, pretrain
from mae_lib.training.schedule import Recipe

METHODS = {"mwm": mwm, "mwm_views": mwm_views, "mwm_memory": mwm_memory, "siam_mwm": siam_mwm}
REWARDS = np.array([0, 1, -2, 5], np.int32)
MEMORY = np.random.default_rng(1).integers(256, size=(4, 128), dtype=np.uint8)


class Frames:
    """What `pretrain` asks of a set: a length, a size, batches and a fingerprint."""

    size, fingerprint = (32, 32), "waves"

    def __init__(self, pictures: np.ndarray):
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index) -> torch.Tensor:
        return torch.from_numpy(self.pictures[index]).float() / 255


def waves(frames: int) -> np.ndarray:
    """Four clips of coloured waves that move, uint8 ``[4, 3, frames, 32, 32]``."""
    draw = np.random.default_rng(0).uniform(-1, 1, (4, 4, 3, 1, 1, 1))
    t, y, x = np.mgrid[:frames, :32, :32] / 8
    phase = 2 * draw[:, 0] * y + 2 * draw[:, 1] * x + draw[:, 2] * t + 6 * draw[:, 3]
    return (127.5 + 127.5 * np.sin(phase)).astype(np.uint8)


def data(name: str) -> Frames:
    if name == "mwm_views":
        return Frames(np.ascontiguousarray(waves(2).swapaxes(1, 2)))
    return Frames(waves(4) if name == "siam_mwm" else waves(1)[:, :, 0])


def tiny(name: str, seed: int = 0, **options):
    pairs = {"frames": 4, "ratio": 0.75} if name == "siam_mwm" else {}
    return METHODS[name]("toy", seed=seed, **pairs | options)


def masks(name: str, method):
    """What goes along with the frames; None where masks are enough."""
    return {"mwm": beside(method, REWARDS), "mwm_memory": beside(method, MEMORY)}.get(name)


@pytest.mark.parametrize("name", METHODS)
def test_four_items_are_learned(name):
    """The loss falls by a fifth at least; by a half but with pairs, which learn slowly."""
    method = tiny(name, target="pixel", ratio=0.5, decoder_width=32)
    losses = pretrain(method, data(name), Recipe(views=4 * 80, batch=4, lr=1e-2),
                      masks=masks(name, method), progress=False).losses
    share = 0.8 if name == "siam_mwm" else 0.5
    assert losses[-5:].mean() < share * losses[:5].mean()


def test_rewards_belong_to_their_frames():
    """Of frames of one colour each the points are learned, in their order."""
    colours = np.random.default_rng(0).integers(256, size=(4, 3, 1, 1), dtype=np.uint8)
    frames = Frames(np.broadcast_to(colours, (4, 3, 32, 32)).copy())
    method = tiny("mwm")
    pretrain(method, frames, Recipe(views=4 * 80, batch=4, lr=1e-2), progress=False,
             masks=beside(method, REWARDS))
    mask = method.sample_mask(4, mask_generator(0, 0))
    found = method.predict_reward(frames.batch(slice(None)), mask)
    assert found.argsort().tolist() == REWARDS.argsort().tolist() == [2, 0, 1, 3]


@pytest.mark.parametrize("name", METHODS)
def test_the_config_builds_the_same_model_again(name, tmp_path):
    method = tiny(name, seed=3, mean=(0.4, 0.5, 0.6), padding="reflect")
    save_file(method.state_dict(), tmp_path / "weights.safetensors")
    config = json.loads(json.dumps(method.config))
    assert config.pop("method") == name and config["patch"] == 8
    again = METHODS[name](**config, seed=0)
    assert again.config == method.config
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    batch = data(name).batch(slice(None))
    make = masks(name, method) or (lambda index, g: method.sample_mask(len(index), g))
    drawn = make(np.arange(4), mask_generator(0, 0))
    assert torch.equal(again(batch, drawn), method(batch, drawn))
    assert torch.equal(again.predict(batch, drawn), method.predict(batch, drawn))


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_gives_the_weights_and_leaves_the_global_generator_alone(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (tiny(name, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["decoder.mask_token"], other["decoder.mask_token"])


@pytest.mark.parametrize("name", ["mwm", "mwm_memory"])
def test_they_are_one_graph_whatever_the_mask(name):
    torch._dynamo.reset()
    counters.clear()
    method, batch = tiny(name), data(name).batch(slice(None))
    make = masks(name, method) or (lambda index, g: method.sample_mask(len(index), g))
    compiled = torch.compile(method, backend="eager", fullgraph=True, dynamic=False)
    for i in range(3):
        drawn = make(np.arange(4), mask_generator(0, i))
        assert compiled(batch, drawn).item() == pytest.approx(method(batch, drawn).item(), rel=1e-5)
    assert counters["stats"]["unique_graphs"] == 1 and not counters["recompiles"]


class Failing(Frames):
    """Gives out after so many batches."""

    def __init__(self, pictures: np.ndarray, left: int):
        super().__init__(pictures)
        self.left = left

    def batch(self, index):
        if self.left == 0:
            raise OSError("the disk is gone")
        self.left -= 1
        return super().batch(index)


def trained(name, frames, folder, seed=0):
    method = tiny(name, seed)
    losses = pretrain(method, frames, Recipe(views=4 * 6, batch=4), masks=masks(name, method),
                      checkpoint=folder, every_seconds=0, progress=False).losses
    return losses.tolist(), method.state_dict()


@pytest.mark.parametrize("name", ["mwm", "mwm_memory"])
def test_a_run_that_failed_goes_on_to_the_same_bits(name, tmp_path, monkeypatch):
    """Rewards and memory included."""
    monkeypatch.setattr("mae_lib.training.pretrain.CHECK_EVERY", 2)
    losses, weights = trained(name, data(name), tmp_path / "whole")
    with pytest.raises(OSError, match="the disk is gone"):
        trained(name, Failing(data(name).pictures, 5), tmp_path / "failed")
    again, others = trained(name, data(name), tmp_path / "failed", seed=5)
    assert again == losses and all(torch.equal(w, others[n]) for n, w in weights.items())


@pytest.mark.parametrize("preset", WORLDS)
def test_presets_build_and_have_the_tokens_of_their_size(preset):
    side = WORLDS[preset]["size"] // 8
    method = mwm(preset, seed=0)
    assert method.encoder.grid == (side, side) and method.encoder.depth == WORLDS[preset]["depth"]
    assert siam_mwm(preset, ratio=0.75).config["frames"] == PAIRS[preset]["frames"] == 8
    assert {**PAIRS[preset], **WORLDS[preset]} == PAIRS[preset]
