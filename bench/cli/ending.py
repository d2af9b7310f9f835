"""What a command says when it cannot go on: one line, for every error whose cause is outside this program."""

from __future__ import annotations

import re

import typer

from bench.core.errors import BenchError

# How libraries say that memory or threads are used up: torch, its allocators, the loader of shared libraries.
_MEMORY = re.compile(
    r"alloc|out of memory|not enough memory|new thread|failed to map segment|resource temporarily", re.I
)
_LIMITED = (RuntimeError, ImportError, OSError)


def ending(error: BaseException) -> tuple[int, str] | None:
    """Exit code and line for an error; None if it is a defect of this program, which a traceback shows.

    Args:
        error: What a command raised.
    """
    said = " ".join(str(error).split())[:200]
    found: tuple[int, str] | None = None
    if isinstance(error, BenchError):
        found = error.exit_code, str(error)
    elif isinstance(error, typer.TyperException):
        found = error.exit_code, error.format_message()
    elif isinstance(error, BrokenPipeError):
        found = 1, ""
    elif isinstance(error, OSError) and error.strerror:
        found = 2, (f"{error.filename}: " if error.filename else "") + error.strerror.lower()
    elif isinstance(error, MemoryError) or (isinstance(error, _LIMITED) and _MEMORY.search(said)):
        found = 2, f"memory or another limit of this process is used up ({said or 'no memory'}); expected more of it"
    elif isinstance(error, RecursionError):
        found = 2, "something in the input is nested too deep; expected files as programs write them"
    elif isinstance(error, UnicodeEncodeError):
        found = 2, f"a name or text is not UTF-8 ({said}); expected names in UTF-8"
    return found
