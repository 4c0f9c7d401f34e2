"""A job one of whose processes is killed at step 17 of its first life, for test_distributed.py."""

import os
import signal
import sys

import numpy as np
import torch
from job import RECIPE
from tiny import tiny_images, tiny_model

from mae_lib.training import pretrain as loop
from mae_lib.training.distributed import joined

torch.set_num_threads(1)
loop.CHECK_EVERY = 5
drawn, steps = loop.own_masks(tiny_model()), iter(range(10**9))
first_life = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"


def masks(index, generator):
    if next(steps) == 17 and os.environ["RANK"] == "1" and first_life:
        os.kill(os.getpid(), signal.SIGKILL)
    return drawn(index, generator)


with joined() as here:
    history = loop.pretrain(tiny_model(), tiny_images(), RECIPE, checkpoint=sys.argv[1],
                            every_seconds=0.0, masks=masks, backend="eager", progress=False)
    if here.first:
        np.save(f"{sys.argv[1]}/losses.npy", history.losses)
        print(f"{history.images_per_second:.0f} images/s, {len(history.losses)} losses")
