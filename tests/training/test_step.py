import importlib.util
import json
import shutil
from typing import NamedTuple

import pytest
import torch
from tiny import run_python, tiny_images, tiny_model
from torch import nn

from mae_lib.training import step
from mae_lib.training.pretrain import mask_generator, pretrain
from mae_lib.training.schedule import Recipe, parameter_groups
from mae_lib.training.step import LONG, adamw, compile_step, pick_backend, training_device

RECIPE = Recipe(views=400, batch=20, lr=5e-3, warmup=0.2)
needs_xla = pytest.mark.skipif(importlib.util.find_spec("torch_xla") is None,
                               reason="torch_xla is not installed")
needs_compiler = pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")),
                                    reason="no C++ compiler")


def train(backend: str, clip: float | None = None, count: int = 20) -> list[float]:
    """Losses of ``count`` steps on random images."""
    model = tiny_model().to(training_device(backend)).train()
    step = compile_step(model, adamw(model, RECIPE, backend), backend, clip=clip)
    pixels = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    losses = [step(pixels, model.sample_mask(8, mask_generator(0, i)), RECIPE.rate(i))
              for i in range(count)]
    return [loss.item() for loss in losses]


def by_hand(clip: float | None = None, count: int = 20) -> list[float]:
    """The same with plain AdamW, one parameter after another, and clipping written out."""
    model = tiny_model().train()
    optimizer = torch.optim.AdamW(parameter_groups(model, RECIPE.weight_decay), betas=RECIPE.betas,
                                  foreach=False, fused=False)
    pixels = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    losses = []
    for i in range(count):
        optimizer.zero_grad()
        loss = model(pixels, model.sample_mask(8, mask_generator(0, i)))
        loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        if clip is not None and norm > clip:
            for gradient in gradients:
                gradient.mul_(clip / norm)
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.rate(i)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("clip", [None, 0.1])
def test_a_step_is_adamw_with_the_rate_of_the_schedule_and_clipped_gradients(clip):
    assert train("eager", clip) == pytest.approx(by_hand(clip), rel=1e-5)


def test_clipping_bites():
    assert max(abs(a - b) for a, b in zip(train("eager"), train("eager", 1e-6), strict=True)) > 1e-3


@needs_compiler
def test_inductor_gives_the_losses_of_eager_and_compiles_once():
    from torch._dynamo.utils import counters

    eager = train("eager", 1.0)
    torch._dynamo.reset()
    counters.clear()
    assert train("inductor", 1.0) == pytest.approx(eager, rel=1e-4)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"] and not counters["recompiles"]


# In a process of its own: gradients on XLA must be the first that a process computes.
XLA = """
import json, sys
import torch_xla
import torch_xla.debug.metrics as metrics
import test_step
from torch import nn
from tiny import tiny_images, tiny_model
from mae_lib.training import pretrain as loop
from mae_lib.training import schedule, step

counts, plain = [], step._run_trace
def traced():
    plain()
    counts.append((metrics.counter_value("UncachedCompile"), metrics.metric_data("CompileTime")[0]))
step._run_trace = traced
losses = test_step.train("xla", 1.0)
twenty, counts[:] = list(counts), []

images, loop.CHECK_EVERY = tiny_images(), 7
recipe = schedule.Recipe(views=8 * 20, batch=8)
class Stop(Exception): pass
def stop_at_15():
    traced()
    if len(counts) == 15: raise Stop
step._run_trace = stop_at_15
run = dict(backend="xla", checkpoint=sys.argv[1], every_seconds=0, progress=False)
try: loop.pretrain(tiny_model(), images, recipe, **run)
except Stop: pass
before = list(counts)
step._run_trace = traced
history = loop.pretrain(tiny_model(seed=1), images, recipe, **run)
after = counts[len(before):]
metrics_end = metrics.metric_data("CompileTime")[0]
print(json.dumps([losses, twenty, before, after, metrics_end, history.losses.tolist()]))
"""


@pytest.fixture(scope="module")
def on_xla(tmp_path_factory):
    result = run_python(XLA, str(tmp_path_factory.mktemp("xla")))
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


@needs_xla
def test_xla_gives_the_losses_of_eager(on_xla):
    assert on_xla[0] == pytest.approx(train("eager", 1.0), rel=1e-4)


@needs_xla
def test_xla_compiles_nothing_after_the_second_step(on_xla):
    counts = on_xla[1]
    assert len(counts) == 20
    assert counts[1:] == [counts[1]] * 19


