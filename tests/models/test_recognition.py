"""What is told of a file, from tiny ones and from the shapes of the published sizes."""

import argparse
import hashlib
import sys
import types

import pytest
import torch
from timm.models.beit import gen_relative_position_index as official_index

from mae_lib.models.methods import mae
from mae_lib.models.patches import sincos_2d
from mae_lib.models.published import recognition
from mae_lib.models.published.loading import load_published
from mae_lib.models.published.recognition import described, recognised
from mae_lib.models.weight_files import read_file
from mae_lib.models.weights import published_names


@pytest.fixture
def tensors():
    return {n: t.detach().clone() for n, t in published_names(mae("toy", seed=1)).items()}


def encoder_only(tensors):
    return {n: t for n, t in tensors.items() if n != "mask_token" and "decoder" not in n}


def saved(content, path):
    torch.save(content, path)
    return path


def test_an_encoder_is_described_without_its_heads(tmp_path, tensors):
    path = saved({"model": encoder_only(tensors)}, tmp_path / "some.pth")
    found = described(path)
    digest = hashlib.md5(path.read_bytes()).hexdigest()[:6]
    assert found == ("encoder", None, digest, 32, 2, None, 4, (32, 32), True, "fixed", None, None,
                     None, None, None, None, None)
    assert found.grid == (8, 8)


def test_a_whole_autoencoder_shows_its_decoder(tmp_path, tensors):
    found = described(saved(tensors, tmp_path / "some.pth"))
    assert (found.kind, found.decoder, found.pool, found.classes) == ("mae", (16, 1, None), None,
                                                                      None)


@pytest.mark.parametrize("width, depth, patch, heads", [
    (192, 12, 16, 3), (384, 12, 16, 6), (768, 12, 16, 12), (1024, 24, 16, 16), (1280, 32, 14, 16),
    (768, 8, 16, None)])
def test_the_published_sizes_tell_their_heads(tmp_path, width, depth, patch, heads):
    path = saved({}, tmp_path / "any.pth")
    side = 224 // patch
    weights = {"patch_embed.proj.weight": torch.zeros(()).expand(width, 3, patch, patch),
               "pos_embed": sincos_2d(width, (side, side)), "cls_token": torch.zeros(1, 1, width),
               "decoder_embed.weight": torch.zeros(()).expand(512, width),
               "decoder_blocks.7.norm1.bias": torch.zeros(512),
               f"blocks.{depth - 1}.norm1.bias": torch.zeros(width)}
    found = recognised(weights, {}, path)
    assert (found.heads, found.depth, found.decoder) == (heads, depth, (512, 8, 16))
    assert found.size == (224, 224) and found.patch == patch


@pytest.mark.parametrize("name, target, ratio, unit", [
    ("mae_pretrain_vit_base.pth", "normalised", 0.75, None),
    ("mae_pretrain_vit_large_full.pth", "normalised", 0.75, None),
    ("mae_finetuned_vit_huge.pth", "normalised", 0.75, None),
    ("vit_base_patch16_224.mae.pth", "normalised", 0.75, None),
    ("mae_visualize_vit_large_ganloss.pth", "pixel", 0.75, None),
    ("simmim_pretrain__vit_base__img224__800ep.pth", "pixel", 0.6, 32)])
def test_names_of_the_release_tell_target_and_ratio(tmp_path, tensors, name, target, ratio, unit):
    found = described(saved(encoder_only(tensors), tmp_path / name))
    assert found[-4:] == (target, ratio, unit, "name")


@pytest.mark.parametrize("normalised, target", [(True, "normalised"), (False, "pixel")])
def test_settings_in_the_file_count_for_more_than_its_name(tmp_path, tensors, normalised, target):
    settings = argparse.Namespace(norm_pix_loss=normalised, mask_ratio=0.5, lr=None)
    path = saved({"model": tensors, "args": settings}, tmp_path / "mae_visualize_vit_base.pth")
    assert described(path)[-4:] == (target, 0.5, None, "settings")
    made = load_published(path, heads=4, decoder_heads=2)
    assert (made.model.config["target"], made.model.config["ratio"]) == (target, 0.5)
    assert made.aside == {"args": "no weights"}


