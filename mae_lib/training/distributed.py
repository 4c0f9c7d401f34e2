"""The processes of one job: which part each takes, and how their numbers come together.

``torchrun`` starts the processes and PyTorch's own engines connect them: gloo, and NCCL between
GPUs. Nothing here launches anything. A process of its own is a world of size 1, in which every
function below returns at once with what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mae_lib.models.transformer import Block

PATIENCE = timedelta(hours=1)  # for a peer that lives; one that dies is noticed at once
Item, Value = TypeVar("Item"), TypeVar("Value")


class PeerLost(RuntimeError):
    """Another process of the job has ended, so that this one cannot go on."""


@dataclass(frozen=True)
class World:
    """The processes of a job as one of them sees it: its ``rank`` among ``size``, its device."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def split(self, batch: int, micro: int | None = None, devices: int = 1) -> tuple[slice, int]:
        """The rows of a global batch that this process takes, and in how many forward passes.

        Args:
            micro: images a device and pass at most, all at once if None.
            devices: that this process feeds.

        Raises:
            ValueError: parts or passes of unequal size, whose mean would not be the batch's.
        """
        if micro is not None and micro < 1:
            raise ValueError(f"micro must be at least 1, got {micro}")
        rows, rest = divmod(batch, self.size)
        at_once = min(rows, devices * (micro or rows))
        if rest or at_once % devices or rows % at_once:
            raise ValueError(
                f"batch must be a multiple of processes x devices x images a pass, got batch "
                f"{batch}, {self.size} processes, {devices} devices each, micro {micro}")
        return slice(self.rank * rows, (self.rank + 1) * rows), rows // at_once

    def share(self, count: int) -> slice:
        """Which of ``count`` items this process takes: consecutive ones, some maybe one more."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any process; each must ask."""
        if self.size == 1:
            return flag
        found = torch.tensor(int(flag))
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found)

    def wait(self) -> None:
        """Until all processes have come here."""
        self.any(False)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a CPU tensor over all processes; NaN or infinite where one of them is."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size


def world() -> World:
    """The world that this process has joined, or one of size 1."""
    if not (dist.is_available() and dist.is_initialized()):
        return World()
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    return World(dist.get_rank(), dist.get_world_size(), device)


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun has started beside this one, for the length of a block.

    An exception goes into the error file that torchrun shows when the job fails.

    Raises:
        ValueError: more processes on a machine than it has GPUs.
    """
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not dist.is_initialized():
        _connect()
    try:
        yield world()
    except Exception as error:
        get_error_handler().record_exception(error)
        raise  # without taking leave of peers that may be gone
    if dist.is_initialized():
        dist.destroy_process_group()


def _connect() -> None:
    backend, place = "gloo", int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        if place >= torch.cuda.device_count():
            raise ValueError(f"nproc_per_node must be at most the number of GPUs, "
                             f"{torch.cuda.device_count()}, got {os.environ['LOCAL_WORLD_SIZE']}")
        torch.cuda.set_device(place)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, store=_store_of_this_life(), timeout=PATIENCE,
                            rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"]))


def _store_of_this_life() -> dist.Store | None:
    """Where processes find each other after a restart; None for PyTorch's own choice.

    torchrun keeps one store through all restarts (torch 2.5 to 2.9 at least), and a new process
    would look for its peers at the addresses of dead ones. Restarts are counted by machine, so that
    jobs on several need ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`` instead.
    """
    set_to = os.environ.get
    if set_to("TORCHELASTIC_USE_AGENT_STORE") != "True" or set_to("GROUP_WORLD_SIZE") != "1":
        return None
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    kept = dist.TCPStore(*place, is_master=False, timeout=PATIENCE)
    return dist.PrefixStore(f"life {os.environ['TORCHELASTIC_RESTART_COUNT']}", kept)


@contextmanager
def watching_peers(advice: Callable[[], str]) -> Iterator[None]:
    """Say in words, with ``advice``, that a connection broke because another process ended.

    Raises:
        PeerLost: instead of what gloo or NCCL says.
    """
    try:
        yield
    except RuntimeError as error:
        if type(error) is RuntimeError and not _of_network(str(error)):
            raise
        if type(error) is not RuntimeError and not isinstance(error, dist.DistError):
            raise
        raise PeerLost(f"another process of this job has ended; {advice()}") from error


def _of_network(text: str) -> bool:
    return any(word in text.lower() for word in ("gloo", "nccl", "connection closed by peer"))


def shared(compute: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
    """``[compute(item) for item in items]``, each computed by one process, complete in all."""
    here = world()
    mine = [compute(item) for item in items[here.share(len(items))]]
    if here.size == 1:
        return mine
    parts: list[list[Value]] = [[] for _ in range(here.size)]
    dist.all_gather_object(parts, mine)
    return [value for part in parts for value in part]


def replicated(module: nn.Module) -> nn.Module:
    """The module with gradients that are averaged over all processes in ``backward``."""
    if world().size == 1 or is_sharded(module):
        return module
    return nn.parallel.DistributedDataParallel(module, broadcast_buffers=False,
                                               gradient_as_bucket_view=True)


def shard(module: nn.Module) -> nn.Module:
    """Spread parameters, gradients and moments over all processes, transformer block by block.

    In place, before an optimizer is made: FSDP2 of PyTorch.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(module.parameters()).device
    mesh = init_device_mesh(device.type, (world().size,))
    for block in [m for m in module.modules() if isinstance(m, Block)]:
        fully_shard(block, mesh=mesh)
    return fully_shard(module, mesh=mesh)


def is_sharded(module: nn.Module) -> bool:
    return hasattr(module, "set_requires_gradient_sync")


def accumulating(module: nn.Module, *, last: bool) -> AbstractContextManager:
    """For the passes of one step: gradients travel between processes in the last one only."""
    if is_sharded(module):
        module.set_requires_gradient_sync(last)
    elif isinstance(module, nn.parallel.DistributedDataParallel) and not last:
        return module.no_sync()
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be sharded, on the CPU; every process must ask for it."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).cpu()


def local(tensor: Tensor) -> Tensor:
    """What of a tensor lies in this process."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, the same in every process, sharded as ``like`` is."""
    if not hasattr(like, "placements"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements,
                             src_data_rank=None)


def gathered(rows: Tensor) -> Tensor:
    """The rows ``[b, ...]`` of all processes, equally many each, in the order of ranks."""
    here = world()
    if here.size == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(here.size)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)
