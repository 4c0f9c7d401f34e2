"""The smallest model and image set that train."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from mae_lib.data.images import ImageSet
from mae_lib.models.methods import MaskedAutoencoder, mae


def tiny_model(seed: int = 0) -> MaskedAutoencoder:
    """16 px, 16 patches of which 4 stay visible, one block each side."""
    return mae("toy", seed=seed, size=16, width=16, depth=1, heads=2, decoder_width=8)


def tiny_images(count: int = 40, size: int = 16) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return ImageSet(pixels, np.zeros(count, np.int64), ("noise",), "noise", "noise")


def environment() -> dict[str, str]:
    """For a process of its own that finds these helpers and uses one thread."""
    here = Path(__file__).parent
    return os.environ | {"PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here}",
                         "PJRT_DEVICE": "CPU", "OMP_NUM_THREADS": "1"}


def torchrun(script: Path, *arguments: str, restarts: int = 0) -> subprocess.CompletedProcess:
    """Two processes of a job that run ``script``; where it fails, the output says why.

    torchrun looks at them every five seconds, not ten times in one, and ends the others when one
    has died: on a busy machine they would not always have told their reason by then.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
               "--monitor-interval=5", f"--max-restarts={restarts}", str(script), *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment(),
                          capture_output=True, text=True, timeout=900)
