"""How long the book takes: all chapters and pages anew, and again with nothing changed.

Run from the root of the checkout, in the environment that `make book` made:
`.venv/bin/python benchmarks/book.py`. Writes benchmarks/results/book.json.
"""

import argparse
import json
import platform
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from mae_lib import runs


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--tier", default="laptop", help="set of parameters (default: laptop)")
    tier = options.parse_args().tier
    seconds = {"all chapters and pages": build(tier, "--force"), "nothing changed": build(tier)}
    for what, value in seconds.items():
        print(f"{what:25} {value:7.1f} s")
    record = {"tier": tier, "seconds": seconds, "hardware": runs.hardware(),
              "commit": runs.commit(), "python": platform.python_version(),
              "date": datetime.now(UTC).date().isoformat()}
    target = Path(__file__).with_name("results") / "book.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(record, indent=1) + "\n")


def build(tier: str, *flags: str) -> float:
    start = time.perf_counter()
    subprocess.run(["mae-book", "build", "--tier", tier, *flags], check=True)
    return round(time.perf_counter() - start, 1)


if __name__ == "__main__":
    main()
