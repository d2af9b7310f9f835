"""What a command says when it cannot go on: one line, for every error whose cause is outside this program."""

from __future__ import annotations

import re

import typer

from bench.core.errors import BenchError

# How libraries say that memory or threads are used up: torch, its allocators, the loader of shared libraries.
_MEMORY = re.compile(
    r"alloc|out of memory|not enough memory|new thread|failed to map segment|resource temporarily", re.I
)


def ending(error: BaseException) -> tuple[int, str] | None:
    """Exit code and line for an error; None if it is a defect of this program, which a traceback shows.

    Args:
        error: What a command raised.
    """
    if isinstance(error, BenchError | typer.TyperException):
        text = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        return error.exit_code, text
    if isinstance(error, BrokenPipeError):
        return 1, ""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return 2, f"{where}{error.strerror.lower()}"
    said = " ".join(str(error).split())[:200]
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError) and _MEMORY.search(said)
    ):
        return 2, f"memory or another limit of this process is used up ({said or 'no memory'}); expected more of it"
    if isinstance(error, RecursionError):
        return 2, "something in the input is nested too deep; expected files as this program and its sources write them"
    if isinstance(error, UnicodeEncodeError):
        return 2, f"a name or text is not UTF-8 ({said}); expected names in UTF-8"
    return None
