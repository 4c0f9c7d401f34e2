import json
import resource

import pytest
import torch
from tiny import run_python, tiny_model

from mae_lib.training import checkpoints
from mae_lib.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from mae_lib.training.schedule import Recipe
from mae_lib.training.step import adamw, compile_step

IDENTITY = {"recipe": {"lr": 0.1, "betas": (0.9, 0.95)}, "seed": 0}
RECIPE = Recipe(views=100, batch=4)


@pytest.fixture
def trained():
    """A model and its optimizer after two steps."""
    model = tiny_model().train()
    optimizer = adamw(model, RECIPE)
    step = compile_step(model, optimizer, "eager")
    for _ in range(2):
        step(torch.rand(4, 3, 16, 16), model.sample_mask(4), 1e-3)
    return model, optimizer


def save(folder, trained, step: int = 2, identity: dict = IDENTITY):
    return save_checkpoint(folder, *trained, Progress(step, torch.arange(float(step))), identity)


def load(folder, identity: dict = IDENTITY):
    model = tiny_model(seed=9)
    optimizer = adamw(model, RECIPE)
    return model, optimizer, load_checkpoint(folder, model, optimizer, identity)


def steps_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names(*steps: int) -> list[str]:
    return sorted(f"step-{s:09d}.{kind}" for s in steps for kind in ("json", "safetensors"))


def test_weights_moments_and_losses_come_back_bit_for_bit(tmp_path, trained):
    save(tmp_path, trained)
    model, optimizer, progress = load(tmp_path)
    assert progress.step == 2 and progress.losses.tolist() == [0.0, 1.0]
    for name, tensor in trained[0].state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    found, expected = optimizer.state_dict()["state"], trained[1].state_dict()["state"]
    assert found.keys() == expected.keys() and found
    for i in expected:
        for field in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(found[i][field], expected[i][field])


def test_a_step_after_loading_is_the_step_without(tmp_path, trained):
    save(tmp_path, trained)
    model, optimizer, _ = load(tmp_path)
    pixels, mask = torch.rand(4, 3, 16, 16), model.sample_mask(4)
    for m, o in (trained, (model, optimizer)):
        compile_step(m.train(), o, "eager")(pixels, mask, 1e-3)
    for ours, theirs in zip(model.parameters(), trained[0].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_empty_or_missing_folder_holds_no_checkpoint(tmp_path):
    assert load(tmp_path)[2] is None
    assert load(tmp_path / "missing")[2] is None


def test_the_last_two_are_kept(tmp_path, trained):
    for step in (1, 2, 3):
        save(tmp_path, trained, step)
    assert steps_in(tmp_path) == names(2, 3)


def cut(record):
    weights = record.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-10])


def flip_a_bit(record):
    weights = record.with_suffix(".safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def change_step(record):
    record.write_text(json.dumps(json.loads(record.read_text()) | {"step": 7}))


def drop_identity(record):
    record.write_text(json.dumps({"step": 3, "sha256": "0"}))


@pytest.mark.parametrize("damage", [
    cut, flip_a_bit, change_step, drop_identity,
    lambda record: record.write_text(record.read_text()[:20]),
    lambda record: record.write_text("[]"), lambda record: record.write_bytes(b"\xff\xfe\x00"),
    lambda record: record.with_suffix(".safetensors").unlink(),
], ids=["cut", "bit", "step", "identity", "cut record", "list", "bytes", "no tensors"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, trained, damage):
    save(tmp_path, trained, 2)
    damage(save(tmp_path, trained, 3))
    assert load(tmp_path)[2].step == 2


def test_damaged_later_checkpoints_do_not_push_out_new_ones(tmp_path, trained):
    for step in (8, 9):
        cut(save(tmp_path, trained, step))
    assert load(tmp_path)[2] is None
    save(tmp_path, trained, 1)
    assert steps_in(tmp_path) == names(1)


def test_what_a_kill_left_behind_is_cleared(tmp_path, trained):
    (tmp_path / ".step-000000001.safetensors.123.part").write_bytes(b"half")
    (tmp_path / "step-000000001.safetensors").write_bytes(b"no record yet")
    save(tmp_path, trained)
    assert steps_in(tmp_path) == names(2)


def test_other_settings_are_refused_and_only_they_are_named(tmp_path, trained):
    save(tmp_path, trained)
    other = {"recipe": {"lr": 0.2, "betas": (0.9, 0.95)}, "seed": 0}
    with pytest.raises(ValueError, match=r"other settings \(recipe.lr: 0.1 there, 0.2 here\)"):
        load(tmp_path, other)


def test_a_failed_write_says_so_and_older_checkpoints_stay(tmp_path, trained, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    save(tmp_path, trained, 1)
    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match=r"could not be written \(.*No space left.*checkpoints stay"):
        save(tmp_path, trained, 2)
    assert steps_in(tmp_path) == names(1) and load(tmp_path)[2].step == 1


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit on file sizes here")
def test_a_write_that_the_system_cuts_short_is_such_a_failure(tmp_path):
    code = ("import resource, sys, torch\n"
            "from tiny import tiny_model\n"
            "from mae_lib.training.checkpoints import Progress, save_checkpoint\n"
            "from mae_lib.training.schedule import Recipe\n"
            "from mae_lib.training.step import adamw\n"
            "model = tiny_model(); optimizer = adamw(model, Recipe(views=100))\n"
            "def save(step):\n"
            "    save_checkpoint(sys.argv[1], model, optimizer,\n"
            "                    Progress(step, torch.zeros(step)), {})\n"
            "save(1)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
            "save(2)")
    result = run_python(code, str(tmp_path))
    assert "OSError: checkpoint" in result.stderr and "older checkpoints stay" in result.stderr
    assert steps_in(tmp_path) == names(1)
