"""Check: the keyring, and the key that a run would use."""

from __future__ import annotations

from collections.abc import Iterator

from bench.core.errors import BenchError
from bench.doctor.examined import Examined
from bench.doctor.finding import Diagnosis, Topic
from bench.store.keyring import Keyring

_TOPIC = Topic("keys")
_OTHERS_WRITE = 0o022


def check(examined: Examined) -> Iterator[Diagnosis]:
    """Every key is private to its owner and readable; no key material is shown."""
    keyring, wanted = Keyring(examined.question.home.keys), examined.question.request.key
    names = keyring.names()
    mode = keyring.folder.stat().st_mode & 0o777 if keyring.folder.is_dir() else 0o700
    if mode & _OTHERS_WRITE:
        finding = f"other users can add keys to {keyring.folder}, which has mode {mode:04o}"
        yield _TOPIC.warn(finding, f"chmod 700 {keyring.folder}")
    good = 0
    for name in names:
        try:
            keyring.read(name)
            good += 1
        except (BenchError, OSError) as error:
            yield _TOPIC.error(error)
    yield _TOPIC.ok(
        f"{good} of {len(names)} can be used, in {keyring.folder}" if names else "none yet; seeds give keys"
    )
    if wanted is not None and wanted not in names:
        try:
            keyring.read(wanted)
        except BenchError as error:
            yield _TOPIC.error(error)
    elif wanted is not None:
        yield _TOPIC.ok(f"{wanted!r} exists")
