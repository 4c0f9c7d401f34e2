"""What was published is computed again, and what does not agree is named."""

import os
import shutil
from pathlib import Path

import pytest

from mae_lib import runs, store, studies
from mae_lib.identification import IDENTIFIABILITY, Trial
from mae_lib.verify import STUDIES, TOLERANCES, first_losses, verify

PLAIN = studies.Setting("menagerie", preset="toy", views=320, lr=1e-3, train_images=200)
UNTRAINED = studies.untrained([PLAIN])[0]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One published result of each kind, in a folder that no test changes."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAE_LIB_CACHE", str(folder / "cache"))
        patch.setenv("MAE_LIB_PUBLISHED", str(folder / "published"))
        studies.RECONSTRUCTION(PLAIN, test_images=16, shown=2)
        studies.FLOORS(PLAIN, test_images=16)
        studies.LINEAR_PROBE(UNTRAINED, probe_images=200, probe_test_images=200)
        studies.PIXEL_PROBE(PLAIN, probe_images=200, probe_test_images=200)
        studies.LOSSES(PLAIN)
        IDENTIFIABILITY(Trial("squared error", 0, 2))
        runs.publish()
    return folder / "published"


@pytest.fixture
def folder(results, tmp_path, monkeypatch):
    """A copy that may be changed, and the empty cache of a reader."""
    shutil.copytree(results, tmp_path / "published")
    monkeypatch.setenv("MAE_LIB_PUBLISHED", str(tmp_path / "published"))
    monkeypatch.setenv("MAE_LIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "published"


def verified(**arguments) -> tuple[bool, list[str]]:
    lines: list[str] = []
    return verify(report=lines.append, **arguments), lines


def failures(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith("ok ")]


def only(folder: Path, kind: str) -> Path:
    """The one result of a kind, without suffix."""
    return next((folder / kind).glob("*.json")).with_suffix("")


def alter(path: Path, change) -> None:
    """Change a result as somebody would who also corrects its checksums."""
    record, arrays, tensors = store.read(path)
    del record["sha256"]
    change(record, arrays)
    store.write(path, record, arrays, tensors)


def test_a_sample_of_what_was_published_agrees(folder):
    good, lines = verified()
    assert good and failures(lines) == [], lines
    kinds = ("floors", "identifiability", "pretraining", "reconstruction")
    assert [line.split()[1] for line in lines] == [
        "checksums", *(f"{kind}/{only(folder, kind).name}:" for kind in kinds)]
    assert "every score, squared error, seed 0" in lines[2]
    assert "first 10 losses of menagerie, ratio 0.75, unit 4, seed 0" in lines[3]
    assert "(tolerance 0.001)" in lines[3] and "unmasked read-out of 16 images" in lines[4]


def test_in_full_every_result_is_computed_again(folder):
    good, lines = verified(full=True)
    kinds = {path.parent.name for path in folder.glob("*/*.json")}
    assert good and len(lines) == 1 + len(list(folder.glob("*/*.json"))), lines
    assert {line.split()[1].split("/")[0] for line in lines[1:]} == kinds and len(kinds) == 7


def test_every_kind_of_result_has_a_tolerance():
    assert set(TOLERANCES) == set(STUDIES)


def test_the_first_losses_are_those_of_the_whole_run(folder):
    kept = runs.find(studies.PRETRAINING.key(PLAIN)).value["losses"]
    assert first_losses(PLAIN, 4).tolist() == kept[:4].tolist() and len(kept) == 10


@pytest.mark.parametrize(("kind", "change"), [
    ("pretraining", lambda record, arrays: arrays["losses"].__setitem__(3, 9.9)),
    ("reconstruction", lambda record, arrays: arrays["items/0"].__setitem__(5, 0.1)),
    ("floors", lambda record, arrays: record["value"]["records"][2].update(value=12.5)),
    ("floors", lambda record, arrays: record["value"]["records"].pop())])
def test_a_number_that_was_altered_is_found_though_the_checksums_are_right(folder, kind, change):
    alter(only(folder, kind), change)
    good, lines = verified()
    assert not good and len(failures(lines)) == 1
    assert failures(lines)[0].startswith(f"FAILED {kind}/{only(folder, kind).name}: ")


def cut_short(path: Path) -> None:
    file = path.with_suffix(".npz")
    file.write_bytes(file.read_bytes()[:-9])


def rename(path: Path) -> None:
    for file in store.files(path):
        file.rename(file.with_stem("0123456789abcdef"))


@pytest.mark.parametrize(("harm", "words"), [
    (cut_short, "is damaged"),
    (lambda path: path.with_suffix(".npz").unlink(), "is missing"),
    (lambda path: path.with_suffix(".json").unlink(), "its record is missing"),
    (rename, "no study looks for it"),
    (lambda path: alter(path, lambda record, _: record.update(kind="other")),
     "no study is called other")])
def test_a_result_that_is_not_whole_is_named(folder, harm, words):
    harm(only(folder, "floors"))
    good, lines = verified()
    assert not good and failures(lines)[0].startswith("FAILED floors/") and words in lines[0]
    assert lines[1].startswith("FAILED checksums of 6 ")
    assert len(lines) == 5  # the rest is compared all the same


def test_an_empty_folder_is_no_success(folder):
    shutil.rmtree(folder)
    assert verified() == (False, [f"FAILED no published results in {folder}"])


def test_a_result_whose_code_has_changed_is_called_stale(folder):
    alter(only(folder, "floors"),
          lambda record, _: record["freshness"].update({"mae_lib.evaluation.metrics": "0"}))
    good, lines = verified()
    assert not good and failures(lines) == [
        f"stale  floors/{only(folder, 'floors').name}: mae_lib.evaluation.metrics has changed"]


def test_evaluations_without_their_weights_are_counted_and_not_trained_for(folder, monkeypatch):
    def never(*_, **__):
        raise AssertionError("trained")

    for kind in ("pretraining", "linear_probe", "pixel_probe"):
        shutil.rmtree(folder / kind)
    monkeypatch.setattr("mae_lib.studies.pretraining.pretrain", never)
    good, lines = verified()
    assert good and len(lines) == 3 and not any("reconstruction" in line for line in lines)
    good, lines = verified(full=True)
    assert good and len(lines) == 4 and lines[-1].startswith("passed over: 2 evaluations")


def test_a_comparison_of_networks_needs_the_weights_of_all():
    series = {"ratios": (0.5, 0.75), "units": (4, 8), "unit_ratio": 0.75}
    wanted = studies.CROSS_CKA.networks(PLAIN, test_images=16, **series)
    assert {(s.ratio, s.unit) for s in wanted} == {(0.5, 4), (0.75, 4), (0.75, 8)}
    assert studies.LINEAR_PROBE.networks(PLAIN, probe_images=1, probe_test_images=1) == [PLAIN]
    assert studies.LINEAR_PROBE.networks(UNTRAINED, probe_images=1, probe_test_images=1) == []
    assert studies.FLOORS.networks(PLAIN, test_images=1) == []


def test_data_that_cannot_be_had_fail_their_own_results_only(folder, monkeypatch):
    def nothing(*_, **__):
        raise RuntimeError("no images today")

    monkeypatch.setattr("mae_lib.studies.sets.menagerie", nothing)
    studies.images.cache_clear()
    good, lines = verified()
    assert not good and len(lines) == 5 and lines[0].startswith("ok ")
    assert [line.split()[0] for line in lines if "identifiability" in line] == ["ok"]
    assert sum("could not be computed again (no images today)" in line for line in lines) == 3


def test_the_readers_cache_is_neither_believed_nor_touched(folder, tmp_path, monkeypatch):
    for kind in ("linear_probe", "pixel_probe"):  # slow, and covered above
        shutil.rmtree(folder / kind)
    shutil.copytree(folder, tmp_path / "cache")
    run = studies.PRETRAINING.key(PLAIN).name
    checkpoint = tmp_path / "cache/checkpoints" / run / "step-1.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("{}")
    files = {f: f.read_bytes() for f in (tmp_path / "cache").rglob("*.*")}
    alter(only(folder, "floors"), lambda record, _: record["value"]["records"][2].update(value=1))
    monkeypatch.setenv("MAE_LIB_FRESH_SINCE", "9999999999")
    before = dict(os.environ)
    assert not verified(full=True)[0]
    assert dict(os.environ) == before
    assert {f: f.read_bytes() for f in (tmp_path / "cache").rglob("*.*")} == files
