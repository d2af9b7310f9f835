"""Claims: which process makes which shard, in a file beside the shard. They save work; nothing depends on them.

A holder rewrites its claim every few seconds. A claim is stale at once if its process is gone from this machine; on
another one, if nothing has changed in it for a while of this process's own clock, so that no two clocks are compared.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.core.life import Life, this_process
from bench.store.files import write_new, write_whole

BEAT = 5.0  # seconds between two signs of life
STALE = 120.0  # seconds without one; file systems on a network may show a file a minute late
_UNKNOWN = Life("an unknown host", "", 0, "")


@dataclass(frozen=True)
class Claim:
    """A process that makes a shard, or one that did.

    Attributes:
        token: Of this claim; empty if nobody holds it.
        holder: The process.
        driver: The process that gave it the shard; None if it chose the shard itself.
        since: UTC, ISO 8601, of the holder's clock; for people only.
        judging: Its models are ready: a death from now on is the shard's.
        beat: Grows while the holder lives.
        deaths: Why earlier holders died.
    """

    token: str
    holder: Life = _UNKNOWN
    driver: Life | None = None
    since: str = ""
    judging: bool = False
    beat: int = 0
    deaths: tuple[str, ...] = ()

    @property
    def blamed(self) -> bool:
        """Whether the death of the holder says something about the shard: its command was not ended with it."""
        return bool(self.token) and self.judging and (self.driver is None or self.driver.lives is True)


class Held:
    """A claim that this process holds."""

    def __init__(self, path: Path, claim: Claim) -> None:
        self._path, self.claim = path, claim
        self._lock, self._ended = threading.Lock(), threading.Event()
        threading.Thread(target=self._live, name="claim", daemon=True).start()

    def judging(self) -> None:
        """The models are ready."""
        self._write(judging=True)

    def release(self, *, made: bool) -> None:
        """Let go of the shard; earlier deaths are remembered until it is made."""
        self._ended.set()
        with self._lock, suppress(OSError):
            if _token(self._path) != self.claim.token:
                return  # another process took it over
            if made or not self.claim.deaths:
                self._path.unlink(missing_ok=True)
            else:
                write_whole(self._path, _data(Claim("", deaths=self.claim.deaths)))

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(Exception):  # a full disk is the shard's problem
                self._write(beat=self.claim.beat + 1)

    def _write(self, **changed: Any) -> None:
        with self._lock:
            if not self._ended.is_set() and _token(self._path) == self.claim.token:
                self.claim = replace(self.claim, **changed)
                write_whole(self._path, _data(self.claim))


@dataclass
class Claims:
    """The claims of one run.

    Attributes:
        folder: That of its shards.
        driver: The process that gives out its shards; None if every process chooses its own.
        stale: Seconds without a sign of life after which a process on another machine counts as dead.
    """

    folder: Path
    driver: Life | None = None
    stale: float = STALE
    _seen: dict[int, tuple[str, int, float, bool]] = field(default_factory=dict)

    def take(self, index: int) -> Held | None:
        """The claim of a shard, also if its holder died; None if another process holds it.

        Raises:
            StorageError: if it cannot be written.
        """
        other = self.read(index)
        if other is not None and self.lives(index, other) is not False:
            return None
        now = datetime.now(UTC).isoformat(timespec="seconds")
        mine = Claim(uuid4().hex, this_process(), self.driver, now)
        path = self._path(index)
        if other is None:
            return Held(path, mine) if write_new(path, _data(mine)) else None
        died = (f"{other.holder} died",) if other.blamed else ()
        mine = replace(mine, deaths=(*other.deaths, *died))
        write_whole(path, _data(mine))
        return Held(path, mine) if _token(path) == mine.token else None

    def lives(self, index: int, claim: Claim) -> bool | None:
        """Whether the holder of a shard lives; None if that is not known yet, because it is on another machine."""
        if not claim.token or (known := claim.holder.lives) is False:
            return False
        if known:
            return True
        seen = self._seen.get(index)
        now = time.monotonic()
        if seen is None or seen[0] != claim.token:
            self._seen[index] = seen = (claim.token, claim.beat, now, False)
        elif seen[1] != claim.beat:
            self._seen[index] = seen = (claim.token, claim.beat, now, True)
        if now - seen[2] >= self.stale:
            return False
        return True if seen[3] else None

    def free(self, index: int) -> bool:
        """Whether no process holds a shard."""
        claim = self.read(index)
        return claim is None or self.lives(index, claim) is False

    def known(self, index: int) -> bool:
        """Whether a process is known to make a shard."""
        claim = self.read(index)
        return claim is not None and self.lives(index, claim) is True

    def bury(self, index: int, why: str) -> tuple[str, ...]:
        """Note that the worker of a shard died; why this and earlier ones did, empty if it had not begun the shard."""
        found = self.read(index)
        if found is None or found.driver != self.driver or not found.judging:
            return ()
        deaths = (*found.deaths, why)
        write_whole(self._path(index), _data(Claim("", deaths=deaths)))
        return deaths

    def drop(self, index: int) -> None:
        """Forget the claim of a shard."""
        self._path(index).unlink(missing_ok=True)

    def read(self, index: int) -> Claim | None:
        """The claim of a shard, if there is one."""
        return _read(self._path(index))

    def all(self) -> dict[int, Claim]:
        """All claims that somebody holds, by shard."""
        found = {int(p.name[1:6]): _read(p) for p in sorted(self.folder.glob(".?????.claim"))}
        return {index: claim for index, claim in found.items() if claim is not None and claim.token}

    def _path(self, index: int) -> Path:
        return self.folder / f".{index:05d}.claim"


@contextmanager
def released(held: Held) -> Iterator[Held]:
    """Release a claim however the work ends."""
    made = False
    try:
        yield held
        made = True
    finally:
        held.release(made=made)


def _data(claim: Claim) -> bytes:
    return json.dumps(asdict(claim)).encode()


def _token(path: Path) -> str | None:
    found = _read(path)
    return found.token if found else None


def _read(path: Path) -> Claim | None:
    """A claim; one that cannot be understood is of an unknown process."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        values = json.loads(data)
        driver = values["driver"]
        parts = {"holder": Life(**values["holder"]), "driver": Life(**driver) if driver else None}
        return Claim(**{**values, **parts, "deaths": tuple(map(str, values["deaths"])), "beat": int(values["beat"])})
    except (ValueError, TypeError, KeyError):
        return Claim(sha256(data).hexdigest())