def test_settings_of_simmim_are_read_without_its_library(tmp_path, tensors, monkeypatch):
    class CfgNode(dict):
        """Laid out as yacs' own: a dict with attributes."""
        def __init__(self, content):
            super().__init__(content)
            self.__dict__["__immutable__"] = True
            self.__dict__["__deprecated_keys__"] = {"OLD"}

    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    module = types.ModuleType("yacs.config")
    module.CfgNode = CfgNode
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    config = CfgNode({"DATA": CfgNode({"MASK_RATIO": 0.5, "MASK_PATCH_SIZE": 16})})
    path = saved({"model": encoder_only(tensors), "config": config}, tmp_path / "ckpt_epoch_1.pth")
    monkeypatch.undo()
    assert described(path)[-4:] == ("pixel", 0.5, 16, "settings")


def test_released_files_are_named_by_their_checksum(tmp_path, tensors, monkeypatch):
    path = saved({"model": encoder_only(tensors)}, tmp_path / "renamed.pth")
    digest = hashlib.md5(path.read_bytes()).hexdigest()[:6]
    monkeypatch.setitem(recognition.OFFICIAL, digest, "MAE ViT-B, pretraining")
    report = load_published(path, heads=4).report
    assert report.startswith(f"MAE ViT-B, pretraining, official md5 {digest}: encoder, 32 wide")
    assert described(path)[-4:] == ("normalised", 0.75, None, "checksum")
    assert set(recognition.OFFICIAL) >= {"8cad7c", "b8b06e", "9bdbb0", "1b25e9", "51f550", "2541f2"}


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.",
                                    "_orig_mod.module."])
def test_wrappers_of_training_leave_their_prefix_behind(tmp_path, tensors, prefix):
    path = saved({prefix + n: t for n, t in tensors.items()}, tmp_path / "wrapped.pth")
    made = load_published(path, heads=4, decoder_heads=2, target="pixel")
    assert made.loaded == 50 and "prefix 'module.'" in made.report or "module" not in prefix
    for name, tensor in published_names(made.model).items():
        assert torch.equal(tensor, tensors[name])


def test_state_dicts_of_our_own_modules_are_read(tmp_path, tensors):
    own = mae("toy", seed=1)
    path = saved({"state_dict": own.state_dict()}, tmp_path / "own.pth")
    made = load_published(path, heads=4, decoder_heads=2, target="pixel")
    images, mask = torch.rand(2, 3, 32, 32), own.sample_mask(2)
    assert torch.equal(made.model(images, mask), own(images, mask))


@pytest.mark.parametrize("kept", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, tensors, kept):
    path = saved({n: t.to(kept) for n, t in encoder_only(tensors).items()}, tmp_path / "half.pth")
    made = load_published(path, heads=4)
    assert {p.dtype for p in made.model.parameters()} == {torch.float32}
    assert made.description.positions == "fixed"
    assert f"{str(kept)[6:]} read as float32" in made.notes
    weight = made.model.state_dict()["blocks.0.attn.qkv.weight"]
    assert torch.equal(weight, tensors["blocks.0.attn.qkv.weight"].to(kept).float())


def refused(message, tensors, path, **options):
    file = saved(tensors, path / "refused.pth")
    with pytest.raises(ValueError, match=message):
        described(file)
    with pytest.raises(ValueError, match=message):
        load_published(file, heads=4, **options)


@pytest.mark.parametrize("name, what", [
    ("encoder.layers.0.blocks.0.attn.relative_position_bias_table", "a Swin transformer"),
    ("vit.embeddings.cls_token", "the names of transformers' ViTMAE"),
    ("reg_token", "register tokens"), ("dist_token", "a distillation token"),
    ("blocks.0.attn.q_norm.weight", "normalised queries"),
    ("norm_pre.weight", "a norm before its blocks"), ("attn_pool.q.weight", "pooling by attention"),
    ("blocks.0.mlp.w12.weight", "gated MLPs")])
def test_networks_that_none_of_ours_is_are_named(tmp_path, tensors, name, what):
    refused(f"are of a network with {what}, which no model here has",
            encoder_only(tensors) | {name: torch.zeros(121, 4)}, tmp_path)


