"""Jobs of two processes on gloo against one process. What both do is in job.py and life.py."""

import json
import re
import shutil
from pathlib import Path

import job
import numpy as np
import pytest
from tiny import tiny_images, torchrun

from mae_lib import store
from mae_lib.training.distributed import PeerLost, World, joined, shared, watching_peers, world

HERE = Path(__file__).parent
# Sums over 8 images in another order: float32 rounds at 6e-8, and 30 steps carry that on. Measured
# at most 2e-7 of the loss; bfloat16 rounds at 4e-3 and was off by 1e-4.
FLOAT32, HALF = 1e-5, 2e-3


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process computes, and where its interrupted runs lie."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "nothing").mkdir()
    with pytest.MonkeyPatch.context() as patch:  # puts back what the script changes for itself
        for name in ("MAE_LIB_CACHE", "MAE_LIB_PUBLISHED"):
            patch.setenv(name, "")
        patch.setattr(store, "write", store.write)
        job.main(folder, folder / "nothing")
    return folder, np.load(folder / "rank0.npz")


@pytest.fixture(scope="module")
def together(tmp_path_factory, alone):
    """The same by both processes of a job, which resumes the runs that one process left."""
    folder = tmp_path_factory.mktemp("together")
    old = shutil.copytree(alone[0], folder / "old")
    done = torchrun(HERE / "job.py", str(folder), str(old))
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, *(np.load(folder / f"rank{rank}.npz") for rank in (0, 1))


@pytest.mark.parametrize("name", job.SETTINGS)
def test_two_processes_have_the_losses_of_one(alone, together, name):
    tolerance = HALF if "16" in name else FLOAT32
    for found in together[1:]:
        assert found[name] == pytest.approx(alone[1][name], rel=tolerance)


@pytest.mark.parametrize("name", job.SETTINGS)
def test_all_processes_end_with_the_same_weights(together, name):
    assert np.array_equal(together[1][f"{name}, weights"], together[2][f"{name}, weights"])


def test_passes_over_parts_of_a_batch_add_up_to_it(alone):
    assert alone[1]["passes"] == pytest.approx(alone[1]["plain"], rel=FLOAT32)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_is_near_single_and_not_it(alone, name):
    assert alone[1][name] == pytest.approx(alone[1]["plain"], rel=HALF)
    assert not np.array_equal(alone[1][name], alone[1]["plain"])


def test_random_views_do_not_depend_on_processes_and_workers(alone, together):
    inline = job.train(images=job.Views(tiny_images()))[0]
    assert np.array_equal(alone[1]["views"], inline)
    assert together[1]["views"] == pytest.approx(inline, rel=FLOAT32)
    assert inline != pytest.approx(alone[1]["plain"], rel=1e-3)  # views do show


@pytest.mark.parametrize("name", ["plain", "sharded", "float16"])
def test_a_signal_to_one_process_stops_all_after_the_same_step_and_saves(together, name):
    assert sorted(p.name for p in (together[0] / name).glob("step-*.json"))[:1] == [
        "step-000000014.json"]


@pytest.mark.parametrize("name", ["plain", "sharded"])
def test_two_processes_go_on_from_the_checkpoint_of_one(alone, together, name):
    assert together[1][f"resumed {name}"] == pytest.approx(alone[1]["plain"], rel=FLOAT32)


@pytest.mark.parametrize("name", ["plain", "sharded"])
def test_one_process_goes_on_from_the_checkpoint_of_two(alone, together, name):
    losses = job.train(9, checkpoint=together[0] / name)[0]
    assert losses == pytest.approx(alone[1]["plain"], rel=FLOAT32)


def test_float16_goes_on_with_the_scale_it_had(alone, together):
    for found in (alone[1], together[1]):
        assert np.array_equal(found["resumed float16"], found["float16"])
    kept = [json.loads(file.read_text()) for file in (together[0] / "float16").glob("*.json")]
    assert {(c["step"], c["scaler"]["_growth_tracker"]) for c in kept} == {(14, 14), (30, 30)}


def test_a_loss_that_is_no_number_in_one_process_stops_all(alone, together):
    for found in (alone[1], *together[1:]):
        assert "nan at step 17" in str(found["bad"])


@pytest.mark.parametrize("count", [300, 3])
@pytest.mark.parametrize("what", ["bank", "scores", "values"])
def test_evaluation_by_two_is_complete_and_in_order_to_the_last_bit(alone, together, what, count):
    for found in together[1:]:
        assert np.array_equal(found[f"{what} {count}"], alone[1][f"{what} {count}"])


@pytest.mark.parametrize("name", ["mixed", "as is"])
def test_fine_tuning_by_two_has_the_losses_and_logits_of_one(alone, together, name):
    for found in together[1:]:
        assert found[f"finetuned {name}"] == pytest.approx(alone[1][f"finetuned {name}"],
                                                           rel=FLOAT32)
        assert found[f"logits {name}"] == pytest.approx(alone[1][f"logits {name}"], abs=1e-3)


