"""What the chapters on equations 3 to 8 and Figure 1 of Kong and Zhang (CVPR 2023) show: pictures
through both branches of MAE, and features of pictures with patches dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mae_lib import studies
from mae_lib.evaluation.pixels import grid_of, to_pixels
from mae_lib.evaluation.reconstruction import hidden_pixels, predict
from mae_lib.figures.masks import GREY
from mae_lib.ledger.rows import MAE, PHOTOGRAPH, RMAE, SCRATCH, few
from mae_lib.ledger.siamese import Terms, terms
from mae_lib.ledger.statistics import t_interval
from mae_lib.ledger.summary import with_interval
from mae_lib.models.encoder import take
from mae_lib.models.methods import MaskedAutoencoder
from mae_lib.models.siamese import RMAE as Siamese
from mae_lib.models.siamese import TwoMasks
from mae_lib.studies import Plan, Setting, Study, Sweep
from mae_lib.studies.family import Rows, figure1, rows, tuned
from mae_lib.studies.similarity import INPUTS, REPRESENTATIONS

SAME, OWN, EXACT, BEST, FLAT = ("same decoder", "linear decoder", "no error", "best for this λ",
                                "one colour")
TITLES = ("picture", "T1 shows", "T2 shows", "T1 decoded", "T2 decoded", "T2, linear")
PIXELS = "pooled pixels"
AFTER = {MAE: "MAE, fine-tuned", SCRATCH: "from scratch"}
SHORT = {PHOTOGRAPH: "one photograph"}  # in legends
PANELS = 4  # blocks with a panel of their own, at most
SHUFFLED, RANK = "CKA of shuffled pairs", "effective rank"
EXCESS, CHANGE = "CKA over no pretraining", "change for half"


class Decoded(NamedTuple):
    """Pictures ``images [B,3,H,W]`` through both branches of a network: ``target`` and decodings
    ``[B,L,n]``, ``one`` from what T1 shows, ``two`` from what T2 shows by the same decoder, ``own``
    from that by a linear decoder of its own, which says 0 where T2 shows nothing."""

    images: Tensor
    masks: TwoMasks
    target: Tensor
    one: Tensor
    two: Tensor
    own: Tensor


@torch.no_grad()
def decoded(network: MaskedAutoencoder, images: Tensor, seed: int = 0) -> Decoded:
    """The second half of some images ``[B,3,H,W]`` in [0, 1] through both branches (equation 6).

    The linear decoder turns each token of T2 into its patch. As the constraint of equation 7 asks,
    it is the one of least squared error: on the first half of the images.

    Raises:
        ValueError: fewer than two images.
    """
    half = len(images) // 2
    if not half:
        raise ValueError(f"images must be two or more, got {len(images)}")
    masks = Siamese(network).sample_mask(len(images), torch.Generator().manual_seed(seed))
    one, two = (predict(network, images, mask) for mask in (masks.first, masks.second))
    target = network.target(network.encoder.patches(images))
    own = _linearly(network.encoder(images, masks.visible2).patches, target, masks.visible2, half)
    images, target, one, two, own = (x[half:] for x in (images, target, one, two, own))
    return Decoded(images, TwoMasks(*(m[half:] for m in masks)), target, one, two, own)


def _linearly(codes: Tensor, target: Tensor, shown: Tensor, fitted: int) -> Tensor:
    """What a linear map of tokens ``[B,K,D]`` says of the patches ``shown [B,K]`` that they stand
    for, fitted on the first images; ``[B,L,n]``, 0 elsewhere."""
    codes = torch.cat([codes, torch.ones_like(codes[..., :1])], 2).double()
    goal = take(target, shown).double()
    fit = torch.linalg.lstsq(codes[:fitted].flatten(0, 1), goal[:fitted].flatten(0, 1)).solution
    place = shown[..., None].expand_as(goal)
    return torch.zeros_like(target).scatter(1, place, (codes @ fit).to(target))


def branches(network: MaskedAutoencoder, found: Decoded, count: int) -> dict[str, np.ndarray]:
    """Rows of :func:`mae_lib.figures.reconstruction_grid` with columns ``TITLES``, one an image:
    the picture, what each branch sees of it, and what is decoded where the loss looks; grey
    elsewhere."""
    x, grid, patch = found.images, grid_of(found.images, network), network.config["patch"]
    one, two = (hidden_pixels(m, grid, patch) for m in (found.masks.first, found.masks.second))
    shown = [x, torch.where(one, GREY, x), torch.where(two, GREY, x)]
    for prediction in (found.one, found.two, found.own):
        pixels = to_pixels(prediction, x, network).pixels
        shown.append(torch.where(one & ~two, pixels, GREY))
    pictures = torch.stack(shown, 1)[:count].numpy()
    return {f"{i}": row for i, row in enumerate(pictures, start=1)}


def seconds(found: Decoded, weight: float) -> dict[str, Terms]:
    """The errors of equations 3 to 8 by what stands in the second branch, all where both branches
    are compared.

    ``BEST`` lies between the first decoding and the picture and leaves R-MAE's loss no way down: no
    decoder can say it, since the second branch does not see what the first does. ``FLAT`` is a
    network that says the mean colour of its training images, whatever it sees.
    """
    one, target = found.one, found.target
    pairs = {SAME: (one, found.two), OWN: (one, found.own), EXACT: (one, target),
             BEST: (one, (one + weight * target) / (1 + weight)),
             FLAT: (torch.zeros_like(one), torch.zeros_like(one))}
    return {name: terms(first, second, target, found.masks.compared)
            for name, (first, second) in pairs.items()}


def tabulated(errors: Mapping[str, Terms], weight: float, head: str = "second branch"
              ) -> pd.DataFrame:
    """One row a set of errors: those of equations 3, 7 and 8, the bound, and the share of it that
    MAE's loss makes up (1: the bound is met)."""
    return pd.DataFrame([{
        head: name, "MAE (eq. 3)": e.mae, "siamese (eq. 7)": e.distance, "constraint": e.residual,
        "R-MAE (eq. 8)": e.relaxed(weight), "bound on MAE": e.bound(weight),
        "MAE / bound": e.mae / e.bound(weight)} for name, e in errors.items()])


