"""The record of several keys: one run per key, and their combined result."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bench.core.budget import Budget
from bench.core.frozen import Frozen, Sealed
from bench.core.spec import PluginSpec
from bench.store.documents import write_document


class KeyRun(Frozen):
    """One deployment."""

    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    seed: int
    clean_accuracy: float = Field(ge=0, le=1)
    robust_accuracy: float = Field(ge=0, le=1)
    interval: tuple[float, float]


class KeysRecord(Sealed):
    """Several deployments of a defense against one threat, each with its own key and training seed."""

    schema_version: Literal[1] = 1
    kind: Literal["keys"] = "keys"
    keys_id: str = Field(pattern=r"^[0-9a-f]{16}$", description="hash of the ids of the runs")
    defense: PluginSpec
    threat: PluginSpec
    attack: PluginSpec
    budget: Budget
    images: int = Field(ge=1)
    runs: list[KeyRun] = Field(min_length=2)
    mean: float = Field(ge=0, le=1)
    interval: tuple[float, float] = Field(description="95%, of the mean over keys and images; docs/statistics.md")
    bootstrap: tuple[float, float] = Field(description="95%, two-way bootstrap; too narrow for few keys")
    minimum: float = Field(ge=0, le=1)
    minimum_interval: tuple[float, float]
    eligible: bool

    @model_validator(mode="after")
    def _adds_up(self) -> KeysRecord:
        figures = [run.robust_accuracy for run in self.runs]
        if abs(self.mean - sum(figures) / len(figures)) > 1e-9 or abs(self.minimum - min(figures)) > 1e-9:
            raise ValueError("mean or minimum is not that of the runs")
        return self


def write_keys(results: Path, record: KeysRecord) -> Path:
    """Write the record atomically and return its path."""
    return write_document(results / record.keys_id / "keys.json", record)
