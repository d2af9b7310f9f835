"""A run for readers: consistent record and verdicts, and the other files of its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from bench.core.frozen import Sealed
from bench.store.run import Run


class Confirmation(Sealed):
    """What a check here found of a run: only written locally, never taken from an archive."""

    schema_version: Literal[1] = 1
    kind: Literal["confirmation"] = "confirmation"
    state: Literal["confirmed", "stated"] = Field(
        "confirmed",
        description="confirmed: judged again here, with the same verdicts; stated: from outside, not confirmed",
    )
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    verdicts: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of the verdicts that were checked")
    images: int = Field(ge=0, description="adversarial images judged again; 0 for a run that is only stated")
    version: str
    unchecked: list[str] = Field(description="what could not be checked, one line each")


@dataclass(frozen=True)
class Shown:
    """Images of a run as a picture with its description.

    Attributes:
        picture: A PNG file.
        caption: Text description: ids, labels, predictions, the scale of the perturbation.
    """

    picture: Path
    caption: str


@dataclass(frozen=True, repr=False)
class Evidence(Run):
    """A run with the other files of its folder.

    Attributes:
        confirmation: What a check here found of it; None for a run that was made here and not judged again.
        gallery: Present if a picture was made.
    """

    confirmation: Confirmation | None = None
    gallery: Shown | None = None

    @property
    def confirmed(self) -> bool:
        """Whether it was judged again here, with exactly these verdicts."""
        return self._found == "confirmed"

    @property
    def stated(self) -> bool:
        """Whether it comes from outside and was not confirmed: it is listed, never ranked and never averaged."""
        return self._found == "stated"

    @property
    def _found(self) -> str | None:
        found, record = self.confirmation, self.record
        same = found and (found.run_id, found.verdicts) == (record.run_id, record.digests.verdicts)
        return found.state if found and same else None
