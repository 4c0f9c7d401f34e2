"""Methods beside MAE as studies, at toy size: trained, found again, fine-tuned; whose results age.

Few images are chosen out of 80 here, not out of 20,000.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from mae_lib import runs, sources, studies
from mae_lib.data.images import ImageSet
from mae_lib.evaluation.similarity import occlusion_cka
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.studies import finetuning, pretraining
from mae_lib.studies.pretraining import Pretrained
from mae_lib.studies.sets import images_of, training_images
from mae_lib.training.finetune import VIT_BASE, FinetuneConfig, FinetuneResult
from mae_lib.training.schedule import Recipe

POOL = 80
PLAIN = studies.Setting(preset="toy", views=96, lr=1e-3, train_images=64, seed=2)
AUTOENCODERS = {
    "MAE": PLAIN, "R-MAE": replace(PLAIN, method="r-mae"),
    "identity": replace(PLAIN, method="r-mae identity"),
    "jittered": replace(PLAIN, method="mae jittered"), "crops": replace(PLAIN, augment="mask+crop"),
    "unmasked": replace(PLAIN, augment="cutmix+colour"),
    "U-MAE": replace(PLAIN, method="u-mae"), "blocks": replace(PLAIN, sampling="block"),
    "sizes": replace(PLAIN, width=16, depth=1, decoder_width=8, decoder_depth=2),
    "one image": replace(PLAIN, train_images=1, chosen="random"),
    "photograph": replace(PLAIN, train_images=5, chosen="photograph")}
ENCODERS = {
    "tokens": replace(PLAIN, method="mae tokens"), "SimMIM": replace(PLAIN, method="simmim"),
    "two maps": replace(PLAIN, method="simmim mlp", ratio=0.6, unit=8),
    "own encoder": replace(PLAIN, method="simmim faithful", ratio=0.6, unit=8),
    "C-MAE": replace(PLAIN, method="c-mae"), "dropped": replace(PLAIN, method="c-mae dropped"),
    "BYOL": replace(PLAIN, method="c-mae byol"), "MoCo": replace(PLAIN, method="moco v3"),
    "supervised": replace(PLAIN, method="supervised", train_images=48, chosen="each class")}
ALL = AUTOENCODERS | ENCODERS


@pytest.fixture(scope="module", autouse=True)
def small_pool(shared_results):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mae_lib.studies.sets.POOL", POOL)
        yield


def pool(split: str = "train") -> ImageSet:
    return images_of(PLAIN, split, POOL)


# Training

@pytest.mark.parametrize("name", ALL)
def test_a_method_is_trained_once_and_what_is_found_is_what_was_trained(name):
    setting = ALL[name]
    run = studies.PRETRAINING(setting)
    assert run.value["losses"].shape == (3,) and np.isfinite(run.value["losses"]).all()
    weights, found = run.value["weights"], studies.model(setting)
    assert studies.PRETRAINING(setting).where == "cache"
    assert {w.dtype for w in weights.values()} == {torch.float16}
    state = found.encoder.state_dict()
    for key, tensor in weights.items():
        if not key.startswith(("decoder_", "mask_token")):
            assert torch.equal(state[key], tensor.float()), key
    initial = studies.network(setting).encoder.state_dict()
    moved = [key for key in weights if key in initial and not torch.equal(
        initial[key].half(), weights[key])]
    assert "blocks.0.attn.qkv.weight" in moved and not found.encoder.training
    assert torch.equal(state["pos_embed"], initial["pos_embed"])


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_of_a_method_that_reconstructs_the_autoencoder_is_left(name):
    found = studies.model(AUTOENCODERS[name])
    weights = studies.PRETRAINING(AUTOENCODERS[name]).value["weights"]
    assert type(found) is MaskedAutoencoder and not found.training
    assert torch.equal(found.decoder.state_dict()["pred.weight"],
                       weights["decoder_pred.weight"].float())
    images = images_of(PLAIN, "test", 4).batch(slice(0, 4))
    mask = found.sample_mask(4, torch.Generator().manual_seed(0))
    assert found.predict(images, mask).shape == (4, 64, 48)


@pytest.mark.parametrize("name", ENCODERS)
def test_of_the_others_the_encoder_alone_is_left(name):
    found = studies.model(ENCODERS[name])
    assert type(found) is Pretrained and found._fields == ("encoder",)
    weights = studies.PRETRAINING(ENCODERS[name]).value["weights"]
    assert set(weights) == set(found.encoder.state_dict()) - {"pos_embed", "mean", "std"}
    features = found.encoder(images_of(PLAIN, "test", 4).batch(slice(0, 4)))
    assert features.cls.shape == (4, 32) and features.cls.isfinite().all()


@pytest.mark.parametrize("name", ["C-MAE", "MoCo"])
def test_the_online_encoder_is_kept_and_not_the_one_that_follows(name):
    setting = ENCODERS[name]
    trained = studies.network(setting)
    pretraining.pretrain(trained, training_images(setting), Recipe(
        views=setting.views, batch=setting.batch, lr=setting.lr), seed=setting.seed)
    kept = studies.PRETRAINING(setting).value["weights"]["blocks.0.attn.qkv.weight"]
    online, target = (e.state_dict()["blocks.0.attn.qkv.weight"]
                      for e in (trained.encoder, trained.target["encoder"]))
    assert torch.equal(kept, online.half()) and not torch.equal(kept, target.half())


def test_methods_start_from_the_same_encoder_and_differ_in_the_end():
    first = {name: studies.network(s).encoder.state_dict()["blocks.0.attn.qkv.weight"]
             for name, s in ALL.items()}
    last = {name: studies.model(s).encoder.state_dict()["blocks.0.attn.qkv.weight"]
            for name, s in ALL.items()}
    others = {"own encoder", "sizes"}  # of another start, of another size
    assert all(torch.equal(w, first["MAE"]) for name, w in first.items() if name not in others)
    assert len({w.numpy().tobytes() for w in last.values()}) == len(ALL)


def test_an_encoder_alone_is_measured_like_any_other():
    images, setting = images_of(PLAIN, "test", 16), ENCODERS["C-MAE"]
    result = studies.OCCLUSION(setting, test_images=16, occlusion_ratios=(.25, .75),
                               occlusion_draws=1)
    found = {(r.protocol, r.metric): r.value for r in studies.records(result)}
    direct = occlusion_cka(studies.model(setting).encoder, images, (.25, .75), 1)
    assert found["occlusion, mean token, levelled", "cka"] == pytest.approx(direct.mean())
    assert {r.setting["method"] for r in studies.records(result)} == {"c-mae"}


# Images

def counts(images: ImageSet) -> np.ndarray:
    return np.bincount(images.labels, minlength=16)


def shown_to(setting, monkeypatch) -> ImageSet:
    """The images that a training gets."""
    class Seen(Exception):
        pass

    def look(network, images, *_, **__):
        raise Seen(images)

    monkeypatch.setattr(pretraining, "pretrain", look)
    with pytest.raises(Seen) as seen:
        pretraining._pretrain(setting, "show")
    return seen.value.args[0]


@pytest.mark.parametrize("chosen", ["random", "one class", "each class"])
def test_training_sees_the_few_images_that_are_chosen(chosen, monkeypatch):
    settings = [replace(PLAIN, train_images=n, chosen=chosen, seed=seed)
                for n, seed in ((3, 0), (2, 0), (3, 1))]
    many, fewer, others = (shown_to(s, monkeypatch) for s in settings)
    everything = {image.tobytes() for image in pool().images}
    for images, count in ((many, 3), (fewer, 2), (others, 3)):
        assert len(images) == count == len({i.tobytes() for i in images.images} & everything)
    assert np.array_equal(many.images[:2], fewer.images)
    assert not np.array_equal(many.images, others.images)
    assert (np.count_nonzero(counts(many)) == 1) == (chosen == "one class")
    assert len(many.classes) == 16  # of all, that a head for labels stays the same


def test_as_many_of_each_class_as_there_are():
    labels = counts(pool())
    found = counts(training_images(replace(PLAIN, train_images=16, chosen="each class")))
    assert labels.min() >= 1 and found.tolist() == [1] * 16
    found = counts(training_images(replace(PLAIN, train_images=30, chosen="each class")))
    assert found.max() - found[labels > found].min() <= 1 and found.sum() == 30


def test_without_a_choice_all_images_are_seen(monkeypatch):
    seen = shown_to(PLAIN, monkeypatch)
    assert np.array_equal(seen.images, images_of(PLAIN, "train", 64).images)


def test_crops_of_the_photograph_are_of_the_photograph(monkeypatch):
    """Its colours are not those of drawn pictures: hardly any two pixels of a crop are equal."""
    setting = AUTOENCODERS["photograph"]
    seen = shown_to(setting, monkeypatch)
    other = training_images(replace(setting, seed=3))
    assert seen.images.shape == (5, 3, 32, 32) and seen.classes == ("photograph",)
    assert not np.array_equal(seen.images, other.images)
    assert seen.fingerprint != other.fingerprint
    assert len({crop.tobytes() for crop in seen.images}) == 5
    colours = [len(np.unique(i.reshape(3, -1), axis=1).T) for i in (*seen.images, *pool().images)]
    assert min(colours[:5]) > 500


@pytest.mark.parametrize("name", ["MAE", "photograph", "one image", "supervised"])
def test_pixels_are_standardised_by_all_that_images_are_chosen_from(name):
    """To four decimals. One image says nothing about others, and methods get equal inputs."""
    setting = ALL[name]
    count = 64 if setting.chosen is None else POOL
    pixels = images_of(PLAIN, "train", count).images / 255
    encoder = studies.model(setting).encoder
    assert encoder.mean.numpy() == pytest.approx(pixels.mean((0, 2, 3)), abs=5.1e-5)
    assert encoder.std.numpy() == pytest.approx(pixels.std((0, 2, 3)), abs=5.1e-5)


def test_one_image_is_shown_again_and_again():
    setting = AUTOENCODERS["one image"]
    assert len(training_images(setting)) == 1
    assert len(studies.PRETRAINING(setting).value["losses"]) == 96 // 32


# What is refused

@pytest.mark.parametrize(("field", "word", "message"), [
    ("method", "dino", "method must be one of mae, mae jittered, .*, got 'dino'"),
    ("augment", "mask+blur", "augment must join mask, crop, fixed, cutmix, colour by a plus, or "
                             "be 'nothing', got 'blur'"),
    ("augment", "", "augment must join"),
    ("chosen", "best", "chosen must be one of random, one class, each class, photograph, "
                       "got 'best'")])
def test_words_that_nobody_knows_are_refused(field, word, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **{field: word})


@pytest.mark.parametrize(("changes", "message"), [
    ({"method": "r-mae", "augment": "mask+crop"}, "augment must be 'mask' for r-mae"),
    ({"method": "r-mae", "chosen": "random", "train_images": POOL + 1},
     f"count must lie in 1..{POOL}, as many images as there are, got {POOL + 1}"),
    ({"method": "supervised", "chosen": "photograph"}, "classes must be .*, got 1")])
def test_what_cannot_be_trained_is_refused_before_it_starts(changes, message):
    with pytest.raises(ValueError, match=message):
        studies.network(replace(PLAIN, **changes))


# Fine-tuning

LABELLED = {"probe_images": 160, "probe_test_images": 96}


@pytest.fixture
def calls(monkeypatch) -> list:
    """Fine-tuning is asked for, and not done."""
    seen = []

    def finetune(model, train, test, config, **_):
        seen.append((model, train, test, config))
        correct = np.arange(len(test)) % 4 == 0
        return FinetuneResult(float(correct.mean()), correct, np.zeros(0), np.zeros(2), None)

    monkeypatch.setattr(finetuning, "finetune", finetune)
    return seen


def few_labels(setting, share: float, calls) -> ImageSet:
    finetuning._with_few_labels(setting, "show", **LABELLED, label_share=share, few_label_epochs=7)
    return calls[-1][1]


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_few_labels_are_an_equal_share_of_every_class(share, calls):
    whole = images_of(PLAIN, "train", 160)
    found = few_labels(PLAIN, share, calls)
    assert counts(found).tolist() == [int(np.floor(share * n + 1e-9)) for n in counts(whole)]
    known = {i.tobytes(): label for i, label in zip(whole.images, whole.labels, strict=True)}
    assert all(known[i.tobytes()] == label
               for i, label in zip(found.images, found.labels, strict=True))


def test_methods_get_the_same_labels_and_seeds_others(calls):
    one, other, seed = (few_labels(s, .5, calls) for s in (
        PLAIN, ENCODERS["MoCo"], replace(PLAIN, views=0, seed=5)))
    assert np.array_equal(one.images, other.images) and not np.array_equal(one.images, seed.images)
    assert type(calls[1][0]) is Pretrained and len(calls[0][2]) == 96


def test_with_all_labels_all_images_are_used(calls):
    value = finetuning._finetune(ENCODERS["C-MAE"], "show", **LABELLED, finetune_epochs=3)
    _, train, test, config = calls[0]
    assert np.array_equal(train.images, images_of(PLAIN, "train", 160).images)
    assert config == replace(FinetuneConfig(), epochs=3, seed=2)
    record, = studies.study.from_value(value)
    assert (record.protocol, record.metric, record.n) == ("fine-tuned", "accuracy", 96)
    assert record.value == pytest.approx(0.25) and record.items.tolist() == [1, 0, 0, 0] * 24
    few_labels(PLAIN, .5, calls)
    assert calls[1][3] == replace(FinetuneConfig(), epochs=7, seed=2)


def test_photographs_are_tuned_by_the_recipe_for_them():
    large = replace(PLAIN, preset="vit_base_patch16", unit=16, dataset="imagenet", root="/nowhere")
    assert finetuning.config(large, 100) == replace(VIT_BASE, epochs=100, seed=2)


def test_a_share_that_leaves_a_class_without_images_is_refused(calls):
    with pytest.raises(ValueError, match="share must leave an image of every class, got 0.1, "
                                         "which leaves none of the"):
        few_labels(PLAIN, .1, calls)
    assert calls == []


def test_few_labels_are_learnt_from():
    """The whole way once: what is stored are the answers of the classifier that was trained."""
    setting, arguments = ENCODERS["supervised"], LABELLED | {"label_share": .5}
    result = studies.FEW_LABELS(setting, **arguments, few_label_epochs=2)
    direct = finetuning.tuned(setting, "show", 160, 96, 2, .5)
    record, = studies.records(result)
    assert record.protocol == "few labels" and record.items.tolist() == direct.correct.tolist()
    assert record.value == pytest.approx(direct.accuracy)
    assert np.array_equal(result.value["losses"], direct.losses)
    labelled = sum(n // 2 for n in counts(images_of(PLAIN, "train", 160)))
    assert len(direct.losses) == 2 * labelled // FinetuneConfig.batch


# Keys

STUDIES = {studies.PRETRAINING: {}, studies.LINEAR_PROBE: LABELLED,
           studies.FINETUNING: LABELLED | {"finetune_epochs": 1},
           studies.OCCLUSION: {"test_images": 8, "occlusion_ratios": (.5, .6),
                               "occlusion_draws": 1}}


@pytest.fixture
def another_source(monkeypatch):
    """Lets a module look as if its code had been changed."""
    def change(module: str) -> None:
        def closure(name: str) -> dict[str, str]:
            found = sources.import_closure(name)
            return found | {module: "another source"} if module in found else found
        monkeypatch.setattr(runs, "import_closure", closure)
    return change


@pytest.mark.parametrize("module", ["family", "contrastive", "siamese", "supervised", "varied",
                                    "views"])
def test_a_change_of_other_methods_makes_theirs_stale_and_leaves_mae(module, another_source):
    for setting in (PLAIN, ENCODERS["C-MAE"], AUTOENCODERS["crops"]):
        assert studies.PRETRAINING(setting, if_stale="recompute").stale == []
    another_source(f"mae_lib.models.{module}")
    found = {name: runs.find(studies.PRETRAINING.key(ALL[name])).stale
             for name in ("MAE", "C-MAE", "crops")}
    reason = [f"mae_lib.models.{module} has changed"]
    assert found == {"MAE": [], "C-MAE": reason, "crops": reason}


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.kind)
def test_what_a_study_of_a_method_rests_on(study):
    """Everything that a study of MAE rests on, and the family's code on top."""
    usual, other = (set(study.key(s, **STUDIES[study]).freshness())
                    for s in (PLAIN, ENCODERS["C-MAE"]))
    family = set(sources.import_closure("mae_lib.models.family"))
    assert other == usual | family and family - usual >= {
        f"mae_lib.models.{name}" for name in ("family", "contrastive", "siamese", "varied",
                                              "views", "supervised")}


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.kind)
def test_results_on_chosen_images_rest_on_the_code_that_chooses(study):
    for name in ("one image", "photograph"):
        key = study.key(AUTOENCODERS[name], **STUDIES[study])
        assert "mae_lib.data.subsets" in key.freshness(), name
    assert "mae_lib.data.subsets" not in study.key(PLAIN, **STUDIES[study]).freshness()


