"""The base class of all data that is written to files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Frozen(BaseModel):
    """Strict, immutable data; every number must be finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sealed(Frozen):
    """A document in a file of its own, which carries a digest of its bytes (:mod:`bench.store.seals`)."""

    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        exclude=True,
        description="last in a file: SHA-256 of the file's bytes with 64 zeros here; finds damage, not forgery",
    )

    @field_validator("sha256")
    @classmethod
    def _of_the_bytes(cls, _: str | None) -> None:
        """It belongs to a file, not to the data: it is checked where bytes are read."""


def unset(value: object) -> bool:
    """Whether a part of a Spec is left out of every written form: it has no value.

    A part that is added to the Spec later is declared so, and Specs without it keep their run ids.
    """
    return value is None
