"""The smallest models of clips, and a set of clips that trains them."""

import numpy as np
import torch

from mae_lib.models.clips.methods import mae_st, video_mae
from mae_lib.models.clips.siamese import siam_mae

TINY = {"size": 16, "frames": 4, "width": 16, "depth": 1, "heads": 2, "decoder_width": 8}
METHODS = {"mae_st": mae_st, "video_mae": video_mae, "siam_mae": siam_mae}


def tiny(name: str, seed: int = 0, **options):
    """16 px, 4 frames; 32 tubelets, or 16 patches a frame of which 4 stay visible."""
    options = {"ratio": 0.75} | options if name == "siam_mae" else options
    return METHODS[name]("toy", seed=seed, **TINY | options)


class ClipSet:
    """What `pretrain` asks of a set: a length, a size, batches and a fingerprint."""

    size = (16, 16)

    def __init__(self, clips: np.ndarray, fingerprint: str = "waves"):
        self.clips, self.fingerprint = clips, fingerprint

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, index) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.clips[index])).float() / 255


def waves(count: int = 4, frames: int = 4, side: int = 16) -> ClipSet:
    """Coloured waves that move, each on its own way."""
    draw = np.random.default_rng(0).uniform(-1, 1, (count, 6, 1, 1, 1))
    t, y, x = np.meshgrid(np.arange(frames), np.arange(side), np.arange(side), indexing="ij")
    phase = 3 * draw[:, 0] + draw[:, 1] * t + (draw[:, 2] * y + draw[:, 3] * x) / 4
    clips = np.stack([np.sin(phase + 2 * draw[:, 4] + k * draw[:, 5]) for k in range(3)], axis=1)
    return ClipSet((127.5 + 127.5 * clips).astype(np.uint8))
