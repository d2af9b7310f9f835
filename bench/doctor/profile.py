"""Check: the profile with its overrides is valid."""

from __future__ import annotations

from collections.abc import Iterator

from bench.core.errors import BenchError
from bench.doctor.examined import Examined
from bench.doctor.finding import Diagnosis, Topic

_TOPIC = Topic("profile")


def check(examined: Examined) -> Iterator[Diagnosis]:
    """One line; the checks of data and weights depend on it."""
    try:
        profile = examined.profile
    except BenchError as error:
        yield _TOPIC.error(error)
        return
    shape = " x ".join(map(str, profile.image_shape))
    yield _TOPIC.ok(
        f"{profile.name}: {profile.dataset}, {profile.classes:,} classes, {shape}, base {profile.base.name}"
    )
