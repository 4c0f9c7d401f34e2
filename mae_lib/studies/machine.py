"""What of this machine the studies use."""

from __future__ import annotations

import os

import torch

from mae_lib.training.distributed import world


def device() -> str:
    """This process's GPU if there is one, else the CPU."""
    here = world()
    if here.size > 1:
        return here.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def decoders() -> int:
    """Processes that decode pictures: the cores that this process has, without its own."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, cores // world().size - 1)
