import pytest
from tiny import tiny_images, tiny_model


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def images():
    return tiny_images()
