"""The methods of clips and of world models by name: who builds them, in which sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import nn

from mae_lib.models.clips.methods import mae_st, video_mae
from mae_lib.models.clips.presets import MAE_ST, SIAM_MAE, VIDEO_MAE
from mae_lib.models.clips.siamese import siam_mae
from mae_lib.models.worlds.autoencoder import mwm
from mae_lib.models.worlds.memory import mwm_memory
from mae_lib.models.worlds.presets import PAIRS, WORLDS
from mae_lib.models.worlds.siamese import siam_mwm
from mae_lib.models.worlds.views import mwm_views


class Kind(NamedTuple):
    """A builder, its sizes and what else it is told.

    Args:
        clips: whether it learns from clips; from single frames otherwise.
        partner: what it sees beside a frame, see :mod:`mae_lib.studies.partners`.
        sampled: whether it is told a sampling of masks.
        symmetric: whether both frames of a pair are masked alike.
    """

    build: Callable[..., nn.Module]
    presets: Mapping[str, Mapping]
    options: Mapping = {}
    clips: bool = True
    partner: str = ""
    sampled: bool = False
    symmetric: bool = False

    def inputs(self, shape: Mapping) -> tuple[int, ...]:
        """Of one item that it learns from: a frame ``(3, H, W)``, with T frames of a clip after the
        channels or two views before them; ``shape`` has size and, of clips, frames."""
        views = (2,) if self.partner == "view" else ()
        frames = (shape["frames"],) if self.clips or self.partner == "past" else ()
        return (*views, 3, *frames, shape["size"], shape["size"])


REWARDED = "mwm reward"
KINDS = {
    "mae-st": Kind(mae_st, MAE_ST, sampled=True),
    "videomae": Kind(video_mae, VIDEO_MAE, sampled=True),
    "siam-mae": Kind(siam_mae, SIAM_MAE),
    "siam-mae symmetric": Kind(siam_mae, SIAM_MAE, symmetric=True),
    "mwm": Kind(mwm, WORLDS, {"reward": False}, clips=False),
    REWARDED: Kind(mwm, WORLDS, clips=False),
    "mwm patches": Kind(mwm, WORLDS, {"reward": False, "stem": False}, clips=False),
    "mwm views": Kind(mwm_views, WORLDS, clips=False, partner="view"),
    "mwm view hidden": Kind(mwm_views, WORLDS, {"whole": True}, clips=False, partner="view"),
    "mwm memory": Kind(mwm_memory, WORLDS, clips=False, partner="memory"),
    "siam-mwm": Kind(siam_mwm, PAIRS, clips=False, partner="past")}
BUILDERS = {kind.build.__name__: kind.build for kind in KINDS.values()}  # as configs name them


def build(name: str, preset: str, *, ratio: float, sampling: str | None = None,
          seed: int | None = None, **settings) -> nn.Module:
    """One of ``KINDS`` with its initial weights.

    Args:
        ratio: share that is hidden; of both frames where a pair is masked alike.
        sampling: of masks; the method's own if None.
        settings: mean, std, target and sizes.

    Raises:
        ValueError: an unknown name; a sampling that the method does not know; what the builder
            refuses.
    """
    if name not in KINDS:
        raise ValueError(f"name must be one of {', '.join(KINDS)}, got {name!r}")
    kind = KINDS[name]
    if sampling and not kind.sampled:
        raise ValueError(f"sampling must be left open for {name}, got {sampling!r}")
    chosen = dict(kind.options) | ({"past_ratio": ratio} if kind.symmetric else {})
    if sampling:
        chosen["sampling"] = sampling
    return kind.build(preset, ratio=ratio, seed=seed, **chosen, **settings)


def rebuilt(config: Mapping) -> nn.Module:
    """A model of a ``config`` that one of the builders wrote, with any weights."""
    rest = {name: value for name, value in config.items() if name != "method"}
    return BUILDERS[config["method"]](**rest, seed=0)
