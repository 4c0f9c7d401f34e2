"""The Arcade Learning Environment (Bellemare et al. 2013): its games, and a console that is silent.

What Machado et al. (2018) call sticky actions is off, so that a game is a function of what is
pressed alone. The random seed of the emulator has no say then.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.metadata
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ale_py import ALEInterface

DISTRIBUTION = "ale-py"
MEMORY = 128  # bytes, of the console


class MissingEmulator(RuntimeError):
    """The package ale-py is not installed; the message says how to get it."""


def games() -> tuple[str, ...]:
    """Names of the games for one player whose cartridges come with the emulator.

    Raises:
        MissingEmulator: ale-py is not installed.
    """
    return tuple(name for name in _ale().roms.get_all_rom_ids() if _for_one(name))


def check_game(game: str) -> None:
    """Raise ValueError, with the names that come near, unless the emulator can play ``game``.

    The emulator itself would end the process.
    """
    if game in (known := _ale().roms.get_all_rom_ids()):
        if not _for_one(game):
            raise ValueError(f"game must be one for a single player, got {game!r}")
        return
    near = difflib.get_close_matches(str(game).lower().replace(" ", "_"), known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "games() lists them"
    raise ValueError(f"game must be one of the emulator's, got {game!r}; {hint}")


def load(game: str) -> ALEInterface:
    """A console with the cartridge in it; `reset_game` begins the first episode."""
    ale = _ale()
    console = ale.ALEInterface()
    console.setFloat("repeat_action_probability", 0.0)
    console.loadROM(rom(game))
    return console


def rom(game: str) -> Path:
    """The file of the cartridge."""
    with contextlib.redirect_stdout(io.StringIO()):  # it says so where ALE_ROMS_DIR is set
        return Path(_ale().roms.get_rom_path(game))


def rom_digest(game: str) -> str:
    """SHA-256 (hex) of the cartridge's contents."""
    return hashlib.sha256(rom(game).read_bytes()).hexdigest()


def version() -> str:
    """Version of the emulator."""
    return importlib.metadata.version(DISTRIBUTION)


def _for_one(game: str) -> bool:
    return _ale().ALEInterface.isSupportedROM(rom(game)) is not None


def _ale():
    """The package, told to keep its banner to itself.

    Raises:
        MissingEmulator: it is not installed.
    """
    try:
        with warnings.catch_warnings():  # importing it changes the filters
            import ale_py
            import ale_py.roms
    except ImportError as error:
        raise MissingEmulator("recording Atari games needs the package ale-py, which could not be "
                              f"imported ({error}); install it with 'pip install {DISTRIBUTION}'"
                              ) from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    return ale_py
