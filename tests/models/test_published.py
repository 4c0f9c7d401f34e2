"""Files in the layouts of the releases, written from other implementations, become our models."""

import argparse
import functools

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.beit import Beit
from timm.models.beit import gen_relative_position_index as official_index
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from mae_lib.evaluation.attention import attention_maps, cls_map
from mae_lib.evaluation.robustness import score_variant
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from mae_lib.models.masks import mask_from_order, nothing_hidden, random_mask
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.patches import patchify, sincos_2d
from mae_lib.models.published.loading import load_published
from mae_lib.models.weights import load_model, published_names, save_model

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
close = functools.partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)
MEAN, STD = (torch.tensor(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))


def standardised(images):
    return (images - MEAN) / STD


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 32, 32, generator=generator)


def shaken(module):
    """Every parameter random, so that none can be missed."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def vit(**options):
    return shaken(VisionTransformer(**{**SIZES, "num_classes": 5, **options}))


def saved(tensors, path, **beside):
    tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"model": tensors, **beside}, path)
    return path


def load(tensors, path, name="weights.pth", heads=4, **options):
    return load_published(saved(tensors, path / name), heads=heads, **options)


def transformers_mae():
    config = ViTMAEConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        image_size=32, patch_size=8, decoder_hidden_size=16, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2, decoder_intermediate_size=64, layer_norm_eps=1e-6)
    model = ViTMAEForPreTraining(config)
    fixed = (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed)
    model = shaken(model)
    for table, width in zip(fixed, (32, 16), strict=True):
        table.data = sincos_2d(width, (4, 4))
    return model


def in_the_names_of_the_release(model):
    """State of transformers' ViTMAE under the names of facebookresearch/mae: models_mae.py."""
    state, named = dict(model.state_dict()), {}
    whole = {"vit.embeddings.cls_token": "cls_token", "decoder.mask_token": "mask_token",
             "vit.embeddings.position_embeddings": "pos_embed",
             "decoder.decoder_pos_embed": "decoder_pos_embed"}
    layers = {"vit.embeddings.patch_embeddings.projection": "patch_embed.proj",
              "vit.layernorm": "norm", "decoder.decoder_embed": "decoder_embed",
              "decoder.decoder_norm": "decoder_norm", "decoder.decoder_pred": "decoder_pred"}
    parts = {"attention.o_proj": "attn.proj", "layernorm_before": "norm1",
             "layernorm_after": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    for theirs, ours in [("vit.layers.0", "blocks.0"), ("vit.layers.1", "blocks.1"),
                         ("decoder.decoder_layers.0", "decoder_blocks.0")]:
        layers |= {f"{theirs}.{old}": f"{ours}.{new}" for old, new in parts.items()}
        for kind in ("weight", "bias"):
            named[f"{ours}.attn.qkv.{kind}"] = torch.cat(
                [state.pop(f"{theirs}.attention.{x}_proj.{kind}") for x in "qkv"])
    named |= {new: state.pop(old) for old, new in whole.items()}
    for kind in ("weight", "bias"):
        named |= {f"{new}.{kind}": state.pop(f"{old}.{kind}") for old, new in layers.items()}
    assert not state
    return named


def test_a_whole_autoencoder_agrees_with_transformers(tmp_path, images):
    theirs = transformers_mae()
    made = load(in_the_names_of_the_release(theirs), tmp_path, decoder_heads=2, target="pixel")
    assert isinstance(made.model, MaskedAutoencoder) and made.loaded == 50 and not made.aside
    noise = torch.rand(3, 16)
    mask = random_mask(3, (4, 4), 0.75, noise=noise)
    wanted = theirs(standardised(images), noise=noise)
    close(made.model.predict(images, mask), wanted.logits)
    close(made.model(images, mask), wanted.loss)


def test_its_encoder_alone_agrees_too_whether_written_by_the_release_or_by_timm(tmp_path, images):
    named = in_the_names_of_the_release(transformers_mae())
    encoder = {n: t for n, t in named.items() if n != "mask_token" and "decoder" not in n}
    theirs = VisionTransformer(**SIZES, num_classes=0).eval()
    theirs.load_state_dict(encoder)
    for name in ("mae_pretrain_vit_base.pth", "vit_base_patch16_224.mae.safetensors"):
        made = load(theirs.state_dict(), tmp_path, name)
        assert isinstance(made.model, Encoder) and made.encoder is made.model
        assert made.loaded == 30 and made.description.positions == "fixed"
        close(made.model(images).tokens, theirs.forward_features(standardised(images)))


CLASSIFIERS = {
    "MAE fine-tuned, timm avg": ({"global_pool": "avg"}, {}),
    "timm cls": ({"global_pool": "token"}, {}),
    "timm avg of normalised": ({"global_pool": "avg", "fc_norm": False}, {"pool": "mean"}),
    "no class token": ({"global_pool": "avg", "class_token": False}, {}),
    "no class token, norm": ({"global_pool": "avg", "class_token": False, "fc_norm": False}, {}),
    "layer scale": ({"global_pool": "token", "init_values": 0.3}, {}),
    "no position of the class token": ({"global_pool": "token", "no_embed_class": True}, {}),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("theirs, ours", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_classifiers_agree_with_timm(tmp_path, images, theirs, ours, suffix):
    theirs = vit(**theirs)
    made = load(theirs.state_dict(), tmp_path, "weights" + suffix, **ours)
    close(made.model(images), theirs(standardised(images)))
    close(made.model.features(images), theirs.forward_head(
        theirs.forward_features(standardised(images)), pre_logits=True))
    assert made.loaded == len(theirs.state_dict()) and not made.aside
    assert made.description.positions == "trained" and made.description.classes == 5


def test_a_classifier_of_timm_may_have_its_own_standardisation(tmp_path, images):
    theirs = vit()
    made = load(theirs.state_dict(), tmp_path, mean=(0.5,) * 3, std=(0.5,) * 3)
    close(made.model(images), theirs(2 * images - 1))
    assert made.notes == ("4 heads as asked", "images standardised as asked")
    assert "an assumption" in load(theirs.state_dict(), tmp_path).report


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_linear_probes_agree_with_a_batch_norm_before_the_head(tmp_path, images, pool):
    theirs = vit(global_pool=pool)
    norm = nn.BatchNorm1d(32, affine=False, eps=1e-6)
    theirs.head = nn.Sequential(norm, theirs.head)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    made = load(theirs.eval().state_dict(), tmp_path)
    assert made.description.kind == "linear probe"
    close(made.model(images), theirs(standardised(images)))
    assert made.loaded == len(theirs.state_dict())


def beit(**options):
    return shaken(Beit(**{**SIZES, "use_abs_pos_emb": False, "init_values": 0.1, **options}))


def with_indices(tensors):
    """SimMIM keeps the index of its tables in the file; timm does not."""
    indices = {n.replace("bias_table", "index"): official_index((4, 4))
               for n in tensors if n.endswith("relative_position_bias_table")}
    return tensors | indices


def simmim_file():
    """SimMIM after microsoft/SimMIM: models/simmim.py, on timm's BEiT: tensors and network."""
    network = beit(num_classes=0, use_shared_rel_pos_bias=True, global_pool="token")
    decoder = shaken(nn.Sequential(nn.Conv2d(32, 3 * 64, 1), nn.PixelShuffle(8)))
    token = torch.randn(1, 1, 32)
    tensors = {f"encoder.{n}": t for n, t in with_indices(dict(network.state_dict())).items()}
    tensors["encoder.mask_token"] = token
    tensors |= {f"decoder.{n}": t for n, t in decoder.state_dict().items()}
    return tensors, network, decoder, token


def simmim_forward(network, decoder, token, images, mask):
    """Reconstruction and loss; ``mask [B, 16]`` is 1 where a patch is hidden."""
    w = mask[..., None]
    hook = network.patch_embed.register_forward_hook(lambda _, __, x: x * (1 - w) + token * w)
    z = network.forward_features(images)[:, 1:]
    hook.remove()
    image = decoder(z.transpose(1, 2).unflatten(2, (4, 4)))
    where = mask.reshape(-1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    error = (images - image).abs() * where
    return image, error.sum() / (where.sum() + 1e-5) / 3


@pytest.mark.parametrize("prefix", ["", "module."])
def test_simmim_agrees_with_timms_beit_under_its_mask(tmp_path, images, generator, prefix):
    tensors, *parts = simmim_file()
    made = load({prefix + n: t for n, t in tensors.items()}, tmp_path, heads=None)
    order = torch.rand(3, 16, generator=generator).argsort(1)
    mask = mask_from_order(order, 6)
    image, loss = simmim_forward(*parts, standardised(images), mask.binary())
    close(made.model.predict(images, mask), patchify(image, 8))
    close(made.model(images, mask), loss)
    assert made.loaded == len(tensors) - 1
    assert made.aside == {"rel_pos_bias.relative_position_index": "computed anew, and the same"}
    tables = {id(b.attn.relative_position_bias_table) for b in made.encoder.blocks}
    assert len(tables) == 1


def test_a_simmim_encoder_gives_features_and_attention(tmp_path, images):
    tensors, network, *_ = simmim_file()
    encoder = {n: t for n, t in tensors.items()
               if n.startswith("encoder.") and n != "encoder.mask_token"}
    made = load(encoder, tmp_path, heads=None)
    assert isinstance(made.model, Encoder)
    close(made.model(images).tokens, network.forward_features(standardised(images)))
    maps = attention_maps(made.encoder, images)
    assert cls_map(maps[-1], made.encoder.grid).shape == (3, 4, 4)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("pool", ["avg", "token"])
def test_fine_tuned_simmim_agrees_with_timms_beit(tmp_path, images, pool, shared):
    theirs = beit(num_classes=5, global_pool=pool, use_rel_pos_bias=not shared,
                  use_shared_rel_pos_bias=shared)
    tensors = with_indices(dict(theirs.state_dict()))
    made = load(tensors, tmp_path, heads=None)
    close(made.model(images), theirs(standardised(images)))
    assert made.loaded == len(tensors) - (1 if shared else 2)
    tables = {b.attn.relative_position_bias_table.data_ptr() for b in made.encoder.blocks}
    assert len(tables) == 2 and not made.encoder.pos_embed.requires_grad


def test_a_classifier_serves_the_protocols(tmp_path, images):
    theirs = vit(global_pool="avg")
    made = load(theirs.state_dict(), tmp_path)
    with torch.no_grad():
        logits = made.model(images).numpy()
        best = theirs(standardised(images)).argmax(1).tolist()
    assert score_variant(logits, [{b} for b in best]).top1 == 1
    assert np.isfinite(logits).all() and not made.model.training
    A = made.encoder(images, attention=[1], blocks=[0])
    block = theirs.blocks[1]
    x = block.norm1(A.blocks[0])
    query, key, _ = block.attn.qkv(x).reshape(3, 17, 3, 4, 8).permute(2, 0, 3, 1, 4)
    close(A.attention[1], (query @ key.transpose(-1, -2) / 8**0.5).softmax(-1))


def test_another_size_interpolates_trained_positions_as_timm(tmp_path, generator):
    theirs = vit(global_pool="avg")
    made = load(theirs.state_dict(), tmp_path, size=(48, 64), antialias=True)
    theirs.set_input_size((48, 64))
    images = torch.rand(2, 3, 48, 64, generator=generator)
    close(made.model(images), theirs(standardised(images)))
    assert "pos_embed from 4x4 to 6x8 patches: trained, interpolated" in made.notes
    plain = load(vit(global_pool="avg").state_dict(), tmp_path, size=(48, 64))
    assert not torch.equal(plain.encoder.pos_embed, made.encoder.pos_embed)


def test_another_size_has_the_fixed_positions_of_its_own(tmp_path):
    named = in_the_names_of_the_release(transformers_mae())
    made = load(named, tmp_path, size=64, decoder_heads=2, target="pixel")
    assert torch.equal(made.encoder.pos_embed, sincos_2d(32, (8, 8)))
    assert torch.equal(made.model.decoder.pos_embed, sincos_2d(16, (8, 8)))
    assert made.notes[:2] == ("pos_embed from 4x4 to 8x8 patches: fixed, computed anew",
                              "decoder_pos_embed from 4x4 to 8x8 patches: fixed, computed anew")
    images = torch.rand(1, 3, 64, 64)
    assert made.model.predict(images, nothing_hidden(1, (8, 8))).shape == (1, 64, 192)


def test_the_same_size_is_the_same_model(tmp_path, images):
    tensors = vit().state_dict()
    asked, plain = load(tensors, tmp_path, size=32, patch=8), load(tensors, tmp_path)
    assert torch.equal(asked.model(images), plain.model(images))
    assert asked.notes == plain.notes and not plain.model.head.weight.is_meta


def test_another_patch_is_resampled_on_request_as_timm_does(tmp_path, images):
    theirs = vit(global_pool="avg")
    made = load(theirs.state_dict(), tmp_path, patch=4, antialias=True)
    theirs.set_input_size(patch_size=(4, 4))
    close(made.model(images), theirs(standardised(images)), rtol=1e-4, atol=1e-4)
    assert "patch_embed.proj.weight resampled from 8 to 4 pixels" in made.notes


def test_no_tensor_is_left_without_memory(tmp_path):
    for tensors, options in [(simmim_file()[0], {}), (vit().state_dict(), {}),
                             (in_the_names_of_the_release(transformers_mae()),
                              {"decoder_heads": 2, "target": "normalised"})]:
        model = load(tensors, tmp_path, **options).model
        assert not any(t.is_meta for t in [*model.parameters(), *model.buffers()])


def test_a_model_may_be_trained_on_and_saved(tmp_path, images, generator):
    named = in_the_names_of_the_release(transformers_mae())
    model = load(named, tmp_path, decoder_heads=2, target="normalised", ratio=0.5).model
    assert model.config["target"] == "normalised" and model.config["ratio"] == 0.5
    mask = model.sample_mask(3, generator)
    assert mask.hidden.shape == (3, 8)
    model(images, mask).backward()
    frozen = {n for n, p in model.named_parameters() if p.grad is None}
    assert frozen == {"encoder.pos_embed", "decoder.pos_embed"}
    save_model(model, tmp_path / "own.safetensors")
    again = load_model(tmp_path / "own.safetensors")
    assert torch.equal(again(images, mask), model(images, mask))
    simmim = load(simmim_file()[0], tmp_path, heads=None).model
    with pytest.raises(ValueError, match="config that mae.. built it from, got {'method': 'simm"):
        save_model(simmim, tmp_path / "simmim.safetensors")


def expanded(shapes):
    """Tensors of full size that take no room in a file."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}


def vit_base_shapes():
    """The 254 names of ViT-B with decoder, after facebookresearch/mae: models_mae.py."""
    shapes = {"cls_token": (1, 1, 768), "patch_embed.proj.weight": (768, 3, 16, 16),
              "patch_embed.proj.bias": (768,), "norm.weight": (768,), "norm.bias": (768,),
              "mask_token": (1, 1, 512), "decoder_norm.weight": (512,),
              "decoder_norm.bias": (512,), "decoder_embed.weight": (512, 768),
              "decoder_embed.bias": (512,), "decoder_pred.weight": (768, 512),
              "decoder_pred.bias": (768,)}
    for prefix, depth, d in [("blocks", 12, 768), ("decoder_blocks", 8, 512)]:
        for i in range(depth):
            for layer, out, *into in [("norm1", d), ("norm2", d), ("attn.qkv", 3 * d, d),
                                      ("attn.proj", d, d), ("mlp.fc1", 4 * d, d),
                                      ("mlp.fc2", d, 4 * d)]:
                shapes[f"{prefix}.{i}.{layer}.weight"] = (out, *into)
                shapes[f"{prefix}.{i}.{layer}.bias"] = (out,)
    return shapes


def test_the_full_size_of_vit_base(tmp_path):
    tensors = expanded(vit_base_shapes()) | {"pos_embed": sincos_2d(768, (14, 14)),
                                             "decoder_pos_embed": sincos_2d(512, (14, 14))}
    path = tmp_path / "mae_pretrain_vit_base_full.pth"
    torch.save({"model": tensors}, path)
    made = load_published(path)
    assert len(tensors) == made.loaded == 254
    assert sum(p.numel() for p in made.model.parameters()) == 111_907_840
    assert (made.encoder.blocks[0].attn.heads, made.model.decoder.blocks[0].attn.heads) == (12, 16)
    wanted = {"preset": "vit_base_patch16", "size": 224, "target": "normalised", "ratio": 0.75}
    assert wanted.items() <= made.model.config.items()
    assert set(published_names(made.model)) == set(tensors)


def test_timms_own_mae_model_has_these_names():
    with torch.device("meta"):
        theirs = timm.create_model("vit_base_patch16_224.mae", num_classes=0)
    names = {n for n in vit_base_shapes() if n != "mask_token" and not n.startswith("decoder")}
    assert set(theirs.state_dict()) == names | {"pos_embed"}


def refused(message, tensors, path, **options):
    with pytest.raises(ValueError, match=message):
        load(tensors, path, **options)


def test_extra_missing_and_misshapen_tensors_are_named(tmp_path):
    tensors = dict(vit().state_dict())
    refused(r"do not fit the model: 1 unexpected \(extra\)", tensors | {"extra": torch.zeros(1)},
            tmp_path)
    refused(r"1 missing \(norm.bias\)", {n: t for n, t in tensors.items() if n != "norm.bias"},
            tmp_path)
    refused(r"1 of another shape \(blocks.1.mlp.fc1.weight \[64, 32\] instead of \[128, 32\]\)",
            tensors | {"blocks.1.mlp.fc1.weight": torch.zeros(64, 32)}, tmp_path)
    refused(r"12 missing \(blocks.1.norm1.weight, ",
            {n.replace("blocks.1", "blocks.2"): t for n, t in tensors.items()}, tmp_path)


def test_what_the_file_does_not_show_must_be_given(tmp_path):
    named = in_the_names_of_the_release(transformers_mae())
    refused("heads must be given for .*weights.pth, whose tensors", named, tmp_path, heads=None)
    refused("decoder_heads must be given", named, tmp_path)
    refused("target must be given", named, tmp_path, decoder_heads=2)
    refused("target must be one of pixel, normalised, got 'x'", named, tmp_path, decoder_heads=2,
            target="x")
    refused("heads must divide the width 32, got 5", named, tmp_path, heads=5, decoder_heads=2,
            target="pixel")


def test_what_is_given_may_not_contradict_the_file(tmp_path):
    refused("heads must be 4, as in .*, got 2", simmim_file()[0], tmp_path, heads=2)
    refused("pool must be 'mean' for this classifier, got 'cls'", vit(global_pool="avg")
            .state_dict(), tmp_path, pool="cls")
    refused("pool must be 'cls' for this classifier, got 'max'", vit().state_dict(), tmp_path,
            pool="max")
    named = in_the_names_of_the_release(transformers_mae())
    path = saved(named, tmp_path / "run.pth", args=argparse.Namespace(mask_ratio=0.5,
                                                                      norm_pix_loss=True))
    with pytest.raises(ValueError, match="target must be 'normalised', as in"):
        load_published(path, heads=4, decoder_heads=2, target="pixel")


def test_a_name_may_mislead_about_the_target(tmp_path):
    named = in_the_names_of_the_release(transformers_mae())
    for name, target, wanted in [("mae_visualize_vit_base.pth", None, "pixel"),
                                 ("mae_pretrain_vit_base_full.pth", None, "normalised"),
                                 ("mae_pretrain_vit_base_full.pth", "pixel", "pixel")]:
        made = load(named, tmp_path, name, decoder_heads=2, target=target)
        assert made.model.config["target"] == wanted


def test_sizes_that_cannot_be_are_refused(tmp_path):
    named = in_the_names_of_the_release(transformers_mae())
    refused("patch must be 8, since the mae predicts its pixels, got 4", named, tmp_path, patch=4,
            decoder_heads=2, target="pixel")
    refused("patch must divide the image side, got patch 8 for 36x36", named, tmp_path, size=36,
            decoder_heads=2, target="pixel")
    refused("size must give 4x4 patches, since relative positions are not interpolated, got 8x8",
            simmim_file()[0], tmp_path, size=64)


def test_the_report_says_what_was_done(tmp_path):
    path = saved(vit().state_dict(), tmp_path / "run.pth", optimizer={"state": {}}, epoch=3)
    report = load_published(path, heads=4).report
    assert "not one of the released files by its checksum" in report
    assert "classifier, 32 wide, 2 blocks, ? heads, patch 8, 32x32 pixels" in report
    assert "32 tensors loaded" in report
    assert "left aside: optimizer, epoch (no weights)" in report
