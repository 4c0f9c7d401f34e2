"""Every method by its name: what it is made of, and that the same loop trains and resumes it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mae_lib.data.images import ImageSet
from mae_lib.models.contrastive import Contrastive
from mae_lib.models.encoder import take
from mae_lib.models.family import METHODS, SUPERVISED, is_autoencoder, method, views
from mae_lib.models.losses import masked_mse
from mae_lib.models.methods import mae
from mae_lib.models.relative import RelativeAttention
from mae_lib.models.siamese import RMAE
from mae_lib.models.simmim import MaskTokens, PixelHead, ReadsAll, masked_l1
from mae_lib.models.supervised import Supervised
from mae_lib.models.uniformity import UMAE
from mae_lib.models.varied import VariedMAE
from mae_lib.models.views import Augmentation, Drawn
from mae_lib.training import pretrain as loop
from mae_lib.training.pretrain import mask_generator, pretrain
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import compile_step, training_device
from mae_lib.training.stream import Steps

RECIPE = Recipe(views=8 * 6, batch=8, lr=5e-3)
TINY = {"size": 16, "width": 16, "depth": 1, "heads": 2, "decoder_width": 8}
# Kong and Zhang, Tables 1, 3 and 4: second view; what is shown; what is compared, where and how.
BRANCHES = {"r-mae": "complement", "r-mae independent": "independent",
            "r-mae identity": "identity"}
WORDS = {"c-mae": ("mask tokens", "token", "infonce"),
         "c-mae class": ("mask tokens", "class", "infonce"),
         "c-mae mean": ("mask tokens", "mean", "infonce"),
         "c-mae token and class": ("mask tokens", "token and class", "infonce"),
         "c-mae dropped": ("dropped", "mean", "infonce"),
         "c-mae byol": ("mask tokens", "token", "byol"),
         "c-mae byol dropped": ("dropped", "mean", "byol"),
         "moco v3": ("dropped", "class", "infonce")}
# He et al., Table 1c; SimMIM, Table 2: what stands behind the encoder.
HEADS = {"mae tokens": ReadsAll, "simmim": PixelHead, "simmim mlp": PixelHead,
         "simmim decoder": ReadsAll, "simmim faithful": PixelHead}
VIEWS = {"mae": {"mask"}, "mae jittered": {"mask", "colour"}, "moco v3": {"crop", "colour"},
         "supervised": {"crop"}, **{name: {"mask"} for name in (*BRANCHES, *HEADS, "u-mae")},
         **{name: {"mask", "colour"} for name in WORDS if name.startswith("c-mae")}}


def tiny(name: str, augment: str | None = None, seed: int = 0, **sizes) -> nn.Module:
    return method(name, mae("toy", seed=seed, **TINY | sizes), augment=augment, classes=3,
                  seed=seed)


def tiny_images(count: int = 40, size: int = 16) -> ImageSet:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return ImageSet(pixels, np.arange(count) % 3, ("a", "b", "c"), "noise", "noise")


def masks(name: str, model: nn.Module, images: ImageSet):
    """What a method draws for images of a set; labels of those that learn from them."""
    labels = torch.from_numpy(images.labels)
    return lambda index, generator: model.sample_mask(
        labels[index] if name == SUPERVISED else len(index), generator)


def test_all_methods_are_known_here():
    assert set(METHODS) == set(VIEWS) == {"mae", "mae jittered", SUPERVISED, *BRANCHES, *WORDS,
                                          "u-mae", *HEADS}


@pytest.mark.parametrize("name", METHODS)
def test_views_are_made_as_the_papers_say(name):
    assert set(views(name)) == VIEWS[name]
    model = tiny(name)
    if name in (*BRANCHES, *HEADS, "u-mae"):
        assert not hasattr(model, "augment")
        return
    asked = {word for word in ("crop", "cutmix", "colour") if getattr(model.augment, word)}
    assert asked == VIEWS[name] - {"mask"}
    if name != SUPERVISED:
        assert model.masked == ("mask" in VIEWS[name])


@pytest.mark.parametrize("name", METHODS)
def test_names_stand_for_these_methods(name):
    model = tiny(name)
    if name in BRANCHES:
        assert type(model) is RMAE and (model.second, model.weight) == (BRANCHES[name], 1.0)
    elif name in WORDS:
        shown = "mask tokens" if hasattr(model.show, "token") else "dropped"
        assert type(model) is Contrastive
        assert (shown, model.place, model.comparison) == WORDS[name]
        assert (model.temperature, model.momentum) == (0.2, 0.996)
        mirrored = name == "moco v3"
        assert model.symmetric == mirrored and model.scale == (0.4 if mirrored else 1.0)
    elif name == "u-mae":
        assert type(model) is UMAE and (model.weight, model.feature) == (0.01, "class")
    elif name in HEADS:
        assert type(model.show) is MaskTokens and type(model.decoder) is HEADS[name]
        assert len(list(model.decoder.pred.parameters() if name == "simmim mlp" else "")) in (0, 4)
        assert (type(model.encoder.blocks[0].attn) is RelativeAttention) == ("faithful" in name)
        assert model.loss is (masked_mse if name == "mae tokens" else masked_l1)
    elif name == SUPERVISED:
        assert type(model) is Supervised and model.head.out_features == 3
    else:
        assert type(model) is VariedMAE and model.jittered_target == (name == "mae jittered")


@pytest.mark.parametrize("words", ["nothing", "crop", "cutmix+mask", "mask+crop+cutmix+colour"])
@pytest.mark.parametrize("name", ["mae", "mae jittered", "c-mae", "moco v3"])
def test_augmentations_are_those_asked_for(name, words):
    model, asked = tiny(name, words), set(words.split("+")) - {"nothing"}
    assert set(views(name, words)) == asked and model.masked == ("mask" in asked)
    assert model.augment == Augmentation(**{word: True for word in asked - {"mask"}})


@pytest.mark.parametrize("name", METHODS)
def test_autoencoders_keep_the_names_and_weights_of_mae(name):
    base = mae("toy", seed=0, **TINY)
    before = {key: weight.clone() for key, weight in base.state_dict().items()}
    model = method(name, base, classes=3, seed=7)
    found = model.state_dict()
    assert is_autoencoder(name) == (found.keys() == before.keys())
    own = before if is_autoencoder(name) else [k for k in before if k.startswith("encoder.")]
    for key in own if name != "simmim faithful" else ():  # whose encoder starts as SimMIM's does
        assert torch.equal(found[key], before[key])
    assert model.encoder is base.encoder and model.config == base.config


@pytest.mark.parametrize("name", ["mae tokens", "simmim", "simmim decoder", "simmim faithful"])
def test_an_encoder_with_mask_tokens_learns_nothing_of_hidden_pixels(name):
    model, images = tiny(name), torch.rand(2, 3, 16, 16)
    mask = model.sample_mask(2, torch.Generator().manual_seed(0))
    other = images.clone()
    rows, cols = mask.hidden[0, 0] // 4 * 4, mask.hidden[0, 0] % 4 * 4
    other[0, :, rows:rows + 4, cols:cols + 4] = 0.3
    torch.testing.assert_close(model.predict(other, mask), model.predict(images, mask))
    hidden = model.decoder(model._encode(model.encoder.patches(images), mask), mask)
    everywhere = model.predict(images, mask)
    torch.testing.assert_close(hidden, take(everywhere, mask.hidden))


def test_simmims_encoder_starts_as_its_code_has_it():
    encoder = tiny("simmim faithful", depth=2).encoder
    first, second = encoder.blocks
    assert first.attn.relative_position_bias_table is second.attn.relative_position_bias_table
    assert encoder.pos_embed.abs().max() == first.attn.relative_position_bias_table.abs().max() == 0
    usual = 0.0108  # standard deviation of what is clipped at one of .02
    for layer in (encoder.patch_embed.proj, first.attn.qkv, second.mlp.fc1):
        assert layer.weight.abs().max() <= 0.02 and layer.bias.abs().max() == 0
        assert layer.weight.std().item() == pytest.approx(usual, rel=0.15)
    for layer, factor in ((first.mlp.fc2, 2**-0.5), (second.attn.proj, 0.5)):
        assert layer.weight.std().item() == pytest.approx(0.1 * factor * usual, rel=0.15)


def test_a_crop_of_one_size_is_a_shifted_part_of_the_picture():
    drawn = tiny("mae", "mask+fixed").augment.draw(500, 1, torch.Generator().manual_seed(0)).crop
    torch.testing.assert_close(drawn[..., 2:4], torch.full((500, 1, 2), 224 / 256))
    assert drawn[..., :2].min() >= 0 and drawn[..., :2].max() <= 32 / 256


@pytest.mark.parametrize("words", ["mask", "mask+crop"])
def test_a_supervised_network_hides_nothing(words):
    with pytest.raises(ValueError, match=f"augment must not hold 'mask' for supervised, got "
                                         f"'{re.escape(words)}'"):
        tiny(SUPERVISED, words)


def test_mae_by_name_is_mae():
    base, images = mae("toy", seed=0, **TINY), torch.rand(4, 3, 16, 16)
    drawn = method("mae", base).sample_mask(4, torch.Generator().manual_seed(1))
    mask = base.sample_mask(4, torch.Generator().manual_seed(1))
    assert torch.equal(method("mae", base)(images, drawn), base(images, mask))


def test_moco_v3_is_the_mean_of_its_two_losses(generator):
    """Chen et al., algorithm 1, with one head after the other; the paper adds the two losses."""
    model, images = tiny("moco v3").double(), torch.rand(4, 3, 16, 16, dtype=torch.float64)
    drawn = model.sample_mask(4, generator)
    drawn = drawn._make(x.double() if x.is_floating_point() else x for x in drawn)
    one, two = (model.augment(images, Drawn(*drawn[2:]), view) for view in (0, 1))

    def loss(query, key):
        q = model.predictor(model.projector(model.encoder(query).cls))
        k = model.target["projector"](model.target["encoder"](key).cls)
        q, k = q / q.norm(dim=1, keepdim=True), k / k.norm(dim=1, keepdim=True)
        return 2 * 0.2 * -(q @ k.T / 0.2).log_softmax(1).diagonal().mean()

    torch.testing.assert_close(model(images, drawn), (loss(one, two) + loss(two, one)) / 2,
                               rtol=1e-10, atol=0)


def train(name: str, folder=None, *, weights: int = 0, stop: int | None = None):
    """Losses and final state of six steps, of which step ``stop`` breaks off."""
    model, images = tiny(name, seed=weights), tiny_images()
    draw, steps = masks(name, model, images), iter(range(100))

    def drawn(index, generator):
        if next(steps) == stop:
            raise InterruptedError
        return draw(index, generator)

    losses = pretrain(model, images, RECIPE, masks=drawn, checkpoint=folder, every_seconds=0.0,
                      backend="eager", progress=False).losses
    return losses, model.state_dict()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_goes_on_from_a_checkpoint_with_the_same_bits(name, tmp_path,
                                                                          monkeypatch):
    monkeypatch.setattr(loop, "CHECK_EVERY", 2)
    start = tiny(name).state_dict()
    losses, state = train(name)
    with pytest.raises(InterruptedError):
        train(name, tmp_path, stop=5)
    assert (tmp_path / "step-000000004.json").exists()
    found, again = train(name, tmp_path, weights=3)
    assert np.array_equal(found, losses) and np.isfinite(losses).all()
    assert again.keys() == state.keys()
    for key, weight in state.items():
        assert torch.equal(again[key], weight), key
        assert torch.equal(start[key], weight) == key.endswith("pos_embed"), key


@pytest.mark.parametrize("name", METHODS)
def test_processes_get_their_rows_of_all_that_was_drawn(name):
    model, images = tiny(name), tiny_images()
    draw = masks(name, model, images)
    whole, first, second = (Steps(images, 8, 3, draw, rows)[5]
                            for rows in (slice(0, 8), slice(0, 4), slice(4, 8)))
    assert type(first[1]) is type(second[1]) is type(whole[1])
    for a, b, both in zip(first[1], second[1], whole[1], strict=True):
        assert len(a) == len(b) == 4 and torch.equal(torch.cat([a, b]), both)
    assert all(model(*part).isfinite() for part in (first, second))


LEARN = ["mae jittered", "r-mae", "c-mae", "c-mae byol dropped", "moco v3", SUPERVISED]


@pytest.mark.parametrize("name", LEARN)
def test_one_batch_is_overfitted(name, generator):
    model = tiny(name, width=32)
    images = nn.functional.interpolate(torch.rand(4, 3, 4, 4, generator=generator), size=16,
                                       mode="bilinear")
    drawn = masks(name, model, tiny_images())(np.arange(4), generator)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95))
    step = compile_step(model, optimizer, "eager")
    losses = [step(images, drawn, 5e-3).item() for _ in range(100)]
    assert min(losses[-10:]) < losses[0] / 2


@pytest.mark.parametrize("name", ["c-mae byol", "r-mae", "r-mae independent"])
def test_one_compiled_graph_serves_all_steps(name):
    """As inductor would have it; of views test_views.py says so."""
    torch._dynamo.reset()  # models of other tests have the same code
    model, images = tiny(name), tiny_images()
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend="aot_eager")
    steps = Steps(images, 8, 0, masks(name, model, images), slice(0, 8))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for i in range(3):
            torch.testing.assert_close(compiled(*steps[i]), model(*steps[i]))


COMPILED = {"mae jittered": "mask+crop+cutmix+colour", "r-mae independent": None,
            "c-mae byol": None, SUPERVISED: None}


class Descent(torch.optim.Optimizer):
    """Steepest descent: XLA compiles it in a fraction of the time of AdamW, tested elsewhere."""

    def __init__(self, model):
        super().__init__([p for p in model.parameters() if p.requires_grad], {"lr": 0.0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(group["lr"] * parameter.grad)


def four_steps(name: str, backend: str) -> list:
    """Losses of four steps, and what is left in the first weight of encoder and target."""
    sizes = {"size": 8, "width": 8, "decoder_width": 4}
    model = tiny(name, COMPILED[name], **sizes).to(training_device(backend)).train()
    step, images = compile_step(model, Descent(model), backend), tiny_images(4, 8)
    draw = masks(name, model, images)
    losses = [step(images.batch(slice(None)), draw(np.arange(4), mask_generator(0, i)), 0.1)
              for i in range(4)]
    follows = [model.target["encoder"]] if isinstance(model, Contrastive) else []
    return [loss.item() for loss in losses] + [
        encoder.blocks[0].mlp.fc1.weight[0, 0].item() for encoder in (model.encoder, *follows)]


# In a process of its own: gradients on XLA must be the first that a process computes.
XLA = """
import json
import torch_xla
import torch_xla.debug.metrics as metrics
import test_family
from mae_lib.training import step

