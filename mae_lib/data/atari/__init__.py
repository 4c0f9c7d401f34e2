"""Recordings of Atari games: frames with actions, points, the console's memory and moving objects.

`record` plays a game at random and keeps what it saw; `frame_set` and `clip_set` make of
recordings what models train on; `moving` and `components` say which pixels move, and how large
the objects are that they form. Same game, seed and settings, same bytes.

The emulator is the Arcade Learning Environment (Bellemare et al. 2013), package `ale-py`, imported
only when something is recorded.
"""

from .clips import AtariClips, clip_set
from .emulator import MissingEmulator, games
from .frames import frame_set
from .motion import Components, background, components, moving
from .recording import Recording, fingerprint_of, record

__all__ = ["AtariClips", "Components", "MissingEmulator", "Recording", "background", "clip_set",
           "components", "fingerprint_of", "frame_set", "games", "moving", "record"]