def test_files_of_something_else_are_refused(tmp_path, tensors):
    encoder = encoder_only(tensors)
    refused("must be of a vision transformer, with a patch_embed.proj.weight, got layer1.conv",
            {"layer1.conv": torch.zeros(3)}, tmp_path)
    refused(r"must have shape \[D,3,p,p\], got \[32, 1, 4, 4\]",
            encoder | {"patch_embed.proj.weight": torch.zeros(32, 1, 4, 4)}, tmp_path)
    refused("must hold blocks of a transformer, got none",
            {n: t for n, t in encoder.items() if "blocks" not in n}, tmp_path)
    refused("must hold decoder_embed.weight and decoder_blocks",
            encoder | {"decoder_pred.weight": torch.zeros(48, 16)}, tmp_path)


def test_positions_that_cannot_be_placed_are_refused(tmp_path, tensors):
    encoder = encoder_only(tensors)
    refused("must be those of a square grid, got 32",
            encoder | {"pos_embed": torch.zeros(1, 33, 32)}, tmp_path)
    positions = encoder.pop("pos_embed")
    refused("must have positions, either absolute", encoder, tmp_path)
    table = "blocks.0.attn.relative_position_bias_table"
    refused("must have positions, either absolute", encoder | {
        "pos_embed": positions, table: torch.zeros(228, 4)}, tmp_path)
    refused(r"must have \(2n-1\)\^2 \+ 3 rows.*got 230", encoder | {table: torch.zeros(230, 4)},
            tmp_path)


def test_offsets_in_another_order_are_refused(tmp_path, tensors):
    encoder = encoder_only(tensors)
    del encoder["pos_embed"]
    index = official_index((8, 8))
    encoder |= {"rel_pos_bias.relative_position_bias_table": torch.zeros(228, 4),
                "rel_pos_bias.relative_position_index": index}
    assert described(saved(encoder, tmp_path / "right.pth")).positions == "relative"
    encoder["rel_pos_bias.relative_position_index"] = index.T.contiguous()
    refused("count offsets in another order than SimMIM", encoder, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_must_be_finite(tmp_path, tensors, value):
    tensors["blocks.1.norm2.bias"][3] = value
    refused("must be finite, got NaN or infinity in blocks.1.norm2.bias", tensors, tmp_path)


@pytest.mark.parametrize("content, message", [
    (b"", "got an empty file"), (b"\n<!DOCTYPE html>\n<html>quota exceeded", "got a web page"),
    (b"<html><body>404</body></html>", "got a web page: download the file itself"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "got a pointer of Git LFS")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_no_weights_are_named(tmp_path, content, message, suffix):
    path = tmp_path / f"mae{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"mae{suffix} must hold weights, {message}"):
        described(path)


@pytest.mark.parametrize("content", [
    {"optimizer": {"state": {}}, "epoch": 3}, {"state": {}, "param_groups": [{"lr": 0.1}]}])
def test_an_optimizer_without_its_model_is_named(tmp_path, content):
    with pytest.raises(ValueError, match="got the state of an optimizer without its model"):
        load_published(saved(content, tmp_path / "optimizer.pth"))


def test_a_cut_file_and_no_file_are_refused(tmp_path, tensors):
    path = saved(tensors, tmp_path / "cut.pth")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="cut.pth is not a whole PyTorch file"):
        load_published(path)
    with pytest.raises(FileNotFoundError, match="none.pth, which is none"):
        described(tmp_path / "none.pth")


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        import os
        return os.mkdir, (self.path,)


def test_code_in_a_file_is_never_run(tmp_path, tensors):
    path = saved({"model": tensors, "config": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match="nothing in it was run"):
        load_published(path)
    assert not (tmp_path / "sprung").exists()


def test_what_lies_beside_the_weights_is_listed(tmp_path, tensors):
    settings = argparse.Namespace(model="mae_vit_base_patch16")
    file = read_file(saved({"model": tensors, "optimizer": {}, "epoch": 7, "scaler": {},
                            "args": settings}, tmp_path / "checkpoint-7.pth"))
    assert file.beside == ("optimizer", "epoch", "scaler", "args")
    assert file.settings == {"model": "mae_vit_base_patch16"}
    assert read_file(saved({"model": tensors, "args": [1]}, tmp_path / "odd.pth")).settings == {}
