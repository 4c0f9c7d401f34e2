"""What the page on masked autoencoders of video shows: masks over time, films, series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import torch

from mae_lib import studies
from mae_lib.data.atari import clip_set, record
from mae_lib.data.clip_sets import DIRECTIONS, FRAMES, directions
from mae_lib.evaluation.filled_clips import (
    MOVES,
    RATIOS,
    copied,
    filled,
    shown_pixels,
    to_frames,
)
from mae_lib.figures import masks
from mae_lib.ledger.design_rows import HIDDEN
from mae_lib.ledger.summary import summarise, with_interval
from mae_lib.ledger.video_rows import AGNOSTIC, MAE_ST, TUBES, before
from mae_lib.models.clips.masks import SAMPLERS
from mae_lib.models.clips.targets import predicted_frames
from mae_lib.models.clips.tubelets import clip_grid
from mae_lib.models.masks import Mask
from mae_lib.pages import methods
from mae_lib.studies import Plan, Setting, Sweep, design, model, video
from mae_lib.studies.sets import PRESET, images_of
from mae_lib.studies.settings import DATASETS

GREY = np.uint8(round(255 * masks.GREY))  # where a film hides something
CLASS, MOTION, TUNED = "class of the clip (%)", "motion of the clip (%)", "clips fine-tuned (%)"
OF_ONE_WORLD = (video.DATASET, "menagerie")
Films = dict[str, np.ndarray]


def moving_things(setting: Setting, count: int) -> Films:
    """Test clips for :func:`mae_lib.figures.player`, with class and direction of the first thing
    that moves in each."""
    clips = images_of(setting, "test", count)
    ways = directions("test", count, setting.size, PRESET)
    return {f"{i}: {clips.classes[label]}, {DIRECTIONS[way]}": _film(clips.batch([i - 1])[0])
            for i, (label, way) in enumerate(zip(clips.labels, ways, strict=True), start=1)}


def gameplay(games: Iterable[str], setting: Setting, start: int) -> Films:
    """One clip of each game, at the size that a setting's network sees, from frame ``start`` on."""
    return {DATASETS[game]: clip_set(record(game, start + FRAMES, size=setting.size), FRAMES)
            .pixels(np.array([-1]))[0] for game in games}


def samplings(setting: Setting, clip: int = 0, seed: int = 0
              ) -> tuple[np.ndarray, dict[str, np.ndarray], Films]:
    """One clip under each sampler of MAE-ST's table: the first frame of every time slice
    ``[S,3,H,W]`` in [0, 1] and what is hidden of it, ``{title: [S,h,w]}``, as
    :func:`mae_lib.figures.mask_grid` draws them; and films of all frames."""
    frames, size = images_of(setting, "test", clip + 1).batch([clip]), setting.shape
    hidden, films = {}, {}
    for title, mask in drawn_masks(setting, 1, seed).items():
        hidden[title] = mask.binary().bool().view(_grid(setting)).numpy()
        films[title] = _film(frames[0], shown_pixels(mask, _grid(setting), size["time"],
                                                     size["patch"])[0])
    return frames[0, :, ::size["time"]].transpose(0, 1).numpy(), hidden, films


def drawn_masks(setting: Setting, count: int, seed: int = 0) -> dict[str, Mask]:
    """So many masks of each sampler at the ratio that MAE-ST's table has for it."""
    generator = torch.Generator().manual_seed(seed)
    return {f"{how}, {ratio:g}": SAMPLERS[how](count, _grid(setting), ratio, generator=generator)
            for how, (_, ratio) in MAE_ST.items()}


def copying(settings: Iterable[Setting], count: int) -> pd.DataFrame:
    """What the frames around give away: of the hidden pixels the share whose place shows in another
    frame, and the squared error of copying these, and the mean of each pixel elsewhere, over that
    of the mean alone. One row a sampler, two columns a data set; no network."""
    columns: dict[str, dict] = {}
    for setting in settings:
        x, size = images_of(setting, "test", count).batch(slice(count)), setting.shape
        at, mean = predicted_frames(size["frames"], _grid(setting)[0]), x.mean((0, 2))
        for how, mask in drawn_masks(setting, len(x)).items():
            shown = shown_pixels(mask, _grid(setting), size["time"], size["patch"])
            hidden, row = ~shown[:, at], columns.setdefault(how, {"hidden": how})
            error, all_ = (((y - x[:, :, at]).square().sum(1) * hidden).sum().item()
                           for y in (copied(x, shown, at, mean), mean[:, None]))
            there = (hidden & shown.any(1, keepdim=True)).sum() / hidden.sum()
            row |= {f"{DATASETS[setting.dataset]}: seen elsewhere (%)": 100 * there.item(),
                    f"{DATASETS[setting.dataset]}: error of copying": error / all_}
    return pd.DataFrame(columns.values())