def against_weight(found: Decoded, weights: Iterable[float]) -> pd.DataFrame:
    """Curves over lambda: the share of the bound that MAE's loss makes up, and R-MAE's loss with
    its two terms weighted to one in all, 1 to lambda."""
    made = []
    for weight in weights:
        for name, e in seconds(found, weight).items():
            common = {"second branch": name, "λ": weight}
            made += [common | {"panel": "MAE's loss / its bound", "value": e.mae / e.bound(weight)},
                     common | {"panel": "R-MAE's loss / (1 + λ)",
                               "value": e.relaxed(weight) / (1 + weight)}]
    return pd.DataFrame(made)


def tempted(errors: Mapping[str, Terms]) -> float:
    """The lambda below which a network of one colour has a lower loss of R-MAE than the network
    with one decoder for both branches: its lack of distance then outweighs the constraint."""
    network, flat = errors[SAME], errors[FLAT]
    gain = flat.residual - network.residual
    return network.distance / gain if gain > 0 else float("inf")


def temptation(errors: Mapping[str, Terms]) -> str:
    """A sentence on :func:`tempted`."""
    limit = tempted(errors)
    where = f"Below λ = {limit:.2f}" if np.isfinite(limit) else "At any λ"
    return (f"{where} a network of one colour has a lower loss of R-MAE than this one has with its "
            "decoder in both branches.")


def trained_by(plan: Plan, count: int, seed: int = 0) -> dict[str, Terms]:
    """The errors of MAE and of R-MAE, trained on equally many views, with the decoder that they
    were trained with in both branches, and with a linear one in the second."""
    found = {}
    for name, settings in rows(plan, MAE, RMAE).items():
        network = studies.model(settings[0], plan.if_stale)
        images = studies.images_of(settings[0], "test", count).batch(slice(count))
        errors = seconds(decoded(network, images, seed), 1.0)
        found |= {f"{name}, its decoder in both": errors[SAME],
                  f"{name}, a linear one in the second": errors[OWN]}
    return found