counts, plain = [], step._run_trace
def traced():
    plain()
    counts.append((metrics.counter_value("UncachedCompile"), metrics.metric_data("CompileTime")[0]))
step._run_trace, found = traced, {}
for name in test_family.COMPILED:
    counts.clear()
    found[name] = [test_family.four_steps(name, "xla"), list(counts)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def on_xla():
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here.parents[1], here)))
    quickly = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    result = subprocess.run([sys.executable, "-c", XLA], capture_output=True, text=True,
                            timeout=900, env=os.environ | {
                                "PYTHONPATH": path, "PJRT_DEVICE": "CPU", "OMP_NUM_THREADS": "1",
                                "XLA_FLAGS": quickly})
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


needs_xla = pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None,
                               reason="torch_xla is not installed")


@needs_xla
@pytest.mark.parametrize("name", COMPILED)
def test_xla_gives_the_losses_and_weights_of_eager(on_xla, name):
    assert on_xla[name][0] == pytest.approx(four_steps(name, "eager"), rel=1e-4)


@needs_xla
@pytest.mark.parametrize("name", COMPILED)
def test_xla_compiles_nothing_after_the_second_step(on_xla, name):
    counts = on_xla[name][1]
    assert len(counts) == 4 and counts[1:] == [counts[1]] * 3


