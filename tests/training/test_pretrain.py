import contextlib
import itertools
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import environment, tiny_images, tiny_model

from mae_lib.training import pretrain as loop
from mae_lib.training.checkpoints import save_checkpoint
from mae_lib.training.interrupts import deferred_interrupt
from mae_lib.training.pretrain import NonFiniteLoss, batch_index, mask_generator, pretrain
from mae_lib.training.schedule import Recipe

RECIPE = Recipe(views=8 * 230, batch=8)


def train(folder=None, *, seed: int = 0, recipe: Recipe = RECIPE, weights: int = 0, **settings):
    model = tiny_model(weights)
    history = pretrain(model, tiny_images(), recipe, seed=seed, checkpoint=folder,
                       **({"progress": False, "every_seconds": 0.0} | settings))
    return model, history


def same(a, b) -> bool:
    return np.array_equal(a[1].losses, b[1].losses) and all(
        torch.equal(x, y) for x, y in
        zip(a[0].state_dict().values(), b[0].state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def undisturbed():
    return train()


def test_the_loss_falls_and_every_step_has_one(undisturbed):
    losses = undisturbed[1].losses
    assert losses.shape == (230,) and losses[-20:].mean() < losses[:20].mean()
    assert undisturbed[1].images_per_second > 0


def test_four_images_are_learned():
    images = tiny_images(4)
    recipe = Recipe(views=4 * 200, batch=4, lr=5e-3)
    losses = pretrain(tiny_model(), images, recipe, progress=False).losses
    assert losses[-10:].mean() < losses[:10].mean()


def test_same_seed_same_bits_other_seed_other_losses(undisturbed):
    assert same(train(), undisturbed)
    assert not np.array_equal(train(seed=1)[1].losses, undisturbed[1].losses)


def test_every_epoch_shows_each_image_once_in_another_order():
    order = np.concatenate([batch_index(40, 8, 3, step) for step in range(10)])
    first, second = order[:40], order[40:]
    assert sorted(first) == sorted(second) == list(range(40))
    assert not np.array_equal(first, second)


def test_batches_run_on_over_the_end_of_an_epoch_and_may_hold_several():
    whole = np.concatenate([batch_index(7, 1, 0, step) for step in range(60)])
    for batch in (3, 20):
        cut = np.concatenate([batch_index(7, batch, 0, step) for step in range(60 // batch)])
        assert np.array_equal(cut, whole[:len(cut)])


def test_masks_differ_between_seeds_and_between_steps():
    draws = [torch.rand(4, generator=mask_generator(seed, step)).tolist()
             for seed, step in itertools.product(range(3), range(3))]
    assert len(set(map(tuple, draws))) == 9


def test_checkpoints_do_not_change_the_run(tmp_path, undisturbed):
    assert same(train(tmp_path), undisturbed)


def test_a_finished_run_is_only_loaded(tmp_path, undisturbed):
    train(tmp_path)
    again = train(tmp_path, weights=5)
    assert same(again, undisturbed) and again[1].images_per_second == 0


KILLED = """
import sys
from tiny import tiny_images, tiny_model
from mae_lib.training import pretrain as loop
from mae_lib.training.schedule import Recipe
import torch
torch.set_num_threads(1)
loop.CHECK_EVERY = 3
print("ready", flush=True)
loop.pretrain(tiny_model(), tiny_images(), Recipe(views=8 * 230, batch=8), checkpoint=sys.argv[1],
              every_seconds=0.0, progress=False)
print("done", flush=True)
"""


def kill_after(seconds: float, folder: Path) -> bool:
    """Train in another process and kill it; whether it came to its end before."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], text=True,
                          env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        while not list(folder.glob("step-*.json")) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(seconds)
        process.kill()
        return "done" in process.stdout.read()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_a_run_killed_again_and_again_ends_with_the_bits_of_an_undisturbed_one(
        tmp_path, undisturbed):
    for seconds in np.random.default_rng(0).uniform(0, 0.3, 4):
        kill_after(seconds, tmp_path)
        assert list(tmp_path.glob("step-*.json"))
    assert same(train(tmp_path, weights=7), undisturbed)


@pytest.mark.parametrize("moment", ["before tensors", "before record", "before clearing"])
def test_a_kill_inside_a_save_loses_at_most_that_save(tmp_path, undisturbed, monkeypatch, moment):
    """A kill leaves the files as they are: so does an exception that nobody handles."""
    class Killed(BaseException):
        pass

    from mae_lib.training import checkpoints
    replace, clear, calls = os.replace, checkpoints._remove_others, []

    def count(plain, wanted, *arguments):
        calls.append(plain)
        if len(calls) == wanted:
            raise Killed
        return plain(*arguments)

    if moment == "before clearing":
        monkeypatch.setattr(checkpoints, "_remove_others", lambda *a: count(clear, 2, *a))
    else:
        wanted = 3 if moment == "before tensors" else 4
        monkeypatch.setattr(os, "replace", lambda *a: count(replace, wanted, *a))
    with pytest.raises(Killed):
        train(tmp_path)
    monkeypatch.undo()
    assert same(train(tmp_path, weights=7), undisturbed)


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"))])
def test_ctrl_c_finishes_the_step_and_saves(tmp_path, backend, undisturbed, monkeypatch):
    def press_at_123(self, loss, record=loop._Run.record):
        record(self, loss)
        if self.step + len(self.pending) == 123:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop._Run, "record", press_at_123)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, every_seconds=1e9, backend=backend)
    assert [path.stem for path in tmp_path.glob("*.json")] == ["step-000000123"]
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    expected = undisturbed if backend == "eager" else train(backend=backend)
    assert same(train(tmp_path, weights=7, backend=backend), expected)


def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        signal.raise_signal(signal.SIGINT)


def test_training_runs_outside_the_main_thread(undisturbed):
    found = []
    thread = threading.Thread(target=lambda: found.append(train()))
    thread.start()
    thread.join()
    assert same(found[0], undisturbed)


def test_a_loss_that_is_no_number_stops_with_its_step_and_the_last_checkpoint(
        tmp_path, monkeypatch):
    def nan_at_117(self, loss, record=loop._Run.record):
        bad = self.step + len(self.pending) == 117
        record(self, loss * float("nan") if bad else loss)

    monkeypatch.setattr(loop._Run, "record", nan_at_117)
    with pytest.raises(NonFiniteLoss, match=r"nan at step 117; .* checkpoint is step 100 in "):
        train(tmp_path)
    with pytest.raises(NonFiniteLoss, match=r"nan at step 117; there is no checkpoint"):
        train()


def test_a_rate_that_blows_up_is_noticed():
    with pytest.raises(NonFiniteLoss, match="step .*there is no checkpoint; try a smaller lr"):
        train(recipe=Recipe(views=80, batch=8, lr=1e30, warmup=0.0))


def test_weights_that_are_no_numbers_are_never_saved(tmp_path, monkeypatch):
    def spoil(self, loss, record=loop._Run.record):
        record(self, loss)
        if self.step + len(self.pending) == 100:
            self.method.decoder.pred.bias.data[0] = float("nan")

    monkeypatch.setattr(loop._Run, "record", spoil)
    with pytest.raises(NonFiniteLoss, match=r"weights .* at step 99; .* is step 50 in"):
        train(tmp_path)
    assert [path.stem for path in tmp_path.glob("*.json")] == ["step-000000050"]


@pytest.mark.parametrize(("change", "named"), [
    ({"seed": 1}, "seed: 0 there, 1 here"), ({"recipe": Recipe(views=1840, batch=8, lr=1e-3)},
                                             "recipe.lr: 0.0015 there, 0.001 here"),
])
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, named):
    train(tmp_path)
    with pytest.raises(ValueError, match=f"belongs to a run with other settings .{named}.;"):
        train(tmp_path, **change)


def test_a_checkpoint_of_other_images_is_refused(tmp_path):
    train(tmp_path)
    with pytest.raises(ValueError, match="data: "):
        pretrain(tiny_model(), tiny_images(41), RECIPE, checkpoint=tmp_path, progress=False)


def test_images_of_another_size_are_refused(model):
    with pytest.raises(ValueError, match="images must be 16x16 pixels .*, got 32x32"):
        pretrain(model, tiny_images(size=32), RECIPE)


def test_a_full_disk_stops_with_a_sentence(tmp_path, monkeypatch):
    def full_at_100(folder, method, optimizer, progress, identity):
        if progress.step == 100:
            raise OSError("checkpoint x could not be written")
        return save_checkpoint(folder, method, optimizer, progress, identity)

    monkeypatch.setattr(loop, "save_checkpoint", full_at_100)
    with pytest.raises(OSError, match="could not be written"):
        train(tmp_path)
    assert (tmp_path / "step-000000050.json").exists()


def in_a_terminal(write) -> str:
    """What ``write(file)`` puts on a terminal 100 columns wide; read meanwhile, or it fills up."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    shown = []

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end was closed
            while chunk := os.read(ours, 4096):
                shown.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "w") as terminal:
        write(terminal)
    reader.join()
    os.close(ours)
    return b"".join(shown).decode()


def test_the_bar_in_a_terminal_shows_loss_rate_and_time_left(monkeypatch):
    def run(terminal):
        monkeypatch.setattr(sys, "stderr", terminal)
        train(progress=True)
        monkeypatch.undo()

    shown = in_a_terminal(run)
    assert "100%" in shown and "loss=" in shown and "img/s" in shown
    assert "<" in shown  # tqdm writes elapsed<left


def test_nothing_is_printed_without_a_bar_or_into_a_file(capfd, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # other tests import it
    train(progress=False)
    train(progress=True)  # pytest's capture is no terminal
    assert capfd.readouterr() == ("", "")


def test_a_notebook_shows_the_bar(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    train(progress=True)
    assert "loss=" in capfd.readouterr().err


def test_masks_may_depend_on_the_images():
    sampler, seen = tiny_model(), []

    def masks(index, generator):
        seen.append(index)
        return sampler.sample_mask(len(index), generator)

    recipe = Recipe(views=8 * 12, batch=8)
    assert same(train(recipe=recipe, masks=masks), train(recipe=recipe))
    expected = [batch_index(len(tiny_images()), 8, 0, i) for i in range(12)]
    assert np.array_equal(np.concatenate(seen), np.concatenate(expected))
