from dataclasses import replace

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay

from mae_lib.data.images import ImageSet
from mae_lib.models.classifier import Classifier
from mae_lib.models.encoder import Encoder
from mae_lib.models.methods import mae
from mae_lib.training.finetune import VIT_BASE, FinetuneConfig, finetune, layer_groups

TINY = {"size": 16, "width": 16, "depth": 2, "heads": 2, "decoder_width": 8}
CLASSES = ("plain", "striped", "dotted", "framed")


def pictures(count: int, seed: int, size: int = 16) -> ImageSet:
    """Noise with a pattern that tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    pixels = rng.integers(0, 160, (count, 3, size, size))
    pixels[labels == 1, :, ::2] += 90
    pixels[labels == 2, :, ::4, ::4] += 90
    pixels[labels == 3, :, 0] += 90
    return ImageSet(pixels.astype(np.uint8), labels, CLASSES, "patterns", f"patterns {seed}")


def scales(groups, names) -> dict[str, tuple[float, float]]:
    """Rate scale and weight decay of every parameter by its name."""
    return {names[p]: (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}


def rates_of(classifier: Classifier) -> dict[str, tuple[float, float]]:
    names = {p: n.removeprefix("encoder.") for n, p in classifier.named_parameters()}
    return scales(layer_groups(classifier, 0.05, 0.7), names)


def test_scales_and_exemptions_are_those_of_timm():
    found = rates_of(Classifier(mae("toy", **TINY).encoder, 4))
    vit = VisionTransformer(16, 4, num_classes=4, embed_dim=16, depth=2, num_heads=2,
                            global_pool="avg")
    groups = param_groups_layer_decay(vit, 0.05, vit.no_weight_decay(), layer_decay=0.7)
    expected = scales(groups, {p: n for n, p in vit.named_parameters()})
    assert found.keys() == expected.keys()
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair, rel=1e-12), name


def test_the_last_norm_before_a_class_token_learns_as_fast_as_the_head():
    found = rates_of(Classifier(mae("toy", **TINY).encoder, 4, "cls"))  # timm counts it below
    assert found["norm.weight"] == found["head.bias"] == (1.0, 0.0)
    assert found["cls_token"] == found["pos_embed"] == (pytest.approx(0.7**3), 0.0)


def test_vit_base_has_28_groups_from_the_published_smallest_scale_to_one():
    with torch.device("meta"):
        classifier = Classifier(Encoder(224, 16, 768, 12, 12), 1000)
    groups = layer_groups(classifier, 0.05, VIT_BASE.layer_decay)
    found = sorted({g["lr_scale"] for g in groups})
    assert len(groups) == 28 and len(found) == 14
    assert found[0] == pytest.approx(0.003697, abs=1e-6) and found[-1] == 1


def test_the_published_peak_rate_of_vit_base():
    assert VIT_BASE.lr == pytest.approx(2e-3)


def test_it_overfits_a_handful_of_images_and_leaves_the_model_alone():
    model, train = mae("toy", seed=0, **TINY), pictures(8, 0)
    before = {n: w.clone() for n, w in model.state_dict().items()}
    config = FinetuneConfig(epochs=60, batch=8, base_lr=0.2, augment=None, smoothing=0.0)
    found = finetune(model, train, replace(train, fingerprint="the same under another name"),
                     config, progress=False)
    assert found.accuracy == 1 and found.losses[-1] < 0.1 < 1 < found.losses[0]
    assert found.logits.shape == (8, 4) and found.correct.dtype == bool
    assert all(torch.equal(w, before[n]) for n, w in model.state_dict().items())


def test_the_seed_decides_everything():
    config = FinetuneConfig(epochs=2, batch=8, drop_path=0.2)
    runs = [finetune(mae("toy", seed=0, **TINY), pictures(16, 0), pictures(8, 1),
                     replace(config, seed=seed), progress=False) for seed in (0, 0, 1)]
    assert np.array_equal(runs[0].logits, runs[1].logits)
    assert not np.array_equal(runs[0].logits, runs[2].logits)


def test_sets_that_do_not_fit_are_refused():
    model, train, test = mae("toy", **TINY), pictures(8, 0), pictures(8, 1)
    cases = {
        "train must hold images of 16x16 pixels, got 32x32": (pictures(8, 0, 32), test),
        "must not share images, got one set twice": (train, train),
        "must have the same classes, got 4 and 5": (train, replace(test, classes=(*CLASSES, "x"))),
        r"train must hold every class, got none of \[3\]": (pictures(3, 0), test),
        r"test must hold every class, got none of \[2, 3\]": (train, pictures(2, 1)),
    }
    for message, sets in cases.items():
        with pytest.raises(ValueError, match=message):
            finetune(model, *sets, FinetuneConfig(batch=4, epochs=1))


def test_a_layer_decay_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"layer_decay must lie in \(0, 1\], got 0"):
        FinetuneConfig(layer_decay=0)
