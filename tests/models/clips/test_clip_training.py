"""Whatever trains on clips goes through `pretrain` as it is."""

import json

import pytest
import torch
from clip_sets import METHODS, ClipSet, tiny, waves
from torch._dynamo.utils import counters

from mae_lib.training.pretrain import mask_generator, pretrain
from mae_lib.training.schedule import Recipe


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_gives_the_weights_and_leaves_the_global_generator_alone(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (tiny(name, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["decoder.mask_token"], other["decoder.mask_token"])


@pytest.mark.parametrize("name", METHODS)
def test_the_config_builds_the_same_model_again(name):
    method = tiny(name, target="pixel", mean=(0.4, 0.5, 0.6))
    config = json.loads(json.dumps(method.config))
    assert config.pop("method") == name
    again = METHODS[name](**config, seed=0)
    assert again.config == method.config
    weights = again.state_dict()
    assert all(torch.equal(w, weights[n]) for n, w in method.state_dict().items())


SHORT = Recipe(views=4 * 20, batch=4)


@pytest.mark.parametrize("name", METHODS)
def test_four_clips_are_learned(name):
    """The loss halves."""
    method = tiny(name, width=32, decoder_width=16, target="pixel", ratio=0.5)
    losses = pretrain(method, waves(), Recipe(views=4 * 200, batch=4, lr=1e-2),
                      progress=False).losses
    assert losses[-5:].mean() < losses[:5].mean() / 2


@pytest.mark.parametrize("name", METHODS)
def test_they_are_one_graph_whatever_the_mask(name):
    torch._dynamo.reset()
    counters.clear()
    method, clips = tiny(name), waves().batch(slice(None))
    compiled = torch.compile(method, backend="eager", fullgraph=True, dynamic=False)
    for i in range(3):
        mask = method.sample_mask(4, mask_generator(0, i))
        assert compiled(clips, mask).item() == pytest.approx(method(clips, mask).item(), rel=1e-5)
    assert counters["stats"]["unique_graphs"] == 1 and not counters["recompiles"]


def trained(name, folder, clips=None, seed=0):
    method = tiny(name, seed)
    losses = pretrain(method, clips or waves(), SHORT, checkpoint=folder, every_seconds=0,
                      progress=False).losses
    return losses.tolist(), method.state_dict()


class Failing(ClipSet):
    """Gives out after so many batches."""

    def __init__(self, left):
        super().__init__(waves().clips)
        self.left = left

    def batch(self, index):
        if self.left == 0:
            raise OSError("the disk is gone")
        self.left -= 1
        return super().batch(index)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_failed_goes_on_to_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr("mae_lib.training.pretrain.CHECK_EVERY", 5)
    losses, weights = trained(name, tmp_path / "whole")
    with pytest.raises(OSError, match="the disk is gone"):
        trained(name, tmp_path / "failed", Failing(13))
    assert sorted(path.name for path in (tmp_path / "failed").glob("*.json"))[-1] == (
        "step-000000010.json")
    again, others = trained(name, tmp_path / "failed", seed=5)
    assert again == losses and all(torch.equal(w, others[n]) for n, w in weights.items())


@pytest.mark.parametrize("name", METHODS)
def test_clips_of_another_size_are_refused_before_training(name):
    clips = waves(side=8)
    clips.size = (8, 8)
    with pytest.raises(ValueError, match="images must be 16x16 pixels for this encoder, got 8x8"):
        pretrain(tiny(name), clips, SHORT, progress=False)


@pytest.mark.parametrize("name", METHODS)
def test_clips_of_another_length_are_refused(name):
    with pytest.raises(ValueError, match=r"clips must have shape \[B,3,4,16,16\], got \[4, 3, 6"):
        pretrain(tiny(name), waves(frames=6), SHORT, progress=False)


def test_another_method_does_not_go_on_with_a_checkpoint(tmp_path):
    trained("mae_st", tmp_path)
    with pytest.raises(ValueError, match="config.method: mae_st there, video_mae here"):
        trained("video_mae", tmp_path)
