"""What determines a recording, apart from its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Integral

from mae_lib.data.atari.emulator import check_game, rom_digest, version

BYTES = 1  # to be raised when the same settings give other bytes


@dataclass(frozen=True)
class Settings:
    """How a game is played and looked at.

    Args:
        game: the emulator's name for it, ``"ms_pacman"``.
        seed: of the random player, at least 0.
        size: height and width of the frames in pixels, or the side of a square.
        skip: frames of the console for one of the recording; the same is pressed in all of them.
        hold: probability that the player goes on pressing what it pressed.
        pool: each pixel is the larger of the last two of the ``skip`` frames, since some games draw
            an object in every other frame only (Mnih et al. 2015); with ``skip=1`` nothing changes.

    Raises:
        ValueError: an unknown game, or a number out of range.
        MissingEmulator: ale-py is not installed.
    """

    game: str
    seed: int = 0
    size: int | tuple[int, int] = 64
    skip: int = 4
    hold: float = 0.0
    pool: bool = True

    def __post_init__(self) -> None:
        check_game(self.game)
        check_whole("seed", self.seed, least=0)
        check_whole("skip", self.skip)
        if not 0 <= self.hold < 1:
            raise ValueError(f"hold must lie in [0, 1), got {self.hold}")
        object.__setattr__(self, "size", _height_and_width(self.size))

    @property
    def identity(self) -> dict:
        """The settings, the cartridge and the emulator's version, its first two numbers."""
        return {**asdict(self), "rom": rom_digest(self.game), "bytes": BYTES,
                "ale-py": ".".join(version().split(".")[:2])}


def _height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    both = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(both) != 2:
        raise ValueError(f"size must be a side or height and width, got {size!r}")
    for side in both:
        check_whole("size", side)
    return int(both[0]), int(both[1])


def check_whole(name: str, value: int, least: int = 1) -> None:
    """Raise ValueError unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
