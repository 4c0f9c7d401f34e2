"""Studies at toy size: found the second time, the same numbers however many processes."""

import os
import signal

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from mae_lib import runs, store, studies
from mae_lib.studies import study
from mae_lib.training import pretrain as loop
from mae_lib.verify import verify

pytestmark = pytest.mark.usefixtures("shared_results")

COMMON = {"preset": "toy", "views": 320, "batch": 32, "lr": 1e-3, "train_images": 64}
PLAIN = studies.Setting("menagerie", **COMMON)


def test_the_grid_holds_both_series_once():
    found = studies.grid(["menagerie"], [0.5, 0.75], [8, 4], [0, 1], unit_ratio=0.75, **COMMON)
    pairs = [(s.ratio, s.unit, s.seed) for s in found]
    assert pairs == [(0.5, 4, 0), (0.5, 4, 1), (0.75, 4, 0), (0.75, 4, 1), (0.75, 8, 0),
                     (0.75, 8, 1)]


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="dataset must be one of menagerie, fashion_mnist, "):
        studies.Setting("mnist")


def test_controls_are_one_each():
    settings = [PLAIN, studies.Setting("menagerie", ratio=0.5), studies.Setting("fashion_mnist")]
    assert studies.one_each(settings) == [PLAIN, settings[2]]
    assert [s.views for s in studies.untrained(settings)] == [0, 0]


def test_a_model_is_the_published_rounding_of_what_was_trained():
    weights = studies.PRETRAINING(PLAIN).value["weights"]
    assert {w.dtype for w in weights.values()} == {torch.float16}
    state = studies.model(PLAIN).state_dict()
    name = "encoder.blocks.0.attn.qkv.weight"
    assert torch.equal(state[name], weights["blocks.0.attn.qkv.weight"].float())
    assert not torch.equal(state[name], studies.network(PLAIN).state_dict()[name])


def test_an_interrupted_pretraining_goes_on_where_it_was(tmp_path, monkeypatch):
    undisturbed, steps = studies.PRETRAINING(PLAIN).value, []
    monkeypatch.setenv("MAE_LIB_CACHE", str(tmp_path))

    def interrupt_at_4(self, loss, record=loop._Run.record):
        record(self, loss)
        steps.append(loss)
        if len(steps) == 4:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop._Run, "record", interrupt_at_4)
    with pytest.raises(KeyboardInterrupt):
        studies.PRETRAINING(PLAIN)
    assert runs.find(studies.PRETRAINING.key(PLAIN)) is None
    again = studies.PRETRAINING(PLAIN).value
    assert len(steps) == len(again["losses"]) == 10
    assert np.array_equal(again["losses"], undisturbed["losses"])
    assert all(torch.equal(w, undisturbed["weights"][n]) for n, w in again["weights"].items())


def test_records_survive_the_store():
    first = studies.FLOORS(PLAIN, test_images=16)
    found = studies.FLOORS(PLAIN, test_images=16)
    assert (first.where, found.where) == ("computed", "cache")
    for one, other in zip(*map(studies.records, (first, found)), strict=True):
        assert one.to_dict() == other.to_dict() and np.array_equal(one.items, other.items)
        assert one.value == pytest.approx(one.items.mean(dtype=float)) and one.n == 16


def test_one_and_two_processes_give_equal_numbers(tmp_path, monkeypatch):
    settings = [studies.untrained([PLAIN])[0], PLAIN]
    found = studies.sweep(studies.RECONSTRUCTION, settings, workers=2, test_images=16, shown=2)
    monkeypatch.setenv("MAE_LIB_CACHE", str(tmp_path))
    again = studies.sweep(studies.RECONSTRUCTION, settings, workers=1, test_images=16, shown=2)
    assert found.frame.value.tolist() == again.frame.value.tolist()
    assert np.array_equal(found.results[1].value["read_outs"], again.results[1].value["read_outs"])


def test_the_two_forms_of_the_linear_probe_read_the_same_items():
    counts = {"probe_images": 400, "probe_test_images": 300}
    clothes = studies.Setting("fashion_mnist", **COMMON | {"views": 0})
    both = [studies.records(study(clothes, **counts))
            for study in (studies.LARS_PROBE, studies.LINEAR_PROBE)]
    found = [{r.protocol: r for r in records if r.protocol.startswith(form)}
             for form, records in zip(("LARS probe", "linear probe"), both, strict=True)]
    assert [list(protocols) for protocols in found] == [
        ["LARS probe, cls", "LARS probe, mean"], ["linear probe, cls", "linear probe, mean"]]
    for lars, newton in zip(*(protocols.values() for protocols in found), strict=True):
        assert lars.n == newton.n == 300 and abs(lars.value - newton.value) < 0.1
        assert lars.value > 0.4  # far above chance, so that agreement means something


def test_a_second_sweep_computes_nothing():
    first = studies.sweep(studies.RECONSTRUCTION, [PLAIN], test_images=16, shown=2)
    stamp = first.results[0].provenance["created"]
    again = studies.sweep(studies.RECONSTRUCTION, [PLAIN], test_images=16, shown=2)
    assert again.results[0].where == "cache" and again.results[0].provenance["created"] == stamp
    assert again.stale == [] and {r.n for r in again.records} == {16}


def test_verify_passes_what_was_published_and_fails_what_was_altered(shared_results):
    studies.RECONSTRUCTION(PLAIN, test_images=16, shown=2)
    studies.FLOORS(PLAIN, test_images=16)
    runs.publish(["pretraining", "reconstruction", "floors"])
    lines: list[str] = []
    assert verify(report=lines.append), lines
    assert len(lines) == 4  # checksums, losses, read-out, floors

    path = runs.published_folder() / studies.PRETRAINING.key(PLAIN).name
    record, arrays, tensors = store.read(path)
    arrays["losses"][3] *= 1.01
    record.pop("sha256")
    store.write(path, record, arrays, tensors)
    assert not verify(report=lines.append)
    assert any(line.startswith("FAILED pretraining/") for line in lines)


def test_workers_use_one_thread_in_every_library(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    seen = []

    class Pool(study.ProcessPoolExecutor):
        def submit(self, *arguments):
            seen.append([os.environ[name] for name in study.THREADS])
            return super().submit(*arguments)

    monkeypatch.setattr(study, "ProcessPoolExecutor", Pool)
    studies.sweep(studies.FLOORS, [PLAIN], workers=2, test_images=17)
    assert seen == [["1", "1", "1"]]
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ


def test_a_single_worker_is_this_process_on_one_thread():
    def compute(setting, if_stale):
        pools = {pool["num_threads"] for pool in threadpool_info()}
        return {"process": os.getpid(), "threads": [torch.get_num_threads(), *sorted(pools)]}

    about = study.Study("threads", compute, ("mae_lib.store",), data=lambda *_: {})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found, = studies.sweep(about, [PLAIN]).results
        assert found.value == {"process": os.getpid(), "threads": [1, 1]}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