def drawn(settings: Mapping[str, Setting], clip: int, seed: int = 0) -> Films:
    """A test clip, and what networks see and draw of it under their own masks: at the frames that
    MAE-ST predicts.

    With a normalised target mean and spread of the original are put back, see
    :func:`mae_lib.evaluation.filled_clips.to_frames`; what the means alone look like comes second.
    """
    films: Films = {}
    for name, setting in settings.items():
        network, clips = model(setting), images_of(setting, "test", clip + FRAMES)
        x = clips.batch([min(clip, len(clips) - 1)])
        encoder, mask = network.encoder, network.sample_mask(1, torch.Generator().manual_seed(seed))
        at = predicted_frames(encoder.frames, encoder.grid[0])
        shown = shown_pixels(mask, encoder.grid, encoder.time, encoder.patch)[0, at]
        films.setdefault("original", _film(x[0, :, at]))
        if setting.target == "normalised":
            nothing = torch.zeros(encoder.patches(x).shape[:2] + network.decoder.pred.bias.shape)
            films.setdefault("means alone", _film(to_frames(nothing, x, network)[0]))
        films |= {f"{name}: visible": _film(x[0, :, at], shown),
                  f"{name}: drawn": _film(filled(network, x, mask)[0])}
    return films


def over_baselines(plan: Plan) -> tuple[pd.DataFrame, Sweep]:
    """One row a row of :func:`mae_lib.studies.video.games`: errors of hidden pixels over those of
    the baselines, of all of them and of what moves."""
    rows, names = video.games(plan), [name + end for end in ("", MOVES) for name in RATIOS]
    sweep = plan.sweep(studies.FILLING, [s for runs in rows.values() for s in runs])
    lines = []
    for name, runs in rows.items():
        found = summarise(sweep.of(runs).records)
        texts = dict(zip(found.metric, with_interval(found, 2), strict=True))
        lines.append({"hidden": name, **{metric: texts.get(metric) for metric in names}})
    return pd.DataFrame(lines), sweep


def by_ratio(plan: Plan) -> tuple[pd.DataFrame, list[pd.DataFrame], list[Sweep]]:
    """Rows for curves by the hidden share, of clips and of images: ``panel``, ``ratio``, ``value``,
    ``low``, ``high``; and what each gains from one ratio to the next that the claim compares."""
    parts = {"clips, class": (CLASS, video.ratios(plan)),
             "clips, motion": (MOTION, video.ratios(plan)),
             "images, class": ("linear probe (%)", design.series(plan, HIDDEN))}
    curves, steps, sweeps = [], [], []
    for panel, (measure, levels) in parts.items():
        rows = {f"{ratio:g}": [s for s in settings if s.dataset in OF_ONE_WORLD]
                for ratio, settings in levels.items()}
        found, more = methods.measured(plan, rows, measure)
        curves.append(found.assign(panel=panel, ratio=found.row.astype(float)))
        sweeps += more
        if {"0.75", "0.9"} <= rows.keys():
            steps.append(methods.gaps(plan, rows, measure, [("0.9", "0.75")]).assign(of=panel))
    return pd.concat(curves, ignore_index=True), steps, sweeps


def by_count(plan: Plan) -> tuple[pd.DataFrame, pd.DataFrame, list[Sweep]]:
    """Rows for curves by the number of clips, ``panel`` the method and ``row`` with or without
    pretraining; and what pretraining adds, one row a method and number."""
    curves, gains, sweeps = [], [], []
    for name in (TUBES, AGNOSTIC):
        for arm, words in ((before(name), "labels alone"), (name, "pretrained")):
            for count, settings in video.sizes(plan)[arm].items():
                found, more = methods.measured(plan, {words: settings}, TUNED)
                curves.append(found.assign(panel=name, clips=count))
                sweeps += more
        for count in plan.clip_counts:
            rows = {row: video.sizes(plan)[row][count] for row in (name, before(name))}
            gain = methods.gaps(plan, rows, TUNED, [(name, before(name))])
            gains.append(gain.assign(method=name, clips=count).drop(columns="difference"))
    return pd.concat(curves), _first(pd.concat(gains), "method", "clips"), sweeps


def differences(steps: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables of :func:`mae_lib.pages.methods.gaps` below each other, what each is ``of`` first."""
    return _first(pd.concat(steps), "of")


def _first(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    return table[[*columns, *(c for c in table if c not in columns)]].reset_index(drop=True)


def _grid(setting: Setting) -> tuple[int, int, int]:
    size = setting.shape
    return clip_grid(size["frames"], size["size"], size["time"], size["patch"])


def _film(clip: torch.Tensor, shown: torch.Tensor | None = None) -> np.ndarray:
    """Bytes ``[3,T,H,W]`` of a clip in [0, 1], grey where it is not ``shown [T,H,W]``."""
    frames = np.rint(255 * clip.numpy()).astype(np.uint8)
    return frames if shown is None else np.where(shown.numpy(), frames, GREY)
