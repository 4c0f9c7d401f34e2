import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from mae_lib.data.images import ImageSet
from mae_lib.training.augment import Augment
from mae_lib.training.pretrain import NonFiniteLoss
from mae_lib.training.supervised import fit_classifier


@pytest.fixture
def bright_and_dark() -> ImageSet:
    """40 images of noise, class 1 a little brighter than class 0."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 40)
    pixels = rng.integers(0, 156, (40, 3, 8, 8)) + 60 * labels[:, None, None, None]
    return ImageSet(pixels.astype(np.uint8), labels, ("dark", "bright"), "noise", "noise")


def small_network(dropout: float = 0.0, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(dropout),
                             nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_it_agrees_with_a_plain_loop(bright_and_dark):
    model, epochs, batch, lr = small_network(), 3, 12, 0.01
    plain = copy.deepcopy(model)
    found = fit_classifier(model, bright_and_dark, epochs=epochs, lr=lr, batch=batch, seed=3,
                           weight_decay=0.1, warmup=0.2, smoothing=0.1)
    matrices = [p for p in plain.parameters() if p.ndim > 1]
    vectors = [p for p in plain.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                                   {"params": vectors, "weight_decay": 0.0}])
    order = np.concatenate([np.random.default_rng([3, e]).permutation(40) for e in range(epochs)])
    losses = []
    for step in range(10):  # 120 views in batches of 12, two steps of warm-up
        index = order[step * batch:(step + 1) * batch]
        rate = lr * step / 2 if step < 2 else lr * (1 + math.cos(math.pi * (step - 2) / 8)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        x = torch.tensor(bright_and_dark.images[index] / 255, dtype=torch.float32)
        logs = plain(x).log_softmax(1)
        right = logs[torch.arange(batch), torch.tensor(bright_and_dark.labels[index])]
        loss = -(0.9 * right + 0.1 * logs.mean(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_it_learns_what_can_be_learnt(bright_and_dark):
    model = small_network()
    losses = fit_classifier(model, bright_and_dark, epochs=60, lr=0.03, batch=10)
    assert not model.training and losses[-10:].mean() < 0.3 * losses[0]
    with torch.no_grad():
        found = model(bright_and_dark.batch(slice(None))).argmax(1).numpy()
    assert (found == bright_and_dark.labels).all()


def test_the_seed_decides_order_dropout_and_augmentation(bright_and_dark):
    augment, state = Augment(flip=True, shift=1, mixup=0.8), torch.get_rng_state()
    first, again, other = (
        fit_classifier(small_network(dropout=0.5), bright_and_dark, epochs=2, lr=0.01, batch=8,
                       seed=seed, augment=augment) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_group_learns_at_its_own_scale(bright_and_dark):
    model = small_network()
    before = copy.deepcopy(model.state_dict())
    groups = [{"params": model[0].parameters(), "lr_scale": 0.0},
              {"params": model[5].parameters(), "lr_scale": 0.5}]
    fit_classifier(model, bright_and_dark, epochs=2, lr=0.01, batch=8, groups=groups)
    after = model.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["5.weight"], before["5.weight"])


def test_bad_numbers_are_refused(bright_and_dark):
    for arguments, message in (({"epochs": 0}, "epochs must be at least 1, got 0"),
                               ({"batch": 99}, r"batch must lie in 1..views \(40\), got 99"),
                               ({"smoothing": 1.0}, r"smoothing must lie in \[0, 1\), got 1"),
                               ({"batch": 8, "warmup": 2}, r"warmup must lie in \[0, 1\)")):
        with pytest.raises(ValueError, match=message):
            fit_classifier(small_network(), bright_and_dark, lr=0.1, **{"epochs": 1, **arguments})


def test_too_few_logits_are_refused(bright_and_dark):
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(192, 1))
    with pytest.raises(ValueError, match=r"logits \[B,2\] for so many classes, got \[8, 1\]"):
        fit_classifier(narrow, bright_and_dark, epochs=1, lr=0.1, batch=8)


def test_a_loss_that_is_no_number_stops_training(bright_and_dark):
    model = small_network()
    nn.init.constant_(model[5].bias, float("nan"))
    with pytest.raises(NonFiniteLoss, match="loss became nan"):
        fit_classifier(model, bright_and_dark, epochs=1, lr=0.1, batch=8)
