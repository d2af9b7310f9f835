"""Errors that say what was got, what was expected and what to do; the CLI prints them in one line."""

from __future__ import annotations


class BenchError(Exception):
    """A run that failed for a reason worth one clear line."""

    exit_code = 1


class InputError(BenchError):
    """Something the user gave cannot be used; nothing was written."""

    exit_code = 2


class NotApplicableError(InputError):
    """A threat or an attack that makes no sense for this defense; a ladder leaves it out and says so."""


class UnknownNameError(InputError):
    """A name that no plug-in, key, profile or run answers to."""


class ShapeError(InputError):
    """Tensors whose shape or dtype do not fit together."""


class KeyringError(InputError):
    """A key that is missing, malformed or readable by others."""


class CorruptArtifactError(InputError):
    """A cached or stored file whose digest is not the one written beside it."""


class StorageError(InputError):
    """A folder that cannot be written, or a disk that is full."""


class KnowledgeError(BenchError):
    """A threat model that reached for something it did not declare to know."""


class QueryBudgetError(BenchError):
    """An adversary that asked the deployed model more than its threat model allows."""


class StoppedError(BenchError):
    """Work was ended from outside: another thread has failed, or the user has stopped the run."""


class UnreadableImageError(BenchError):
    """An image file that cannot be decoded; it stays in the denominator, as ERROR."""

    def __init__(self, image_id: str, where: str, reason: str) -> None:
        super().__init__(f"image {image_id} cannot be read ({where}: {reason}); expected a whole JPEG or PNG")
        self._parts = (image_id, where, reason)

    @property
    def image_id(self) -> str:
        """Which image."""
        return self._parts[0]

    def __reduce__(self) -> tuple[type[UnreadableImageError], tuple[str, str, str]]:
        return type(self), self._parts  # it crosses from the processes that read
