"""Shards given out in order to the first free worker: known courses, and the bounds that hold for every one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.schedule import schedule, shards_needed


def test_known_courses():
    found = schedule([3, 1, 1, 1], 2)
    assert (found.seconds, found.tail, found.efficiency) == (3, 0, 1)
    late = schedule([1, 1, 1, 3], 2)
    assert (late.seconds, late.tail, late.efficiency) == (4, 2, 6 / 8)
    assert schedule([1, 1], 2, ready=1).efficiency == 0.5
    with pytest.raises(ValueError, match="0 shards on 2 workers"):
        schedule([], 2)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60), st.integers(1, 20))
def test_the_tail_is_at_most_one_shard(times, workers):
    found = schedule(times, workers)
    assert found.tail <= max(times) + 1e-9 or len(times) < workers
    assert found.seconds >= max(*times, sum(times) / workers) - 1e-9
    assert found.seconds <= sum(times) / workers + max(times) + 1e-9  # Graham's bound for lists


def test_the_number_of_shards_reaches_what_was_asked():
    times = [4.0, 5.0, 6.0]
    count = shards_needed(times, 16)
    assert schedule([5.0] * count, 16).efficiency > 0.9
    assert shards_needed(times, 16, efficiency=0.8) < count
    assert shards_needed([5.0], 8) == 8
