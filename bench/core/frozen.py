"""The base of all data that is written down."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Strict, immutable data."""

    model_config = ConfigDict(frozen=True, extra="forbid")
