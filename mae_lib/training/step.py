"""One training step with the same signature on three backends; the only file that knows XLA.

``eager`` runs operation by operation, ``inductor`` compiles forward and backward with
``torch.compile``, ``xla`` traces the whole step, optimizer included, and compiles it for the XLA
device (a TPU, or the CPU). Masks arrive as index tensors of fixed counts and the learning rate as
a tensor, so that nothing is ever compiled twice. Several XLA devices are one to the program: it
holds the global batch, each device gets its rows, and the compiler adds the exchange (SPMD).
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from mae_lib.models.masks import Mask
from mae_lib.training.distributed import replicated
from mae_lib.training.precision import backward, grad_scaler
from mae_lib.training.schedule import Recipe, parameter_groups
from mae_lib.training.stream import floats

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
    from torch_xla import runtime

    if device_count("xla") > 1:
        runtime.use_spmd()  # before there is a device
    found = torch_xla.device()
    try:
        torch.zeros((), device=found, requires_grad=True).square().backward()  # only traced
    except RuntimeError as error:
        raise RuntimeError("backend 'xla' must be the first to compute gradients in a process, "
                           "but another one has; start a new process") from error
    return found


def device_count(backend: str) -> int:
    """Devices that one process feeds: all of XLA, else one."""
    if backend != "xla":
        return 1
    from torch_xla import runtime

    return runtime.global_runtime_device_count()


def adamw(model: nn.Module, recipe: Recipe, backend: str = "eager") -> torch.optim.AdamW:
    """AdamW with MAE's parameter groups, in the form the backend runs fastest."""
    groups = parameter_groups(model, recipe.weight_decay)
    if backend == "xla":  # `capturable` keeps step count and rate on the device
        rate = torch.tensor(recipe.lr, device=next(model.parameters()).device)
        return torch.optim.AdamW(groups, lr=rate, betas=recipe.betas, capturable=True,
                                 foreach=False)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=True)


def compile_step(method: nn.Module, optimizer: torch.optim.Optimizer, backend: str = "auto", *,
                 clip: float | None = None, passes: int = 1, precision: str = "float32",
                 scaler: torch.amp.GradScaler | None = None) -> TrainStep:
    """A function ``(images, mask, rate) -> loss`` that does one step of training.

    ``images [B,3,H,W]`` in [0, 1], or as bytes, and ``mask`` may lie on the CPU; the loss is a
    detached scalar on the device, not yet waited for. In a job of many processes it is the loss of
    this one's images, and gradients are averaged over all. ``clip`` bounds the gradient norm. A
    method's ``after_step()``, if it has one, follows the optimizer: a momentum encoder's place.

    Args:
        passes: forward and backward passes of a step, each over an equal part of the images.
        precision: of matrix products and activations: ``"float32"``, or ``"bfloat16"`` or
            ``"float16"`` by ``torch.autocast``; weights and moments stay float32.
        scaler: of :func:`grad_scaler`, if its state is to be kept.

    Raises:
        ValueError: see :func:`pick_backend` and :func:`grad_scaler`; a method on another device
            than the backend's.
    """
    device = next(method.parameters()).device
    backend = "xla" if device.type == "xla" else pick_backend(backend, device)
    if backend == "xla" and device.type != "xla":
        raise ValueError("method must be on training_device('xla') for backend 'xla', "
                         f"got one on {device}")
    scaler = scaler or grad_scaler(precision, device)
    forward = torch.compile(method, dynamic=False) if backend == "inductor" else method
    add_gradients = partial(backward, replicated(forward), precision, scaler)
    trained = [p for p in method.parameters() if p.requires_grad]
    after = getattr(method, "after_step", lambda: None)

    def step(images: Tensor, mask: Mask, rate: float) -> Tensor:
        _set_rate(optimizer, rate, device)
        parts = _parts(images, mask, passes, device)
        loss = sum(add_gradients(*part, k, passes) for k, part in enumerate(parts, 1))
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(trained, clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        after()
        if backend == "xla":
            _run_trace()
        return loss

    return step


def _parts(images: Tensor, mask: Mask, passes: int, device) -> Iterator[tuple[Tensor, Mask]]:
    """Equal parts of a batch on the device, or on all devices of XLA, each with its rows."""
    for part in zip(*(rows.chunk(passes) for rows in (images, *mask)), strict=True):
        moved = [rows.to(device, non_blocking=True) for rows in part]
        if device.type == "xla":
            _give_rows_to_devices(moved)
        yield floats(moved[0]), mask._make(moved[1:])


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


def _give_rows_to_devices(tensors: list[Tensor]) -> None:
    count = device_count("xla")
    if count == 1:
        return
    from torch_xla.distributed import spmd

    mesh = spmd.Mesh(range(count), (count,), ("rows",))
    for tensor in tensors:
        spmd.mark_sharding(tensor, mesh, ("rows", *[None] * (tensor.ndim - 1)))


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
