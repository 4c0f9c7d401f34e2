import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mae_lib.models.cost import (
    KEPT,
    activation_bytes,
    autoencoder_macs,
    block_macs,
    encoder_macs,
    parameters,
)
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


@pytest.mark.parametrize("preset", ["toy", "laptop", "vit_base_patch16", "vit_base_patch8"])
def test_parameters_are_those_of_the_network(preset):
    network = mae(preset)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert parameters(PRESETS[preset]) == trained


def test_the_encoder_alone_takes_what_a_counter_counts():
    assert encoder_macs(PRESETS["toy"]) == counted(mae("toy").encoder, torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(("precision", "dtype"), [("float32", None), ("bfloat16", torch.bfloat16)])
def test_a_block_keeps_as_many_bytes_as_autograd_saves(precision, dtype):
    block, x = Block(384, 6), torch.randn(4, 197, 384, requires_grad=True)
    own = {p.untyped_storage().data_ptr() for p in block.parameters()}
    kept, alive = {}, []

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)  # so that no address is given out twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), \
            torch.autocast("cpu", dtype, enabled=dtype is not None):
        block(x)
    copies = 0 if dtype is None else 2 * sum(p.numel() for p in block.parameters())
    saved = sum(n for address, n in kept.items() if address not in own) - copies
    assert saved / x.numel() == pytest.approx(KEPT[precision], rel=0.01)


def test_what_a_step_keeps_grows_with_the_visible_tokens():
    shape = PRESETS["vit_base_patch16"]
    assert activation_bytes(shape, 0.75) == 64 * (12 * 50 * 768 + 8 * 197 * 512)
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, float16, "):
        activation_bytes(shape, 0.75, "int8")
