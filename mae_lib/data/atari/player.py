"""A player that presses at random, and what the console shows and holds meanwhile."""

from __future__ import annotations

import numpy as np

from mae_lib.data.atari.emulator import MEMORY, load
from mae_lib.data.atari.settings import Settings

Part = dict[str, np.ndarray]


def plan(seed: int, count: int, choices: int, hold: float = 0.0) -> np.ndarray:
    """Which of ``choices`` buttons is pressed at each frame, int64 ``[count]``.

    With probability ``hold`` the one of the frame before, else any of them, all equally likely. A
    longer plan begins with the shorter one. It knows nothing of the game: chance alone keeps it
    going. A player that holds goes places where one that trembles stays where it is, and plays
    longer in some games; benchmarks/recording.py compares the lengths of episodes.
    """
    afresh = np.random.default_rng([seed, 0]).random(count) >= hold
    drawn = np.random.default_rng([seed, 1]).integers(choices, size=count)
    since = np.maximum.accumulate(np.where(afresh, np.arange(count), 0))
    return drawn[since]


class Player:
    """A console that is played on, part after part.

    What is pressed is the number that the emulator gives the action: 0 is nothing.
    """

    def __init__(self, settings: Settings):
        from mae_lib.data.atari.averaging import average  # numba: only when something is recorded

        self.settings = settings
        self.console = load(settings.game)
        self.buttons = np.array([a.value for a in self.console.getMinimalActionSet()], np.uint8)
        self.over = True  # the next frame begins an episode
        height, width = self.console.getScreenDims()
        self._screens = np.empty((2, height, width, 3), np.uint8)
        self._average = average

    def pressed(self, start: int, stop: int) -> np.ndarray:
        """What the player has planned to press on the way to frames ``start`` to ``stop - 1``."""
        chosen = self.settings
        return self.buttons[plan(chosen.seed, stop, len(self.buttons), chosen.hold)[start:]]

    def play(self, actions: np.ndarray) -> Part:
        """One frame an action: a part of a :class:`mae_lib.data.atari.recording.Recording`."""
        part = empty(len(actions), self.settings.size)
        for t, action in enumerate(actions.tolist()):
            part["starts"][t] = self.over
            part["actions"][t] = 0 if self.over else action
            part["rewards"][t] = self._begin() if self.over else self._press(action)
            self._look(part["frames"][t])
            self.console.getRAM(part["memory"][t])
        return part

    def replay(self, actions: np.ndarray, starts: np.ndarray) -> None:
        """Press again, from the beginning, what was pressed in a recording, without looking.

        The emulator's own saved states would be quicker, but do not hold all: Q*bert and Tetris
        went on in another way from one that was restored in a new console (ale-py 0.12.1).
        """
        for action, begins in zip(actions.tolist(), starts.tolist(), strict=True):
            if begins:
                self.console.reset_game()
            else:
                for _ in range(self.settings.skip):
                    self.console.act(action)
            self.over = self.console.game_over()

    def _begin(self) -> int:
        self.console.reset_game()
        self.over = False
        self.console.getScreenRGB(self._screens[1])
        self._screens[0] = self._screens[1]
        return 0

    def _press(self, action: int) -> int:
        """Play ``skip`` frames; returns the points made."""
        points = 0
        for left in reversed(range(self.settings.skip)):
            points += self.console.act(action)
            if left <= self.settings.pool:
                self.console.getScreenRGB(self._screens[1 - left])
        self.over = self.console.game_over()
        return points

    def _look(self, frame: np.ndarray) -> None:
        before, last = self._screens
        if self.settings.pool and self.settings.skip > 1:
            np.maximum(before, last, out=last)
        self._average(last, frame)


def empty(count: int, size: tuple[int, int]) -> Part:
    """Room for ``count`` frames."""
    return {"frames": np.empty((count, 3, *size), np.uint8), "actions": np.empty(count, np.uint8),
            "rewards": np.empty(count, np.int32), "memory": np.empty((count, MEMORY), np.uint8),
            "starts": np.empty(count, bool)}