def test_a_detector_learns_in_both_processes_alike(alone, together):
    first, second = together[1:]
    assert np.array_equal(first["detector"], second["detector"])
    assert np.array_equal(first["detector, weights"], second["detector, weights"])
    assert first["detector"] == pytest.approx(alone[1]["detector"], rel=0.3)  # regions are sampled


def test_a_result_is_computed_by_all_written_by_the_first_and_found_by_all(together):
    first, second = together[1:]
    assert list(first["calls"]) == ["computed", "written"] and list(second["calls"]) == ["computed"]
    assert list(first["where"]) == list(second["where"]) == ["computed", "cache", "0"]
    assert str(first["hardware"]).endswith(", 2 processes")


def test_processes_that_want_different_results_are_told(alone, together):
    for found in together[1:]:
        assert re.match("processes of one job must want the same results .*, got kind/.* and kind/",
                        str(found["error"]))
    assert str(alone[1]["error"]) == "none"


def test_the_world_is_the_job(alone, together):
    assert [list(found["world"]) for found in (alone[1], *together[1:])] == [
        ["0", "1", "cpu"], ["0", "2", "cpu"], ["1", "2", "cpu"]]
    assert list(alone[1]["any"]) == [False, False, True]
    assert all(list(found["any"]) == [True, False, True] for found in together[1:])


def test_a_killed_process_ends_the_job_with_a_reason_and_a_checkpoint_for_any_world_size(
        tmp_path, alone):
    done = torchrun(HERE / "life.py", str(tmp_path))
    assert done.returncode != 0
    assert re.search("Signal 9 .SIGKILL. received by PID", done.stderr)
    assert ("another process of this job has ended; the last good checkpoint is step 15 in "
            f"{tmp_path}") in done.stderr
    losses = job.train(9, checkpoint=tmp_path)[0]
    assert losses == pytest.approx(alone[1]["plain"], rel=FLOAT32)


def test_torchrun_restarts_a_job_that_goes_on_by_itself(tmp_path, alone):
    done = torchrun(HERE / "life.py", str(tmp_path), restarts=1)
    assert done.returncode == 0, done.stderr[-3000:]
    assert np.load(tmp_path / "losses.npy") == pytest.approx(alone[1]["plain"], rel=FLOAT32)


def test_parts_of_a_batch_are_its_rows_in_order():
    parts = [World(rank, 4).split(64, micro=8) for rank in range(4)]
    assert np.concatenate([np.arange(64)[rows] for rows, _ in parts]).tolist() == list(range(64))
    assert {passes for _, passes in parts} == {2}
    assert World().split(8) == (slice(0, 8), 1) == World().split(8, micro=100)
    assert World().split(64, micro=8, devices=2)[1] == 4


@pytest.mark.parametrize(("world", "batch", "micro", "devices"), [
    (World(0, 3), 8, None, 1), (World(0, 2), 8, 3, 1), (World(), 9, None, 2), (World(), 12, 8, 1),
])
def test_a_batch_that_does_not_divide_is_refused_with_all_numbers(world, batch, micro, devices):
    with pytest.raises(ValueError, match=f"batch must be a multiple .* got batch {batch}, "
                                         f"{world.size} processes, {devices} .* micro {micro}"):
        world.split(batch, micro, devices)


def test_no_images_at_a_time_are_refused():
    with pytest.raises(ValueError, match="micro must be at least 1, got 0"):
        World().split(8, micro=0)


@pytest.mark.parametrize(("count", "size"), [(0, 3), (1, 3), (10, 3), (7, 7), (100, 1)])
def test_shares_are_a_partition_into_nearly_equal_parts(count, size):
    shares = [World(rank, size).share(count) for rank in range(size)]
    assert [i for share in shares for i in range(count)[share]] == list(range(count))
    lengths = [share.stop - share.start for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined() as here:
        assert here == World() == world()
    assert shared(str, range(3)) == ["0", "1", "2"]
    assert here.any(True) and not here.any(False)


@pytest.mark.parametrize("text", ["[gloo/transport/tcp/pair.cc:1] Connection closed by peer",
                                  "NCCL error: remote process exited"])
def test_a_broken_connection_is_told_from_other_errors(text):
    with pytest.raises(PeerLost, match="another process of this job has ended; advice"), \
            watching_peers(lambda: "advice"):
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="^out of memory$"), watching_peers(lambda: "advice"):
        raise RuntimeError("out of memory")
    with pytest.raises(NotImplementedError, match="gloo"), watching_peers(lambda: "advice"):
        raise NotImplementedError("gloo has none of this")


@pytest.mark.parametrize(("settings", "named"), [
    ({"precision": "float8"}, "precision must be one of float32, bfloat16, float16, got 'float8'"),
    ({"micro": 3}, "batch must be a multiple"),
])
def test_settings_that_cannot_be_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        job.train(**settings)
