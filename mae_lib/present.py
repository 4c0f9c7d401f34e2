"""What chapters share in showing results: names for readers, orders, provenance, cautions."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from mae_lib import runs
from mae_lib.ledger.claims import claims
from mae_lib.ledger.summary import only, ordering
from mae_lib.studies import Sweep
from mae_lib.studies.attention import overlays

DATASETS = {"menagerie": "Menagerie", "fashion_mnist": "Fashion-MNIST"}
NAMES = {
    "dataset": {"menagerie medium32 test": "Menagerie", "fashion_mnist test": "Fashion-MNIST",
                **DATASETS},
    "metric": {"ssim": "SSIM", "fsimc": "FSIM", "psnr": "PSNR (dB)", "mse": "−MSE"},
    "protocol": {"complement 0.5": "hidden while predicted", "linear probe, cls": "class token",
                 "linear probe, mean": "mean token", "linear probe, pixels": "raw pixels",
                 "linear probe, mean patch": "mean raw patch"},
}


def named(table: pd.DataFrame) -> pd.DataFrame:
    """A summary under the names that a reader knows, MSE with a minus sign so that up is better."""
    table = table.copy()
    mse = table.metric == "mse"
    table.loc[mse, ["value", "low", "high"]] = -table.loc[mse, ["value", "high", "low"]].to_numpy()
    return table.replace({column: names for column, names in NAMES.items() if column in table})


def panels(table: pd.DataFrame, metrics: Sequence[str] = ("SSIM", "FSIM", "PSNR (dB)", "−MSE"),
           ) -> pd.DataFrame:
    """Rows of these metrics with a ``panel`` each, metric by metric, data sets side by side."""
    table = only(table, metric=list(metrics)).assign(
        panel=lambda t: t.dataset + ": " + t.metric,
        place=lambda t: t.metric.map({m: i for i, m in enumerate(metrics)}))
    return table.sort_values("place", kind="stable").drop(columns="place")


def read_outs(measured: Sweep, dataset: str, *, unit: int) -> dict[str, np.ndarray]:
    """Originals and the unmasked read-outs of each ratio, ``{label: [n,3,H,W] in [0, 1]}``."""
    chosen = _by_ratio(measured, dataset, unit)
    first = next(iter(chosen.values()))
    rows = {"original": first.value["originals"]}
    rows |= {f"ratio {ratio:g}": chosen[ratio].value["read_outs"] for ratio in sorted(chosen)}
    return {label: images / 255 for label, images in rows.items()}


def attention(measured: Sweep, dataset: str, which: str, *, unit: int, count: int) -> tuple:
    """What :func:`mae_lib.figures.attention_grid` draws: ``count`` images, the strongest 60 % of
    attention for each ratio ``{label: [count,h,w]}``, and the objects' masks.

    Args:
        which: ``"cls"``, ``"token"`` (first head) or ``"token mean"``.
    """
    chosen = _by_ratio(measured, dataset, unit)
    value = next(iter(chosen.values())).value
    maps = {f"{ratio:g}": overlays(chosen[ratio].value, which)[:count] for ratio in sorted(chosen)}
    return value["images"][:count] / 255, maps, value["masks"][:count]


def tokens(measured: Sweep, dataset: str, *, count: int) -> np.ndarray:
    """The cells that look in maps of ``"token"``, ``[count]``."""
    result = next(r for s, r in zip(measured.settings, measured.results, strict=True)
                  if s.dataset == dataset)
    return result.value["tokens"][:count]


def attention_panels(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of a summary for curves: lift with its control, recall and distance, one panel each."""
    looked_at = {("class token", "lift"): ("lift of the class token", "this picture"),
                 ("class token, null", "lift"): ("lift of the class token", "another picture"),
                 ("object tokens", "recall60"): ("recall of object tokens", "this picture"),
                 ("distance", "block 3"): ("distance (image sides)", "this picture")}
    rows = [found[(found.protocol == protocol) & (found.metric == metric)]
            .assign(score=score, protocol=line)
            for (protocol, metric), (score, line) in looked_at.items()]
    table = pd.concat(rows)
    return table.assign(panel=table.dataset + ": " + table.score)


