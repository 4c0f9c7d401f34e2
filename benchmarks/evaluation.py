"""What the evaluations of one small network cost, without detection: CPU seconds on one thread.

    python benchmarks/evaluation.py [--tier laptop] [--dataset menagerie]

The network is a published one, so nothing is trained; what all networks share (images, the network
that filters) is made before the clock starts. Wanted: below 240 s.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from training import provenance

from mae_lib import studies
from mae_lib.book.parameters import read_flat
from mae_lib.studies import Plan, Setting, Study

SHARED = (studies.FLOORS, studies.PIXEL_PROBE, studies.PIXEL_EMBEDDING, studies.PIXEL_LATENTS,
          studies.FILTER_NETWORK, studies.CROSS_CKA)  # once a data set, not once a network
LEFT_OUT = (*SHARED, studies.PRETRAINING, studies.LARS_PROBE, studies.DETECTION)
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "evaluation.json"


def measured(plan: Plan, setting: Setting) -> dict[str, float]:
    """CPU seconds of each evaluation of a network."""
    found = {}
    for study, settings in studies.program(plan).items():
        if study in LEFT_OUT or setting not in settings:
            continue
        seconds(plan, study, setting)  # draws and keeps the images that all networks share
        found[study.kind] = seconds(plan, study, setting)
        print(f"{study.kind:16} {found[study.kind]:7.1f} s", flush=True)
    return found


def seconds(plan: Plan, study: Study, setting: Setting) -> float:
    start = time.process_time()
    study.compute(setting, "show", **{name: getattr(plan, name) for name in study.arguments})
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="menagerie")
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan = Plan.of(read_flat(ROOT / "params" / "laptop.yaml", ROOT))
    setting = next(s for s in plan.ratio_series
                   if (s.dataset, s.ratio) == (options.dataset, plan.unit_ratio))
    found = measured(plan, setting)
    print(f"{'together':16} {sum(found.values()):7.1f} s (wanted: below 240)")
    RESULTS.write_text(json.dumps({"provenance": provenance(1), "dataset": options.dataset,
                                   "CPU seconds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
