"""What a check here found of a run: confirmed, or only stated; written beside its record, only by local commands."""

from __future__ import annotations

from pathlib import Path

from bench import __version__
from bench.store.documents import write_document
from bench.store.evidence import Confirmation
from bench.store.record import Record
from bench.store.untrusted import RefusedError, parse_document, read_capped

DOCUMENT = "confirmation.json"
_MOST = 1_000_000  # bytes


def write_confirmation(folder: Path, record: Record, unchecked: list[str], *, confirmed: bool = True) -> Confirmation:
    """Write whether all verdicts of ``record`` were confirmed when its images were judged again.

    Args:
        folder: Folder of the run.
        record: The checked record.
        unchecked: What could not be checked, one line each.
        confirmed: False for a run from outside that is only stated.
    """
    confirmation = _of(record, unchecked, confirmed=confirmed)
    write_document(folder / DOCUMENT, confirmation)
    return confirmation


def read_confirmation(folder: Path, record: Record) -> Confirmation | None:
    """The confirmation in a run's folder; None if there is none. One of other verdicts says that these are stated.

    Raises:
        RefusedError: if the file is not a valid confirmation.
    """
    if not (folder / DOCUMENT).is_symlink() and not (folder / DOCUMENT).exists():
        return None
    return parse_confirmation(read_capped(folder / DOCUMENT, _MOST), record)


def parse_confirmation(data: bytes, record: Record) -> Confirmation:
    """A confirmation from its bytes. One of other verdicts says that these are stated: nobody checked them.

    Raises:
        RefusedError: if they are not a valid confirmation.
    """
    found = parse_document(data, Confirmation, DOCUMENT, prefix="confirmation.")
    if (found.run_id, found.verdicts) != (record.run_id, record.digests.verdicts):
        return _of(record, ["the confirmation in its folder is of other verdicts"], confirmed=False)
    judged = record.metrics.images if found.state == "confirmed" else 0
    if found.images != judged:
        raise RefusedError(
            "confirmation.images", f"is {found.images}; expected {judged} for a run that is {found.state}"
        )
    return found


def _of(record: Record, unchecked: list[str], *, confirmed: bool) -> Confirmation:
    return Confirmation(
        state="confirmed" if confirmed else "stated",
        run_id=record.run_id,
        verdicts=record.digests.verdicts,
        images=record.metrics.images if confirmed else 0,
        version=__version__,
        unchecked=unchecked,
    )