def looked_at(plan: Plan) -> tuple[dict[str, Sweep], Sweep]:
    """Occlusion of every row of Figure 1, on the first data set: networks as pretrained, then those
    trained on with labels; and of pooled pixels."""
    frozen = by_row(plan, studies.OCCLUSION, figure1(plan))
    after = by_row(plan, studies.TUNED_OCCLUSION, tuned(plan))
    pixels = _first_set(plan, studies.program(plan)[studies.PIXEL_OCCLUSION])
    return (frozen | {AFTER[name]: sweep for name, sweep in after.items()},
            plan.sweep(studies.PIXEL_OCCLUSION, pixels))


def parts(plan: Plan) -> dict[str, list[str]]:
    """Which rows stand together in a panel: networks that saw little, and those that saw labels."""
    return {"little to learn from": [MAE, few(min(plan.few_counts)), PHOTOGRAPH, SCRATCH],
            "with labels": [MAE, AFTER[MAE], AFTER[SCRATCH], SCRATCH]}


def by_row(plan: Plan, study: Study, table: Rows) -> dict[str, Sweep]:
    """One sweep over all rows of a table, on the first data set, cut into rows again."""
    table = {name: _first_set(plan, settings) for name, settings in table.items()}
    whole = plan.sweep(study, list(dict.fromkeys(s for part in table.values() for s in part)))
    return {name: whole.of(settings) for name, settings in table.items()}


def _first_set(plan: Plan, settings: Iterable[Setting]) -> list[Setting]:
    return [s for s in settings if s.dataset == plan.method_datasets[0]]


def curves(found: Mapping[str, Sweep], inputs: str, pooling: str) -> pd.DataFrame:
    """CKA of full and masked pictures, a row a network (``row``, ``seed``), ``block`` (from 1) and
    ``share`` of dropped patches: ``value``, the mean over masks.

    What has no such token, as pooled pixels have no class token, is left out.

    Args:
        inputs: ``"levelled"`` or ``"raw"``.
        pooling: ``"mean token"`` or ``"class token"``.

    Raises:
        ValueError: other inputs, another pooling.
    """
    _check(inputs, pooling)
    made = []
    for name, sweep in found.items():
        for setting, result in zip(sweep.settings, sweep.results, strict=True):
            if pooling not in result.value["representations"]:
                continue
            cka = _cka(result.value, inputs, pooling).mean(-1)
            made += [{"row": name, "seed": setting.seed, "block": b + 1, "share": share,
                      "value": float(cka[r, b])}
                     for r, share in enumerate(result.value["ratios"])
                     for b in range(cka.shape[1])]
    return pd.DataFrame(made, columns=["row", "seed", "block", "share", "value"])


