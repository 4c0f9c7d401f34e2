"""What chapters share in showing which cue a representation follows and which causes it holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from mae_lib.data.menagerie import CLASSES, LATENTS, cue_conflict
from mae_lib.data.official.human_categories import CATEGORIES
from mae_lib.evaluation.records import EvalRecord
from mae_lib.ledger.statistics import wilson
from mae_lib.ledger.summary import only, summarise
from mae_lib.studies import CUE_CONFLICT, SHAPE_BIAS, Plan, Study, Sweep
from mae_lib.studies.cue_conflict import pictures as photographs
from mae_lib.studies.sets import PRESET, SIZE

CUES = {"texture": "plain texture", "coat": "coat"}
TOKENS = {"cls": "class token", "mean": "mean token"}
ANSWERS = {"accuracy, congruent": "cues agree", "accuracy, shape only": "shape alone",
           "accuracy, texture only": "coat alone", "decodable shape": "shape, own probe",
           "decodable texture": "coat, own probe"}
UNKNOWN = "Not measured: nobody knows the causes of these pictures."
CONFLICTS = 16  # shapes of the photographs, in their order
LEVELS = {"level 4": "4: class and superclass", "level 3": "3: pose, coat, landscape",
          "level 2": "2: parts, horizon", "level 1": "1: light, grain, clutter",
          "level 0": "0: facts of the pixels"}


def cues(records: Iterable[EvalRecord]) -> pd.DataFrame:
    """A summary of shape-bias records, with columns ``cue`` and ``token`` for readers.

    Bias and coverage are shares whose single decisions stand in other records; of one training run
    they get Wilson's interval, over the decisive pictures and over all.
    """
    table = summarise(records)
    parts = table.protocol.str.extract(r"(?P<cue>\w+) cue, (?P<token>\w+)")
    table = table.assign(cue=parts.cue.map(CUES), token=parts.token.map(TOKENS))
    for i in table.index[table.metric.isin(["shape bias", "coverage"]) & (table.seeds == 1)]:
        found = wilson(round(table.value[i] * table.n[i]), int(table.n[i]))
        table.loc[i, ["low", "high"]] = found.low, found.high
    return table


def shape_bias_study(plan: Plan) -> tuple[Study, str]:
    """What measures shape bias of a plan, and its cue that tells most, by its reader's name."""
    if "imagenet" in plan.datasets:
        return CUE_CONFLICT, CUES["texture"]
    return SHAPE_BIAS, CUES["coat"]


def blind_bias(shape_accuracy, classes: int = len(CLASSES)):
    """Shape bias to expect of a probe that does not see the coat at all.

    A wrong answer is then equally likely to be any of the other classes, and the coat's is one of
    them: with accuracy a the bias is a / (a + (1 - a) / (classes - 1)). One half by guessing.
    """
    shape = np.clip(shape_accuracy, 0, 1)
    return shape / (shape + (1 - shape) / (classes - 1))


