"""Recordings of games, against a plain loop over the emulator and against gymnasium's."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from mae_lib.data import atari
from mae_lib.data.atari import MissingEmulator, emulator, fingerprint_of, games, record, recording
from mae_lib.data.atari.player import Player, plan
from mae_lib.data.atari.settings import Settings

pytest.importorskip("ale_py")
FRAMES, SEED = 400, 2  # of Breakout: the third episode has begun, points were made
PART = 96
KEPT = ("frames", "actions", "rewards", "memory", "starts")


@pytest.fixture(autouse=True)
def short_parts(monkeypatch, tmp_path):
    monkeypatch.setattr(recording, "PART", PART)
    monkeypatch.setenv("MAE_LIB_DATA", str(tmp_path))


@pytest.fixture(scope="module")
def breakout(tmp_path_factory):
    """Recorded in one go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "PART", FRAMES)
        return record("breakout", FRAMES, folder=tmp_path_factory.mktemp("whole"), seed=SEED)


def same(one, other, count: int | None = None) -> bool:
    return all(np.array_equal(getattr(one, name)[:count], getattr(other, name)[:count])
               for name in KEPT)


def digest(found) -> str:
    return hashlib.sha256(b"".join(getattr(found, name).tobytes() for name in KEPT)).hexdigest()


# What is recorded

def test_a_recording_is_what_a_plain_loop_over_the_emulator_sees(breakout):
    """Nothing of ours: a console is loaded, and what was pressed is pressed again."""
    console = emulator.load("breakout")
    over = True
    for t, action in enumerate(breakout.actions.tolist()):
        assert breakout.starts[t] == over
        points = 0
        if over:
            console.reset_game()
            assert action == 0
            seen = [console.getScreenRGB()]
        else:
            seen = []
            for _ in range(4):
                points += console.act(action)
                seen.append(console.getScreenRGB())
        over = console.game_over()
        assert breakout.rewards[t] == points
        assert np.array_equal(breakout.memory[t], console.getRAM())
        if t % 40 == 0 or breakout.starts[t]:
            assert np.array_equal(breakout.frames[t], small(np.max(seen[-2:], axis=0)))
    assert breakout.starts.sum() == 3 and breakout.rewards.sum() > 0


