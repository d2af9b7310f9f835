"""Flags that mean the same in every command."""

from __future__ import annotations

from typing import Annotated

import typer

ResultsOption = Annotated[str, typer.Option(envvar="BENCH_RESULTS", help="The folder of records.")]
DeviceOption = Annotated[str, typer.Option(envvar="BENCH_DEVICE", help="cpu or cuda.")]
RebuildOption = Annotated[
    bool, typer.Option(envvar="BENCH_REBUILD", help="Make a cached model anew where its digest is wrong.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", envvar="BENCH_JSON", help="JSON on standard output and nothing else there.")
]
