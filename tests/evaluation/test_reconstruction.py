from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.data import astronaut

from mae_lib.data.images import ImageSet
from mae_lib.evaluation.metrics import image_metrics
from mae_lib.evaluation.pixels import leak, to_pixels
from mae_lib.evaluation.reconstruction import (
    complement_folds,
    hidden_pixels,
    reconstruct_complement,
    reconstruct_masked,
    reconstruct_unmasked,
)
from mae_lib.evaluation.scores import floor_records, reconstruction_records, score
from mae_lib.models.masks import Mask, random_mask
from mae_lib.models.methods import mae
from mae_lib.models.patches import patchify
from mae_lib.models.targets import TARGETS

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Copyist:
    """A model that predicts the target exactly, and remembers the masks it was given."""

    def __init__(self, patch=4, target="pixel"):
        self.encoder = SimpleNamespace(mean=MEAN, std=STD)
        self.config = {"patch": patch, "target": target}
        self.masks = []

    def sample_mask(self, batch, generator):
        return random_mask(batch, (8, 8), 0.75, generator=generator)

    def predict(self, images, mask):
        self.masks.append(mask)
        standardised = (images - MEAN[:, None, None]) / STD[:, None, None]
        return TARGETS[self.config["target"]](patchify(standardised, self.config["patch"]))


class HiddenOnly(Copyist):
    """Right where a patch is hidden, 100 where it is visible."""

    def predict(self, images, mask):
        hidden = mask.binary().bool().unsqueeze(-1)
        return super().predict(images, mask).where(hidden, torch.tensor(100.0))


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 32, 32, generator=generator)


@pytest.fixture
def image_set():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    return ImageSet(pixels, np.zeros(5, int), ("a",), "noise", "f")


@pytest.mark.parametrize("target", ["pixel", "normalised"])
def test_a_perfect_prediction_becomes_the_image(target, images):
    model = Copyist(target=target)
    result = reconstruct_unmasked(model, images)
    assert torch.allclose(result.pixels, images, atol=1e-5)
    assert result.clipped_fraction.tolist() == [0, 0, 0]
    assert result.target_error.shape == (3, 64) and result.target_error.abs().max() < 1e-10
    assert result.used_target_stats == (target == "normalised")


@pytest.mark.parametrize("size", [32, 224])
def test_normalised_patches_survive_the_round_trip(size, generator):
    x = torch.rand(1, 3, size, size, generator=generator)
    result = reconstruct_unmasked(Copyist(8, "normalised"), x)
    assert (result.pixels - x).abs().max() < 1e-6


def test_the_unmasked_read_out_hides_nothing(images):
    model = Copyist()
    reconstruct_unmasked(model, images)
    assert model.masks[0].hidden.shape == (3, 0)
    assert torch.equal(model.masks[0].visible, torch.arange(64).expand(3, -1))


def test_a_real_model_gives_finite_read_outs_under_every_protocol(images, generator):
    model = mae("toy", seed=0).eval()
    results = [reconstruct_unmasked(model, images),
               reconstruct_complement(model, images, 0.75, generator),
               reconstruct_masked(model, images, model.sample_mask(3, generator), paste=True)]
    for result in results:
        assert result.pixels.shape == images.shape and result.pixels.isfinite().all()
        assert not result.pixels.requires_grad


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75, 0.125, 0.875])
def test_complementary_masks_partition_the_grid(ratio, generator):
    folds, source = complement_folds(4, (8, 8), ratio, generator)
    hidden = torch.stack([fold.binary() for fold in folds])  # [K, B, L]
    assert len(folds) == round(1 / min(ratio, 1 - ratio))
    assert (hidden.mean(-1) == ratio).all()
    once = hidden if ratio <= 0.5 else 1 - hidden
    assert (once.sum(0) == 1).all()
    assert (hidden.gather(0, source[None]) == 1).all()  # read where it was hidden
    assert not torch.equal(folds[0].hidden[0], folds[0].hidden[1])


def test_above_one_half_a_patch_is_read_from_the_fold_after_the_one_that_shows_it(generator):
    folds, source = complement_folds(2, (4, 4), 0.75, generator)
    for k, fold in enumerate(folds):
        assert (source.gather(1, fold.visible) == (k + 1) % 4).all()


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_the_complement_reads_hidden_patches_only(ratio, images, generator):
    result = reconstruct_complement(HiddenOnly(), images, ratio, generator)
    assert torch.allclose(result.pixels, images, atol=1e-6)
    values = image_metrics(images, result.pixels)
    assert values["ssim"].numpy() == pytest.approx(1) and values["mse"].max() < 1e-10


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, 0.9, 0.3, 0.6])
def test_a_ratio_without_folds_is_refused(ratio, images):
    with pytest.raises(ValueError, match="ratio must"):
        reconstruct_complement(Copyist(), images, ratio)


def test_pasting_keeps_visible_pixels_and_the_region_is_the_hidden_ones(images, generator):
    mask = random_mask(3, (8, 8), 0.75, generator=generator)
    model = mae("toy", seed=0).eval()
    pasted = reconstruct_masked(model, images, mask, paste=True)
    scored = reconstruct_masked(model, images, mask, paste=False)
    hidden = hidden_pixels(mask, (8, 8), 4).expand_as(images)
    assert torch.equal(scored.region.expand_as(images), hidden)
    assert pasted.region is None
    assert torch.equal(pasted.pixels[~hidden], images[~hidden])
    assert torch.equal(pasted.pixels[hidden], scored.pixels[hidden])
    whole = image_metrics(images, pasted.pixels, ("mse",))["mse"]
    part = image_metrics(images, scored.pixels, ("mse",), scored.region)["mse"]
    assert torch.allclose(whole, part * 0.75)