def maps(measured: Sweep, dataset: str, *, unit: int) -> dict[str, tuple]:
    """t-SNE maps of each ratio, ``{label: (points [n,2], labels [n])}``."""
    chosen = _by_ratio(measured, dataset, unit)
    return {f"ratio {ratio:g}": (chosen[ratio].value["xy"].astype(float),
                                 chosen[ratio].value["labels"]) for ratio in sorted(chosen)}


def separation(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of a summary for curves: purity and linear separability, one panel each."""
    scores = {"purity": "purity", "linear_acc": "linear separability"}
    rows = found[found.metric.isin(scores) & found.protocol.str.startswith("components, ")]
    rows = rows.assign(score=rows.metric.map(scores),
                       protocol=rows.protocol.str.removeprefix("components, "))
    return rows.assign(panel=rows.dataset + ": " + rows.score)


def _by_ratio(measured: Sweep, dataset: str, unit: int) -> dict:
    """Results of the first seed at one masking unit, by ratio."""
    return {s.ratio: r for s, r in zip(measured.settings, measured.results, strict=True)
            if s.dataset == dataset and s.unit == unit and s.seed == measured.settings[0].seed}


def orders(table: pd.DataFrame, looked_at: Mapping[str, tuple[str, str]],
           fixed: Mapping[str, Mapping]) -> pd.DataFrame:
    """For each claim the order that the paper expects and the one that was measured.

    Args:
        table: a named summary of one protocol.
        looked_at: ``{claim id: (metric, swept factor)}``.
        fixed: ``{swept factor: the other settings}``.
    """
    rows = []
    for claim in claims(looked_at):
        metric, factor = looked_at[claim.id]
        part = only(table, metric=metric, **fixed[factor])
        found = {name: _as_expected(ordering(rows_of, factor), claim.expected)
                 for name, rows_of in part.groupby("dataset", sort=False)}
        rows.append({"claim": claim.id, "ordered by": metric, "paper": claim.expected, **found})
    return pd.DataFrame(rows)


def caution(seeds: int, stale: Iterable[str] = ()) -> str:
    """A box that says what the numbers cannot tell, and a badge if some are out of date."""
    stale = sorted(set(stale))
    few = seeds < 3
    kind, title = ("inconclusive", "Inconclusive") if few else ("not-tested", "No verdict yet")
    text = (f"{seeds} training run(s) a setting. A verdict about a masking ratio is a statement "
            "about training runs: it needs at least three, and the rule of the ledger.")
    badge = "" if not stale else (
        f'<p><span class="stale">out of date</span> {escape("; ".join(stale))}</p>')
    return (f'<div class="verdict {kind}"><p class="verdict-title">{title}</p>'
            f"<p>{text}</p>{badge}</div>")


def state(*sweeps: Sweep) -> str:
    """One line: how many results, where they came from, and how long they took to compute."""
    results = [result for one in sweeps for result in one.results]
    places = pd.Series([result.where for result in results]).value_counts()
    hours = sum(result.provenance["seconds"] for result in results) / 3600
    where = ", ".join(f"{count} {name}" for name, count in places.items())
    return f"{len(results)} results ({where}), {hours:.2f} hours of computing"


def published() -> pd.DataFrame:
    """What is committed: kind, number, computing time, when, on which machine, size."""
    rows = []
    for folder in sorted(runs.published_folder().glob("*/")):
        records = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
        size = sum(file.stat().st_size for file in folder.iterdir())
        rows.append({"kind": folder.name.replace("_", " "), "results": len(records),
                     "hours": sum(r["seconds"] for r in records) / 3600,
                     "last": max(r["created"] for r in records)[:10],
                     "machine": "; ".join(sorted({r["hardware"] for r in records})),
                     "MB": size / 2**20})
    return pd.DataFrame(rows)


def versions(names: Iterable[str]) -> pd.DataFrame:
    """Installed versions of the libraries a result may depend on."""
    return pd.DataFrame([{"library": name, "version": _version(name)} for name in names])


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _as_expected(ascending: str, expected: str) -> str:
    """Turn an ascending order round if the paper's is written from the largest down."""
    return " > ".join(reversed(ascending.split(" < "))) if ">" in expected else ascending
