"""Check: plug-ins that cannot be imported."""

from __future__ import annotations

from collections.abc import Iterator

from bench.core.names import KINDS
from bench.core.registry import registry
from bench.doctor.examined import Examined
from bench.doctor.finding import Diagnosis, Topic, one_line

_TOPIC = Topic("plug-ins")
_OWN = "keybench"  # the distribution of this package


def check(examined: Examined) -> Iterator[Diagnosis]:
    """One line for each broken plug-in; the others are counted. None is fatal to a run that does not use it."""
    good = 0
    for kind in KINDS:
        entries = registry(kind).describe()
        if not entries:
            yield _TOPIC.fail(f"no {kind} are registered", "reinstall keybench: pip install --force-reinstall keybench")
        for entry in entries:
            if entry.error is None:
                good += 1
                continue
            what = f"{kind.removesuffix('s')} {entry.name} of {entry.origin}"
            of = entry.origin.partition(" ")[0]
            advice = f"repair {of} or uninstall it" if of != _OWN else "fix the environment first"
            yield _TOPIC.warn(f"{what} cannot be imported ({one_line(entry.error)})", advice)
    yield _TOPIC.ok(f"{good} can be imported")
