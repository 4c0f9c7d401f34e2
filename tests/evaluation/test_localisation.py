"""Scores of attention against an object's mask: closed forms, loops, and laws that must hold."""

import itertools
import math

import pytest
import torch
from sklearn.metrics import roc_auc_score

from mae_lib.evaluation.attention import attention_distance, cls_map
from mae_lib.evaluation.localisation import attention_scores, central_token, coverage, why_not

GRID = (8, 8)
ONE = torch.ones(1, 8, 8)


def square_mask(top=8, left=8, side=16, size=32):
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[:, top:top + side, left:left + side] = True
    return mask


def blob_masks(generator, count=4):
    """One disc an image, of random place and size, with a ragged edge."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    place = 8 + 16 * torch.rand(count, 3, 1, 1, generator=generator)
    away = (y - place[:, 0]) ** 2 + (x - place[:, 1]) ** 2
    ragged = 20 * torch.randn(count, 32, 32, generator=generator)
    return away + ragged < (4 + place[:, 2] / 3) ** 2


def test_even_attention_has_the_closed_forms():
    mask = square_mask(top=8, left=6, side=16)  # the left edge halves two columns of cells
    share = 16 * 16 / 32**2
    found = attention_scores(torch.ones(1, 8, 8), mask)
    expected = {"mass": share, "background": 1 - share, "lift": 1, "lift_without_largest": 1,
                "auroc": 0.5, "entropy": 1, "largest": 1 / 64}
    assert {name: found[name].item() for name in expected} == pytest.approx(expected)


def test_attention_even_over_the_object_is_as_good_as_it_gets():
    mask = square_mask()
    found = attention_scores(coverage(mask, GRID), mask)
    expected = {"mass": 1, "background": 0, "lift": 4, "pointing": 1, "auroc": 1,
                "iou60": 10 / 16, "recall60": 10 / 16, "entropy": math.log(16) / math.log(64)}
    assert {name: found[name].item() for name in expected} == pytest.approx(expected)


def test_ideal_attention_keeps_21_of_35_cells():
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[:, :20, :28] = True  # 5 x 7 cells
    found = attention_scores(coverage(mask, GRID), mask)
    assert found["iou60"].item() == pytest.approx(21 / 35, abs=1 / 35 + 1e-9)


def test_scores_agree_with_loops(generator):
    masks, a = blob_masks(generator), torch.rand(4, 8, 8, generator=generator) ** 2
    found = attention_scores(a, masks)
    for b in range(4):
        m = [float(masks[b, 4 * i:4 * i + 4, 4 * j:4 * j + 4].float().mean())
             for i in range(8) for j in range(8)]
        p = [float(v / a[b].double().sum()) for v in a[b].double().flatten()]
        thing, top = [v >= 0.5 for v in m], max(range(64), key=p.__getitem__)
        order, kept = sorted(range(64), key=lambda i: -p[i]), set()
        while sum(p[i] for i in kept) < 0.6:
            kept.add(order[len(kept)])
        objects = {i for i in range(64) if thing[i]}
        mass = sum(map(float.__mul__, p, m))
        rest = [i for i in range(64) if i != top]
        rest_mass = sum(p[i] * m[i] for i in rest) / sum(p[i] for i in rest)
        expected = {
            "mass": mass, "background": 1 - mass, "lift": mass / (sum(m) / 64),
            "pointing": float(thing[top]), "auroc": roc_auc_score(thing, p),
            "iou60": len(kept & objects) / len(kept | objects),
            "recall60": len(kept & objects) / len(objects), "largest": p[top],
            "entropy": -sum(v * math.log(v) for v in p) / math.log(64),
            "lift_without_largest": rest_mass / (sum(m[i] for i in rest) / 63)}
        assert {name: value[b].item() for name, value in found.items()} == pytest.approx(expected)


def test_ties_count_half_in_the_auroc(generator):
    a = torch.randint(1, 4, (4, 8, 8), generator=generator).double()
    masks = blob_masks(generator)
    expected = [roc_auc_score((c >= 0.5).flatten(), m.flatten())
                for c, m in zip(coverage(masks, GRID), a, strict=True)]
    assert attention_scores(a, masks)["auroc"].tolist() == pytest.approx(expected)


def test_heads_and_tokens_are_scored_one_by_one(generator):
    a, masks = torch.rand(4, 2, 5, 8, 8, generator=generator), blob_masks(generator)
    together = attention_scores(a, masks)
    for h, n in itertools.product(range(2), range(5)):
        alone = attention_scores(a[:, h, n], masks)
        assert all(torch.equal(together[name][:, h, n], alone[name]) for name in alone)


def test_scores_do_not_depend_on_the_sum_of_a_map(generator):
    a, masks = torch.rand(4, 8, 8, generator=generator), blob_masks(generator)
    for name, value in attention_scores(3.7 * a, masks).items():
        torch.testing.assert_close(value, attention_scores(a, masks)[name])


def test_turning_image_and_attention_together_changes_nothing(generator):
    A = torch.randn(4, 3, 65, 65, generator=generator, dtype=torch.float64).softmax(-1)
    masks = blob_masks(generator)
    cells = torch.arange(64).view(8, 8).rot90().flatten()
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + cells])
    turned, turned_masks = A[:, :, order][..., order], masks.rot90(dims=(1, 2))
    before = attention_scores(cls_map(A, GRID), masks)
    for name, value in attention_scores(cls_map(turned, GRID), turned_masks).items():
        torch.testing.assert_close(value, before[name])
    torch.testing.assert_close(attention_distance(turned, GRID, 4), attention_distance(A, GRID, 4))


def test_a_mask_that_is_anywhere_brings_lift_to_one(generator):
    """Over all places on a torus, what is there to find is spread evenly."""
    a = torch.rand(1, 8, 8, generator=generator) ** 4
    mask = square_mask(0, 0, 12)
    masks = torch.cat([mask.roll((4 * i, 4 * j), (1, 2)) for i in range(8) for j in range(8)])
    found = attention_scores(a.expand(64, 8, 8), masks)
    assert found["lift"].std() > 0.1
    assert found["lift"].mean().item() == pytest.approx(1) and found["background"].mean() == (
        pytest.approx(1 - 9 / 64))


def test_a_sink_of_attention_hides_the_rest_and_lifting_it_out_shows_it():
    mask, a = square_mask(), coverage(square_mask(), GRID) / 16
    a[0, 0, 0] = 9.0
    found = attention_scores(a, mask)
    assert found["largest"].item() == pytest.approx(0.9)
    assert found["lift"].item() == pytest.approx(0.4)
    assert found["lift_without_largest"].item() == pytest.approx(63 / 16)


def test_each_image_that_cannot_be_scored_has_one_reason():
    thin = torch.zeros(1, 32, 32, dtype=torch.bool)
    thin[:, :, 1::4] = True
    masks = torch.cat([square_mask(0, 0, 4), square_mask(0, 0, 31), thin, square_mask(0, 0, 8),
                       square_mask(0, 0, 29)])
    found = why_not(masks, GRID)
    expected = {"object too small": [0], "object too large": [1, 4],
                "no cell is mostly object": [2], "every cell is mostly object": [],
                "object in one cell": []}
    assert {why: which.nonzero().flatten().tolist() for why, which in found.items()} == expected
    coarse = why_not(masks, (2, 2), least=0)
    assert coarse["object in one cell"].tolist() == [False] * 5
    assert coarse["no cell is mostly object"].tolist() == [True, False, True, True, False]
    assert why_not(square_mask(0, 0, 16), (2, 2))["object in one cell"].item()
    assert why_not(square_mask(0, 0, 31), (4, 4), most=1)["every cell is mostly object"].item()


def test_the_central_token_is_the_patch_nearest_to_the_centroid(generator):
    masks = blob_masks(generator, 20)
    found = central_token(masks, GRID)
    for mask, token in zip(masks, found, strict=True):
        centre = (mask.nonzero().double() + 0.5).mean(0)
        centres = torch.tensor([[4 * i + 2.0, 4 * j + 2.0] for i in range(8) for j in range(8)])
        assert token == (centres - centre).norm(dim=1).argmin()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: attention_scores(ONE / 0, square_mask()), "a must hold finite attention"),
    (lambda: attention_scores(ONE, square_mask()[:, :30]), "masks of 30x32 pixels must divide"),
    (lambda: attention_scores(ONE, square_mask().float()), "masks must be bool"),
    (lambda: attention_scores(ONE[0], square_mask()), r"a must have shape \[B,...,h,w\]"),
    (lambda: attention_scores(torch.ones(2, 8, 8), square_mask()), "with one mask a B"),
    (lambda: attention_scores(ONE, square_mask(side=0)), "got no cell is mostly object in 1 of 1"),
    (lambda: attention_scores(ONE, square_mask(0, 0, 32)), "got every cell is mostly object"),
    (lambda: central_token(square_mask(side=0), GRID), "masks must hold an object each")])
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
