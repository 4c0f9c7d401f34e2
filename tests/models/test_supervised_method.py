import math

import numpy as np
import pytest
import torch

from mae_lib.data.images import ImageSet
from mae_lib.models.methods import mae
from mae_lib.models.supervised import Labelled, Supervised
from mae_lib.models.views import Augmentation, cropped, pasted, recoloured
from mae_lib.training.pretrain import pretrain
from mae_lib.training.schedule import Recipe

CLOSE = {"rtol": 1e-10, "atol": 0}
EVERYTHING = Augmentation(crop=True, cutmix=True, colour=True)


def toy(augment, classes=5, **settings):
    """A small network with a head whose weights are not near zero, in double precision."""
    model = Supervised(mae("toy", size=16, seed=0), classes, augment, seed=0, **settings).double()
    torch.nn.init.normal_(model.head.weight)
    return model


def double(drawn):
    return drawn._make(x.double() if x.is_floating_point() else x for x in drawn)


@pytest.fixture
def images(generator):
    return torch.rand(4, 3, 16, 16, generator=generator, dtype=torch.float64)


@pytest.fixture
def labels():
    return torch.tensor([3, 0, 4, 3])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_smoothed_cross_entropy_of_the_mean_token(images, labels, generator, smoothing):
    model = toy(EVERYTHING, smoothing=smoothing)
    drawn = double(model.sample_mask(labels, generator))
    view = recoloured(pasted(cropped(images, drawn.crop[:, 0]), drawn.rectangle[:, 0]),
                      drawn.colour[:, 0])
    total = 0.0
    for picture, label in zip(view, labels.tolist(), strict=True):
        tokens = model.encoder(picture[None]).tokens[0, 1:]  # without the class token
        scores = (sum(tokens) / 16 @ model.head.weight.T + model.head.bias).tolist()
        log_sum = math.log(sum(map(math.exp, scores)))
        for k, score in enumerate(scores):
            wanted = smoothing / 5 + (1 - smoothing) * (k == label)
            total -= wanted * (score - log_sum) / 4
    assert model(images, drawn).item() == pytest.approx(total, rel=1e-10)


def test_labels_are_smoothed_by_a_tenth_if_nobody_says():
    assert toy(Augmentation()).smoothing == 0.1


def test_labels_come_along_with_a_view_of_each_image(labels):
    model = toy(Augmentation(crop=True, colour=True))
    drawn = model.sample_mask(labels, torch.Generator().manual_seed(2))
    wanted = model.augment.draw(4, 1, torch.Generator().manual_seed(2))
    assert isinstance(drawn, Labelled) and drawn.labels is labels
    assert all(torch.equal(a, b) for a, b in zip(drawn[1:], wanted, strict=True))


def test_rows_of_what_was_drawn_belong_to_these_images(images, labels, generator):
    model = toy(Augmentation(crop=True, colour=True))
    drawn = double(model.sample_mask(labels, generator))
    halves = [model(images[rows], drawn._make(part[rows] for part in drawn))
              for rows in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(sum(halves) / 2, model(images, drawn), **CLOSE)


def test_every_weight_learns_and_the_encoder_in_place(images, labels, generator):
    base = mae("toy", size=16, seed=0).double()
    model = Supervised(base, 5, EVERYTHING, seed=0).double()
    assert model.encoder is base.encoder
    model(images, double(model.sample_mask(labels, generator))).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == (name != "encoder.pos_embed"), name
        assert not parameter.requires_grad or parameter.grad.abs().max() > 0, name


def test_the_seed_decides_the_head_alone():
    first, again, other = (Supervised(mae("toy", seed=0), 3, Augmentation(), seed=seed)
                           for seed in (1, 1, 2))
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
        assert torch.equal(weight, other.state_dict()[name]) == (name != "head.weight"), name


def test_it_learns_to_tell_bright_from_dark():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 40)
    pixels = rng.integers(0, 156, (40, 3, 16, 16)) + 60 * labels[:, None, None, None]
    images = ImageSet(pixels.astype(np.uint8), labels, ("dark", "bright"), "noise", "noise")
    model = Supervised(mae("toy", size=16, depth=1, seed=0), 2, Augmentation(crop=True), seed=0)
    known = torch.from_numpy(labels)
    losses = pretrain(model, images, Recipe(views=8 * 60, batch=8, lr=3e-3), progress=False,
                      masks=lambda index, generator: model.sample_mask(known[index], generator)
                      ).losses
    floor = -0.95 * math.log(0.95) - 0.05 * math.log(0.05)  # of smoothed labels
    assert losses[0] == pytest.approx(math.log(2), abs=0.01)
    assert floor <= losses[-5:].min() and losses[-5:].mean() < floor + 0.1
    with torch.no_grad():
        scores = model.head(model.encoder(images.batch(slice(None))).patches.mean(1))
    assert torch.equal(scores.argmax(1), known)


@pytest.mark.parametrize("classes", [0, 1])
def test_fewer_than_two_classes_are_refused(classes):
    with pytest.raises(ValueError, match=f"classes must be at least 2, got {classes}"):
        Supervised(mae("toy", seed=0), classes, Augmentation())
