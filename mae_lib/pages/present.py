"""What chapters share in showing results: names for readers, panels, provenance."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from mae_lib import runs
from mae_lib.ledger.summary import only
from mae_lib.models.methods import PRESETS
from mae_lib.studies import Plan, Setting, Sweep
from mae_lib.studies.program import SMALL
from mae_lib.studies.settings import DATASETS

NAMES = {
    "dataset": {"menagerie medium32 test": "Menagerie", "fashion_mnist test": "Fashion-MNIST",
                **DATASETS},
    "metric": {"ssim": "SSIM", "fsimc": "FSIM", "psnr": "PSNR (dB)", "mse": "−MSE"},
    "protocol": {"complement 0.5": "hidden while predicted", "linear probe, cls": "class token",
                 "linear probe, mean": "mean token", "linear probe, pixels": "raw pixels",
                 "linear probe, mean patch": "mean raw patch",
                 "robustness, cls": "class token", "robustness, mean": "mean token"},
}


def named(table: pd.DataFrame) -> pd.DataFrame:
    """A summary under the names that a reader knows, MSE with a minus sign so that up is better."""
    table = table.copy()
    mse = table.metric == "mse"
    table.loc[mse, ["value", "low", "high"]] = -table.loc[mse, ["value", "high", "low"]].to_numpy()
    return table.replace({column: names for column, names in NAMES.items() if column in table})


def of(table: pd.DataFrame, series: Iterable[Setting]) -> pd.DataFrame:
    """Rows of a summary about the networks of a series: two of a kind may share ratio and unit."""
    wanted = {(s.ratio, s.unit, s.vit_patch) for s in series}
    places = zip(table.ratio, table.unit, _patches(table), strict=True)
    return table[np.array([place in wanted for place in places], bool)]


def scale(plan: Plan) -> int:
    """Pixels of the paper that one of ours stands for: on small pictures units are half as wide."""
    return 1 if min(s.size for s in plan.core) > SMALL else 2


def stand_for(what: str, sides: Iterable[int], scale: int) -> str:
    """A sentence on our sizes and the paper's, if they differ."""
    if scale == 1:
        return ""
    ours, theirs = (", ".join(map(str, some)) for some in (sides, [scale * s for s in sides]))
    return f"Our {what} of {ours} pixels stand for the paper's {theirs}."


def by_network(table: pd.DataFrame, columns: str, values: str = "text") -> pd.DataFrame:
    """One row a network: data set, ratio, masking unit and, where they differ, ViT patch."""
    table = table.assign(**{"unit (pixels)": table.unit, "patch (pixels)": _patches(table)})
    keys = ["dataset", "ratio", "unit (pixels)"]
    keys += ["patch (pixels)"] if table["patch (pixels)"].nunique() > 1 else []
    return table.pivot_table(values, keys, columns, aggfunc="first", sort=False).reset_index()


def _patches(table: pd.DataFrame) -> pd.Series:
    """Side of the ViT patch of each row: the preset's where none is named."""
    own = table.preset.map(lambda name: PRESETS[name]["patch"])
    return (table["patch"].fillna(own) if "patch" in table else own).astype(int)


def panels(table: pd.DataFrame, metrics: Sequence[str] = ("SSIM", "FSIM", "PSNR (dB)", "−MSE"),
           ) -> pd.DataFrame:
    """Rows of these metrics with a ``panel`` each, metric by metric, data sets side by side."""
    table = only(table, metric=list(metrics)).assign(
        panel=lambda t: t.dataset + ": " + t.metric,
        place=lambda t: t.metric.map({m: i for i, m in enumerate(metrics)}))
    return table.sort_values("place", kind="stable").drop(columns="place")


def attention_panels(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of a summary for curves: lift with its control, recall and distance, one panel each."""
    last = max(PRESETS[name]["depth"] for name in found.preset) - 1
    looked_at = {("class token", "lift"): ("lift of the class token", "this picture"),
                 ("class token, null", "lift"): ("lift of the class token", "another picture"),
                 ("object tokens", "recall60"): ("recall of object tokens", "this picture"),
                 ("distance", f"block {last}"): ("distance (image sides)", "this picture")}
    rows = [found[(found.protocol == protocol) & (found.metric == metric)]
            .assign(score=score, protocol=line)
            for (protocol, metric), (score, line) in looked_at.items()]
    table = pd.concat(rows)
    return table.assign(panel=table.dataset + ": " + table.score)


def separation(found: pd.DataFrame) -> pd.DataFrame:
    """Rows of a summary for curves: purity and linear separability, one panel each."""
    scores = {"purity": "purity", "linear_acc": "linear separability"}
    rows = found[found.metric.isin(scores) & found.protocol.str.startswith("components, ")]
    rows = rows.assign(score=rows.metric.map(scores),
                       protocol=rows.protocol.str.removeprefix("components, "))
    return rows.assign(panel=rows.dataset + ": " + rows.score)


def reference_lines(**tables: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Dotted lines for curves, ``{panel: {name: value}}``: of each table the first row a panel."""
    lines: dict = {}
    for name, table in tables.items():
        for row in table.itertuples():
            lines.setdefault(row.panel, {}).setdefault(name.replace("_", " "), row.value)
    return lines


def side_by_side(coupled: pd.DataFrame, apart: pd.DataFrame) -> pd.DataFrame:
    """Summaries of the coupled and the unit series as one: ``changed`` says what grows with
    ``size``, in pixels. The smallest size is one model and stands in both."""
    parts = [coupled.assign(changed="patch and mask"), apart.assign(changed="mask alone")]
    return pd.concat(parts, ignore_index=True).rename(columns={"unit": "size"})


def floor_line(floor: pd.DataFrame, sizes: Iterable[int]) -> pd.DataFrame:
    """The floors of one colour a patch as rows of :func:`side_by_side`, a ``size`` each."""
    parts = [only(floor, protocol=f"floor: patch mean {size}").assign(size=size) for size in sizes]
    return pd.concat(parts, ignore_index=True).assign(changed="one colour a patch")


def above_floor(found: pd.DataFrame, floor: pd.DataFrame) -> pd.DataFrame:
    """A named summary less the floor of its own patch: a picture of one colour a patch."""
    protocol = "floor: patch mean " + _patches(found).astype(str)
    known = floor.set_index(["dataset", "protocol", "metric"]).value
    less = known[list(zip(found.dataset, protocol, found.metric, strict=True))].to_numpy()
    return found.assign(**{name: found[name] - less for name in ("value", "low", "high")})


def state(*sweeps: Sweep) -> str:
    """How many results, where they came from, how long they took, and why some are out of date."""
    results = [result for one in sweeps for result in one.results]
    places = pd.Series([result.where for result in results]).value_counts()
    hours = sum(result.provenance["seconds"] for result in results) / 3600
    where = ", ".join(f"{count} {name}" for name, count in places.items())
    reasons = sorted({reason for one in sweeps for reason in one.stale})
    old = sum(bool(result.stale) for result in results)
    late = f"; {old} out of date: {', '.join(reasons)}" if old else ""
    return f"{len(results)} results ({where}), {hours:.2f} hours of computing{late}"


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
