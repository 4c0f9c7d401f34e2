import math

import pytest
import torch
from timm.optim import param_groups_weight_decay
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from mae_lib.training.schedule import Recipe, parameter_groups

RECIPE = Recipe(views=1000, batch=10, lr=2.0, min_lr=0.5, warmup=0.2)


def test_rate_is_zero_at_the_start_peak_after_warm_up_and_least_at_the_end():
    assert RECIPE.steps == 100
    assert RECIPE.rate(0) == 0
    assert RECIPE.rate(20) == 2.0
    assert RECIPE.rate(100) == pytest.approx(0.5, rel=1e-12)


def test_rate_grows_linearly_then_falls():
    rates = [RECIPE.rate(i) for i in range(101)]
    assert rates[:20] == pytest.approx([2.0 * i / 20 for i in range(20)])
    assert all(after < before for before, after in zip(rates[20:], rates[21:], strict=False))


def test_rate_follows_the_formula_of_the_official_code_at_fractional_epochs():
    for step in (20.0, 33.3, 60.0, 99.9):
        expected = 0.5 + 0.5 * (2.0 - 0.5) * (1 + math.cos(math.pi * (step - 20) / (100 - 20)))
        assert RECIPE.rate(step) == pytest.approx(expected, rel=1e-12)


def test_rate_agrees_with_pytorch_schedulers():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=RECIPE.lr)
    warm_up = LinearLR(optimizer, start_factor=1e-9, total_iters=20)
    cosine = CosineAnnealingLR(optimizer, T_max=80, eta_min=RECIPE.min_lr)
    scheduler = SequentialLR(optimizer, [warm_up, cosine], milestones=[20])
    for step in range(100):
        assert RECIPE.rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-7)
        optimizer.step()
        scheduler.step()


def test_without_warm_up_the_first_rate_is_the_peak():
    assert Recipe(views=100, batch=10, warmup=0.0).rate(0) == Recipe(views=100, batch=10).lr


def test_only_whole_batches_count():
    assert Recipe(views=99, batch=10).steps == 9


@pytest.mark.parametrize(("change", "named"), [
    ({"batch": 0}, "batch"), ({"batch": 1001}, "batch"), ({"lr": 0.0}, "lr"),
    ({"lr": -1.0}, "lr"), ({"lr": float("nan")}, "lr"), ({"min_lr": 3.0}, "lr"),
    ({"min_lr": -0.1}, "min_lr"), ({"warmup": 1.0}, "warmup"), ({"warmup": -0.1}, "warmup"),
    ({"clip": 0.0}, "clip"), ({"clip": -1.0}, "clip"),
])
def test_a_recipe_refuses_numbers_out_of_range_and_names_them(change, named):
    with pytest.raises(ValueError, match=named):
        Recipe(**({"views": 1000} | change))


def test_groups_split_as_timm_does(model):
    ours, theirs = parameter_groups(model, 0.05), param_groups_weight_decay(model, 0.05)
    for decay in (0.05, 0.0):
        found, expected = (
            {id(p) for group in groups if group["weight_decay"] == decay for p in group["params"]}
            for groups in (ours, theirs))
        assert found == expected and found


def test_tokens_decay_and_frozen_positions_are_in_no_group(model):
    decayed, kept = ({id(p) for p in g["params"]} for g in parameter_groups(model, 0.05))
    assert {id(model.encoder.cls_token), id(model.decoder.mask_token)} <= decayed
    frozen = {id(model.encoder.pos_embed), id(model.decoder.pos_embed)}
    assert not frozen & (decayed | kept)
    assert len(decayed | kept) == len(list(model.parameters())) - 2