def block_panels(networks: pd.DataFrame, pixels: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`curves` the rows for a figure, a panel a block: four of them at most, the last
    among them. Pixels, which have no blocks, stand in every panel."""
    depth = networks.block.max()
    shown = sorted({-(-depth * i // PANELS) for i in range(1, PANELS + 1)})
    parts = [pd.concat([networks[networks.block == block], pixels]).assign(panel=f"block {block}")
             for block in shown]
    return over_runs(pd.concat(parts, ignore_index=True), ["panel", "row", "share"])


def mean_panels(networks: pd.DataFrame, panels: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Of :func:`curves` the mean over blocks, with some rows in each panel, ``SHORT`` names."""
    means = networks.groupby(["row", "seed", "share"], sort=False).value.mean().reset_index()
    parts = [means[means.row.isin(names)].assign(panel=panel) for panel, names in panels.items()]
    table = pd.concat(parts, ignore_index=True).replace({"row": SHORT})
    return over_runs(table, ["panel", "row", "share"])


def over_runs(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """``value`` as the mean over runs, with ``low`` and ``high``, the 95 % interval over them;
    missing where there is a single run, whose other images would say nothing of another run."""
    made = []
    for key, part in table.groupby(keys, sort=False):
        values = part.value.to_numpy()
        mean = (values.mean(), np.nan, np.nan) if len(values) == 1 else t_interval(values)
        made.append(dict(zip([*keys, "value", "low", "high"], (*key, *mean), strict=True)))
    return pd.DataFrame(made)


def scores(found: Mapping[str, Sweep], pooling: str) -> pd.DataFrame:
    """One row a network and score: ``row``, ``score``, ``value``, ``low``, ``high`` over runs.

    CKA is the mean over blocks and shares of dropped patches, levelled and raw; its excess over no
    pretraining and its change for half of the patches are of levelled pictures, as are effective
    rank and CKA of shuffled pairs. Retrieval, in per cent, is by the mean token.
    """
    _check("raw", pooling)
    made = []
    for name, sweep in found.items():
        for record in sweep.records:
            if (score := _score(record.protocol, record.metric, pooling)) is not None:
                label, factor = score
                made.append((name, record.seed, label, factor * record.value))
    table = pd.DataFrame(made, columns=["row", "seed", "score", "value"])
    return over_runs(pd.concat([table, _excess(table)]), ["row", "score"])


def _score(protocol: str, metric: str, pooling: str) -> tuple[str, float] | None:
    """A record's name for readers and what brings it to their unit, if they are shown it."""
    for inputs in INPUTS:
        if protocol == f"occlusion, {pooling}, {inputs}" and metric == "cka":
            return f"CKA, {inputs}", 1.0
        if protocol == f"occlusion, {REPRESENTATIONS[1]}, {inputs}" and metric == "retrieval":
            return f"retrieval, {inputs} (%)", 100.0
    own = {"slope": (CHANGE, 0.5), "shuffled pairs": (SHUFFLED, 1.0), RANK: (RANK, 1.0)}
    return own.get(metric) if protocol == f"occlusion, {pooling}, levelled" else None


def _excess(table: pd.DataFrame) -> pd.DataFrame:
    """CKA of levelled pictures less that of the untrained network of the same seed."""
    cka = table[table.score == "CKA, levelled"]
    control = cka[cka.row == SCRATCH].set_index("seed").value
    return cka.assign(score=EXCESS, value=cka.value - cka.seed.map(control)).dropna()


def wide(found: pd.DataFrame, digits: Mapping[str, int], head: str = "network") -> pd.DataFrame:
    """Of :func:`scores` those with a number of digits as a table, one row a network."""
    texts = pd.concat([found[found.score == score].assign(
        text=lambda part, n=n: with_interval(part, n)) for score, n in digits.items()])
    table = texts.pivot_table("text", "row", "score", aggfunc="first", sort=False)
    return table[[*digits]].reset_index().rename(columns={"row": head})


def spread(plan: Plan, found: Mapping[str, Sweep], pooling: str) -> str:
    """What stands for intervals in a table of :func:`scores`, for its caption."""
    runs = len(plan.method_seeds)
    if runs > 1:
        return f"95 % intervals over {runs} training runs."
    if plan.occlusion_draws == 1:
        return "One training run, so no intervals."
    return ("One training run, so no intervals; CKA of levelled pictures differs by up to "
            f"{mask_spread(found, 'levelled', pooling):.4f} between draws of the masks.")


def mask_spread(found: Mapping[str, Sweep], inputs: str, pooling: str) -> float:
    """By how much the CKA of a run, its mean over blocks and shares, differs at most between draws
    of the masks."""
    _check(inputs, pooling)
    values = [_cka(result.value, inputs, pooling).mean((0, 1)) for sweep in found.values()
              for result in sweep.results if pooling in result.value["representations"]]
    return float(max(np.ptp(value) for value in values))


def _cka(value: Mapping, inputs: str, pooling: str) -> np.ndarray:
    """``[ratios, blocks, draws]``."""
    return value["cka"][value["inputs"].index(inputs), value["representations"].index(pooling)]


def _check(inputs: str, pooling: str) -> None:
    for name, got, known in (("inputs", inputs, INPUTS), ("pooling", pooling, REPRESENTATIONS)):
        if got not in known:
            raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, got {got!r}")
