"""The environment of a command: its means and its progress display."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.core.plugins import TrainingMeans
    from bench.engine.means import Means
    from bench.engine.request import Resources


@contextmanager
def working(
    resources: Resources, *, key_name: str | None = None, training: TrainingMeans | None = None, quiet: bool = False
) -> Iterator[Means]:
    """The means of a command, with progress on standard error; its command line is stored in the record.

    Args:
        resources: As given by the user.
        key_name: The key's name in the keyring, for the record.
        training: Training settings; None for the defaults.
        quiet: Show nothing.
    """
    from bench.api.progress import listener
    from bench.engine.means import Means

    with listener(show=not quiet) as progress:
        argv = ("bench", *sys.argv[1:])
        yield Means.of(resources, progress, argv=argv, key_name=key_name, training=training)


def ended(*, well: bool) -> None:
    """End the command with exit code 1 if its result does not hold; everything has been printed by then."""
    import typer

    sys.stdout.flush()
    if not well:
        raise typer.Exit(1)
