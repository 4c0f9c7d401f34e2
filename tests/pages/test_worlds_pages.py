"""The page on networks of games: every number in its game, row and size, films of the right run."""

from types import SimpleNamespace

import numpy as np
import pytest
from test_plan import PARAMETERS

from mae_lib import studies
from mae_lib.evaluation.partners import OVER_STRANGERS
from mae_lib.evaluation.records import EvalRecord, not_tested, to_value
from mae_lib.evaluation.small_objects import bin_names
from mae_lib.ledger.statistics import t_interval
from mae_lib.pages import worlds as pages
from mae_lib.studies import Plan, Sweep, partners, worlds

GAMES, SEEDS, BINS = ("pong", "boxing"), (0, 1), bin_names(worlds.EDGES)
PLAN = Plan.of(PARAMETERS | {"preset": "toy", "world_games": list(GAMES), "world_views": 64,
                             "world_seeds": list(SEEDS), "world_test_frames": 40})


def value(setting, metric: str) -> float:
    """Something different for every run and metric."""
    game, seed = GAMES.index(setting.dataset), setting.seed
    return (1 + game + 0.1 * seed + 0.01 * len(metric)
            + 0.001 * (hash_of(setting.method) % 7) + (setting.views > 0))


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def objects(setting) -> dict:
    """The last bin of the second game holds nothing."""
    about = {"setting": studies.settings.without_seed(setting), "seed": setting.seed,
             "dataset": f"atari {setting.dataset}", "split": "test",
             "protocol": "hidden cells, ratio 0.75"}
    found = []
    for metric in (pages.OVER_BACKGROUND, pages.OVER_MISSING):
        for name in BINS:
            full = metric.format(name)
            empty = setting.dataset == "boxing" and name == BINS[-1]
            found.append(not_tested("none", metric=full, **about) if empty else
                         EvalRecord(**about, metric=full, value=value(setting, full), n=9))
    film = np.full((16, 3, 32, 32), 10 * setting.seed + 5, np.uint8)
    hidden = np.zeros((16, 32, 32), bool)
    hidden[:, :8] = True
    return to_value(found) | {"drawn": film, "hidden": hidden}


def told(setting) -> dict:
    found = [EvalRecord(studies.settings.without_seed(setting), setting.seed, setting.dataset,
                        "test", "somehow", OVER_STRANGERS.format(name), value(setting, name), 9)
             for name in ("objects", "still pixels")]
    return to_value(found) | {"pictures": np.full((4, 4, 3, 32, 32), setting.seed, np.uint8)}


@pytest.fixture
def plan(monkeypatch):
    kinds = {"small_objects": objects, "partners": told}

    def sweep(plan, study, settings):
        settings = list(settings)
        return Sweep(settings, [SimpleNamespace(value=kinds[study.kind](s), stale=[])
                                for s in settings])

    monkeypatch.setattr(Plan, "sweep", sweep)
    return PLAN


@pytest.mark.parametrize("metric", [pages.OVER_BACKGROUND, pages.OVER_MISSING])
def test_every_error_stands_in_its_game_row_and_size(plan, metric):
    table = pages.by_area(pages.looked_at(plan), metric)
    rows = worlds.rows(plan)
    assert list(dict.fromkeys(table.row)) == list(rows)
    for name, settings in rows.items():
        for game, title in zip(GAMES, ("Pong", "Boxing"), strict=True):
            for edge, size in zip(worlds.EDGES, BINS, strict=True):
                found = table[(table.row == name) & (table.panel == title) & (table.area == edge)]
                if game == "boxing" and size == BINS[-1]:
                    assert found.empty
                    continue
                runs = [value(s, metric.format(size)) for s in settings if s.dataset == game]
                line, = found.itertuples()
                assert (line.value, line.low, line.high) == pytest.approx(tuple(t_interval(runs)))
    wide = pages.areas_beside(table)
    assert list(wide.columns) == ["game", "area from, pixels", *rows] and len(wide) == 9
    assert wide.iloc[0, 2:].tolist() == [
        table[(table.row == name) & (table.panel == wide.game[0])
              & (table.area == wide.iloc[0, 1])].text.item() for name in rows]


def test_films_are_of_the_first_run_and_show_what_was_hidden(plan):
    clips = pages.films(pages.looked_at(plan), "boxing", 40)
    names = [f"drawn: {name}" for name in worlds.rows(plan) if name != "no training"]
    assert list(clips) == ["frames", "not hidden", *names]
    frames = studies.images("boxing", "test", 40, 32).images[12:28]
    assert np.array_equal(clips["frames"], frames.swapaxes(0, 1))
    assert np.array_equal(clips["not hidden"][:, :, 8:], frames.swapaxes(0, 1)[:, :, 8:])
    assert (clips["not hidden"][:, :, :8] == 140).all()
    assert all((clips[name] == 5).all() and clips[name].shape == (3, 16, 32, 32) for name in names)
    assert pages.films(pages.looked_at(plan), "ms_pacman", 40) == {}


def test_what_partners_tell_is_a_mean_over_runs(plan):
    found = pages.beside(plan)
    table = pages.told(found)
    assert list(dict.fromkeys(table.network)) == list(partners.rows(plan))
    for name, settings in partners.rows(plan).items():
        for region in ("objects", "still pixels"):
            line, = table[(table.network == name) & (table.region == region)].itertuples()
            assert line.value == pytest.approx(np.mean([value(s, region) for s in settings]))
            assert line.protocol == "somehow" and line.text.startswith(f"{line.value:.3f} [")
    shown = pages.pictures(found)
    assert list(shown) == list(partners.rows(plan))
    assert all(picture.shape == (4, 3, 32, 32) and (picture == 0).all()
               for picture in shown.values())