@needs_xla
def test_xla_compiles_nothing_over_epochs_at_looks_and_checkpoints_and_after_a_resume(on_xla):
    before, after, end = on_xla[2:5]
    assert len(before) == 15 and len(after) == 6  # killed at 15, went on from the look at 14
    assert before[1:] == [before[1]] * 14  # three epochs of 40 images, two looks
    assert after[1:] == [after[1]] * 5
    assert end == after[-1][1]  # nor did the end of the run compile anything


@needs_xla
def test_xla_resumes_with_the_losses_of_an_undisturbed_run(on_xla):
    recipe = Recipe(views=8 * 20, batch=8)
    history = pretrain(tiny_model(), tiny_images(), recipe, backend="eager", progress=False)
    assert on_xla[5] == pytest.approx(history.losses.tolist(), rel=1e-4)


@needs_xla
def test_xla_after_gradients_elsewhere_is_refused_with_a_reason():
    code = ("import torch; torch.ones(1, requires_grad=True).sum().backward()\n"
            "from mae_lib.training.step import training_device\n"
            "training_device('xla')")
    result = run_python(code)
    assert "backend 'xla' must be the first to compute gradients" in result.stderr


class Pair(NamedTuple):
    visible: torch.Tensor
    hidden: torch.Tensor
    weight: torch.Tensor


class Following(nn.Module):
    """A copy that follows the weight; its loss wants a weight an image beside the mask."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("target", torch.zeros(3))

    def forward(self, images, drawn: Pair):
        return (images.mean((2, 3)) @ self.weight * drawn.weight).mean()

    def after_step(self):
        self.target.lerp_(self.weight.detach(), 0.25)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_method_may_draw_more_than_a_mask_and_act_after_each_step(passes):
    method, weights, none = Following(), torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.zeros(4, 0)
    step = compile_step(method, torch.optim.SGD(method.parameters(), lr=1.0), passes=passes)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    gradient = (images.mean((2, 3)) * weights[:, None]).mean(0)
    assert step(images, Pair(none, none, weights), 1.0).item() == pytest.approx(gradient.sum())
    assert torch.allclose(method.weight, 1 - gradient)
    assert torch.allclose(method.target, (1 - gradient) / 4)


def test_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="backend must be auto, eager, inductor, xla, got 'tpu'"):
        pick_backend("tpu")


def test_missing_torch_xla_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs torch_xla"):
        pick_backend("xla")
    assert pick_backend("auto") == "eager"


def test_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="needs a C\\+\\+ compiler"):
        pick_backend("inductor")


def test_auto_is_eager_on_a_cpu_and_inductor_on_cuda():
    assert (pick_backend("auto", "cpu"), pick_backend("auto", "cuda:0")) == ("eager", "inductor")


@needs_compiler
def test_auto_compiles_what_is_long_enough():
    assert [pick_backend("auto", steps=n) for n in (LONG - 1, LONG)] == ["eager", "inductor"]


def test_auto_does_without_a_compiler_that_is_missing_or_fails(monkeypatch):
    monkeypatch.setattr(step, "_compiler", lambda: None)
    step._compiler_works.cache_clear()
    assert pick_backend("auto", steps=LONG) == "eager"

    def fail(function):
        raise RuntimeError("omp.h: no such file")

    monkeypatch.undo()
    monkeypatch.setattr(torch, "compile", fail)
    step._compiler_works.cache_clear()
    assert pick_backend("auto", steps=LONG) == "eager"
    step._compiler_works.cache_clear()


def test_xla_refuses_a_model_on_the_cpu(model):
    with pytest.raises(ValueError, match="method must be on training_device"):
        compile_step(model, adamw(model, RECIPE), "xla")


def test_training_on_a_cpu_never_imports_torch_xla():
    code = ("import sys; sys.modules['torch_xla'] = None\n"  # any import of it now fails
            "from tiny import tiny_images, tiny_model\n"
            "from mae_lib.training.pretrain import pretrain\n"
            "from mae_lib.training.schedule import Recipe\n"
            "pretrain(tiny_model(), tiny_images(), Recipe(views=40, batch=8), progress=False)\n"
            "pretrain(tiny_model(), tiny_images(), Recipe(views=40, batch=8), backend='eager')")
    result = run_python(code)
    assert result.returncode == 0, result.stderr
