import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
import torch

# A shell that starts the tests in the background has them, and their children, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)
# The same examples every time, and no timing: a loaded machine must not fail a test.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def generator() -> torch.Generator:
    """A CPU generator in a known state; the global one is seeded too."""
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)


@contextmanager
def _results_in(folder: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAE_LIB_CACHE", str(folder / "cache"))
        patch.setenv("MAE_LIB_PUBLISHED", str(folder / "published"))
        yield folder


@pytest.fixture
def own_results(tmp_path) -> Iterator[Path]:
    """The folder that holds this test's results, computed and published; none yet."""
    with _results_in(tmp_path) as folder:
        yield folder


@pytest.fixture(scope="module")
def shared_results(tmp_path_factory) -> Iterator[Path]:
    """The same for all tests of a file, which find what the first of them computed."""
    with _results_in(tmp_path_factory.mktemp("results")) as folder:
        yield folder
