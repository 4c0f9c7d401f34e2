"""Attention and embedding studies at toy size: every number again by hand, and what is dropped."""

from functools import partial

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from mae_lib import studies
from mae_lib.data.images import ImageSet
from mae_lib.evaluation.attention import attention_maps
from mae_lib.studies import attention, embedding
from mae_lib.studies.attention import ATTENTION, object_masks, overlays
from mae_lib.studies.embedding import EMBEDDING, PIXEL_EMBEDDING

pytestmark = pytest.mark.usefixtures("shared_results")

COMMON = {"preset": "toy", "views": 0, "batch": 32, "lr": 1e-3, "train_images": 64}
PLAIN = studies.Setting("menagerie", **COMMON)
COUNT, SHOWN = 60, 3  # more than one batch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def result():
    return ATTENTION(PLAIN, test_images=COUNT, shown=SHOWN)


@pytest.fixture(scope="module")
def seen():
    """Last-block attention, cell coverage of the masks, and the encoder, over all images."""
    encoder = studies.model(PLAIN).encoder
    test = studies.images("menagerie", "test", COUNT)
    images, masks = test.batch(slice(None)), object_masks(test, PLAIN)
    patch, (h, w) = encoder.patch, encoder.grid
    cells = masks.double().view(COUNT, h, patch, w, patch).mean((2, 4)).flatten(1).numpy()
    return attention_maps(encoder, images)[-1].double().numpy(), cells, encoder


def record(result, protocol, metric):
    found, = (r for r in studies.records(result)
              if (r.protocol, r.metric) == (protocol, metric))
    return found


def used(cells):
    return (cells.mean(1) >= 0.02) & (cells.mean(1) <= 0.8) & ((cells >= 0.5).sum(1) > 0)


def lift(row, cells):
    return (row * cells).sum() / row.sum() / cells.mean()


def test_every_image_is_used_or_dropped_for_a_reason(result, seen):
    assert result.value["used"] == used(seen[1]).sum() > COUNT / 2
    assert result.value["used"] + sum(result.value["dropped"].values()) == COUNT
    found = studies.records(result)
    assert {r.n for r in found} == {result.value["used"]} and {r.status for r in found} == {"ok"}
    assert all(np.isfinite(r.items).all() and r.items.dtype == np.float16 for r in found)


def test_whole_maps_are_means_of_the_heads_and_their_null_is_the_image_before(result, seen):
    A, cells, _ = seen
    rows, mine = A[used(cells)].mean(1), cells[used(cells)]
    for name, at in (("class token", rows[:, 0, 1:]), ("mean patch", rows[:, 1:, 1:].mean(1))):
        expected = [lift(*pair) for pair in zip(at, mine, strict=True)]
        null = [lift(*pair) for pair in zip(at, np.roll(mine, 1, 0), strict=True)]
        assert record(result, name, "lift").items == pytest.approx(expected, rel=1e-3)
        assert record(result, f"{name}, null", "lift").items == pytest.approx(null, rel=1e-3)
        assert expected != pytest.approx(null, rel=1e-3)


def test_object_tokens_are_averaged_after_scoring_each_head(result, seen):
    A, cells, _ = seen
    by_head, mean_head = [], []
    for matrix, mine in zip(A[used(cells)], cells[used(cells)], strict=True):
        tokens = 1 + np.flatnonzero(mine >= 0.5)
        by_head.append([np.mean([lift(head[t, 1:], mine) for t in tokens]) for head in matrix])
        p = matrix.mean(0)[tokens, 1:] / matrix.mean(0)[tokens, 1:].sum(1, keepdims=True)
        mean_head.append(-(p * np.log(p)).sum(1).mean() / np.log(len(mine)))
    by_head = np.array(by_head)
    assert record(result, "object tokens", "lift").items == pytest.approx(by_head.mean(1), rel=1e-3)
    assert record(result, "object tokens, head 0", "lift").items == pytest.approx(
        by_head[:, 0], rel=1e-3)
    assert record(result, "object tokens, mean head", "entropy").items == pytest.approx(
        np.array(mean_head), abs=1e-3)


