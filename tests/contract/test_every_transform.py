"""Contract of every registered transform, as the command tries it before training."""

import pytest

from bench.core.binding import bind_transforms
from bench.core.errors import InputError
from bench.core.key import Key
from bench.core.registry import registry

KEY = Key.from_seed(0, "test")


@pytest.mark.parametrize("block_size", [1, 4, 8])
@pytest.mark.parametrize("name", [*registry("transforms").names(), "pixel-shuffle+negative-positive"])
def test_every_transform_keeps_its_promises(name, block_size):
    assert bind_transforms(name, KEY, block_size=block_size, image_shape=(3, 16, 24))


@pytest.mark.parametrize("name", registry("transforms").names())
def test_a_block_that_does_not_divide_the_image_is_refused(name):
    with pytest.raises(InputError, match=r"P = 5 does not divide the 16 x 24 image; expected one of 1, 2, 4, 8"):
        bind_transforms(name, KEY, block_size=5, image_shape=(3, 16, 24))
