"""Per-image verdicts as parquet: the rows from which every figure is computed."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.canonical import digest
from bench.core.errors import CorruptArtifactError
from bench.core.nouns import Outcome
from bench.store.files import write_whole

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("clean_prediction", pa.int32()),
        pa.field("adversarial_prediction", pa.int32()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("distance", pa.float32()),
        pa.field("attack", pa.string(), nullable=False),
        pa.field("source_prediction", pa.int32()),
        pa.field("image_sha256", pa.string()),
    ]
)


@dataclass(frozen=True)
class Row:
    """One image: predictions are of the target but for ``source_prediction``; null where logits were not finite.

    ``attack`` names the attack whose candidate was judged, ``none`` where the clean image was. ``image_sha256`` is of
    the clean image's float32 pixels, None where the image could not be read.
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

    @property
    def robust(self) -> bool:
        """Whether the image survives the attack: its verdict is ROBUST; INVALID and ERROR do not count."""
        return self.outcome is Outcome.ROBUST

    @property
    def right(self) -> bool:
        """Whether the target classifies the clean image correctly."""
        return self.clean_prediction == self.label


def write_rows(path: Path, rows: list[Row], about: dict[str, Any] | None = None) -> None:
    """Write rows whole; ``about`` rides in the file's metadata. Same rows and about, same bytes."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)
    if about is not None:
        table = table.replace_schema_metadata({"about": json.dumps(about, sort_keys=True)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_whole(path, buffer.getvalue())


def read_rows(path: Path) -> tuple[list[Row], dict[str, Any]]:
    """The rows and the metadata of a file.

    Raises:
        CorruptArtifactError: it is not such a file.
    """
    try:
        table = pq.read_table(path)
        if table.schema.remove_metadata() != SCHEMA:
            raise ValueError(f"columns are {table.schema.names}, expected {SCHEMA.names}")
        about = json.loads((table.schema.metadata or {}).get(b"about", b"{}"))
        rows = [Row(**{**r, "outcome": Outcome(r["outcome"])}) for r in table.to_pylist()]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CorruptArtifactError(f"verdict file {path} cannot be read: {' '.join(str(error).split())}") from None
    return rows, about


def images_digest(rows: list[Row]) -> str:
    """Digest of what was judged: ids, labels and pixels, in order."""
    return digest([[row.image_id, row.label, row.image_sha256] for row in rows])


def rows_digest(rows: list[Row]) -> str:
    """Digest of the values of all rows, whatever file format holds them."""
    return digest([list(asdict(row).values()) for row in rows])
