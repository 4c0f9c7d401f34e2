"""Shards: written once, read front to back, in the same order for any number of processes."""

import io
import itertools
import json
import tarfile

import layouts
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mae_lib.data.files.corrupt import CorruptImage, TooManyBadImages
from mae_lib.data.files.transforms import RandomView
from mae_lib.data.official.folders import WrongLayout, folder
from mae_lib.data.protocols import view_seeds
from mae_lib.data.shards import streams
from mae_lib.data.shards.streams import buffered_order, shard_set
from mae_lib.data.shards.writing import BadShard, index_shards, read_index, write_shards

VIEW = RandomView(8)
CLASSES = ("ant", "bee", "cat")
COUNT = 30


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Thirty pictures of one red each, so that a view tells which it is, and noise beside it."""
    root = tmp_path_factory.mktemp("pictures") / "zoo"
    for k in range(COUNT):
        path = root / CLASSES[k % 3] / f"{k:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = np.random.default_rng(k).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        colour[..., 0] = 8 * k
        path.write_bytes(layouts.encoded(streams.Image.fromarray(colour), "PNG"))
    return folder(root, size=8)


@pytest.fixture
def shards(images, tmp_path):
    return write_shards(images, tmp_path / "shards", per_shard=4)  # eight, the last of two


def numbers(pixels) -> list[int]:
    """Which pictures are shown."""
    return (pixels[:, 0, 0, 0] * 255 / 8).round().int().tolist()


def steps_of(shards, count, batch=8, seed=0, **options):
    named = {k: options.pop(k) for k in ("lanes", "buffer", "max_corrupt") if k in options}
    named = {"lanes": 4, "buffer": 3} | named
    parts = shard_set(shards, VIEW, **named).parts(batch, seed, **options)
    return list(itertools.islice(parts, count))


def test_shards_hold_the_files_byte_by_byte(images, shards):
    name, classes, listed = read_index(shards)
    assert (name, classes) == ("zoo", CLASSES) and [s.count for s in listed] == [4] * 7 + [2]
    found = {}
    for shard in listed:
        with tarfile.open(shards / shard.file) as tar:
            members = {m.name: tar.extractfile(m).read() for m in tar}
        keys = {name.partition(".")[0] for name in members}
        found |= {members[f"{k}.png"]: int(members[f"{k}.cls"]) for k in keys}
    assert found == {images.path(i).read_bytes(): images.labels[i] for i in range(COUNT)}


def test_shards_are_the_same_again_and_mix_the_classes(images, shards, tmp_path):
    again = write_shards(images, tmp_path / "again", per_shard=4)
    other = write_shards(images, tmp_path / "other", per_shard=4, seed=1)
    assert all(file.read_bytes() == (again / file.name).read_bytes() for file in shards.iterdir())
    first = [(place / "000000.tar").read_bytes() for place in (shards, other)]
    assert first[0] != first[1]
    with pytest.raises(ValueError, match="folder must hold no shards yet, got"):
        write_shards(images, shards)
    with pytest.raises(ValueError, match="per_shard must be at least 1, got 0"):
        write_shards(images, tmp_path / "none", per_shard=0)


def test_a_part_is_the_random_view_of_its_samples_with_their_labels(images, shards):
    found = shard_set(shards, VIEW, lanes=4, buffer=3)
    assert len(found) == COUNT and found.size == (8, 8)
    lanes = [list(itertools.islice(found.samples(lane, 7), 2, 4)) for lane in range(4)]
    samples = [sample for lane in lanes for sample in lane]
    seeds = view_seeds(7, 1, 8)
    expected = [np.asarray(VIEW(streams.decode(s.data), int(seed)))
                for s, seed in zip(samples, seeds, strict=True)]
    pixels, labels = steps_of(shards, 2, seed=7)[1]
    assert np.allclose(pixels.numpy(), np.stack(expected).transpose(0, 3, 1, 2) / 255, atol=1e-7)
    assert pixels.dtype == torch.float32 and labels.dtype == torch.int64
    assert labels.tolist() == [s.label for s in samples]
    assert [k % 3 for k in numbers(pixels)] == labels.tolist()


def test_a_pass_shows_every_sample_once_and_the_next_in_another_order(images, tmp_path):
    whole = write_shards(images.subset(slice(24)), tmp_path / "s", per_shard=3)  # eight equal ones
    shown = [n for pixels, _ in steps_of(whole, 6) for n in numbers(pixels)]
    passes = shown[:24], shown[24:]
    expected = numbers(images.subset(slice(24)).batch(slice(None)))
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(expected)
    assert passes[0] != passes[1]
    other = [n for pixels, _ in steps_of(whole, 3, seed=1) for n in numbers(pixels)]
    assert sorted(other) == sorted(expected) and other != passes[0]


def test_unequal_lanes_go_on_without_end_and_lose_nothing(shards):
    found = shard_set(shards, VIEW, lanes=3, buffer=4)
    assert len({s.name for lane in range(3) for s in first_pass(found, lane)}) == COUNT
    for lane in range(3):
        counts, total = [], 0
        for epoch in range(3):
            deal = np.random.default_rng([5, epoch]).permutation(8)[lane::3]
            counts.append(sum(found.shards[k].count for k in deal))
        samples = list(itertools.islice(found.samples(lane, 5), sum(counts)))
        for count in counts:
            names = {s.name for s in samples[total:total + count]}
            assert len(names) == count  # no sample twice within a pass
            total += count


def first_pass(found, lane, seed=5):
    deal = np.random.default_rng([seed, 0]).permutation(len(found.shards))[lane::found.lanes]
    return itertools.islice(found.samples(lane, seed), sum(found.shards[k].count for k in deal))


@pytest.mark.parametrize("start", [1, 3, 4, 9])
def test_a_stream_goes_on_in_the_middle_as_if_it_had_never_stopped(shards, start):
    whole = steps_of(shards, 12)
    rest = steps_of(shards, 12 - start, start=start)
    for (a, b), (c, d) in zip(whole[start:], rest, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_going_on_decodes_nothing_that_was_seen_and_skips_shards_that_are_done(shards, monkeypatch):
    decoded, opened = [], []
    decode, read = streams.decode, streams.read_shard
    monkeypatch.setattr(streams, "decode", lambda d, n: decoded.append(n) or decode(d, n))
    monkeypatch.setattr(streams, "read_shard",
                        lambda file, *rest: opened.append(file.name) or read(file, *rest))
    steps_of(shards, 1, batch=4, lanes=1, start=6)
    assert len(decoded) == 4 and len(set(opened)) == len(opened) <= 2


@pytest.mark.parametrize("world", [2, 4])
def test_one_process_and_several_see_the_same_batches(shards, world):
    whole = steps_of(shards, 5)
    ranks = [steps_of(shards, 5, rank=r, world=world) for r in range(world)]
    for step in range(5):
        assert torch.equal(torch.cat([rank[step][0] for rank in ranks]), whole[step][0])
        assert torch.equal(torch.cat([rank[step][1] for rank in ranks]), whole[step][1])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers, options", [(1, {}), (3, {}), (9, {"rank": 1, "world": 2})])
def test_workers_change_nothing(shards, workers, options):
    here = steps_of(shards, 3, start=2, **options)
    there = steps_of(shards, 3, start=2, workers=workers, **options)
    for (a, b), (c, d) in zip(here, there, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32))
def test_a_buffer_lets_out_each_place_once_and_holds_no_more_than_it_can(count, buffer, seed):
    order = buffered_order(count, buffer, np.random.default_rng(seed))
    assert sorted(order) == list(range(count))
    for step, place in enumerate(order):  # place was read by then, and read at most buffer ahead
        assert place < step + min(buffer, count)


def test_a_buffer_of_everything_is_a_shuffle_and_one_of_one_is_none():
    order = buffered_order(500, 500, np.random.default_rng(0))
    assert abs(np.corrcoef(order, np.arange(500))[0, 1]) < 0.15
    assert buffered_order(9, 1, np.random.default_rng(0)).tolist() == list(range(9))
    near = buffered_order(500, 50, np.random.default_rng(0))
    assert len(np.unique(near - np.arange(500))) > 40


def rewrite(file, change):
    """A shard with members changed: name and bytes to name and bytes, or None to leave it out."""
    with tarfile.open(file) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]
    with tarfile.open(file, "w") as tar:
        for name, data in filter(None, (change(*member) for member in members)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def reindex(shards):
    (shards / "shards.json").unlink()
    return index_shards(shards, "zoo", CLASSES)


def test_shards_that_came_without_an_index_are_counted(images, shards):
    before = shard_set(shards, VIEW).fingerprint, read_index(shards)
    reindex(shards)
    assert (shard_set(shards, VIEW).fingerprint, read_index(shards)) == before


def test_other_members_and_folders_of_webdataset_do_not_matter(shards):
    expected = steps_of(shards, 4)
    for file in shards.glob("*.tar"):
        rewrite(file, lambda name, data: (f"train/a.b/{name}", data))
    plain = steps_of(reindex(shards), 4)
    for file in shards.glob("*.tar"):
        with tarfile.open(file, "a") as tar:
            info = tarfile.TarInfo("train/zzz.json")
            tar.addfile(info)
    for (a, b), (c, d) in zip(expected, plain, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)
    with pytest.raises(BadShard, match=r"zzz should have a picture \(.jpg.*\), but has .json"):
        steps_of(reindex(shards), 9)


def spoil(shards, chosen: str, data: bytes = b""):
    for file in shards.glob("*.tar"):
        rewrite(file, lambda name, old: (name, data if name.startswith(chosen)
                                         and name.endswith("png") else old))
    return reindex(shards)


def test_an_unreadable_sample_is_reported_and_the_next_of_its_lane_is_shown(shards):
    spoiled = 11
    whole = steps_of(shards, 8, lanes=1, batch=4)
    shown = [n for pixels, _ in whole for n in numbers(pixels)]
    found = shard_set(shards, VIEW, lanes=1, buffer=3)
    names = [s.name for s in itertools.islice(found.samples(0, 0), 32)]
    place = next(i for i, name in enumerate(names) if name.endswith(f"{spoiled:09}"))
    spoil(shards, f"{spoiled:09}", b"no picture")
    with pytest.warns(CorruptImage, match=f"{spoiled:09} holds no picture that Pillow knows; the "
                                          r"next sample takes its place \(1 of at most 1\)"):
        again = steps_of(shards, 8, lanes=1, batch=4)
    pixels = torch.cat([p for p, _ in again])
    labels = torch.cat([y for _, y in again])
    expected = shown[:place] + [shown[place + 1]] + shown[place + 1:]
    assert numbers(pixels) == expected and len(pixels) == 32
    assert labels.tolist() == [k % 3 for k in expected]
    step = place // 4
    with pytest.warns(CorruptImage):  # and the same when the stream begins there
        assert torch.equal(steps_of(shards, 1, lanes=1, batch=4, start=step)[0][0], again[step][0])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_unreadable_samples_end_the_stream(shards, workers):
    spoil(shards, "00000001")  # ten of them, empty
    with pytest.raises(TooManyBadImages, match=r"1 of 30 pictures of zoo cannot be read, more than "
                                               r"max_corrupt=0 allows; the first: .* is empty"):
        steps_of(shards, 9, max_corrupt=0, workers=workers)


def test_missing_shards_and_shards_of_another_length_are_named(shards):
    (shards / "000003.tar").unlink(), (shards / "000005.tar").unlink()
    with pytest.raises(BadShard, match="hold 8 shards, but 2 are missing: 000003.tar, 000005.tar"):
        shard_set(shards, VIEW)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_cut_shard_is_named_at_once(shards, keep):
    file = shards / "000002.tar"
    contents = file.read_bytes()
    file.write_bytes(contents[:int(keep * len(contents))])
    with pytest.raises(BadShard, match=r"000002.tar should have 10,240 bytes as shards.json says, "
                                       r"but has [\d,]+: was it copied as a whole"):
        shard_set(shards, VIEW)


@pytest.mark.parametrize("keep, message", [
    (3000, "000002.tar is cut short or damaged at 0000000[01].*png|000002.tar should hold 4"),
    (100, "000002.tar (is cut short or damaged|should hold 4)")])
def test_a_shard_that_is_cut_after_the_check_ends_the_stream(shards, keep, message):
    found = shard_set(shards, VIEW, lanes=1)
    file = shards / "000002.tar"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BadShard, match=message):
        list(itertools.islice(found.parts(1, 0), COUNT))


def test_a_tar_file_that_is_none_is_named(shards):
    file = shards / "000001.tar"
    file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(BadShard, match="000001.tar is cut short or damaged at its first member"):
        steps_of(shards, 8)
    found = shard_set(shards, VIEW, lanes=1)
    file.unlink()
    with pytest.raises(BadShard, match="000001.tar is missing"):
        list(itertools.islice(found.parts(1, 0), COUNT))


@pytest.mark.parametrize("count, said", [(3, "should hold 3 samples .* but holds more than that"),
                                         (5, "should hold 5 samples .* but holds 4")])
def test_an_index_that_counts_wrong_is_noticed(shards, count, said):
    index = json.loads((shards / "shards.json").read_text())
    index["shards"][0]["count"] = count
    (shards / "shards.json").write_text(json.dumps(index))
    with pytest.raises(BadShard, match=f"000000.tar {said}"):
        steps_of(shards, 9, lanes=1, batch=4)


@pytest.mark.parametrize("label, said", [
    (b"7", "should have a class in 0..2, but has 7"),
    (b"cat", "should have a number as its class, but has 'cat'")])
def test_labels_that_cannot_be_are_refused(shards, label, said):
    for file in shards.glob("*.tar"):
        rewrite(file, lambda name, old: (name, label if name.endswith("cls") else old))
    with pytest.raises(BadShard, match=said):
        steps_of(reindex(shards), 1)


def test_samples_without_a_class_are_of_the_first(shards):
    for file in shards.glob("*.tar"):
        rewrite(file, lambda name, old: None if name.endswith("cls") else (name, old))
    assert steps_of(reindex(shards), 1)[0][1].tolist() == [0] * 8


def test_folders_without_shards_or_index_say_so(tmp_path, shards):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongLayout, match="should hold shards.json .* but holds nothing"):
        shard_set(tmp_path / "empty", VIEW)
    with pytest.raises(WrongLayout, match="should hold tar files, but holds nothing"):
        index_shards(tmp_path / "empty", "x", CLASSES)
    (shards / "shards.json").write_text('{"shards": [')
    with pytest.raises(WrongLayout, match="should list name, classes and shards, but is damaged"):
        shard_set(shards, VIEW)


@pytest.mark.parametrize("options, message", [
    ({"batch": 6}, "batch must be a multiple of the 4 lanes, got 6"),
    ({"world": 3}, "world must divide the 4 lanes, got 3"),
    ({"rank": 2, "world": 2}, "rank must lie in 0..1, got 2"),
    ({"lanes": 9, "batch": 9}, "lanes must lie in 1..8, the number of shards, got 9"),
    ({"buffer": 0}, "buffer must be at least 1 sample, got 0")])
def test_numbers_that_do_not_fit_are_refused(shards, options, message):
    with pytest.raises(ValueError, match=message):
        steps_of(shards, 1, **options)


def test_fingerprints_tell_shards_orders_and_views(images, shards, tmp_path):
    other = write_shards(images, tmp_path / "other", per_shard=5)
    sets = [shard_set(shards, VIEW), shard_set(other, VIEW, lanes=6), shard_set(shards, VIEW,
            lanes=4), shard_set(shards, VIEW, buffer=9), shard_set(shards, RandomView(9))]
    assert len({s.fingerprint for s in sets}) == 5