def test_distances_are_shares_of_the_side_one_a_block(result, seen):
    A, cells, encoder = seen
    rows, columns = np.divmod(np.arange(cells.shape[1]), encoder.grid[1])
    apart = np.hypot(rows[:, None] - rows, columns[:, None] - columns) / encoder.grid[1]
    shares = A[used(cells)][:, :, 1:, 1:]
    expected = (shares * apart).sum(-1).mean((1, 2)) / shares.sum(-1).mean((1, 2))
    blocks = [r.metric for r in studies.records(result) if r.protocol == "distance"]
    last = f"block {encoder.depth - 1}"
    assert blocks == [f"block {i}" for i in range(encoder.depth)] + ["last block, head 0"]
    assert record(result, "distance", last).items == pytest.approx(expected, rel=2e-3)


def test_figures_get_maps_of_the_first_images_and_the_mass_that_counts(result, seen):
    value, (A, _, encoder) = result.value, seen
    test = studies.images("menagerie", "test", COUNT)
    assert np.array_equal(value["images"], test.images[:3])
    assert np.array_equal(value["masks"], object_masks(test, PLAIN)[:3].numpy())
    h, w = encoder.grid
    expected = {"cls": A[:3].mean(1)[:, 0, 1:],
                "token": A[range(3), 0, 1 + value["tokens"], 1:],
                "token mean": A[:3].mean(1)[range(3), 1 + value["tokens"], 1:]}
    for which, rows in expected.items():
        assert value[f"{which} maps"].reshape(3, -1) == pytest.approx(rows, rel=1e-3)
        kept = overlays(value, which)
        assert kept.shape == (3, h, w) and (kept.sum((1, 2)) >= 0.6 - 1e-6).all()
        assert (kept.sum((1, 2)) - [k[k > 0].min() for k in kept] < 0.6).all()


def test_nothing_to_score_is_not_tested(monkeypatch):
    nothing = torch.zeros(20, 32, 32, dtype=torch.bool)
    monkeypatch.setattr(attention, "object_masks", lambda *_: nothing)
    monkeypatch.setattr(attention, "_shown", lambda *_: {})
    found = attention._attention(PLAIN, "show", test_images=20, shown=2)
    assert found["used"] == 0 and found["dropped"]["object too small"] == 20
    assert {row["status"] for row in found["records"]} == {"not tested"}


def test_masks_come_with_the_very_pictures_that_are_tested():
    with pytest.raises(RuntimeError, match="not the test images"):
        object_masks(studies.images("menagerie", "train", COUNT), PLAIN)


def test_of_clothes_the_object_is_all_that_is_not_black():
    pixels = np.zeros((1, 3, 32, 32), np.uint8)
    pixels[:, :, 5, 7:9] = 1
    clothes = ImageSet(pixels, np.zeros(1, np.int64), ("coat",), "clothes", "0")
    setting = studies.Setting("fashion_mnist", **COMMON)
    assert object_masks(clothes, setting).nonzero().tolist() == [[0, 5, 7], [0, 5, 8]]


def test_an_embedding_has_a_number_a_draw_and_a_map_of_the_first(monkeypatch):
    monkeypatch.setattr(embedding, "DRAWS", 2)
    monkeypatch.setattr(embedding, "separability", partial(embedding.separability, folds=2))
    result = EMBEDDING(PLAIN, test_images=300)
    assert record(result, "components, mean token", "purity").items.shape == (2,)
    assert record(result, "components, class token", "linear_acc").items.shape == (2,)
    assert record(result, "map, mean token", "trustworthiness").value > 0.8
    labels = result.value["labels"]
    sizes = np.bincount(studies.images("menagerie", "test", 300).labels)
    assert result.value["xy"].shape == (10 * sizes.min(), 2)
    assert np.unique(labels).tolist() == result.value["classes"][0]
    assert result.value["classes"][0] != result.value["classes"][1]


def test_too_few_images_for_ten_classes_are_not_tested():
    for study in (EMBEDDING, PIXEL_EMBEDDING):
        result = study(PLAIN, test_images=64)
        assert {r.status for r in studies.records(result)} == {"not tested"}
        assert result.value["xy"].shape == (0, 2) and len(result.value["labels"]) == 0
