"""Keys in files that only their owner can read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from bench.core.errors import KeyringError
from bench.core.key import Key
from bench.core.names import suggestion
from bench.store.files import write_new

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(r"([0-9a-f]{64})(?: ([0-9a-f]{8}))?\n?", re.ASCII)  # the key, and its check digits
_MOST = 100  # bytes of a key file that are read
_OTHERS = 0o077
_OTHERS_WRITE = 0o022


class Keyring:
    """A folder of files ``NAME.key``, mode 0600: 64 hexadecimal digits and 8 check digits.

    Files without the 8 check digits, as written by earlier versions, are accepted too.
    """

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
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._check_folder()
        secret = (key := Key.random()).reveal()
        if not write_new(path, f"{secret} {_check_digits(secret)}\n".encode(), mode=0o600):
            raise KeyringError(f"key {name!r} exists already; expected a new name (a key is never overwritten)")
        return key

    def read(self, name: str) -> Key:
        """The key called ``name``.

        Raises:
            KeyringError: if there is none, other users can read its file or change the folder, or it is damaged. The
                message never includes the file's content.
        """
        path = self._path(name)
        self._check_folder()
        if not path.is_file():
            hint = suggestion(name, self.names())
            raise KeyringError(f"no key {name!r} in {self.folder}{hint} (make one with `bench key new {name}`)")
        mode = path.stat().st_mode & 0o777
        if mode & _OTHERS:
            raise KeyringError(f"key file {path} has mode {mode:04o}, so others can read it; expected 0600: "
                               f"make a new key, or `chmod 600` it if it was not exposed")  # fmt: skip
        try:
            with path.open("rb") as file:
                text = file.read(_MOST).decode("latin-1")
        except OSError as error:
            raise KeyringError(f"key file {path} cannot be read: {error.strerror}") from None
        found = _LINE.fullmatch(text)
        if found is None:
            raise KeyringError(
                f"key file {path} is not 64 hexadecimal digits and 8 check digits; expected what `bench key new` writes"
            )
        if found[2] is not None and found[2] != _check_digits(found[1]):
            raise KeyringError(f"key file {path} is damaged: its check digits are wrong; restore it from a copy")
        return Key(bytes.fromhex(found[1]))

    def find(self, fingerprint: str) -> Key:
        """The key with this fingerprint.

        Raises:
            KeyringError: if no readable key has it.
        """
        unread: list[str] = []
        for name in self.names():
            try:
                key = self.read(name)
            except KeyringError as error:  # another key's file does not affect this one
                unread.append(str(error))
                continue
            if key.fingerprint == fingerprint:
                return key
        also = f" ({unread[0]})" if unread else ""
        raise KeyringError(
            f"no key in {self.folder} has fingerprint {fingerprint}; expected the defender's key file{also}"
        )

    def _check_folder(self) -> None:
        if self.folder.is_symlink():
            raise KeyringError(f"keyring {self.folder} is a link; expected a folder that only its owner can change")
        mode = self.folder.stat().st_mode & 0o777 if self.folder.is_dir() else 0o700
        if mode & _OTHERS_WRITE:
            raise KeyringError(f"keyring {self.folder} has mode {mode:04o}, so others can put keys into it; "
                               f"expected 0700: chmod 700 {self.folder}")  # fmt: skip

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise KeyringError(f"key name {name!r} cannot be used; expected letters, digits, '.', '_', '-', at most 64")
        return self.folder / f"{name}.key"


def _check_digits(secret: str) -> str:
    """Digits of a separate digest, which reveal nothing about the key beyond its fingerprint."""
    return hashlib.sha256(b"keybench/v1/key-file/" + bytes.fromhex(secret)).hexdigest()[:8]
