"""The images that every layout is made of."""

import pytest

from tests.makers import Photo, photos


@pytest.fixture(scope="session")
def images() -> list[Photo]:
    """Twelve validation images."""
    return photos()
