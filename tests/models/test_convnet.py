"""The network that filters: small, reproducible, and able to learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mae_lib.data.images import ImageSet
from mae_lib.models.convnet import ConvNet
from mae_lib.training.supervised import fit_classifier


def test_it_equals_its_formula(generator):
    network, x = ConvNet(5, seed=1), torch.rand(2, 3, 32, 24, generator=generator)
    y, state = (x - 0.5) / 0.25, network.state_dict()
    for k in range(3):
        names = [f"stages.{k}.{part}" for part in ("0.weight", "0.bias", "1.weight", "1.bias")]
        kernel, bias, scale, offset = (state[name] for name in names)
        y = F.conv2d(y, kernel, bias, padding=1)
        groups = y.reshape(2, 8, -1)
        groups = (groups - groups.mean(2, keepdim=True)) / torch.sqrt(
            groups.var(2, keepdim=True, unbiased=False) + 1e-5)
        y = groups.reshape(y.shape) * scale[:, None, None] + offset[:, None, None]
        y = F.max_pool2d(y.clamp(min=0), 2)
    expected = y.mean((2, 3)) @ state["head.weight"].T + state["head.bias"]
    assert torch.allclose(network(x), expected, atol=1e-5)


def test_it_takes_a_tenth_of_a_megabyte_in_half_precision():
    assert 2 * sum(p.numel() for p in ConvNet(16).parameters()) < 120_000


def test_weights_depend_on_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (ConvNet(4, seed=seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_it_learns_to_tell_stripes_from_noise():
    rng = np.random.default_rng(0)
    labels = np.arange(256) % 2
    images = rng.integers(0, 80, (256, 3, 16, 16)).astype(np.uint8)
    images[labels == 1, :, ::2] += 150
    train = ImageSet(images, labels, ("noise", "stripes"), "stripes", "")
    network = ConvNet(2)
    fit_classifier(network, train, epochs=6, lr=3e-3, batch=32, progress=False)
    with torch.no_grad():
        said = network(train.batch(slice(None))).argmax(1).numpy()
    assert np.mean(said == labels) == 1


def test_bad_requests_get_one_sentence():
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        ConvNet(1)
    with pytest.raises(ValueError, match=r"sides of at least 8 pixels, got \[4, 16\]"):
        ConvNet(2)(torch.rand(1, 3, 4, 16))
