"""Check: the existing records."""

from __future__ import annotations

from collections.abc import Iterator

from bench.doctor.examined import Examined
from bench.doctor.finding import Diagnosis, Topic, one_line
from bench.store.runs import RunStore

_TOPIC = Topic("results")
_RESTORE = "restore the published files, or publish the runs again"


def check(examined: Examined) -> Iterator[Diagnosis]:
    """Every record is read with its verdicts; a damaged one stops no other run. The disk check covers writing."""
    store = RunStore(examined.question.resources.results)
    good = 0
    for run_id in store.ids():
        try:
            store.run(run_id).read()
            good += 1
        except Exception as error:  # any kind, depending on the damage
            finding = f"record {run_id} is damaged: {one_line(error)}"
            away = f"move {store.root / run_id} away; the same run recreates it"
            yield _TOPIC.warn(finding, _RESTORE if store.run(run_id).published else away)
    for text in store.problems():
        yield _TOPIC.warn(f"published runs: {one_line(text)}", _RESTORE)
    yield _TOPIC.ok(f"{good} records can be read in {store.root}")
