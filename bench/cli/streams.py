"""Standard streams that are closed, full, or in an encoding with few characters."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def open_streams() -> None:
    """Give every standard stream that is closed a place, and let each show any text.

    A closed descriptor would otherwise be that of the next file which is opened, and output would go into that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 (for the life of the process)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def flush_streams() -> str | None:
    """Write what is left; returns why standard output cannot be written, None if it can or its reader has gone."""
    why = None
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout.fileno())
    except OSError as error:
        _silence(sys.stdout.fileno())
        why = f"standard output cannot be written: {(error.strerror or str(error)).lower()}"
    except ValueError:  # closed
        pass
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            _silence(sys.stderr.fileno())
    return why


def _silence(number: int) -> None:
    """Let the interpreter's own flush at its end succeed."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
