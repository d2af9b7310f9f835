"""Keys in files that only their owner can read."""

from __future__ import annotations

import re
from pathlib import Path

from bench.core.errors import KeyringError
from bench.core.key import Key
from bench.core.names import suggestion
from bench.store.files import write_whole

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_OTHERS = 0o077


class Keyring:
    """A folder of files ``NAME.key``, mode 0600, 64 hexadecimal digits each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """The names of the keys."""
        return sorted(p.stem for p in self.folder.glob("*.key"))

    def new(self, name: str) -> Key:
        """Create and store a random key.

        Raises:
            KeyringError: if the name is not a valid file name, or is taken.
        """
        path = self._path(name)
        if path.exists():
            raise KeyringError(f"key {name!r} exists already; expected a new name (a key is never overwritten)")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = Key.random()
        write_whole(path, (key.reveal() + "\n").encode(), mode=0o600)
        return key

    def read(self, name: str) -> Key:
        """The key called ``name``.

        Raises:
            KeyringError: if there is none, other users can read its file, or it does not contain a key. The message
                never includes the file's content.
        """
        path = self._path(name)
        if not path.is_file():
            hint = suggestion(name, self.names())
            raise KeyringError(f"no key {name!r} in {self.folder}{hint} (make one with `bench key new {name}`)")
        mode = path.stat().st_mode & 0o777
        if mode & _OTHERS:
            raise KeyringError(f"key file {path} has mode {mode:04o}, so others can read it; expected 0600: "
                               f"make a new key, or `chmod 600` it if nobody has seen it")  # fmt: skip
        try:
            secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except ValueError:
            raise KeyringError(f"key file {path} is not 64 hexadecimal digits; expected what `bench key new` writes") \
                from None  # fmt: skip
        return Key(secret)

    def find(self, fingerprint: str) -> Key:
        """The key with this fingerprint.

        Raises:
            KeyringError: if no readable key has it.
        """
        for name in self.names():
            key = self.read(name)
            if key.fingerprint == fingerprint:
                return key
        raise KeyringError(f"no key in {self.folder} has fingerprint {fingerprint}; expected the defender's key file")

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise KeyringError(f"key name {name!r} cannot be used; expected letters, digits, '.', '_', '-', at most 64")
        return self.folder / f"{name}.key"
