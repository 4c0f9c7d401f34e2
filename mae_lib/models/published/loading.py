"""A model of ours from a published file of weights, every tensor accounted for.

For the files of He et al. (encoders, whole autoencoders, fine-tuned classifiers, linear probes),
ViTs of timm and BEiT's kin, and SimMIM's ViTs. What is in a file is told by
:mod:`mae_lib.models.published.recognition`, how its names differ by
:mod:`mae_lib.models.published.conversion`. Models that our own
:func:`mae_lib.models.weights.save_model` wrote come back by its ``load_model``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mae_lib.models.classifier import Classifier
from mae_lib.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.patches import patch_grid
from mae_lib.models.positions import moved_positions, resample_patches
from mae_lib.models.published.assembly import Plan, encoder_of, network
from mae_lib.models.published.conversion import SHARED, converted
from mae_lib.models.published.recognition import Description, recognised
from mae_lib.models.relative import share_table
from mae_lib.models.simmim import RATIO as SIMMIM_RATIO
from mae_lib.models.targets import TARGETS
from mae_lib.models.weight_files import check_names_and_shapes, read_file, some
from mae_lib.models.weights import POSITIONS

RATIOS = {"mae": 0.75, "simmim": SIMMIM_RATIO}  # of the papers
# Beginnings of names in our modules, and in files.
NAMES = {"encoder": {}, "classifier": {"encoder.": ""}, "linear probe": {"encoder.": ""},
         "mae": {"encoder.": "", "decoder.mask_token": "mask_token", "decoder.": "decoder_"},
         "simmim": {"encoder.": "", "show.token": "mask_token", "decoder.pred.": "decoder.0."}}


class Published(NamedTuple):
    """What :func:`load_published` returns.

    Attributes:
        model: Encoder, MaskedAutoencoder or Classifier, in evaluation mode on the CPU.
        description: of the file; sizes are those of the file, not those asked for.
        loaded: number of the file's tensors that are in the model.
        aside: names of what is not, with the reason.
        notes: what was done on the way, a part of a sentence each.
    """

    model: Encoder | MaskedAutoencoder | Classifier
    description: Description
    loaded: int
    aside: dict[str, str]
    notes: tuple[str, ...]

    @property
    def encoder(self) -> Encoder:
        """The encoder alone, for features and attention; without its last norm where a classifier
        normalises after pooling."""
        return encoder_of(self.model)

    @property
    def report(self) -> str:
        """All of it in a few sentences."""
        left = "; ".join(f"{some([n for n in self.aside if self.aside[n] == why])} ({why})"
                         for why in dict.fromkeys(self.aside.values()))
        return (f"{self.description.sentence}. {self.loaded} tensors loaded; left aside: "
                f"{left or 'nothing'}. On the way: {'; '.join(self.notes)}.")


def load_published(path: str | Path, *, size: int | tuple[int, int] | None = None,
                   patch: int | None = None, heads: int | None = None,
                   decoder_heads: int | None = None, pool: str | None = None,
                   target: str | None = None, ratio: float | None = None,
                   mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD,
                   antialias: bool = False) -> Published:
    """Build the model that a local file holds; its kind and sizes come from the file itself.

    Args:
        size: image side, or height and width, in pixels, if it shall not be the file's. Fixed
            positions are computed for it, trained ones interpolated (bicubic).
        patch: side of a patch in pixels, if it shall not be the file's: the patch projection is
            resampled. Not for models that predict patches.
        heads, decoder_heads: where the widths are not those of a published size.
        pool: ``"mean"`` for a classifier that averages normalised patches although it has a class
            token; nothing in the file shows it.
        target: of the pretraining of an autoencoder, where the file does not say.
        ratio: of the masks that the model draws; the file's, or the paper's.
        mean, std: standardisation of each channel, in [0, 1] units. ImageNet's is right for MAE
            and SimMIM; some of timm's models have .5 and .5.
        antialias: as in :func:`mae_lib.models.positions.resample_positions`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged; another kind of network; tensors missing, left over or of another
            shape; something that the file does not say and was not given, or contradicts.
    """
    file = read_file(path)
    weights, notes, aside = converted(file.weights, path)
    known, loaded = recognised(weights, file.settings, path), len(file.weights) - len(aside)
    heads = _settled("heads", heads, known.heads, path)
    if known.kind == "mae":
        decoder_heads = _settled("decoder_heads", decoder_heads, known.decoder[2], path)
        target = _target(target, known, path)
    size = known.size if size is None else (size, size) if isinstance(size, int) else tuple(size)
    plan = Plan(size, patch or known.patch, heads, decoder_heads, _pool(pool, known), target,
                _ratio(ratio, known), mean, std)
    weights, resized = _resized(weights, known, plan, antialias)
    model = network(known, plan, "fc_norm.weight" in weights)
    _fill(model, weights, known, path)
    if known.kind == "simmim" and any(name.endswith(SHARED) for name in file.weights):
        share_table(model.encoder)
    notes = (*notes, *resized, *_assumptions(plan, ratio, known))
    return Published(model.eval(), known, loaded, aside | dict.fromkeys(file.beside, "no weights"),
                     notes)


def _settled(name: str, given, found, path: str | Path):
    """What was given or what the file says, which must be the same if it is both."""
    if given is None and found is None:
        raise ValueError(f"{name} must be given for {path}, whose tensors and settings do not "
                         "show it")
    if given is not None and found is not None and given != found:
        raise ValueError(f"{name} must be {found!r}, as in {path}, got {given!r}")
    return found if given is None else given


def _target(target: str | None, known: Description, path: str | Path) -> str:
    if target is not None and target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    certain = target is None or known.source != "name"  # a name may mislead
    return _settled("target", target, known.target if certain else None, path)


def _ratio(ratio: float | None, known: Description) -> float | None:
    found = RATIOS.get(known.kind) if known.ratio is None else known.ratio
    return found if ratio is None else ratio


def _pool(pool: str | None, known: Description) -> str | None:
    if pool is not None and pool != known.pool and (pool, known.pool) != ("mean", "cls"):
        raise ValueError(f"pool must be {known.pool!r} for this {known.kind}, got {pool!r}")
    return known.pool if pool is None else pool


def _resized(weights: dict[str, Tensor], known: Description, plan: Plan,
             antialias: bool) -> tuple[dict[str, Tensor], list[str]]:
    """Weights for the grid and the patch that are asked for, and what was done."""
    resized, notes, grid = dict(weights), [], patch_grid(plan.size, plan.patch)
    if plan.patch != known.patch:
        if known.kind in RATIOS:
            raise ValueError(f"patch must be {known.patch}, since the {known.kind} predicts its "
                             f"pixels, got {plan.patch}")
        name = "patch_embed.proj.weight"
        resized[name] = resample_patches(weights[name], plan.patch)
        notes.append(f"{name} resampled from {known.patch} to {plan.patch} pixels")
    if known.positions == "relative":
        return resized | _no_positions(known, grid), notes
    for name in POSITIONS:
        if name in weights and grid != known.grid:
            resized[name], way = moved_positions(weights[name], known.grid, grid,
                                                 antialias=antialias)
            notes.append(f"{name} {way}")
    return resized, notes


def _no_positions(known: Description, grid: tuple[int, int]) -> dict[str, Tensor]:
    if grid != known.grid:
        raise ValueError(f"size must give {known.grid[0]}x{known.grid[1]} patches, since relative "
                         f"positions are not interpolated, got {grid[0]}x{grid[1]}")
    return {"pos_embed": torch.zeros(1, 1 + grid[0] * grid[1], known.width)}


def _fill(model: nn.Module, weights: dict[str, Tensor], known: Description,
          path: str | Path) -> None:
    """The weights become the model's, every name and shape accounted for."""
    names = {own: _name_in_file(own, known.kind) for own in model.state_dict()}
    expected = {names[own]: tensor for own, tensor in model.state_dict().items()}
    check_names_and_shapes(weights, expected, path)
    model.load_state_dict({own: weights[name] for own, name in names.items()}, assign=True)


def _name_in_file(own: str, kind: str) -> str:
    for beginning, theirs in NAMES[kind].items():
        if own.startswith(beginning):
            return theirs + own.removeprefix(beginning)
    return own


def _assumptions(plan: Plan, ratio: float | None, known: Description) -> list[str]:
    """What the model rests on that is not in the file."""
    notes = [] if known.heads else [f"{plan.heads} heads as asked"]
    if known.kind in RATIOS and ratio is None and known.ratio is None:
        notes.append(f"ratio {plan.ratio} is the paper's, the file has none")
    if (tuple(plan.mean), tuple(plan.std)) != (IMAGENET_MEAN, IMAGENET_STD):
        return [*notes, "images standardised as asked"]
    doubt = known.source is None and known.kind in ("encoder", "classifier")
    return [*notes, "images standardised by ImageNet's mean and deviation"
            + (", an assumption: some of timm's models take .5 and .5" if doubt else "")]
