"""One training step with the same signature on three backends; the only file that knows XLA.

``eager`` runs operation by operation, ``inductor`` compiles forward and backward with
``torch.compile``, ``xla`` traces the whole step, optimizer included, and compiles it for the XLA
device (a TPU, or the CPU). Masks arrive as index tensors of fixed counts and the learning rate as
a tensor, so that nothing is ever compiled twice.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from mae_lib.models.masks import Mask
from mae_lib.training.schedule import Recipe, parameter_groups

BACKENDS = ("eager", "inductor", "xla")
LONG = 6_000  # steps; compilation costs as much as inductor gains in about so many
TrainStep = Callable[[Tensor, Mask, float], Tensor]


def pick_backend(backend: str = "auto", device: torch.device | str = "cpu",
                 steps: int = 0) -> str:
    """The backend that ``auto`` stands for: XLA on a TPU, inductor on CUDA, eager on a CPU.

    For ``LONG`` or more ``steps`` it is inductor on a CPU too, where a compiler works: only then
    does its gain (``benchmarks/training.py``) pay for the time of compilation.

    Raises:
        ValueError: an unknown backend, or one that is not installed here.
    """
    if backend == "auto":
        if torch.device(device).type == "cuda":
            return "inductor"
        if _on_tpu():
            return "xla"
        return "inductor" if steps >= LONG and _compiler_works() else "eager"
    if backend not in BACKENDS:
        raise ValueError(f"backend must be auto, {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "xla" and importlib.util.find_spec("torch_xla") is None:
        raise ValueError("backend 'xla' needs torch_xla, which is not installed here; "
                         "use backend='auto'")
    if backend == "inductor" and not _compiler():
        raise ValueError("backend 'inductor' needs a C++ compiler (g++ or clang++), got none; "
                         "use backend='eager'")
    return backend


def training_device(backend: str, device: torch.device | str = "cpu") -> torch.device:
    """Where a step of ``backend`` runs: the XLA device, or ``device`` as given.

    Raises:
        RuntimeError: gradients were computed in this process before XLA was first used, which
            PyTorch's autograd engine cannot make up for.
    """
    if backend != "xla":
        return torch.device(device)
    import torch_xla

    found = torch_xla.device()
    try:
        torch.zeros((), device=found, requires_grad=True).square().backward()  # only traced
    except RuntimeError as error:
        raise RuntimeError("backend 'xla' must be the first to compute gradients in a process, "
                           "but another one has; start a new process") from error
    return found


def adamw(model: nn.Module, recipe: Recipe, backend: str = "eager") -> torch.optim.AdamW:
    """AdamW with MAE's parameter groups, in the form the backend runs fastest."""
    groups = parameter_groups(model, recipe.weight_decay)
    if backend == "xla":  # `capturable` keeps step count and rate on the device
        rate = torch.tensor(recipe.lr, device=next(model.parameters()).device)
        return torch.optim.AdamW(groups, lr=rate, betas=recipe.betas, capturable=True,
                                 foreach=False)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=True)


def compile_step(method: nn.Module, optimizer: torch.optim.Optimizer, backend: str = "auto", *,
                 clip: float | None = None) -> TrainStep:
    """A function ``(images, mask, rate) -> loss`` that does one step of training.

    ``images [B,3,H,W]`` in [0, 1] and ``mask`` may lie on the CPU; the loss is a detached scalar on
    the device, not yet waited for. ``clip`` bounds the gradient norm.

    Raises:
        ValueError: see :func:`pick_backend`; a method on another device than the backend's.
    """
    device = next(method.parameters()).device
    backend = "xla" if device.type == "xla" else pick_backend(backend, device)
    if backend == "xla" and device.type != "xla":
        raise ValueError("method must be on training_device('xla') for backend 'xla', "
                         f"got one on {device}")
    forward = torch.compile(method, dynamic=False) if backend == "inductor" else method
    trained = [p for p in method.parameters() if p.requires_grad]

    def step(images: Tensor, mask: Mask, rate: float) -> Tensor:
        _set_rate(optimizer, rate, device)
        loss = forward(images.to(device), mask.to(device))
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if backend == "xla":
            _run_trace()
        return loss.detach()

    return step


def _set_rate(optimizer: torch.optim.Optimizer, rate: float, device: torch.device) -> None:
    """A Python number would become a constant of the traced graph, and every step a new graph.

    AdamW's on-device form divides by the rate, hence the floor for the first step of a warm-up.
    """
    value = torch.tensor(max(rate, 1e-12)).to(device) if device.type == "xla" else rate
    for group in optimizer.param_groups:
        group["lr"] = value


def _run_trace() -> None:
    import torch_xla

    torch_xla.sync()


def _compiler() -> str | None:
    return shutil.which("g++") or shutil.which("clang++")


@lru_cache
def _compiler_works() -> bool:
    """Whether something small compiles; a compiler may lack OpenMP, say."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # of CUDA, not missed
    try:
        return bool(_compiler() and torch.compile(torch.Tensor.sin)(torch.ones(8)).isfinite().all())
    except Exception:  # whatever it is, training can do without
        return False


def _on_tpu() -> bool:
    """Ask torch_xla only where a TPU's runtime library is installed: asking starts its client."""
    if not all(importlib.util.find_spec(name) for name in ("torch_xla", "libtpu")):
        return False
    from torch_xla import runtime

    return runtime.device_type() == "TPU"
