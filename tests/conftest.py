import hypothesis
import pytest
import torch

torch.set_num_threads(1)
# The same examples every time, and no timing: a loaded machine must not fail a test.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def generator() -> torch.Generator:
    """A CPU generator in a known state; the global one is seeded too."""
    torch.manual_seed(0)
    return torch.Generator().manual_seed(0)
