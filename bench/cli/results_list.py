"""`bench results list`: one line per record, filtered and sorted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.takes import JsonFlag, takes
from bench.engine.request import Resources

if TYPE_CHECKING:
    from bench.store.record import Record

_NEWEST_FIRST = "date"
_COLUMNS = ("run", "tier", "defense", "threat", "attack", "budget", "proto", "n", "clean", "robust")
_NUMBERS = ("n", "clean", "robust")


def _started(record: Record) -> datetime:
    """Start time of the run; the minimum date if the record has none in a readable form."""
    try:
        return _aware(datetime.fromisoformat(record.provenance.started))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _aware(when: datetime) -> datetime:
    return when if when.tzinfo else when.replace(tzinfo=UTC)


# Sort orders; each ends with the run's id, so that every order is unambiguous.
ORDERS: dict[str, Callable[[Record], Any]] = {
    "date": _started,
    "run": lambda r: r.run_id,
    "defense": lambda r: (r.spec.defense.name, r.spec.threat.name, r.spec.attack.name, str(r.spec.budget)),
    "threat": lambda r: (r.spec.threat.name, r.spec.attack.name, r.spec.defense.name, str(r.spec.budget)),
    "tier": lambda r: r.tier,
    "clean": lambda r: r.metrics.clean_accuracy,
    "robust": lambda r: r.metrics.robust_accuracy,
    "images": lambda r: r.metrics.images,
}


@dataclass(frozen=True)
class Wanted:
    """Filters of a list; None accepts every record."""

    profile: str | None = None
    defense: str | None = None
    threat: str | None = None
    attack: str | None = None
    tier: str | None = None
    protocol: str | None = None
    eligible: bool | None = None
    since: datetime | None = None

    def takes(self, record: Record) -> bool:
        """Whether the record passes all filters."""
        spec = record.spec
        asked = (
            (self.profile, spec.profile.name),
            (self.defense, spec.defense.name),
            (self.threat, spec.threat.name),
            (self.attack, spec.attack.name),
            (self.tier, record.tier),
            (self.protocol, spec.protocol.value),
            (self.eligible, record.eligible),
        )
        return all(want is None or want == got for want, got in asked) and (
            self.since is None or _started(record) >= self.since
        )


@takes(Resources, only=("results",))
def show_all(
    resources: Resources,
    profile: Annotated[str | None, typer.Option(help="Runs of this profile only.")] = None,
    defense: Annotated[str | None, typer.Option(help="Runs of this defense only.")] = None,
    threat: Annotated[str | None, typer.Option(help="Runs under this threat only.")] = None,
    attack: Annotated[str | None, typer.Option(help="Runs with this attack only.")] = None,
    tier: Annotated[
        str | None, typer.Option(help="Runs of this tier only: T0, T1, T1+, T1s, T2, T3, T4 or T5.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="strict or paper.")] = None,
    eligible: Annotated[
        bool | None, typer.Option("--eligible/--not-eligible", help="Only runs that are eligible, or not eligible.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Started at this day or time (ISO 8601) or later.")
    ] = None,
    sort: Annotated[
        str, typer.Option(help=f"Order: {', '.join(ORDERS)}; newest first for date, else ascending.")
    ] = _NEWEST_FIRST,
    reverse: Annotated[bool, typer.Option("--reverse", help="Reverse the order.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first LIMIT lines.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List records, one line each, the newest first."""
    from bench.store.runs import RunStore

    wanted = Wanted(profile, defense, threat, attack, tier, protocol, eligible, _parse_date(since))
    _check_words(wanted, sort)
    store = RunStore(resources.results)
    records, refused = _read(store)
    found = sorted((r for r in records if wanted.takes(r)), key=lambda r: (ORDERS[sort](r), r.run_id))
    if reverse != (sort == _NEWEST_FIRST):
        found.reverse()
    shown = found[:limit]
    if as_json:
        print(json.dumps([r.model_dump(mode="json") for r in shown], indent=2))
    else:
        _print(shown, len(records))
    if refused:
        raise typer.Exit(refused)


def _read(store: Any) -> tuple[list[Record], int]:
    """All readable records; the others are named, and determine the exit code."""
    from bench.core.errors import BenchError, CorruptArtifactError

    records, refused = [], 0
    for run_id in store.ids():
        try:
            records.append(store.run(run_id).record())
        except BenchError as error:  # a damaged record does not hide the others
            refused = error.exit_code
            print(f"bench: {error}", file=sys.stderr)
    for text in store.problems():
        refused = refused or CorruptArtifactError(text).exit_code
        print(f"bench: {text}", file=sys.stderr)
    return records, refused


def _print(records: list[Record], total: int) -> None:
    """Columns that fit into 100 characters; values shared by all lines are printed above them."""
    profiles = {r.spec.profile.name for r in records}
    years = {_started(r).year for r in records}
    shared = f", profile {min(profiles)}" if len(profiles) == 1 else ""
    print(f"{len(records)} of {total} runs{shared}")
    if not records:
        return
    one_year = len(years) == 1
    head = [str(min(years)) if one_year else "date", *_COLUMNS]
    lines = [[_started(r).strftime("%m-%d" if one_year else "%Y-%m-%d"), *_cells(r)] for r in records]
    if len(profiles) > 1:
        head += ["profile"]
        lines = [[*line, r.spec.profile.name] for line, r in zip(lines, records, strict=True)]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, *lines):
        cells = [
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        ]
        print(" ".join(cells).rstrip())
    if any(not record.eligible for record in records):
        print("* not eligible for the leaderboard; `bench results show RUN` gives the reasons")


def _cells(record: Record) -> tuple[str, ...]:
    spec, metrics = record.spec, record.metrics
    return (
        record.run_id,
        record.tier,
        spec.defense.name,
        spec.threat.name,
        spec.attack.name,
        str(spec.budget),
        spec.protocol.value,
        str(metrics.images),
        f"{100 * metrics.clean_accuracy:.1f}",
        f"<={100 * metrics.robust_accuracy:.1f}{'' if record.eligible else '*'}"
        + (f" ({metrics.estimate.text})" if metrics.estimate else ""),
    )


def _check_words(wanted: Wanted, sort: str) -> None:
    """Refuse values that no record can have, so that a mistyped filter does not look like an empty folder.

    Raises:
        InputError: if an order, tier or protocol does not exist.
    """
    from bench.core.errors import InputError
    from bench.core.nouns import Protocol
    from bench.core.tiers import TIERS

    for flag, got, known in (
        ("--sort", sort, tuple(ORDERS)),
        ("--tier", wanted.tier, TIERS),
        ("--protocol", wanted.protocol, tuple(str(p) for p in Protocol)),
    ):
        if got is not None and got not in known:
            raise InputError(f"{flag} is {got!r}; expected one of {', '.join(known)}")


def _parse_date(text: str | None) -> datetime | None:
    from bench.core.errors import InputError

    if text is None:
        return None
    try:
        return _aware(datetime.fromisoformat(text))
    except ValueError:
        raise InputError(f"--since is {text!r}; expected a date such as 2026-01-31, or 2026-01-31T12:00") from None