def small(picture: np.ndarray) -> np.ndarray:
    """64x64 by areas, in whole numbers: every pixel cut into 64 pieces a side."""
    rows = picture.astype(np.int64).repeat(64, 0).reshape(64, 210, 160, 3).sum(1)
    sums = rows.repeat(64, 1).reshape(64, 64, 160, 3).sum(2)
    return ((2 * sums + 210 * 160) // (2 * 210 * 160)).transpose(2, 0, 1)


def test_a_recording_is_what_gymnasiums_environment_shows(tmp_path):
    import gymnasium

    found = record("freeway", 60, folder=tmp_path, seed=3, size=(210, 160), skip=3, pool=False)
    world = gymnasium.make("ALE/Freeway-v5", frameskip=3, repeat_action_probability=0.0)
    buttons = [a.value for a in world.unwrapped.ale.getMinimalActionSet()]
    seen, _ = world.reset()
    for t, action in enumerate(found.actions.tolist()):
        if t:
            seen, points, over, _, _ = world.step(buttons.index(action))
            assert points == found.rewards[t] and not over
        assert np.array_equal(found.frames[t], seen.transpose(2, 0, 1))
        assert np.array_equal(found.memory[t], world.unwrapped.ale.getRAM())
    world.close()


def test_types_and_shapes(breakout):
    assert breakout.frames.dtype == np.uint8 and breakout.frames.shape == (FRAMES, 3, 64, 64)
    assert breakout.actions.dtype == np.uint8 and breakout.rewards.dtype == np.int32
    assert breakout.memory.dtype == np.uint8 and breakout.memory.shape == (FRAMES, 128)
    assert len(breakout) == FRAMES and breakout.size == (64, 64) and breakout.game == "breakout"


def test_the_last_of_the_skipped_frames_alone_unless_they_are_pooled(breakout, tmp_path):
    alone = record("breakout", 200, folder=tmp_path, seed=SEED, pool=False)
    assert np.array_equal(alone.memory, breakout.memory[:200])
    assert (alone.frames <= breakout.frames[:200]).all()
    assert not np.array_equal(alone.frames, breakout.frames[:200])


def test_with_a_skip_of_one_there_is_nothing_to_pool(tmp_path):
    pooled, alone = (record("freeway", 40, folder=tmp_path, skip=1, pool=p) for p in (True, False))
    assert same(pooled, alone)


# Same seed, same bytes

def test_the_bytes_are_those_of_every_machine(breakout):
    """The same with ale-py 0.10.0 to 0.12.1; `BYTES` is raised when this must change."""
    assert digest(breakout) == (
        "5f6ed777e6e60e168f433abe617f326fe2514a15cc86f8b07822c171ede7e461")


def test_another_seed_gives_other_bytes(breakout, tmp_path):
    other = record("breakout", 100, folder=tmp_path, seed=1)
    assert not np.array_equal(other.actions, breakout.actions[:100])
    assert not np.array_equal(other.frames, breakout.frames[:100])


@pytest.mark.parametrize("game", ["breakout", "qbert"])
def test_a_player_goes_on_from_anywhere_as_if_nothing_had_been(game):
    """Q*bert does not where the emulator's own saved states are restored."""
    settings = Settings(game, seed=5, size=16, skip=6, hold=0.5)
    player = Player(settings)
    whole = player.play(player.pressed(0, 300))
    assert whole["starts"].sum() > 1
    for at in (1, 159, 299):
        other = Player(settings)
        other.replay(whole["actions"][:at], whole["starts"][:at])
        again = other.play(other.pressed(at, 300))
        assert all(np.array_equal(again[name], whole[name][at:]) for name in KEPT)


def test_a_player_goes_on_after_the_last_frame_of_an_episode(breakout):
    end = int(breakout.episodes[0, 1])
    player = Player(breakout.settings)
    player.replay(breakout.actions[:end], breakout.starts[:end])
    assert player.over and player.play(player.pressed(end, end + 2))["starts"].tolist() == [1, 0]


def test_a_recording_that_the_emulator_does_not_repeat_is_refused(monkeypatch):
    record("breakout", PART)
    monkeypatch.setattr(Player, "replay", lambda *_: None)
    with pytest.raises(RuntimeError, match=r"breakout-\w+ holds a recording that this emulator "
                                           "cannot go on with"):
        record("breakout", PART + 1)


def test_a_recording_in_parts_and_in_three_sittings_is_the_same(breakout):
    for count in (PART - 1, 2 * PART + 1, FRAMES):
        found = record("breakout", count, seed=SEED)
        assert len(found) == count and same(found, breakout, count)
    assert same(record("breakout", 50, seed=SEED), breakout, 50)


class Stopped(KeyboardInterrupt):
    """Ctrl-C at a moment of our choice."""


def test_a_recording_that_was_interrupted_goes_on(breakout, monkeypatch):
    moments = iter(range(10**9))

    def look(player, frame, plain=Player._look):
        if next(moments) == 2 * PART + 5:
            raise Stopped
        plain(player, frame)
    with monkeypatch.context() as stop:
        stop.setattr(Player, "_look", look)
        with pytest.raises(Stopped):
            record("breakout", FRAMES, seed=SEED)
        played = []
        stop.setattr(Player, "play", lambda player, actions, plain=Player.play:
                     played.append(len(actions)) or plain(player, actions))
        assert same(record("breakout", FRAMES, seed=SEED), breakout)
    assert played == [PART] * 3  # of five parts


def test_a_damaged_part_is_recorded_again(breakout, tmp_path):
    record("breakout", 3 * PART, seed=SEED)
    part = next((tmp_path / "atari").glob("*/00001.npz"))
    part.write_bytes(part.read_bytes()[:-9])
    assert same(record("breakout", 3 * PART, seed=SEED), breakout, 3 * PART)


def test_what_was_recorded_is_not_played_again(monkeypatch):
    first = record("freeway", 20)
    monkeypatch.setattr(recording, "Player", None)
    assert same(record("freeway", 20), first) and len(record("freeway", PART)) == PART


# The player

def test_a_longer_plan_begins_with_the_shorter_one():
    for hold in (0.0, 0.7):
        assert np.array_equal(plan(4, 1000, 6, hold)[:333], plan(4, 333, 6, hold))


def test_other_seeds_plan_something_else():
    plans = [plan(seed, 200, 6, 0.3) for seed in range(20)]
    assert len({tuple(p) for p in plans}) == 20


@pytest.mark.parametrize("hold", [0.0, 0.5, 0.9])
def test_every_button_is_as_likely_and_is_held_as_often_as_asked(hold):
    count, choices = 40_000, 5
    chosen = plan(1, count, choices, hold)
    assert chosen.min() == 0 and chosen.max() == choices - 1
    changes = (1 - hold) * (1 - 1 / choices)  # a new draw may be the old button
    error = np.sqrt(changes * (1 - changes) / count)
    assert abs((np.diff(chosen) != 0).mean() - changes) < 4 * error
    kept = (1 + hold) / (1 - hold)  # how many draws in a row count for one, in a variance
    error = np.sqrt(0.2 * 0.8 / count * kept)
    assert (abs(np.bincount(chosen) / count - 0.2) < 4 * error).all()


def test_only_buttons_that_the_game_knows_are_pressed(breakout):
    assert set(breakout.actions.tolist()) == {0, 1, 3, 4}


# What tells recordings apart

def test_the_fingerprint_is_known_without_playing_and_tells_recordings_apart(breakout):
    assert breakout.fingerprint == fingerprint_of("breakout", FRAMES, seed=SEED)
    assert fingerprint_of("breakout", 9, size=32) == fingerprint_of("breakout", 9, size=(32, 32))
    marks = {fingerprint_of("breakout", 9, **changed) for changed in (
        {}, {"seed": 1}, {"size": 32}, {"size": (64, 32)}, {"skip": 3}, {"hold": 0.5},
        {"pool": False})}
    marks |= {fingerprint_of("breakout", 10), fingerprint_of("pong", 9)}
    assert len(marks) == 9


def test_another_release_of_the_emulator_is_another_recording(monkeypatch):
    before = fingerprint_of("breakout", 9), recording._home(Settings("breakout"), None)
    monkeypatch.setattr(emulator.importlib.metadata, "version", lambda _: "0.99.1")
    assert before[0] != fingerprint_of("breakout", 9)
    assert before[1] != recording._home(Settings("breakout"), None)


# Bad input

@pytest.mark.parametrize("arguments, message", [
    ({"game": "brekout"}, "game must be one of the emulator's, got 'brekout'; did you mean "
                          "breakout"),
    ({"game": "Ms Pacman"}, "got 'Ms Pacman'; did you mean ms_pacman"),
    ({"game": "xyzzy"}, r"got 'xyzzy'; games\(\) lists them"),
    ({"game": 7}, r"game must be one of the emulator's, got 7"),
    ({"game": "combat"}, "game must be one for a single player, got 'combat'"),
    ({"frames": 0}, "frames must be an integer of at least 1, got 0"),
    ({"frames": -3}, "frames must be an integer of at least 1, got -3"),
    ({"frames": 2.5}, "frames must be an integer of at least 1, got 2.5"),
    ({"frames": True}, "frames must be an integer of at least 1, got True"),
    ({"size": 0}, "size must be an integer of at least 1, got 0"),
    ({"size": (64, -1)}, "size must be an integer of at least 1, got -1"),
    ({"size": 6.4}, "size must be an integer of at least 1, got 6.4"),
    ({"size": (1, 2, 3)}, r"size must be a side or height and width, got \(1, 2, 3\)"),
    ({"skip": 0}, "skip must be an integer of at least 1, got 0"),
    ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ({"hold": 1.0}, r"hold must lie in \[0, 1\), got 1.0"),
    ({"hold": -0.1}, r"hold must lie in \[0, 1\), got -0.1")])
@pytest.mark.parametrize("function", [record, fingerprint_of])
def test_what_cannot_be_recorded_is_refused(function, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        function(**{"game": "breakout", "frames": 5, **arguments})
    assert not (tmp_path / "atari").exists()


def test_games_are_those_for_one_player():
    found = games()
    assert {"breakout", "pong", "freeway", "ms_pacman"} < set(found)
    assert not {"combat", "joust", "maze_craze", "warlords"} & set(found)


def test_without_the_emulator_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(MissingEmulator, match=r"needs the package ale-py.*pip install ale-py"):
        record("breakout", 5)


# Silence

QUIET = """
import sys
from mae_lib.data import atari
print(sorted({"ale_py", "gymnasium", "numba", "torch"} & set(sys.modules)))
atari.record("breakout", 5, size=8)
"""


def test_it_is_silent_in_a_log_and_imports_nothing_early(tmp_path, monkeypatch):
    monkeypatch.setenv("ALE_ROMS_DIR", str(emulator.rom("breakout").parent))
    done = subprocess.run([sys.executable, "-W", "error", "-c", QUIET], capture_output=True,
                          text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)


def test_a_bar_counts_frames_for_who_watches(monkeypatch, capfd):
    monkeypatch.setattr(recording, "_watched", lambda: True)
    record("freeway", PART + 7)
    assert f"{PART + 7}/{PART + 7}" in (shown := capfd.readouterr().err) and "freeway" in shown
    record("freeway", PART + 7, progress=False)
    assert capfd.readouterr() == ("", "")


def test_the_package_names_what_it_offers():
    assert all(hasattr(atari, name) for name in atari.__all__)
