import signal

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
