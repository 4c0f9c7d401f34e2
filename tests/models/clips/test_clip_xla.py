"""The methods of clips under XLA: one compilation, and the losses of eager."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from clip_sets import METHODS, tiny, waves

from mae_lib.training.pretrain import mask_generator
from mae_lib.training.step import compile_step, training_device

needs_xla = pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None,
                               reason="torch_xla is not installed")

# In a process of its own: gradients on XLA must be the first that a process computes. Plain descent
# and a compiler that does not try hard: what is asked is whether it has to start again.
FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
XLA = """
import json
import torch_xla
import torch_xla.debug.metrics as metrics
from clip_sets import METHODS
from mae_lib.training import step
from test_clip_xla import train

counts, plain = [], step._run_trace
def traced():
    plain()
    counts.append((metrics.counter_value("UncachedCompile"), metrics.metric_data("CompileTime")[0]))
step._run_trace = traced
found = {}
for name in METHODS:
    counts.clear()
    found[name] = train(name, "xla"), list(counts)
print(json.dumps(found))
"""


def train(name: str, backend: str, count: int = 5) -> list[float]:
    """Losses of some steps on four clips."""
    model = tiny(name).to(training_device(backend)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
    step, clips = compile_step(model, optimizer, backend), waves().batch(slice(None))
    losses = [step(clips, model.sample_mask(4, mask_generator(0, i)), 0.1) for i in range(count)]
    return [loss.item() for loss in losses]


@pytest.fixture(scope="module")
def on_xla():
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{here.parents[2]}{os.pathsep}{here}",
                                "PJRT_DEVICE": "CPU", "OMP_NUM_THREADS": "1", "XLA_FLAGS": FLAGS}
    done = subprocess.run([sys.executable, "-c", XLA], env=environment, capture_output=True,
                          text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_xla
@pytest.mark.parametrize("name", METHODS)
def test_xla_gives_the_losses_of_eager(name, on_xla):
    assert on_xla[name][0] == pytest.approx(train(name, "eager"), rel=1e-4)


@needs_xla
@pytest.mark.parametrize("name", METHODS)
def test_xla_compiles_nothing_after_the_first_step(name, on_xla):
    assert on_xla[name][1] == [on_xla[name][1][0]] * 5


def test_bytes_train_as_floats_do():
    """As streams of files give them: a quarter to pass on."""
    model = tiny("mae_st").train()
    step = compile_step(model, torch.optim.SGD(model.parameters()), "eager")
    clips, mask = torch.from_numpy(waves().clips), model.sample_mask(4, mask_generator(0, 0))
    expected = model(waves().batch(slice(None)), mask).item()
    assert step(clips, mask, 0.0).item() == pytest.approx(expected, rel=1e-6)
