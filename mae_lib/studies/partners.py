"""World models that see something beside a frame of a game, and whether they use it.

The talk by D. Kim names them: MWM of several views, MWM of several modalities, SiamMAE in MWM's
style. It gives no numbers and no details; what is trained here is described where the models are
(:mod:`mae_lib.models.worlds`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mae_lib.data.atari import Recording, clip_set, frame_set, moving, record
from mae_lib.data.atari.recording import fingerprint_of
from mae_lib.data.images import ImageSet
from mae_lib.evaluation.partners import (
    OVER_STRANGERS,
    Draw,
    Drawn,
    after_past,
    beside_memory,
    memory_errors,
    partner_ratios,
    second_view,
    strangers,
)
from mae_lib.evaluation.records import EvalRecord, not_tested, to_value
from mae_lib.ledger.world_rules import RATIO
from mae_lib.models.clips.cross import PairMask
from mae_lib.models.masks import nothing_hidden, random_mask
from mae_lib.models.wider import build
from mae_lib.models.worlds.groups import beside, part_mask
from mae_lib.models.worlds.memory import WORDS
from mae_lib.models.worlds.views import two_crops
from mae_lib.studies.family import Rows
from mae_lib.studies.machine import decoders, device
from mae_lib.studies.plan import Plan
from mae_lib.studies.pretraining import checkpoint_folder
from mae_lib.studies.sets import PLAYERS
from mae_lib.studies.settings import Setting, without_seed
from mae_lib.studies.study import Study
from mae_lib.studies.video import FUTURE
from mae_lib.studies.worlds import FAINT
from mae_lib.training.pretrain import own_masks, pretrain
from mae_lib.training.schedule import Recipe

METHODS = {"two views": ("mwm views", RATIO), "two views, one hidden": ("mwm view hidden", RATIO),
           "frame and memory": ("mwm memory", RATIO), "two frames": ("siam-mwm", FUTURE)}
GAP = 4  # frames from the past one to the future one that is tested
SHOWN = 4  # moments of which pictures are kept
HIDDEN_BYTES = "hidden bytes of the memory"


def rows(plan: Plan) -> Rows:
    """By what is seen beside a frame, in the first of the games."""
    common = plan.beside_images(plan.world_views, plan.world_frames)
    return {name: [_with_ratio(ratio, Setting(dataset=game, method=method, seed=seed, **common))
                   for game in plan.world_games[:1] for seed in plan.world_seeds]
            for name, (method, ratio) in METHODS.items()}


def _with_ratio(ratio: float, setting: Setting) -> Setting:
    """At most all cells of the grid but two, so that toys can be built, too."""
    cells = (setting.size // setting.vit_patch) ** 2
    return replace(setting, ratio=min(ratio, 1 - 2 / cells))


@dataclass(frozen=True, eq=False)
class TwoViews:
    """Two corners of every frame as a set to train on: views ``[B,2,3,H,W]``."""

    frames: ImageSet
    size: tuple[int, int]

    @property
    def fingerprint(self) -> str:
        return self.frames.fingerprint

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, index) -> Tensor:
        return two_crops(self.frames.batch(index), self.size)


class Case(NamedTuple):
    """How a network is tested: what it draws, in which regions, of which frames ``[N,3,H,W]``."""

    draw: Draw
    regions: dict[str, np.ndarray]
    frames: np.ndarray


def played(setting: Setting, split: str, count: int) -> Recording:
    """What the player of a split sees; larger frames where a network sees corners of them."""
    return record(setting.dataset, count, seed=PLAYERS[split], size=_side(setting))


def _side(setting: Setting) -> int:
    return setting.size * 3 // 2 if setting.kind.partner == "view" else setting.size


def seen(setting: Setting, split: str, count: int):
    """The set of frames, views or clips that a network learns from."""
    recording = played(setting, split, count)
    if setting.kind.partner == "past":
        return clip_set(recording, setting.shape["frames"])
    frames = frame_set(recording)
    size = (setting.size, setting.size)
    return TwoViews(frames, size) if setting.kind.partner == "view" else frames


def trained(setting: Setting) -> tuple[nn.Module, np.ndarray]:
    """A network and its losses."""
    images = seen(setting, "train", setting.train_images)
    source = images.frames if setting.kind.partner == "view" else images
    mean, std = source.standardisation()
    network = build(setting.method, setting.preset, ratio=setting.ratio, target=setting.target,
                    seed=setting.seed, mean=mean, std=std, **setting.shape)
    masks = own_masks(network)
    if setting.kind.partner == "memory":
        masks = beside(network, played(setting, "train", setting.train_images).memory)
    recipe = Recipe(views=setting.views, batch=setting.batch, lr=setting.lr)
    found = pretrain(network, images, recipe, seed=setting.seed, masks=masks, device=device(),
                     checkpoint=checkpoint_folder(setting), workers=decoders())
    return network, found.losses


def _of_views(setting: Setting, network: nn.Module, count: int, ratio: float) -> Case:
    """The second view, of which ``ratio`` is hidden, beside a quarter of the first."""
    views, side = seen(setting, "test", count), setting.size
    grid = network.encoder.grid

    def draw(rows: np.ndarray, whose: np.ndarray) -> Drawn:
        generator = _generator(rows)
        masks = tuple(part_mask(len(rows), grid, share, generator=generator)
                      for share in (setting.ratio, ratio))
        return second_view(network, views.batch(rows), views.batch(whose), masks)

    both = np.zeros((count, side, side), bool)
    overlap = 2 * side - _side(setting)
    both[:, :overlap, :overlap] = True
    frames = views.frames.images[..., -side:, -side:]
    return Case(draw, _by_motion(frames) | {"in both views": both, "in one view": ~both}, frames)


def _of_memory(setting: Setting, network: nn.Module, count: int) -> Case:
    images, memory, masks = _frames_and_memory(setting, network, count)

    def draw(rows: np.ndarray, whose: np.ndarray) -> Drawn:
        return beside_memory(network, images.batch(rows), memory[whose], masks(rows))

    return Case(draw, _by_motion(images.images), images.images)


def _of_past(setting: Setting, network: nn.Module, count: int) -> Case:
    clips = seen(setting, "test", count)
    second = clips.pixels(slice(None))[:, :, GAP]

    def draw(rows: np.ndarray, whose: np.ndarray) -> Drawn:
        mask = random_mask(len(rows), network.encoder.grid, setting.ratio,
                           generator=_generator(rows))
        shown = nothing_hidden(len(rows), network.encoder.grid).visible
        first = torch.zeros(len(rows), dtype=torch.long)
        return after_past(network, clips.batch(rows), clips.batch(whose),
                          PairMask(*mask, shown, first, first + GAP))

    return Case(draw, _by_motion(second), second)


def _frames_and_memory(setting: Setting, network: nn.Module, count: int) -> tuple:
    """Test frames, their memories, and masks of both for some of them."""
    recording = played(setting, "test", count)

    def masks(rows: np.ndarray) -> tuple:
        generator = _generator(rows)
        shares = ((network.encoder.grid, setting.ratio),
                  ((1, WORDS), network.config["memory_ratio"]))
        return tuple(part_mask(len(rows), grid, share, generator=generator)
                     for grid, share in shares)

    return frame_set(recording), torch.from_numpy(recording.memory), masks


def _generator(rows: np.ndarray) -> torch.Generator:
    """Of masks: the same ones whenever these frames are drawn, whoever their partners are."""
    return torch.Generator().manual_seed(int(rows[0]))


def _by_motion(frames: np.ndarray) -> dict[str, np.ndarray]:
    moves = moving(frames, threshold=FAINT)
    return {"objects": moves, "still pixels": ~moves}


def cases(setting: Setting, network: nn.Module, count: int) -> dict[str, Case]:
    """By protocol."""
    if setting.kind.partner == "view":
        return {"three quarters of both views hidden": _of_views(setting, network, count,
                                                                  setting.ratio),
                "the second view hidden as a whole": _of_views(setting, network, count, 1.0)}
    if setting.kind.partner == "memory":
        return {"frame beside the memory": _of_memory(setting, network, count)}
    return {"future after the past": _of_past(setting, network, count)}


def bytes_told(setting: Setting, network: nn.Module, count: int) -> float:
    """Error of hidden bytes of the memory beside the true frame over that beside a stranger's."""
    images, memory, masks = _frames_and_memory(setting, network, count)
    rows, drawn = np.arange(count), masks(np.arange(count))
    true, other = (memory_errors(network, images.batch(whose), memory, drawn).nanmean().item()
                   for whose in (rows, strangers(count)))
    return true / other if other else float("nan")


