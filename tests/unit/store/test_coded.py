"""Adversarial images in few bytes: the same bits come back, whatever they are; what attacks make is small."""

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.store.coded import decode, encode

SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
RADII = st.sampled_from([0.0, 4 / 255, 0.5, 2.0])


def patterns(shape):
    """Any float32: NaN with any payload, infinities, -0, denormals."""
    return arrays.arrays(np.uint32, shape, elements=st.integers(0, 2**32 - 1)).map(lambda bits: bits.view(np.float32))


def same(one, other):
    return one.shape == other.shape and np.array_equal(one.view(np.uint32), other.view(np.uint32))


@settings(max_examples=60, deadline=None)
@given(SHAPES.flatmap(lambda shape: st.tuples(patterns(shape), patterns(shape))), RADII, st.randoms())
def test_any_bits_come_back(pair, radius, draw):
    values, clean = pair
    kept = np.array([draw.random() < 0.5 for _ in range(values.size)], bool).reshape(values.shape)
    values = np.where(kept, clean, values)
    assert same(decode(encode(values, clean, radius), clean, radius), values)


@settings(max_examples=40, deadline=None)
@given(SHAPES.flatmap(lambda shape: st.tuples(
    arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)),
    arrays.arrays(np.int8, shape, elements=st.integers(-2, 2)))))  # fmt: skip
def test_images_in_and_on_the_ball_come_back(pair):
    clean, moves = pair
    eps = np.float32(4 / 255)
    values = np.clip(clean + eps * moves.astype(np.float32) / 2, 0, 1).astype(np.float32)
    assert same(decode(encode(values, clean, 4 / 255), clean, 4 / 255), values)


@pytest.mark.parametrize(("share", "most"), [(0.0, 0.3), (0.05, 0.5)])
def test_values_at_the_bounds_take_a_few_bits(share, most):
    """Random signs have one bit of entropy; a float32 has 32."""
    draw = np.random.default_rng(0)
    clean = (draw.integers(0, 256, (4, 3, 64, 64)) / 255).astype(np.float32)
    eps = np.float32(4 / 255)
    values = np.clip(clean + eps * draw.choice(np.float32([-1, 1]), clean.shape), 0, 1)
    inside = draw.random(clean.shape) < share
    values[inside] = (clean + eps * draw.uniform(-1, 1, clean.shape).astype(np.float32))[inside]
    coded = encode(values, clean, 4 / 255)
    assert same(decode(coded, clean, 4 / 255), values)
    assert len(coded) / values.size < most


def test_clean_images_take_almost_nothing():
    clean = np.random.default_rng(0).random((4, 3, 64, 64), np.float32)
    assert len(encode(clean, clean, 4 / 255)) < 200
