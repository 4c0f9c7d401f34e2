import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from mae_lib.models.classifier import HEAD_STD, Classifier
from mae_lib.models.encoder import Encoder
from mae_lib.models.methods import mae


@pytest.fixture
def encoder() -> Encoder:
    return mae("toy", seed=0).encoder


@pytest.fixture
def images(generator):
    return torch.rand(3, 3, 32, 32, generator=generator)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_vit_base_has_the_published_number_of_parameters(pool):
    with torch.device("meta"):
        classifier = Classifier(Encoder(224, 16, 768, 12, 12), 1000, pool)
    assert sum(p.numel() for p in classifier.parameters() if p.requires_grad) == 86_567_656


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_it_agrees_with_the_transformer_of_timm(encoder, images, pool, generator):
    ours = Classifier(encoder, 5, pool).eval()
    with torch.no_grad():
        ours.head.weight.normal_(generator=generator)
    theirs = VisionTransformer(32, 4, num_classes=5, embed_dim=32, depth=2, num_heads=4,
                               global_pool={"mean": "avg", "cls": "token"}[pool]).eval()
    weights = {n.removeprefix("encoder."): w for n, w in ours.state_dict().items()}
    theirs.load_state_dict(weights)
    theirs_fc = theirs.fc_norm if pool == "mean" else theirs.norm
    assert theirs_fc.eps == 1e-6
    mean, std = encoder.mean[:, None, None], encoder.std[:, None, None]
    torch.testing.assert_close(ours(images), theirs((images - mean) / std), rtol=1e-4, atol=1e-5)


def test_the_encoder_it_came_from_stays_as_it_is(encoder, images):
    before = {n: p.clone() for n, p in encoder.state_dict().items()}
    classifier = Classifier(encoder, 5)
    assert classifier.encoder.pos_embed.requires_grad and not encoder.pos_embed.requires_grad
    torch.nn.functional.cross_entropy(classifier(images), torch.tensor([0, 1, 2])).backward()
    with torch.no_grad():
        for p in classifier.parameters():
            p.sub_(p.grad)
    assert all(torch.equal(p, before[n]) for n, p in encoder.state_dict().items())
    assert encoder.pos_embed.grad is None and encoder.norm.weight.shape == (32,)


def test_every_parameter_learns(encoder, images):
    for pool in ("mean", "cls"):
        classifier = Classifier(encoder, 5, pool)
        torch.nn.functional.cross_entropy(classifier(images), torch.tensor([0, 1, 2])).backward()
        assert all(p.grad is not None for p in classifier.parameters())


def test_the_head_starts_near_zero_and_by_its_seed(encoder):
    first, again, other = (Classifier(encoder, 1000, seed=s).head.weight for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.std().item() == pytest.approx(0.88 * HEAD_STD, rel=0.02)  # cut at two deviations
    assert first.abs().max() <= 2 * HEAD_STD


def test_dropped_paths_keep_the_mean_and_vanish_in_eval_mode(encoder, images):
    plain, dropping = Classifier(encoder, 5, seed=0), Classifier(encoder, 5, drop_path=0.5, seed=0)
    assert [b.rate for b in dropping.encoder.blocks] == [0, 0.5]
    assert list(plain.state_dict()) == list(dropping.state_dict())
    torch.testing.assert_close(dropping.eval()(images), plain.eval()(images), rtol=1e-6, atol=0)
    block = dropping.encoder.blocks[1].train()
    torch.manual_seed(0)
    kept = block._sometimes(torch.ones(4000, 1, 1)).flatten()
    assert set(kept.tolist()) == {0.0, 2.0} and kept.mean().item() == pytest.approx(1, abs=0.06)


def test_impossible_requests_are_refused(encoder):
    with pytest.raises(ValueError, match="pool must be one of mean, cls, got 'max'"):
        Classifier(encoder, 5, "max")
    with pytest.raises(ValueError, match="pool must be 'mean' for an encoder without a class"):
        Classifier(Encoder(32, 4, 32, 1, 2, class_token=False), 5, "cls")
    with pytest.raises(ValueError, match=r"drop_path must lie in \[0, 1\), got 1"):
        Classifier(encoder, 5, drop_path=1.0)
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        Classifier(encoder, 1)