def test_methods_nobody_knows_are_refused():
    base = mae("toy", seed=0, **TINY)
    with pytest.raises(ValueError, match="method must be one of mae, mae jittered, r-mae, .*, "
                                         "got 'simclr'"):
        method("simclr", base)
    for words, wrong in (("blur", "blur"), ("mask+flip+blur", "blur, flip"), ("", ""),
                         ("mask+nothing", "nothing")):
        with pytest.raises(ValueError, match="augment must join mask, crop, fixed, cutmix, colour "
                                             f"by a plus, or be 'nothing', got '{wrong}'"):
            method("mae", base, augment=words)


@pytest.mark.parametrize("name", BRANCHES)
def test_r_mae_takes_no_views_but_masks(name):
    base = mae("toy", seed=0, **TINY)
    assert isinstance(method(name, base, augment="mask"), RMAE)
    for words in ("nothing", "mask+colour"):
        with pytest.raises(ValueError, match=f"augment must be 'mask' for {name}, "
                                             f"got '{words}'".replace("+", r"\+")):
            method(name, base, augment=words)


def test_learning_from_labels_needs_classes():
    with pytest.raises(ValueError, match="classes must be at least 2, got 0"):
        method(SUPERVISED, mae("toy", seed=0, **TINY))


def test_tokens_are_compared_where_nothing_is_hidden(generator):
    model = tiny("c-mae byol", "colour")
    drawn = model.sample_mask(4, generator)
    assert drawn.hidden.shape == (4, 0)
    assert 0 < model(torch.rand(4, 3, 16, 16), drawn) < 4


@pytest.mark.parametrize(("first", "other"), [("r-mae", "r-mae identity"), ("mae", "r-mae"),
                                              ("c-mae", "c-mae mean")])
def test_a_checkpoint_of_another_method_is_refused(tmp_path, first, other):
    train(first, tmp_path)
    with pytest.raises(ValueError, match="belongs to a run with other settings .*method"):
        train(other, tmp_path)
