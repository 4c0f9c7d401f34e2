"""Two XLA devices that one process feeds (SPMD), against one device and against eager."""

import importlib.util
import json

import pytest
from tiny import run_python, tiny_images, tiny_model

from mae_lib.training.pretrain import pretrain
from mae_lib.training.schedule import Recipe

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None,
                                reason="torch_xla is not installed")
RECIPE = Recipe(views=8 * 12, batch=8, clip=0.5)

# In a process of its own: the number of devices is fixed before torch_xla is first used.
DEVICES = """
import json, os, sys
os.environ["CPU_NUM_DEVICES"] = "2"
import torch_xla
import torch_xla.debug.metrics as metrics
from test_xla_devices import RECIPE
from tiny import tiny_images, tiny_model
from mae_lib.training import pretrain as loop
from mae_lib.training import schedule, step

counts, plain, specs, give = [], step._run_trace, set(), step._give_rows_to_devices
def traced():
    plain()
    counts.append((metrics.counter_value("UncachedCompile"), metrics.metric_data("CompileTime")[0]))
def given(tensors):
    give(tensors)
    specs.update(torch_xla._XLAC._get_xla_sharding_spec(t) for t in tensors)
step._run_trace, step._give_rows_to_devices, loop.CHECK_EVERY = traced, given, 4
run = dict(backend="xla", checkpoint=sys.argv[1], every_seconds=0, progress=False)
losses = loop.pretrain(tiny_model(), tiny_images(), RECIPE, **run).losses.tolist()
try:
    loop.pretrain(tiny_model(), tiny_images(), schedule.Recipe(views=90, batch=9), backend="xla")
except ValueError as error:
    refused = str(error)
print(json.dumps([step.device_count("xla"), losses, counts, sorted(specs), refused]))
"""


@pytest.fixture(scope="module")
def on_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xla")
    result = run_python(DEVICES, str(folder))
    assert result.returncode == 0, result.stderr[-2000:]
    return folder, *json.loads(result.stdout.splitlines()[-1])


def test_two_devices_have_the_losses_of_eager(on_two):
    history = pretrain(tiny_model(), tiny_images(), RECIPE, backend="eager", progress=False)
    assert on_two[1] == 2 and on_two[2] == pytest.approx(history.losses.tolist(), rel=1e-4)


def test_nothing_is_compiled_after_the_second_step(on_two):
    assert len(on_two[3]) == 12 and on_two[3][1:] == [on_two[3][1]] * 11


def test_each_device_gets_half_of_the_rows(on_two):
    assert on_two[4] == ["{devices=[2,1,1,1]0,1}", "{devices=[2,1]0,1}"]


def test_the_checkpoint_is_that_of_any_run(on_two):
    files = sorted(path.name for path in on_two[0].glob("*.json"))
    assert files == ["step-000000008.json", "step-000000012.json"]


def test_a_batch_that_the_devices_cannot_share_is_refused(on_two):
    assert "got batch 9, 1 processes, 2 devices each" in on_two[5]