def test_errors_in_target_units_are_the_training_loss(images, generator):
    model = mae("toy", target="normalised", seed=0).eval()
    mask = model.sample_mask(3, generator)
    result = reconstruct_masked(model, images, mask, paste=False)
    assert result.target_error.mean().item() == pytest.approx(model(images, mask).item(), rel=1e-5)


def test_clipping_is_counted_and_the_unclamped_image_kept(images):
    model = Copyist()
    prediction = model.predict(images, None)
    prediction[0, 0] = 100.0
    result = to_pixels(prediction, images, model)
    assert result.clipped_fraction.tolist() == pytest.approx([1 / 64, 0, 0])
    assert result.unclamped.max() > 20 and result.pixels.max() <= 1
    assert torch.equal(to_pixels(prediction, images, model, clamp=False).pixels, result.unclamped)


def test_target_statistics_can_be_left_out(images):
    model = Copyist(target="normalised")
    prediction = model.predict(images, None)
    honest = to_pixels(prediction, images, model, denorm="none")
    assert not honest.used_target_stats
    assert not torch.allclose(honest.pixels, images, atol=0.1)


@pytest.mark.parametrize(("patch", "psnr", "ssim", "fsimc"), [
    (8, 15.4, 0.392, 0.565), (16, 13.8, 0.287, 0.500), (32, 12.4, 0.241, 0.477)])
def test_a_worthless_decoder_scores_higher_with_smaller_patches(patch, psnr, ssim, fsimc):
    x = torch.tensor(astronaut()).permute(2, 0, 1)[None] / 255
    x = F.interpolate(x, (224, 224), mode="bilinear", antialias=True)
    values = image_metrics(x, leak(x, Copyist(patch, "normalised")).pixels)
    assert values["psnr"].item() == pytest.approx(psnr, abs=0.2)
    assert values["ssim"].item() == pytest.approx(ssim, abs=0.01)
    assert values["fsimc"].item() == pytest.approx(fsimc, abs=0.005)


@pytest.mark.parametrize(("change", "message"), [
    (lambda p, x: (p[:, :-1], x, "auto"), "prediction must have shape"),
    (lambda p, x: (p, x, "magic"), "denorm must be one of"),
    (lambda p, x: (p, x * 2, "auto"), "must lie in"),
    (lambda p, x: (p, x * float("nan"), "auto"), "finite"),
])
def test_bad_predictions_are_refused(change, message, images):
    model = Copyist()
    prediction, x, denorm = change(model.predict(images, None), images)
    with pytest.raises(ValueError, match=message):
        to_pixels(prediction, x, model, denorm)


def test_a_mask_that_hides_nothing_is_refused(images):
    every = torch.arange(64).repeat(3, 1)
    with pytest.raises(ValueError, match="hide some"):
        reconstruct_masked(Copyist(), images, Mask(every, every[:, :0]), paste=True)


def test_integer_images_are_refused(images):
    with pytest.raises(TypeError, match="floats"):
        reconstruct_unmasked(Copyist(), (images * 255).byte())


def test_a_model_gone_wrong_is_named_by_the_metric(image_set):
    model = Copyist()
    model.predict = lambda x, mask: torch.full((len(x), 64, 48), float("nan"))
    with pytest.raises(ValueError, match="finite"):
        score(image_set, lambda x: reconstruct_unmasked(model, x))


@pytest.mark.parametrize("target", ["pixel", "normalised"])
def test_records_hold_every_protocol(target, image_set):
    records = reconstruction_records(mae("toy", target=target, seed=0).eval(), image_set,
                                     setting={"ratio": 0.75}, seed=3, split="test",
                                     ratios=(0.25, 0.75), metrics=("ssim", "psnr", "mse"))
    protocols = {"unmasked", "complement 0.25", "complement 0.75", "own masks, pasted",
                 "own masks, hidden"} | ({"floor: leak"} if target == "normalised" else set())
    found = {(r.protocol, r.metric): r for r in records}
    assert {p for p, _ in found} == protocols and len(found) == len(records)
    assert ("own masks, hidden", "ssim") not in found and ("own masks, hidden", "psnr") in found
    unmasked = found["unmasked", "ssim"]
    assert unmasked.n == 5 and unmasked.seed == 3 and unmasked.dataset == "noise"
    assert unmasked.value == pytest.approx(unmasked.items.mean(), rel=1e-6)
    assert found["unmasked", "used_target_stats"].value == (target == "normalised")
    assert found["unmasked", "target_mse"].items is None


def test_scores_do_not_depend_on_the_batch(image_set, monkeypatch):
    model = mae("toy", seed=0).eval()

    def values():
        return {(r.protocol, r.metric): r.value for r in reconstruction_records(
            model, image_set, setting={}, seed=0, split="test", metrics=("mse",))}
    whole = values()
    monkeypatch.setattr("mae_lib.evaluation.scores.BATCH", 2)
    assert values() == pytest.approx(whole, rel=1e-5)


def test_floor_records_name_their_floor(image_set):
    records = floor_records(image_set, split="test", patches=(4,), metrics=("psnr",))
    values = {r.protocol: r.value for r in records}
    assert values["floor: identity"] == pytest.approx(80)
    assert values["floor: patch mean 4"] > values["floor: global mean"]
