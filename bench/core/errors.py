"""Errors with what was given, what was expected and what to do; the CLI prints them in one line."""

from __future__ import annotations


class BenchError(Exception):
    """A run that failed for a reason that fits in one clear line."""

    exit_code = 1


class InputError(BenchError):
    """Unusable user input; nothing was written."""

    exit_code = 2


class NotApplicableError(InputError):
    """A threat or an attack that does not apply to this defense; a ladder omits it and reports it."""


class UnknownNameError(InputError):
    """An unknown name of a plug-in, key or profile."""


class ShapeError(InputError):
    """Tensors with incompatible shapes or dtypes."""


class KeyringError(InputError):
    """A key that is missing, malformed or readable by other users."""


class BusyError(InputError):
    """Something that another process holds."""


class CorruptArtifactError(InputError):
    """A cached or stored file that does not match the digest stored with it."""


class StorageError(InputError):
    """A folder that cannot be written, or a full disk."""


class KnowledgeError(BenchError):
    """A threat model that accessed something it did not declare in ``knows``."""


class QueryBudgetError(BenchError):
    """An adversary that exceeded its threat model's query limit."""


class StoppedError(BenchError):
    """Work was stopped from outside: another thread failed, or the user stopped the run."""


class UnreadableImageError(BenchError):
    """An image file that cannot be decoded; it stays in the denominator as ERROR."""

    def __init__(self, image_id: str, where: str, reason: str) -> None:
        super().__init__(f"image {image_id} cannot be read ({where}: {reason}); expected a complete JPEG or PNG")
        self._parts = (image_id, where, reason)

    @property
    def image_id(self) -> str:
        """The id of the image."""
        return self._parts[0]

    def __reduce__(self) -> tuple[type[UnreadableImageError], tuple[str, str, str]]:
        return type(self), self._parts  # reader processes pickle it