def _measured(setting: Setting, if_stale: str, world_test_frames: int) -> dict:
    """Trained, and tested beside true partners and strangers; pictures of the last protocol."""
    network, losses = trained(setting)
    about = {"setting": without_seed(setting), "seed": setting.seed, "dataset": setting.dataset,
             "split": "test"}
    found, pictures = [], None
    for protocol, case in cases(setting, network, world_test_frames).items():
        found += [_record(about | {"protocol": protocol}, name, value, len(case.frames))
                  for name, value in partner_ratios(case.draw, case.regions).items()]
        pictures = _pictures(case)
    if setting.kind.partner == "memory":
        found.append(_record(about | {"protocol": "memory beside the frame"}, HIDDEN_BYTES,
                             bytes_told(setting, network, world_test_frames), world_test_frames))
    return to_value(found) | {"pictures": pictures, "losses": losses}


def _record(about: dict, name: str, value: float, count: int) -> EvalRecord:
    metric = OVER_STRANGERS.format(name)
    if np.isnan(value):
        return not_tested(f"no hidden pixel is one of {name}", metric=metric, **about)
    return EvalRecord(**about, metric=metric, value=float(value), n=count)


def _pictures(case: Case) -> np.ndarray:
    """Some frames, what is seen of them, and what is drawn beside the true partner and beside a
    stranger's, uint8 ``[SHOWN, 4, 3, H, W]``."""
    count = len(case.frames)
    rows = np.linspace(0, count - 1, min(SHOWN, count)).astype(int)
    true, other = (case.draw(rows, whose) for whose in (rows, strangers(count)[rows]))
    frames = torch.from_numpy(np.ascontiguousarray(case.frames[rows])).float() / 255
    masked = torch.where(true.hidden[:, None], 0.5, frames)
    drawn = torch.stack([frames, masked, true.pixels, other.pixels], dim=1)
    return (drawn * 255).round().to(torch.uint8).numpy()


def _identity(setting: Setting, arguments: dict) -> dict[str, str]:
    return {split: fingerprint_of(setting.dataset, count, seed=PLAYERS[split], size=_side(setting))
            for split, count in (("train", setting.train_images),
                                 ("test", arguments["world_test_frames"]))}


def _none(setting: Setting, **_) -> tuple[Setting, ...]:
    """The study trains its networks itself."""
    return ()


PARTNERS = Study("partners", _measured, ("mae_lib.evaluation.partners",), libraries=("ale-py",),
                 data=_identity, compares=_none)