def test_every_word_of_a_setting_names_another_result():
    names = {studies.PRETRAINING.key(s).name for s in ALL.values()}
    assert len(names) == len(ALL)
    key = studies.PRETRAINING.key(PLAIN)
    assert not {"method", "augment", "chosen"} & set(key.settings)


def test_data_of_few_images_are_those_that_they_are_chosen_from():
    def data(**changes):
        return studies.PRETRAINING.key(replace(PLAIN, **changes)).data["train"]

    assert data(chosen="random") == data(chosen="each class", train_images=3) == pool().fingerprint
    assert data() == images_of(PLAIN, "train", 64).fingerprint != pool().fingerprint
    assert data(chosen="photograph", seed=0) != data(chosen="photograph", seed=1)


def test_the_published_networks_are_still_found_and_rest_on_nothing_new(monkeypatch):
    """What they rest on may be out of date for other reasons, which :mod:`test_plan` sees."""
    monkeypatch.setenv("MAE_LIB_PUBLISHED", str(runs.ROOT / "book" / "published"))
    tier = yaml.safe_load((runs.ROOT / "params" / "laptop.yaml").read_text())
    plan = studies.Plan.of(tier | {"lr": float(tier["lr"]), "seeds": [0]})
    new = {f"{name} has changed" for name in sources.import_closure("mae_lib.models.family")
           if name not in sources.import_closure("mae_lib.training.pretrain")}
    assert len(plan.core) == 14 and len(new) >= 6
    for setting in plan.core:
        found = runs.find(studies.PRETRAINING.key(setting), if_stale="show")
        assert found is not None and found.where == "published", setting
        assert not new & set(found.stale)
        assert not [reason for reason in found.stale if reason.startswith("data: ")]
