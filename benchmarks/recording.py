"""Frames of Atari games recorded a second on one core, and how far a random player comes.

    python benchmarks/recording.py [--frames 2048] [--rounds 5]

By CPU time of the process, which suits a busy machine. Everything that can be recorded differently
takes turns, round by round, so that other work hits all alike: `record`, from a console without a
cartridge to files on disk; the emulator alone, with the same buttons and no look at the screen; and
gymnasium's environment with pictures made smaller by Pillow's box filter. Wanted: 1,000 frames a
second, each of four of the console's frames, averaged to 64x64 pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median

import gymnasium
import numpy as np
from PIL import Image

from mae_lib.data.atari import record
from mae_lib.data.atari.player import Player
from mae_lib.data.atari.settings import Settings
from mae_lib.runs import hardware

GAMES = {"breakout": "Breakout", "pong": "Pong", "freeway": "Freeway", "boxing": "Boxing",
         "ms_pacman": "MsPacman"}
WANTED, SIZE, SKIP = 1000, 64, 4
HOLDS = (0.0, 0.9)
RESULTS = Path(__file__).parent / "results" / "recording.json"


def ours(game: str, frames: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        record(game, frames, folder=Path(folder), size=SIZE, skip=SKIP, progress=False)


def emulator(game: str, frames: int) -> None:
    player = Player(Settings(game, size=SIZE, skip=SKIP))
    for action in player.pressed(0, frames).tolist():
        if player.over:
            player.console.reset_game()
        else:
            for _ in range(SKIP):
                player.console.act(action)
        player.over = player.console.game_over()


def gymnasium_and_pillow(game: str, frames: int) -> np.ndarray:
    """As they come: the last of the skipped frames, whole numbers of pixels averaged."""
    world = gymnasium.make(f"ALE/{GAMES[game]}-v5", frameskip=SKIP, repeat_action_probability=0.0)
    world.action_space.seed(0)
    pictures, over = np.empty((frames, SIZE, SIZE, 3), np.uint8), True
    for t in range(frames):
        if over:
            seen, _ = world.reset()
            over = False
        else:
            seen, _, ended, cut, _ = world.step(world.action_space.sample())
            over = ended or cut
        pictures[t] = np.asarray(Image.fromarray(seen).resize((SIZE, SIZE), Image.BOX))
    world.close()
    return pictures


CONTENDERS: dict[str, Callable] = {"record": ours, "emulator alone": emulator,
                                   "gymnasium and Pillow": gymnasium_and_pillow}


def rates(game: str, frames: int, rounds: int) -> list[dict]:
    """Frames a second of every contender, in each round."""
    found = []
    for _ in range(rounds):
        found.append({})
        for name, play in CONTENDERS.items():
            start = time.process_time()
            play(game, frames)
            found[-1][name] = frames / (time.process_time() - start)
    return found


def episodes(game: str, frames: int) -> dict[str, float]:
    """Frames of an episode on average, by ``hold``; of those that ended, or the one that did not.
    """
    found = {}
    for hold in HOLDS:
        with tempfile.TemporaryDirectory() as folder:
            played = record(game, frames, folder=Path(folder), size=8, hold=hold, progress=False)
        lengths = np.diff(played.episodes)[:, 0].tolist()
        found[f"hold {hold:g}"] = mean(lengths[:-1] or lengths)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    ours("pong", 1)  # compiles, or loads what was compiled
    result = {}
    for game in GAMES:
        rows = rates(game, options.frames, options.rounds)
        result[game] = {"frames/s": rows, "episode": episodes(game, 2 * options.frames)}
        middle = {name: median(row[name] for row in rows) for name in CONTENDERS}
        ratio = median(row["record"] / row["gymnasium and Pillow"] for row in rows)
        print(f"{game:10}", "  ".join(f"{name} {rate:6,.0f}" for name, rate in middle.items()),
              f" ours x {ratio:.2f}  episode",
              "  ".join(f"{hold}: {length:.0f}" for hold, length in
                        result[game]["episode"].items()), flush=True)
    print(f"wanted: {WANTED:,} frames/s of CPU time")
    RESULTS.write_text(json.dumps({"provenance": {
        "date": date.today().isoformat(), "hardware": hardware(),
        "python": platform.python_version(), "load before": before,
        "load after": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("ale-py", "gymnasium", "numpy", "pillow")}},
        "frames": options.frames, "size": SIZE, "skip": SKIP, "wanted frames/s": WANTED,
        "games": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
