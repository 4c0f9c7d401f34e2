"""The studies on data sets in their official layouts: a tiny ImageNet, its variants, COCO."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from imagenet_tiny import COUNTS, shrink, write_all
from scipy.special import softmax

from mae_lib import studies
from mae_lib.data.official.variants import VARIANTS, variant, variant_spec
from mae_lib.data.shifts import SHIFTS
from mae_lib.evaluation.shape_bias import CATEGORIES, category_matrix
from mae_lib.studies import cue_conflict, reconstruction, robustness

ALL_SPLITS = robustness.VARIANT_SPLITS
SHIFTED = ("imagenet-a", "objectnet")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("data"), SHIFTED)


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch, tmp_path_factory.mktemp("results"), SHIFTED)
        yield


@pytest.fixture(scope="module")
def setting(root):
    return studies.Setting("imagenet", preset="toy", views=0, train_images=1000, root=str(root))


@pytest.fixture(scope="module")
def logits(setting):
    """Of the class token's head on some images, the long way round."""
    value = studies.LINEAR_PROBE(setting, **COUNTS).value["weights"]
    encoder = studies.model(setting).encoder

    def of(images):
        with torch.no_grad():
            cls = encoder(images.batch(slice(None))).cls.double()
        mean, var = value["cls.0.running_mean"].double(), value["cls.0.running_var"].double()
        normal = (cls - mean) / (var + 1e-6).sqrt()
        return (normal @ value["cls.1.weight"].double().T + value["cls.1.bias"].double()).numpy()

    return of


def items(study, setting, **arguments):
    found = studies.records(study(setting, **arguments))
    return {(r.split, r.protocol, r.metric): r for r in found}


def test_the_probe_of_many_images_is_that_of_its_kept_heads(setting, logits):
    found = items(studies.LINEAR_PROBE, setting, **COUNTS)
    test = studies.images_of(setting, "test", 1000)
    assert set(found) == {("test", f"linear probe, {pool}", "accuracy") for pool in ("cls", "mean")}
    expected = logits(test).argmax(1) == test.labels
    assert (found["test", "linear probe, cls", "accuracy"].items == expected).mean() > 0.999


def test_variants_are_scored_by_their_own_rules(setting, logits, root):
    found = items(studies.ROBUSTNESS, setting, **COUNTS, test_images=10, filter_images=10,
                  filter_epochs=1)
    assert {split for split, *_ in found} == {"odd pose", "filtered"}
    for name, split in (("imagenet-a", "filtered"), ("objectnet", "odd pose")):
        test, spec = variant(root, name, size=32), variant_spec(name)
        scores, allowed = logits(test), sorted(spec.allowed)
        best = np.array(allowed)[scores[:, allowed].argmax(1)]
        right = [b in t for b, t in zip(best, spec.targets(test.labels), strict=True)]
        record = found[split, "robustness, cls", "accuracy"]
        assert record.n == len(test) and (record.items == right).mean() > 0.98
        full = [b in t for b, t in zip(scores.argmax(1), spec.targets(test.labels), strict=True)]
        assert (found[split, "robustness, cls, full", "accuracy"].items == full).mean() > 0.98


def test_every_shifted_set_of_the_paper_has_its_published_one():
    primary = {split for _, split, prefix in ALL_SPLITS if not prefix}
    assert primary == set(SHIFTS) and {name for name, *_ in ALL_SPLITS} == set(VARIANTS)


def test_shape_bias_is_asked_of_the_probe(setting, logits):
    found = items(studies.CUE_CONFLICT, setting, **COUNTS)
    seen = cue_conflict.pictures(setting)
    shares, matrix = softmax(logits(seen.images), axis=1), category_matrix()
    means = [[row[column].mean() for column in matrix.T] for row in shares]
    said = np.array(CATEGORIES)[np.argmax(means, axis=1)]
    record, right = found["test", "texture cue, cls", "shape accuracy"], said == seen.shapes
    assert record.n == len(CATEGORIES) ** 2 and (record.items == right).mean() > 0.98
    assert found["test", "texture cue, cls", "shape bias"].status == "not tested"  # 240 conflicts


def test_photographs_show_how_far_attention_reaches_and_no_more(setting):
    result = studies.ATTENTION(setting, test_images=6, shown=2)
    status = {(r.protocol, r.status) for r in studies.records(result)}
    assert ("distance", "ok") in status and ("class token", "not tested") in status
    assert result.value["masks"] is None and result.value["images"].shape == (2, 3, 32, 32)
    assert result.value["tokens"].tolist() == [36, 36]  # row 4, column 4 of 8 x 8


def test_photographs_are_reconstructed_and_have_floors(setting):
    found = items(studies.RECONSTRUCTION, setting, test_images=4, shown=2)
    test = studies.images_of(setting, "test", 4)
    assert found["test", "unmasked", "psnr"].n == 4
    kept = studies.RECONSTRUCTION(setting, test_images=4, shown=2).value["originals"]
    assert np.array_equal(kept, test.pixels(slice(2)).numpy())
    assert 32 in reconstruction.PATCHES and items(studies.FLOORS, setting, test_images=4)


def test_detectors_find_things_in_coco(setting):
    found = items(studies.DETECTION, setting, train_scenes=2, test_scenes=3, detector_epochs=2)
    assert {p for _, p, _ in found} == {"box", "mask"}
    assert {r.dataset for r in found.values()} == {"COCO"}


def test_a_network_is_trained_on_random_views(setting):
    trained = studies.model(replace(setting, views=64, batch=32, lr=1e-3))
    first = studies.network(setting).state_dict()
    assert any(not torch.equal(v, first[n]) for n, v in trained.state_dict().items())


def test_without_a_folder_of_data_the_sentence_says_so():
    with pytest.raises(ValueError, match="data_root must name the folder that ImageNet-1K lies in"):
        studies.network(studies.Setting("imagenet", preset="toy", views=0))


def test_where_data_lie_does_not_enter_a_key(setting, tmp_path):
    keys = [studies.PRETRAINING.key(s).identity
            for s in (setting, replace(setting, root=f"{setting.root}/."))]
    assert keys[0] == keys[1] and str(setting.root) not in str(keys)
