"""Flags that mean the same in every command."""

from __future__ import annotations

from typing import Annotated

import typer

ResultsOption = Annotated[str, typer.Option(envvar="BENCH_RESULTS", help="The folder of records.")]
DeviceOption = Annotated[str, typer.Option(envvar="BENCH_DEVICE", help="cpu or cuda.")]
RebuildOption = Annotated[
    bool, typer.Option(envvar="BENCH_REBUILD", help="Make a cached model anew where its digest is wrong.")
]
DataOption = Annotated[
    str | None, typer.Option(envvar="BENCH_DATA", help="The folder of the data set, for one that needs it.")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(envvar="BENCH_WEIGHTS", help="A file or folder of pre-trained weights; without, timm's from the hub."),
]
OfflineOption = Annotated[bool, typer.Option(envvar="BENCH_OFFLINE", help="Never try the network.")]
WorkersOption = Annotated[
    int | None, typer.Option(envvar="BENCH_WORKERS", min=0, help="Of reading images; default: all cores but one.")
]
ProfileOption = Annotated[str, typer.Option(envvar="BENCH_PROFILE", help="The world: a name or a YAML file.")]
BaseOption = Annotated[
    str | None, typer.Option(envvar="BENCH_BASE", help="The undefended model: any timm model with its tag.")
]
StartOption = Annotated[
    str | None, typer.Option(envvar="BENCH_START", help="Where fine-tuning starts, if not from the base: a timm model.")
]
PreprocessingOption = Annotated[
    str | None, typer.Option(envvar="BENCH_PREPROCESSING", help="timm-eval, resize-224, or one of RobustBench's.")
]
KeyOption = Annotated[
    str | None, typer.Option(envvar="BENCH_KEY", help="The defender's key by name; without one, from the seed.")
]
SeedOption = Annotated[int, typer.Option(envvar="BENCH_SEED", help="Of everything random.")]
JsonOption = Annotated[
    bool, typer.Option("--json", envvar="BENCH_JSON", help="JSON on standard output and nothing else there.")
]
