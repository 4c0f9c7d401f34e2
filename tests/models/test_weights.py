import argparse
import json
import os
import pickle
import random
import re

import pytest
import timm.models.vision_transformer as timm_vit
import torch
from safetensors.torch import load_file, save_file

from mae_lib.models import weights
from mae_lib.models.methods import mae
from mae_lib.models.weights import (
    load_mae_weights,
    load_model,
    own_names,
    published_names,
    read_weights,
    save_model,
)


@pytest.fixture
def method():
    return mae("toy", seed=1)


@pytest.fixture
def published(method):
    return {name: tensor.clone() for name, tensor in published_names(method).items()}


def encoder_only(tensors):
    return {n: t for n, t in tensors.items() if n != "mask_token" and not n.startswith("decoder_")}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_vit_base_has_the_254_published_names():
    with torch.device("meta"):
        names = list(published_names(mae("vit_base_patch16", seed=0)))
    block = [f"{layer}.{kind}" for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1",
                                             "mlp.fc2") for kind in ("weight", "bias")]
    encoder = ["cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
               "norm.weight", "norm.bias"]
    encoder += [f"blocks.{i}.{name}" for i in range(12) for name in block]
    decoder = ["mask_token", "decoder_pos_embed"]
    decoder += [f"decoder_{layer}.{kind}" for layer in ("embed", "norm", "pred")
                for kind in ("weight", "bias")]
    decoder += [f"decoder_blocks.{i}.{name}" for i in range(8) for name in block]
    assert len(encoder) == 150 and len(encoder + decoder) == 254
    assert sorted(names) == sorted(encoder + decoder)


def test_own_names_undo_the_published_ones(method):
    assert_same(own_names(published_names(method)), dict(method.state_dict()))


def write(tensors, path, form):
    """The forms in which published weights come."""
    if form == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(tensors, path)
    elif form == "training checkpoint":
        settings = argparse.Namespace(lr=1e-3, model="mae_vit", output_dir=None)
        torch.save({"model": tensors, "args": settings, "epoch": 3, "scaler": {}}, path)
    elif form == "old format":
        torch.save({"model": tensors}, path, _use_new_zipfile_serialization=False)
    else:
        torch.save({"model": tensors} if form == "under model" else tensors, path)
    return path


FORMS = ("safetensors", "training checkpoint", "old format", "under model", "plain")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_is_read_and_loaded(tmp_path, published, form):
    path = write(published, tmp_path / "weights.pth", form)
    assert_same(read_weights(path), published)
    other = mae("toy", seed=2)
    report = load_mae_weights(other, path)
    assert report == ("all", 50, ())
    assert_same(published_names(other), published)


@pytest.mark.parametrize("form", FORMS)
def test_an_encoder_file_fills_the_encoder_and_leaves_the_decoder(tmp_path, published, form):
    path, other = write(encoder_only(published), tmp_path / "encoder.pth", form), mae("toy", seed=2)
    before = {n: t.clone() for n, t in other.decoder.state_dict().items()}
    assert load_mae_weights(other, path, part="encoder") == ("encoder", 30, ())
    assert_same(other.encoder.state_dict(), encoder_only(published))
    assert_same(other.decoder.state_dict(), before)


def test_the_encoder_of_a_full_file_loads_alone_and_the_rest_is_reported(tmp_path, published):
    path, other = write(published, tmp_path / "full.pth", "under model"), mae("toy", seed=2)
    report = load_mae_weights(other, path, part="encoder")
    assert report.loaded == 30 and len(report.ignored) == 20
    assert set(report.ignored) == set(published) - set(encoder_only(published))
    assert torch.equal(other.decoder.mask_token, mae("toy", seed=2).decoder.mask_token)


def test_encoders_of_timm_load_and_give_the_same_features(tmp_path, method):
    theirs = timm_vit.VisionTransformer(img_size=32, patch_size=4, embed_dim=32, depth=2,
                                        num_heads=4, num_classes=0).eval()
    with torch.no_grad():
        theirs.pos_embed.copy_(method.encoder.pos_embed)
    path = write(dict(theirs.state_dict()), tmp_path / "timm.pth", "safetensors")
    load_mae_weights(method, path, part="encoder")
    images = torch.rand(2, 3, 32, 32)
    standardised = (images - method.encoder.mean[:, None, None]) / method.encoder.std[:, None, None]
    torch.testing.assert_close(method.encoder(images).tokens, theirs.forward_features(standardised),
                               rtol=1e-5, atol=1e-5)


