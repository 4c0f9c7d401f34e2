"""What the page on SiamMAE shows: pairs of frames, and labels that are carried through a clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from mae_lib import studies
from mae_lib.data.clip_sets import drawn
from mae_lib.data.menagerie.tables import PARTS
from mae_lib.evaluation.pixels import leak, to_pixels
from mae_lib.evaluation.propagation import frame_features, label_shares, propagate
from mae_lib.evaluation.tracking import label_map, mark_count
from mae_lib.figures import COLOURS
from mae_lib.ledger.summary import only, summarise, with_interval
from mae_lib.models.clips.cross import PairMask
from mae_lib.models.clips.siamese import frame_at
from mae_lib.models.patches import patch_grid
from mae_lib.pages import methods
from mae_lib.studies import Plan, Setting, Sweep, model, video
from mae_lib.studies.sets import PRESET, images_of
from mae_lib.studies.settings import DRAWN_AS

MEASURE, GREY = "J&F", 0.55
BOUNDS = {"floor: still": "labels stay where they were", "ceiling: cells": "cells told the truth"}
INK = 0.6  # share of a label's colour in a film
TINTS = np.array([to_rgb(COLOURS[i]) for i in (1, 0)])  # of the first and the second thing


def pairs(setting: Setting, count: int, seed: int = 0) -> tuple[dict[str, np.ndarray], list[str]]:
    """Test clips as a network of pairs sees and draws them: rows of pictures ``[count,3,H,W]`` in
    [0, 1] for :func:`mae_lib.figures.reconstruction_grid`, and how far apart their frames are.

    Mean and spread of the hidden patches are put back from the original, and what the means alone
    look like stands above; visible patches are as they were.
    """
    network, clips = model(setting), images_of(setting, "test", count).batch(slice(count))
    chosen = network.sample_mask(count, torch.Generator().manual_seed(seed))
    past, future = frame_at(clips, chosen.first), frame_at(clips, chosen.second)
    with torch.no_grad():
        found = to_pixels(network.predict(clips, chosen), future, network).pixels
    shown, before = (_shown(places, network.encoder) for places in (chosen.visible, chosen.shown))
    rows = {"past": past, "past, as seen": torch.where(before, past, GREY), "future": future,
            "future, as seen": torch.where(shown, future, GREY),
            "means alone": leak(future, network).pixels,
            "future, drawn": torch.where(shown, future, found)}
    if before.all():
        del rows["past, as seen"]
    return {name: frames.numpy() for name, frames in rows.items()}, _gaps(chosen)


def _gaps(chosen: PairMask) -> list[str]:
    apart = (chosen.second - chosen.first).tolist()
    return [f"{n} frame{'s' * (n > 1)} later" for n in apart]


def _shown(places: Tensor, encoder) -> Tensor:
    """Pixels of visible patches, bool ``[B,1,H,W]``."""
    cells = torch.zeros(len(places), encoder.grid[0] * encoder.grid[1], dtype=torch.bool)
    cells = cells.scatter(1, places, True).unflatten(1, encoder.grid).unsqueeze(1)
    return cells.repeat_interleave(encoder.patch, 2).repeat_interleave(encoder.patch, 3)


def tracked(plan: Plan) -> tuple[pd.DataFrame, list[Sweep]]:
    """Rows as of :func:`mae_lib.pages.methods.measured`: the encoders of
    :func:`mae_lib.studies.video.pairs` by J&F, between the two bounds that need no encoder."""
    found, sweeps = methods.measured(plan, video.pairs(plan), MEASURE)
    kind = studies.TRACKING_BOUNDS
    sweeps.append(plan.sweep(kind, studies.program(plan)[kind]))
    bounds = only(summarise(sweeps[-1].records), metric="j&f")
    bounds = bounds.assign(row=bounds.protocol.map(BOUNDS), measure=MEASURE, panel=MEASURE,
                           dataset=DRAWN_AS[video.DATASET], text=with_interval(bounds, 3))
    floor, ceiling = (bounds[bounds.protocol == name] for name in BOUNDS)
    return pd.concat([floor, found, ceiling], ignore_index=True)[list(found)], sweeps


def scores(plan: Plan) -> pd.DataFrame:
    """One row an encoder: every score of the propagated labels, mean and interval."""
    lines = []
    for name, settings in video.pairs(plan).items():
        found = summarise(plan.sweep(studies.PROPAGATION, settings).records)
        texts = dict(zip(found.metric, with_interval(found, 3), strict=True))
        lines.append({"encoder": name} | {metric.upper(): text for metric, text in texts.items()})
    return pd.DataFrame(lines)


def films(settings: Mapping[str, Setting], clip: int) -> dict[str, np.ndarray]:
    """A test clip for :func:`mae_lib.figures.player` with the things in it tinted: where they are,
    and where the networks of some settings carry the labels of the first frame."""
    first = next(iter(settings.values()))
    clips = drawn("test", clip + 1, first.size, PRESET)
    x = torch.from_numpy(clips.images[clip:clip + 1]).float() / 255
    marks = torch.from_numpy(clips.marks[clip:clip + 1])
    true = torch.where(marks > 0, (marks.long() - 1) // PARTS + 1, 0)
    found = {"true labels": _tinted(x[0], true[0])}
    for name, setting in settings.items():
        labels = carried(model(setting).encoder, x, marks)
        found[name] = _tinted(x[0], labels[0])
    return found


@torch.no_grad()
def carried(encoder: Callable, x: Tensor, marks: Tensor) -> Tensor:
    """1 + number of the thing that is taken to be at each pixel, 0 for none: ``[B, T, H, W]``."""
    grid = patch_grid(encoder.size, encoder.patch)
    shares = label_shares(marks[:, 0], mark_count(marks), grid)
    soft = propagate(frame_features(encoder, x), shares, grid)
    things = soft[..., 1:].unflatten(-1, (-1, PARTS)).sum(-1)
    return label_map(torch.cat([soft[..., :1], things], dim=-1), grid, tuple(marks.shape[-2:]))


def _tinted(clip: Tensor, labels: Tensor) -> np.ndarray:
    """Bytes ``[3,T,H,W]`` of a clip ``[3,T,H,W]`` in [0, 1], in the tints of its labels."""
    tints = torch.from_numpy(TINTS).float()[labels.clamp(min=1) - 1].movedim(-1, 0)
    mixed = torch.where(labels > 0, (1 - INK) * clip + INK * tints, clip)
    return (255 * mixed).round().byte().numpy()
