import numpy as np
import pytest
import torch

from mae_lib.models.targets import normalised_pixels, pixels, statistics


@pytest.fixture
def patches(generator):
    return 3 * torch.rand(2, 6, 48, generator=generator) - 1


def test_normalised_pixels_agree_with_a_loop(patches):
    expected = np.empty(patches.shape)
    for b, image in enumerate(patches.double().numpy()):
        for i, patch in enumerate(image):
            expected[b, i] = (patch - np.mean(patch)) / np.sqrt(np.var(patch, ddof=1) + 1e-6)
    np.testing.assert_allclose(normalised_pixels(patches).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_flat_patches_have_the_target_zero():
    assert not normalised_pixels(torch.full((1, 2, 48), 0.37)).any()


def test_epsilon_stands_inside_the_root(patches):
    mean, variance = statistics(patches)
    expected = (patches - mean) / torch.sqrt(variance + 0.25)
    torch.testing.assert_close(normalised_pixels(patches, eps=0.25), expected)


def test_squared_targets_average_to_the_unbiased_ratio(patches):
    """(n - 1) / n * s^2 / (s^2 + eps) with n = 48 values in a patch."""
    variance = patches.double().var(-1)
    expected = 47 / 48 * variance / (variance + 1e-6)
    torch.testing.assert_close(normalised_pixels(patches).double().square().mean(-1), expected)


def test_squared_targets_of_sixteen_pixel_patches_tend_to_their_limit(generator):
    patches = 1e3 * torch.randn(1, 5, 768, generator=generator, dtype=torch.float64)
    limit = torch.full((1, 5), 0.998698, dtype=torch.float64)
    torch.testing.assert_close(normalised_pixels(patches).square().mean(-1), limit,
                               rtol=0, atol=1e-6)


def test_statistics_undo_the_normalisation(patches):
    mean, variance = statistics(patches)
    assert mean.shape == variance.shape == (2, 6, 1)
    torch.testing.assert_close(variance[..., 0], patches.var(-1))
    torch.testing.assert_close(normalised_pixels(patches) * (variance + 1e-6).sqrt() + mean,
                               patches)


def test_pixels_are_their_own_target(patches):
    assert torch.equal(pixels(patches), patches)
