"""The base class of all data that is written to files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Strict, immutable data; every number must be finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
