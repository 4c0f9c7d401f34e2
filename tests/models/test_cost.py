import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mae_lib.models.cost import autoencoder_macs, block_macs
from mae_lib.models.masks import random_mask
from mae_lib.models.methods import PRESETS, mae
from mae_lib.models.transformer import Block


def counted(function, *arguments) -> float:
    """MACs that PyTorch counts; attention taken apart, since not every kernel has a count."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("queries", [None, 5, 1])
def test_a_block_takes_what_pytorch_counts(queries):
    block = Block(12, 3)
    assert block_macs(9, 12, queries) == counted(block, torch.zeros(1, 9, 12), queries)


@pytest.mark.parametrize("shape", [{}, {"patch": 8}, {"decoder_depth": 3, "depth": 1, "width": 48}])
@pytest.mark.parametrize("ratio", [0.1, 0.75])
def test_an_autoencoder_takes_what_pytorch_counts(shape, ratio):
    model = mae("toy", ratio=ratio, **shape)
    images, mask = torch.zeros(2, 3, 32, 32), model.sample_mask(2)
    assert 2 * autoencoder_macs(model.config, ratio).total == counted(model, images, mask)


@pytest.mark.parametrize("ratio", [0.1, 0.75])
def test_the_encoders_share_is_what_pytorch_counts(ratio):
    model = mae("toy", ratio=ratio)
    mask = random_mask(2, (8, 8), ratio)
    found = autoencoder_macs(model.config, ratio)
    expected = counted(model.encoder, torch.zeros(2, 3, 32, 32), mask.visible)
    assert 2 * (found.embedding + found.encoder) == expected


def test_vit_base_takes_what_the_papers_say():
    shape = PRESETS["vit_base_patch16"]
    much, little = (autoencoder_macs(shape, r, lazy=False) for r in (0.9, 0.1))
    assert [round(m.encoder / 1e9, 2) for m in (much, little)] == [1.71, 15.61]
    assert little.encoder / much.encoder == pytest.approx(9.15, abs=0.005)
    assert [round(m.total / 1e9, 2) for m in (much, little)] == [7.18, 21.15]


def test_vit_large_with_and_without_mask_tokens_in_the_encoder():
    found = autoencoder_macs(PRESETS["vit_large_patch16"], 0.75, lazy=False)
    assert found.total / 1e9 == pytest.approx(20.76, abs=0.005)
    everything = found.total + 24 * (block_macs(197, 1024) - block_macs(50, 1024)) \
        + 147 * 1024 * 512
    assert everything / 1e9 == pytest.approx(67.01, abs=0.005)
    assert everything / found.total == pytest.approx(3.23, abs=0.005)


def test_what_nobody_reads_is_not_computed():
    for ratio in (0.1, 0.9):
        lazy, eager = (autoencoder_macs(PRESETS["laptop"], ratio, lazy=flag) for flag in (1, 0))
        assert all(a <= b for a, b in zip(lazy, eager, strict=True)) and lazy.total < eager.total


def test_an_impossible_ratio_is_refused():
    with pytest.raises(ValueError, match=r"ratio must lie in \[0, 1\), got 1"):
        autoencoder_macs(PRESETS["laptop"], 1)
