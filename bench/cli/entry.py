"""The process of a command: what its libraries do at the end cannot change its exit code."""

from __future__ import annotations

import atexit
import os

from bench.cli.streams import flush_streams


def console() -> None:
    """Entry point of the process: :func:`bench.cli.main.main`, and an end that native libraries have no part in.

    When the interpreter is taken down, threads of native libraries may still run, and their destructors may abort the
    process (``terminate called without an active exception``), although the command has done its work and said so. So
    the process ends in the last callback of ``atexit``: the interpreter has joined its threads and has run all others,
    those of multiprocessing too, but not yet begun to go. It is the last because it is the first that is registered, so
    this file imports little. What was registered before, by a ``.pth`` file, does not run; coverage has the setting
    ``patch = _exit`` for that.
    """
    code = 1  # of an exception

    def end() -> None:
        os._exit((code or 2) if flush_streams() else code)

    atexit.register(end)
    try:
        from bench.cli.main import main

        main()
        code = 0
    except KeyboardInterrupt:  # before main could say so
        code = 130
        raise
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            code = stop.code or 0
        raise
