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
    followers,
    method_macs,
    parameters,
)
from mae_lib.models.family import CONTRASTIVE, METHODS, SUPERVISED, method
from mae_lib.models.masks import random_mask
from mae_lib.models.methods import PRESETS, mae
from mae_lib.models.transformer import Block
from mae_lib.models.views import Drawn

# Beside every method as it is: views without masks, masked views where they are whole, crops.
OTHER_VIEWS = [("mae", "nothing"), ("mae", "mask+crop"), ("c-mae", "cutmix+colour"),
               ("c-mae dropped", "nothing"), ("c-mae byol dropped", "mask+crop"),
               ("moco v3", "mask"), ("supervised", "nothing")]
EVERY = [*((name, None) for name in METHODS), *OTHER_VIEWS]
RATIOS, BATCH, CLASSES = (0.75, 0.4), 3, 7


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
    with torch.device("meta"):  # without values
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


def built(name, augment=None, ratio=0.75):
    """A method with random images and what it draws for them."""
    made = method(name, mae("toy", ratio=ratio, seed=0), augment=augment, classes=CLASSES, seed=0)
    generator = torch.Generator().manual_seed(0)
    subject = torch.arange(BATCH) if name == SUPERVISED else BATCH
    images = torch.rand(BATCH, 3, 32, 32, generator=generator)
    return made, images, made.sample_mask(subject, generator)


def cropping(made, images, drawn) -> float:
    """MACs of making the views, which are products of matrices where they are crops."""
    if not hasattr(made, "augment"):
        return 0.0
    numbers = Drawn(*drawn[-3:])
    return sum(counted(made.augment, images, numbers, view)
               for view in range(numbers.crop.shape[1]))


def found(name, augment, ratio=0.75):
    return method_macs(name, PRESETS["toy"], ratio, augment=augment, batch=BATCH, classes=CLASSES)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("name", "augment"), EVERY)
def test_a_method_takes_what_pytorch_counts(name, augment, ratio):
    made, images, drawn = built(name, augment, ratio)
    expected = counted(made, images, drawn) - cropping(made, images, drawn)
    assert BATCH * found(name, augment, ratio).forward == expected


@pytest.mark.parametrize(("name", "augment"), EVERY)
def test_a_training_step_takes_less_only_by_gradients_that_nobody_needs(name, augment):
    """Those of the patches, and those of the momentum target's features in InfoNCE."""
    made, images, drawn = built(name, augment)
    spared = []
    made.encoder.patch_embed.register_forward_hook(
        lambda layer, arguments, result: spared.append(arguments[0].numel() * result.shape[-1]))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        made(images, drawn).backward()
    taken = counter.get_total_flops() / 2 - cropping(made, images, drawn)
    alone = method_macs(name, PRESETS["toy"], 0.75, augment=augment, batch=0, classes=CLASSES)
    if name in CONTRASTIVE:
        spared.append(BATCH * (found(name, augment).learned - alone.learned))
    assert BATCH * found(name, augment).step == taken + sum(spared)
    assert sum(spared) < 0.015 * taken


def test_what_follows_is_counted_once_and_what_learns_three_times():
    whole = encoder_macs(PRESETS["toy"])
    assert found(SUPERVISED, None) == (whole + 32 * CLASSES, 0)
    head = 2 * 32 * 85  # to 8/3 of the width and back
    pooled, byol = found("c-mae mean", None), found("c-mae byol", None)
    assert pooled == (whole + 2 * head + BATCH * 32, whole + head)
    assert pooled.step == 3 * pooled.learned + pooled.followed
    assert byol == (whole + 64 * 2 * head, whole + 64 * head)


def test_mae_as_a_method_takes_what_the_autoencoder_takes():
    for ratio in (0.1, 0.75, 0.9):
        expected = autoencoder_macs(PRESETS["vit_base_patch16"], ratio).total
        for name in ("mae", "mae jittered"):
            assert method_macs(name, PRESETS["vit_base_patch16"], ratio) == (expected, 0)


def test_a_wrong_name_is_refused():
    with pytest.raises(ValueError, match="method must be one of mae, .*, got 'simclr'"):
        method_macs("simclr", PRESETS["toy"], 0.75)
    with pytest.raises(ValueError, match="augment must join mask, .*, got 'blur'"):
        method_macs("mae", PRESETS["toy"], 0.75, augment="mask+blur")


@pytest.mark.parametrize("name", METHODS)
def test_parameters_are_those_of_the_method(name):
    made = built(name)[0]
    trained, fixed = (sum(p.numel() for n, p in made.named_parameters() if p.requires_grad is flag
                          and not n.endswith("pos_embed")) for flag in (True, False))
    assert parameters(PRESETS["toy"], name, CLASSES) == trained
    assert followers(PRESETS["toy"], name) == fixed


@pytest.mark.parametrize(("name", "encoded", "decoded"), [
    ("mae", 17, 1), ("r-mae", 17 + 49, 2), ("r-mae identity", 17 + 65, 2), ("c-mae", 65, 0),
    ("mae tokens", 65, 1), ("simmim", 65, 0), ("simmim decoder", 65, 1),
    ("c-mae dropped", 17, 0), ("moco v3", 2 * 65, 0), ("supervised", 65, 0)])
def test_a_method_keeps_every_token_that_gradients_flow_through(name, encoded, decoded):
    shape = PRESETS["toy"]  # 2 blocks of 32 units, and 1 of 16 in the decoder
    assert activation_bytes(shape, 0.75, name=name) == 64 * (2 * 32 * encoded + 16 * 65 * decoded)