def blind(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``"shape bias"`` for probes with the shape accuracies of :func:`cues`, but blind."""
    rows = only(found, metric="shape accuracy").assign(metric="shape bias")
    return rows.assign(**{name: blind_bias(rows[name]) for name in ("value", "low", "high")})


def bias_by_class(measured: Sweep, cue: str, token: str = "cls") -> pd.DataFrame:
    """Shape bias among the pictures of each shape in a ratio series, ``[classes, ratios]``.

    The mean over seeds; missing where nothing was decided for either cue.

    Args:
        cue: ``"texture"`` or ``"coat"``.
        token: ``"cls"`` or ``"mean"``.
    """
    classes = CATEGORIES if measured.settings[0].dataset == "imagenet" else CLASSES
    found = [pd.Series(r.value[f"per_class/{cue} cue, {token}"], classes, name=f"{s.ratio:g}")
             for s, r in zip(measured.settings, measured.results, strict=True)]
    each = pd.concat(found, axis=1)
    return each.T.groupby(level=0).mean().T.reindex(classes)


def conflict_pictures(plan: Plan, places: Sequence[int]
                      ) -> tuple[dict[str, np.ndarray], list[str]]:
    """Pictures as the models see them in rows of :func:`mae_lib.figures.reconstruction_grid`, and
    their titles, ``"shape, then coat"``.

    The same pictures, by their place in the test set; of the Menagerie in four versions.
    """
    if "imagenet" in plan.datasets:
        return _conflict_photographs(plan, places)
    kinds = {"plain\ntexture": {"cue": "texture"}, "coat": {"cue": "coat"},
             "shape\nalone": {"cue": "coat", "shown": "shape"},
             "coat\nalone": {"cue": "coat", "shown": "texture"}}
    drawn = {name: [cue_conflict(1, SIZE, PRESET, start=i, **kind) for i in places]
             for name, kind in kinds.items()}
    rows = {name: np.concatenate([d.images for d in some]) / 255 for name, some in drawn.items()}
    return rows, [f"{CLASSES[d.shapes[0]]},\n{CLASSES[d.textures[0]]}" for d in drawn["coat"]]


def _conflict_photographs(plan: Plan, places: Sequence[int]) -> tuple:
    seen = photographs(next(s for s in plan.core if s.dataset == "imagenet"))
    spread = [int(place * len(seen.images) / CONFLICTS) for place in places]
    return ({"cue\nconflict": seen.images.batch(spread).numpy()},
            [f"{seen.shapes[i]},\n{seen.textures[i]}" for i in spread])


def held(records: Iterable[EvalRecord], metrics: Iterable[str] = LEVELS) -> pd.DataFrame:
    """Rows of a summary for curves: what is read of the known latents, one panel a level.

    Args:
        records: of latents; those of pictures whose causes are not known are left out.
        metrics: names of levels, composites or latents, in the order of the panels.
    """
    rows = summarise([r for r in records if r.protocol.startswith("latents, ")])
    place = {metric: i for i, metric in enumerate(metrics)}
    rows = rows[rows.metric.isin(place)].assign(place=lambda t: t.metric.map(place))
    rows = rows.sort_values("place", kind="stable").drop(columns="place")
    return rows.assign(panel=rows.metric.map(lambda m: LEVELS.get(m, m)),
                       protocol=rows.protocol.str.removeprefix("latents, "))


def references(**tables: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Tables of one model each, from :func:`held`, as dotted lines: ``{panel: {name: value}}``.

    Of several protocols the first counts.
    """
    lines: dict[str, dict[str, float]] = {}
    for name, table in tables.items():
        for row in table.itertuples():
            lines.setdefault(row.panel, {}).setdefault(name.replace("_", " "), row.value)
    return lines


def cause_by_cause(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What is read of each single latent, ``[(level, latent), names]``, the highest level first.

    Args:
        tables: ``{name: rows of one model}`` from :func:`held` with ``metrics=causes()``.
    """
    found = pd.DataFrame({name: rows.set_index("metric").value for name, rows in tables.items()})
    found = found.reindex([name for name in causes() if name in found.index])
    levels = [_level(name) for name in found.index]
    names = [name.replace("_", " ") for name in found.index]
    return found.set_axis(pd.MultiIndex.from_arrays([levels, names]))


def causes() -> list[str]:
    """Single latents and facts of the pixels that are read out, the highest level first."""
    known = [name for name in sorted(LATENTS, key=lambda n: -LATENTS[n].level)
             if name != "rendition"]
    return [*known, "mean colour", "contrast", "centre of mass", "extent"]


def _level(name: str) -> str:
    return f"{LATENTS[name].level if name in LATENTS else 0}"


def similarities(measured: Sweep, dataset: str, *, inputs: str = "levelled",
                 representation: str = "mean token") -> pd.DataFrame:
    """CKA of every block of every model with every other, ``[(model, block), (model, block)]``.

    The mean over seeds.
    """
    results = [r for s, r in zip(measured.settings, measured.results, strict=True)
               if s.dataset == dataset]
    value = results[0].value
    at = value["inputs"].index(inputs), value["representations"].index(representation)
    cka = np.mean([r.value["cka"][at] for r in results], axis=0)
    names = pd.MultiIndex.from_product([value["models"], range(1, cka.shape[1] + 1)],
                                       names=["model", "block"])
    return pd.DataFrame(cka.reshape(len(names), len(names)), names, names)


def last_block(found: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`similarities`, the last block of each model with those of the others."""
    last = found.index.get_level_values("block").max()
    return found.xs(last, level="block").xs(last, level="block", axis=1)
