"""The log of a training: a CSV with one row per step, and optional TensorBoard files."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.core.errors import InputError

COLUMNS = ("step", "loss", "learning_rate", "images_per_second", "seconds")
LOG = "log.csv"
_EVERY = 20  # rows between flushes


class Log:
    """Writes rows of :data:`COLUMNS`; a training that resumes after ``step`` drops the rows that it repeats.

    Args:
        folder: Folder of the log; None for no log.
        step: Completed steps.
        tensorboard: Write event files too.

    Raises:
        InputError: if TensorBoard is requested but not installed.
    """

    def __init__(self, folder: Path | None, step: int, *, tensorboard: bool) -> None:
        self._file: Any = None
        self._board: Any = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        kept = _rows(folder / LOG, step)
        self.seconds_before = float(kept[-1][-1]) if kept else 0.0
        self._board = _board(folder, step) if tensorboard else None
        self._file = (folder / LOG).open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerows([COLUMNS, *kept])

    def row(self, step: int, loss: float, rate: float, images_per_second: float, seconds: float) -> None:
        """Add the row of a step."""
        if self._file is None:
            return
        seconds += self.seconds_before
        self._writer.writerow([step, repr(loss), repr(rate), f"{images_per_second:.1f}", f"{seconds:.2f}"])
        if step % _EVERY == 0:
            self._file.flush()
        if self._board is not None:
            for name, value in (("loss", loss), ("learning_rate", rate), ("images_per_second", images_per_second)):
                self._board.add_scalar(name, value, step)

    def flush(self) -> None:
        """Flush every row to disk, as before a checkpoint."""
        if self._file is not None:
            self._file.flush()

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for open_file in (self._file, self._board):
            if open_file is not None:
                open_file.close()


def _rows(path: Path, step: int) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return [row for row in rows if len(row) == len(COLUMNS) and int(row[0]) <= step]


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (optional)
    except ImportError:
        raise InputError("TensorBoard is not installed; expected `pip install tensorboard`, or the CSV log only") \
            from None  # fmt: skip
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
