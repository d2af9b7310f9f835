"""A run for readers: consistent record and verdicts, and the other files of its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from bench.core.frozen import Frozen
from bench.store.run import Run


class Confirmation(Frozen):
    """Confirmation that a run was judged again here: only written locally, never taken from an archive."""

    schema_version: Literal[1] = 1
    kind: Literal["confirmation"] = "confirmation"
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    verdicts: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of the verdicts that were confirmed")
    images: int = Field(ge=1, description="adversarial images judged again")
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
        confirmation: Present if it was judged again here.
        gallery: Present if a picture was made.
    """

    confirmation: Confirmation | None = None
    gallery: Shown | None = None
