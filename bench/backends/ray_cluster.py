"""A connection to a Ray cluster, checked first: what would wait, retry or be unsafe is refused in one line."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from bench.core.errors import InputError

LOCAL = "local"
_PATIENCE = 5  # seconds for a machine to answer
_STORE = 100 * 2**20  # bytes of a local cluster's object store, which holds the work only
_HOW = "expected --address HOST:PORT of a running Ray cluster, or --address local for one on this machine alone"
_ASK = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None)
except Exception as error:
    sys.exit(print(type(error).__name__) or 1)
"""


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module ``ray``, connected to a cluster; only ``local`` starts one, which listens on the loopback only.

    Raises:
        InputError: if there is no cluster at the address, it needs another token, Ray or Python, or anyone may use it.
    """
    if address is None:
        raise InputError(f"backend ray has no cluster; {_HOW}")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = signal.getsignal(signal.SIGTERM)
    ray = _start() if address == LOCAL else _join(*_parsed(address))
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has set its own
        yield ray
    finally:
        ray.shutdown()


def _start() -> Any:
    """A cluster of this process: no dashboard, a token that is nowhere else, no port outside of the loopback."""
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # as there, Ray then takes 127.0.0.1 for the address of this machine
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    import ray  # noqa: PLC0415
    from ray._private import services  # noqa: PLC0415

    if not _is_loopback(services.get_node_ip_address()):
        raise InputError("Ray would listen outside of 127.0.0.1 here (it was imported before, or its version is not "
                         "2.60); expected --address HOST:PORT")  # fmt: skip
    _init(ray, address=LOCAL, include_dashboard=False, object_store_memory=_STORE)
    return ray


def _join(host: str, port: int) -> Any:
    if "RAY_AUTH_MODE" not in os.environ and _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"
    try:
        socket.create_connection((host, port), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"nothing answers at {host}:{port} ({error}); {_HOW}") from None
    import ray  # noqa: PLC0415
    from ray._private import services  # noqa: PLC0415

    where = f"{services.resolve_ip_for_localhost(host)}:{port}"
    _check(where, only_mine=os.environ.get("RAY_AUTH_MODE") == "disabled")
    if not services.find_node_ids():
        raise InputError(f"this machine is no node of the Ray cluster; expected `ray start --address {where}` before, "
                         "since the command itself takes part")  # fmt: skip
    _init(ray, address=where)
    return ray


@cache
def _check(where: str, *, only_mine: bool) -> None:
    """Refuse what is no cluster, or one that serves anyone, unless only its user reaches it."""
    if refusal := _refusal(where):
        what = "wants another token" if "Authentication" in refusal else f"is no Ray cluster ({refusal})"
        raise InputError(f"what answers at {where} {what}; expected a Ray cluster, and with RAY_AUTH_MODE=token its "
                         "token in RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token")  # fmt: skip
    if only_mine or _is_loopback(where.rpartition(":")[0]):
        return
    if not _refusal(where, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="", RAY_AUTH_TOKEN_PATH=""):
        raise InputError(f"the Ray cluster at {where} runs code for anyone who reaches it; expected one started with "
                         "RAY_AUTH_MODE=token, or RAY_AUTH_MODE=disabled if only you reach its network")  # fmt: skip


def _parsed(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise InputError(f"--address is {address!r}; {_HOW}")
    return host.strip("[]"), int(port)


def _has_token() -> bool:
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or (Path.home() / ".ray" / "auth_token").is_file()


def _refusal(where: str, **environment: str) -> str:
    """The error of a process that asks the cluster for something, by its kind; empty if it is served."""
    asked = [sys.executable, "-c", _ASK, where]
    try:  # in a process of its own, because Ray reads the environment once, and logs what fails
        done = subprocess.run(asked, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
                              timeout=4 * _PATIENCE)  # fmt: skip
    except subprocess.TimeoutExpired:
        return "no answer"
    return "" if done.returncode == 0 else done.stdout.strip() or "no answer"


def _init(ray: Any, **how: Any) -> None:
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", namespace="keybench", **how)
    except Exception as error:  # of versions, sessions and sockets: each part of Ray has its own
        why = " ".join(str(error.__cause__ or error).split())[:300].rstrip(".")
        raise InputError(f"no connection to Ray: {why}") from None
    # Ray says on standard output that a worker died; the run says so itself, and its output is the record.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
