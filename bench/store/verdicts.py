"""Per-image verdicts: the rows that every figure is computed from. Parquet is only imported to read rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from bench.core.canonical import digest
from bench.core.errors import CorruptArtifactError
from bench.core.nouns import Outcome
from bench.store.elsewhere import keep


@dataclass(frozen=True)
class Row:
    """One image: predictions are the target's, except ``source_prediction``; null if logits were not finite.

    ``attack`` is the attack that made the judged candidate, ``none`` for the clean image. ``image_sha256`` is of the
    clean image's float32 pixels, None if the image could not be read.

    The further measurements (docs/record.md) are None where they were not made: ``other_prediction`` under another
    image's perturbation, ``noise_prediction`` under noise of the size of its own, ``quantized_prediction`` after
    rounding to 8 bits, each :data:`NOTHING` if the logits were not finite; ``share`` is that of the members of a model
    that draws one, which are right on the candidate.

    ``phase`` is set in runs with ``--estimate``: 2 if the attack's first part left the image robust and the whole
    attack ran on it, else 1. A robust image of phase 1 survived the first part only.
    """

    image_id: str
    label: int
    clean_prediction: int | None
    adversarial_prediction: int | None
    outcome: Outcome
    distance: float | None
    attack: str
    source_prediction: int | None
    image_sha256: str | None
    other_prediction: int | None = None
    noise_prediction: int | None = None
    quantized_prediction: int | None = None
    share: float | None = None
    phase: int | None = None

    @property
    def robust(self) -> bool:
        """Whether the image is robust: its verdict is ROBUST; INVALID and ERROR do not count."""
        return self.outcome is Outcome.ROBUST

    @property
    def right(self) -> bool:
        """Whether the target classifies the clean image correctly."""
        return self.clean_prediction == self.label

    @property
    def valid(self) -> bool:
        """Whether there is a verdict on a candidate: it is neither INVALID nor ERROR."""
        return self.outcome not in (Outcome.INVALID, Outcome.ERROR)

    @property
    def paper_right(self) -> bool:
        """Whether the target classifies the candidate correctly, whatever it says of the clean image.

        Source: Section III-F of arXiv:2311.16577.
        """
        return self.valid and self.adversarial_prediction == self.label

    @property
    def quantized_robust(self) -> bool:
        """Whether the image is correct without attack and after rounding the candidate to 8 bits."""
        return self.valid and self.right and self.quantized_prediction == self.label

    @property
    def moved(self) -> bool:
        """Whether the candidate is within the budget and differs from the clean image."""
        return self.valid and bool(self.distance)


NOTHING = -1  # a further prediction that was asked for, with logits that were not finite
_ALWAYS = tuple(Row.__dataclass_fields__).index("image_sha256") + 1  # fields of every row; the later ones may be None

_FIELDS = tuple(Row.__dataclass_fields__)
_OUTCOME = _FIELDS.index("outcome")
_values = attrgetter(*_FIELDS)


def columns_of(rows: Sequence[Row]) -> list[list[Any]]:
    """Rows as plain values by column, in the order of their fields."""
    columns: list[list[Any]] = [list(column) for column in zip(*map(_values, rows), strict=True)]
    return columns or [[] for _ in _FIELDS]


def rows_of(columns: Sequence[Sequence[Any]]) -> list[Row]:
    """The rows of :func:`columns_of`.

    Raises:
        ValueError: for an invalid outcome, or columns of different lengths.
    """
    named = {outcome.value: outcome for outcome in Outcome}
    plain = list(columns)
    if odd := next((text for text in plain[_OUTCOME] if text not in named), None):
        raise ValueError(f"{odd!r} is not a valid outcome")
    plain[_OUTCOME] = [named[text] for text in plain[_OUTCOME]]
    return [Row(*values) for values in zip(*plain, strict=True)]


def write_rows(
    path: Path, rows: Sequence[Row], about: dict[str, Any] | None = None, *, address: str = "", new: bool = False
) -> bool:
    """Write rows atomically, with a digest of the file in it; the same input gives the same bytes.

    Args:
        path: The file.
        rows: The verdicts.
        about: Goes to the file's metadata.
        address: Where the file belongs; it is damaged at any other address.
        new: Never replace a file.

    Returns:
        Whether it was written.
    """
    from bench.store.parquet import encode  # noqa: PLC0415 (pyarrow)

    return keep(path, encode(columns_of(rows), about, address), new=new)


def read_rows(path: Path, *, address: str = "") -> tuple[list[Row], dict[str, Any]]:
    """The rows and the metadata of a file.

    Raises:
        CorruptArtifactError: if it is not a verdict file, is damaged, or belongs to another address.
    """
    from bench.store.parquet import decode  # noqa: PLC0415 (pyarrow)

    columns, about = decode(path, address)
    try:
        return rows_of(columns), about
    except ValueError as error:
        raise CorruptArtifactError(f"verdict file {path} cannot be read: {error}") from None


def images_digest(rows: Sequence[Row]) -> str:
    """Digest of the judged data: ids, labels and pixels, in order."""
    return digest([[row.image_id, row.label, row.image_sha256] for row in rows])


def rows_digest(rows: Sequence[Row]) -> str:
    """Digest of the values of all rows, independent of the file format."""
    return columns_digest(columns_of(rows))


def columns_digest(columns: Sequence[Sequence[Any]]) -> str:
    """As :func:`rows_digest`, of plain values by column; a further measurement counts only if it holds a value."""
    used = [at for at in range(_ALWAYS, len(_FIELDS)) if any(value is not None for value in columns[at])]
    values = [list(row) for row in zip(*columns[:_ALWAYS], *(columns[at] for at in used), strict=True)]
    return digest({"more": [_FIELDS[at] for at in used], "rows": values} if used else values)