def test_separate_biases_become_the_fused_bias_without_a_key_part(tmp_path, published, method):
    split = {}
    for name, tensor in published.items():
        if name.endswith("attn.qkv.bias"):
            tensor.copy_(torch.randn_like(tensor))
            third = len(tensor) // 3
            tensor[third:2 * third] = 0
            stem = name.removesuffix("qkv.bias")
            split |= {f"{stem}q_bias": tensor[:third].clone(),
                      f"{stem}v_bias": tensor[2 * third:].clone()}
        else:
            split[name] = tensor
    path = write(split, tmp_path / "split.pth", "under model")
    assert_same(read_weights(path), published)
    load_mae_weights(method, path)
    assert_same(published_names(method), published)


def test_a_bias_without_its_partner_is_not_guessed(tmp_path, published, method):
    published["blocks.0.attn.q_bias"] = published.pop("blocks.0.attn.qkv.bias")[:32]
    path = write(published, tmp_path / "half.pth", "plain")
    with pytest.raises(ValueError, match=r"1 missing \(blocks.0.attn.qkv.bias\), "
                                         r"1 unexpected \(blocks.0.attn.q_bias\)"):
        load_mae_weights(method, path)


def refused(tensors, path, message, **options):
    """Loading fails with the message and leaves the model as it was."""
    model = mae("toy", seed=2)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_mae_weights(model, write(tensors, path / "refused.pth", "plain"), **options)
    assert_same(dict(model.state_dict()), before)


def test_a_missing_decoder_is_named(tmp_path, published):
    refused(encoder_only(published), tmp_path, "lack the decoder; load them with part='encoder'")


def test_missing_and_unexpected_names_are_counted_and_the_first_listed(tmp_path, published):
    for i in range(5):
        published[f"head.{i}"] = torch.zeros(1)
    del published["norm.weight"]
    problems = "1 missing (norm.weight), 5 unexpected (head.0, head.1, head.2, ...)"
    refused(published, tmp_path, re.escape(f"do not fit the model: {problems}"))


def test_foreign_files_are_refused(tmp_path):
    refused({"layer1.conv.weight": torch.zeros(3)}, tmp_path,
            r"50 missing \(.*\), 1 unexpected \(layer1.conv.weight\)")


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    wide = published_names(mae("toy", seed=0, width=64))
    refused(wide, tmp_path, r"of another shape \(cls_token \[1, 1, 64\] instead of \[1, 1, 32\], ")
    deep = published_names(mae("toy", seed=0, depth=3))
    refused(deep, tmp_path, r"12 unexpected \(blocks.2.norm1.weight, ")


def test_another_number_of_patches_is_another_resolution(tmp_path):
    refused(published_names(mae("toy", seed=0, size=64)), tmp_path,
            r"2 of another shape .*; the file is for another resolution")


def test_another_grid_of_as_many_patches_is_another_resolution(tmp_path):
    refused(published_names(mae("toy", seed=0, size=(16, 64))), tmp_path,
            "for another resolution: .*pos_embed differs from the model's fixed positions by up to")


@pytest.mark.parametrize("name", weights.POSITIONS)
def test_positions_must_agree_to_a_hundred_thousandth(tmp_path, published, method, name):
    published[name][0, 3, 5] += 0.5e-5
    load_mae_weights(method, write(published, tmp_path / "near.pth", "plain"))
    published[name][0, 3, 5] += 2e-5
    refused(published, tmp_path, f"another resolution: {name} differs")
    published[name][0, 3, 5] = float("nan")
    refused(published, tmp_path, f"another resolution: {name} differs")


def test_an_unknown_part_is_refused(tmp_path, published):
    refused(published, tmp_path, "part must be 'all' or 'encoder', got 'decoder'", part="decoder")


