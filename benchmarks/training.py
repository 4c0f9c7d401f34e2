"""Images per second, peak memory and share of the matmul peak of one training step.

All contenders run interleaved in one process, so that other work on the machine hits them alike;
ratios are medians over the rounds. Peak memory is measured in a process for each.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from statistics import median

os.environ.setdefault("PJRT_DEVICE", "CPU")

import torch  # noqa: E402
from contenders import CONTENDERS, SIZES, Step, ours  # noqa: E402

BATCH = 32
OURS, THEIRS = "ours, auto", ("transformers", "lightly")
RESULTS = Path(__file__).parent / "results" / "training.json"


def pixels(size: str) -> torch.Tensor:
    side = SIZES[size]["size"]
    return torch.rand(BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))


def interleave(steps: dict[str, Step], rounds: int, repeats: int) -> dict[str, list[dict]]:
    """Seconds a step, one row a round and contender: wall clock and CPU of this process."""
    rows: dict[str, list[dict]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step().item()  # brings its weights back into the caches
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                loss = step()
            loss.item()
            rows[name].append({"wall": (time.perf_counter() - wall) / repeats,
                               "cpu": (time.process_time() - cpu) / repeats})
    return rows


def summary(rows: dict[str, list[dict]], reference: str) -> dict[str, dict]:
    """Medians, and the speed of ``reference`` as a multiple of each contender's."""
    result = {}
    for name, measured in rows.items():
        pairs = list(zip(measured, rows[reference], strict=True))
        wall = median(row["wall"] for row in measured)
        result[name] = {"images_per_second": BATCH / wall, "ms": 1e3 * wall,
                        "cpu_ms": 1e3 * median(row["cpu"] for row in measured),
                        "speed_up": median(row["wall"] / ref["wall"] for row, ref in pairs),
                        "cpu_speed_up": median(row["cpu"] / ref["cpu"] for row, ref in pairs)}
    return result


def peak_memory(size: str, name: str) -> float:
    """MiB that ten steps add to what a fresh process held before its first; NaN off Linux."""
    if platform.system() != "Linux":
        return float("nan")
    code = f"import training; print(training.grown({size!r}, {name!r}))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, text=True,
                          cwd=Path(__file__).parent, stdout=subprocess.PIPE)
    return float(done.stdout.split()[-1])


def grown(size: str, name: str) -> float:
    """Peak of the resident memory over ten steps less what the built model holds, on Linux."""
    torch.set_num_threads(1)
    step = CONTENDERS[name](SIZES[size], pixels(size))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before = _resident("VmRSS")
    for _ in range(10):
        step()
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    """MiB, from a line such as ``VmRSS: 1024 kB``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def flops(size: str) -> float:
    """Floating-point operations of one step: three times the forward pass, matrices only.

    A block over T tokens of width D takes ``12 T D^2 + 2 T^2 D`` multiplications.
    """
    s = SIZES[size]
    patches, values = (s["size"] // s["patch"]) ** 2, 3 * s["patch"] ** 2
    seen, wide, narrow = patches // 4, s["width"], s["decoder_width"]

    def blocks(depth: int, tokens: int, width: int) -> int:
        return depth * (12 * tokens * width**2 + 2 * tokens**2 * width)

    once = (seen * values * wide + blocks(s["depth"], seen + 1, wide) + (seen + 1) * wide * narrow
            + blocks(s["decoder_depth"], patches + 1, narrow) + patches * narrow * values)
    return 3 * 2 * once * BATCH


def matmul_peak(side: int = 2048, repeats: int = 7) -> float:
    """FLOP/s of a large float32 product, the best of ``repeats``."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - begun)
    return 2 * side**3 / min(seconds)


def measure(size: str, names: list[str], rounds: int, repeats: int) -> dict[str, dict]:
    images = pixels(size)
    steps = {name: CONTENDERS[name](SIZES[size], images) for name in names}
    for step in steps.values():
        for _ in range(5):
            step().item()
    peak = matmul_peak()
    result = summary(interleave(steps, rounds, repeats), OURS)
    for name, row in result.items():
        row["share_of_peak"] = flops(size) / (row["ms"] / 1e3) / peak
        row["peak_memory_mib"] = peak_memory(size, name)
    return result


def xla_against_eager(size: str, rounds: int, repeats: int) -> dict[str, dict]:
    """In this order, since XLA must be the first to compute gradients in a process."""
    images = pixels(size)
    steps = {f"ours, {backend}": ours(SIZES[size], images, backend)
             for backend in ("xla", "eager")}
    for step in steps.values():
        for _ in range(3):
            step().item()
    return summary(interleave(steps, rounds, repeats), "ours, eager")


def provenance(threads: int) -> dict:
    packages = ("torch", "torch_xla", "transformers", "lightly", "timm")
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = lines[0].partition(":")[2].strip() if lines else cpu
    installed = {d.metadata["Name"].replace("-", "_"): d.version
                 for d in importlib.metadata.distributions()}
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": threads, "load": os.getloadavg()[0],
            "python": platform.python_version(), "date": date.today().isoformat(),
            "versions": {name: installed.get(name) for name in packages}, "batch": BATCH}


def show(title: str, rows: dict[str, dict]) -> None:
    print(f"\n{title}\n{'':16}{'img/s':>8}{'ms':>8}{'CPU ms':>8}{'ours x':>8}{'by CPU':>8}"
          f"{'of peak':>9}{'MiB':>7}")
    for name, row in rows.items():
        print(f"{name:16}{row['images_per_second']:8.0f}{row['ms']:8.1f}{row['cpu_ms']:8.1f}"
              f"{row['speed_up']:8.2f}{row['cpu_speed_up']:8.2f}"
              f"{row.get('share_of_peak', float('nan')):9.0%}"
              f"{row.get('peak_memory_mib', float('nan')):7.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--threads", type=int, default=1, help="0: as many as PyTorch likes")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=4, help="steps a round")
    parser.add_argument("--no-xla", action="store_true", help="leave XLA against eager out")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    names = list(dict.fromkeys([OURS, *arguments.contenders]))
    result = {"provenance": provenance(torch.get_num_threads()), "sizes": {}}
    if not arguments.no_xla:
        result["xla"] = xla_against_eager("laptop", 5, arguments.repeats)
        show("laptop, XLA against eager", result["xla"])
    for size in arguments.sizes:
        rows = measure(size, names, arguments.rounds, arguments.repeats)
        result["sizes"][size] = rows
        show(f"{size}, {torch.get_num_threads()} thread(s), batch {BATCH}", rows)
        if others := [rows[name]["speed_up"] for name in THEIRS if name in rows]:
            print(f"ours, auto: {min(others):.2f} times the faster of the others (target: 1.2)")
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
