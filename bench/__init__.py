"""bench: evaluate key-based adversarial defenses against a ladder of adversaries.

The Python API is imported on first use, so that ``import bench`` is fast; see docs/api.md.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.api.ladder import LadderResult, ladder
    from bench.api.results import compare, load, results
    from bench.api.runs import LocalRun, evaluate
    from bench.core.errors import BenchError, InputError
    from bench.store.run import Run

__version__ = "0.1.0"
__all__ = ["BenchError", "InputError", "LadderResult", "LocalRun", "Run", "compare", "evaluate", "ladder", "load",
           "results"]  # fmt: skip

_HOMES = {
    "BenchError": "bench.core.errors",
    "InputError": "bench.core.errors",
    "LadderResult": "bench.api.ladder",
    "LocalRun": "bench.api.runs",
    "Run": "bench.store.run",
    "compare": "bench.api.results",
    "evaluate": "bench.api.runs",
    "ladder": "bench.api.ladder",
    "load": "bench.api.results",
    "results": "bench.api.results",
}


if not TYPE_CHECKING:  # otherwise a type checker would accept any name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        with warnings.catch_warnings():  # of torch and tqdm, about themselves
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", message="IProgress not found")
            found: object = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