class Trap:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_does_not_run(tmp_path, published, form):
    sprung, path = tmp_path / "sprung", tmp_path / "trap.pth"
    content = {"model": published, "args": Trap(sprung)}
    if form == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"model": {}, "args": Trap(sprung)}, protocol=2))
    with pytest.raises(ValueError, match="holds something else than tensors and settings.*"
                                         "nothing in it was run"):
        read_weights(path)
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()  # the trap works


def test_settings_may_hold_no_code_either(tmp_path, published):
    path, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    torch.save({"model": published, "args": argparse.Namespace(lr=Trap(sprung))}, path)
    with pytest.raises(ValueError, match="nothing in it was run"):
        read_weights(path)
    assert not sprung.exists()


def test_reading_leaves_no_class_allowed(tmp_path, published):
    before = set(torch.serialization.get_safe_globals())
    read_weights(write(published, tmp_path / "weights.pth", "training checkpoint"))
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_missing_file_is_named(tmp_path, method):
    with pytest.raises(FileNotFoundError, match="path must name a file of weights, got .*none.pth"):
        load_mae_weights(method, tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match="which is none"):
        read_weights(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_truncated_and_altered_files_give_a_value_error_or_tensors(tmp_path, published, form):
    path = write(encoder_only(published), tmp_path / "weights.pth", form)
    whole, draw = path.read_bytes(), random.Random(0)
    for length in [0, 1, 7, 100, len(whole) // 2, len(whole) - 1] + [
            draw.randrange(len(whole)) for _ in range(20)]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="weights"):
            read_weights(path)
    for _ in range(60):
        altered = bytearray(whole)
        altered[draw.randrange(3000)] = draw.randrange(256)
        path.write_bytes(altered)
        try:
            read_weights(path)
        except ValueError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("content, message", [
    ([1, 2], "must hold a state dict, at the top or under 'model' or 'state_dict', got a list"),
    ({}, "must hold a state dict"), ({"model": {}}, "must hold a state dict"),
    ({"model": {"a": 1, "b": torch.zeros(1)}}, "must hold tensors only, got others under a")])
def test_files_without_a_state_dict_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=message):
        read_weights(tmp_path / "other.pth")


def test_a_saved_model_comes_back_with_its_settings(tmp_path):
    path = tmp_path / "model.safetensors"
    first = mae("toy", seed=5, ratio=0.5, unit=8, target="normalised", mean=(0.5, 0.4, 0.3))
    save_model(first, path)
    before = torch.get_rng_state()
    second = load_model(str(path))
    assert torch.equal(before, torch.get_rng_state())
    assert json.dumps(second.config) == json.dumps(first.config)
    assert_same(dict(second.state_dict()), dict(first.state_dict()))
    assert sorted(load_file(path)) == sorted(published_names(first))
    images, mask = torch.rand(2, 3, 32, 32), first.sample_mask(2)
    assert torch.equal(first(images, mask), second(images, mask))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_failed_write_leaves_the_old_model(tmp_path, method, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_model(method, path)
    monkeypatch.setattr(weights, "save_file", fill_and_fail)
    with pytest.raises(OSError, match="no space"):
        save_model(mae("toy", seed=9), path)
    assert_same(dict(load_model(path).state_dict()), dict(method.state_dict()))
    assert len(list(tmp_path.iterdir())) == 2


def fill_and_fail(tensors, path):
    path.write_bytes(b"half")
    raise OSError("no space")


def test_weights_and_settings_that_do_not_belong_together_are_refused(tmp_path, method):
    path = tmp_path / "model.safetensors"
    save_model(method, path)
    save_file(published_names(mae("toy", seed=9)), path)
    with pytest.raises(ValueError, match="damaged or does not belong to .*another checksum"):
        load_model(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(ValueError, match="model.json is not the record of a saved model"):
        load_model(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match="model.json does not exist"):
        load_model(path)


def test_models_are_saved_as_safetensors_with_a_config_only(tmp_path, method):
    with pytest.raises(ValueError, match="path must end in .safetensors, got .*model.pth"):
        save_model(method, tmp_path / "model.pth")
    for config in ({}, {**method.config, "method": "mae_st"}):
        method.config = config
        with pytest.raises(ValueError, match="method must carry the config"):
            save_model(method, tmp_path / "model.safetensors")
