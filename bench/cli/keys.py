"""`bench key`: the keyring."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from bench.cli.takes import JsonFlag, takes

app = typer.Typer(no_args_is_help=True, help="Create and list the defender's keys; only fingerprints are shown.")


@app.command()
def new(name: Annotated[str, typer.Argument(help="Name of the key.")]) -> None:
    """Create a random 256-bit key."""
    from bench.store.home import Home
    from bench.store.keyring import Keyring

    key = Keyring(Home.default().keys).new(name)
    print(f"{name}  {key.fingerprint}")


@app.command("list")
@takes()
def show(as_json: JsonFlag = False) -> None:
    """List names and fingerprints."""
    from bench.core.errors import KeyringError
    from bench.store.home import Home
    from bench.store.keyring import Keyring

    ring, rows, refused = Keyring(Home.default().keys), [], 0
    for name in ring.names():
        try:
            rows.append((name, ring.read(name).fingerprint))
        except KeyringError as error:  # a damaged file does not hide the other keys
            refused = error.exit_code
            print(f"bench: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps([{"name": name, "fingerprint": fingerprint} for name, fingerprint in rows], indent=2))
    else:
        for name, fingerprint in rows:
            print(f"{name}  {fingerprint}")
    if refused:
        raise typer.Exit(refused)
