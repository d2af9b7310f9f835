"""The record of a ladder: its rungs by run id, and the per-image worst case up to every tier."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bench.core.budget import Budget
from bench.core.frozen import Frozen, Sealed
from bench.core.spec import PluginSpec
from bench.store.documents import read_document, write_document
from bench.store.eligibility import Reason
from bench.store.elsewhere import fetch
from bench.store.record import Controls

SHARE = Field(ge=0, le=1)


class Rung(Frozen):
    """One threat with one attack: a run with its figures."""

    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    tier: str = Field(description="tier of the run, whatever the name of its threat")
    threat: PluginSpec
    attack: str = Field(description="with `first success` or `full length` if it may stop at the source's boundary")
    robust_accuracy: float = SHARE
    interval: tuple[float, float]
    worst_so_far: float | None = Field(ge=0, le=1, description="per image, with all rungs above; null in paper")
    source_clean_accuracy: float = SHARE
    source_too_weak: bool = Field(description="the source is so bad that the row says nothing for the defense")
    against: list[Reason] = Field(description="why its record is not eligible")
    controls: Controls | None = Field(None, description="of its record; null if no image was moved, or not measured")


class Tier(Frozen):
    """All rungs of one tier, and all up to it: the share of images that are robust against every one."""

    tier: str
    robust_accuracy: float | None = Field(ge=0, le=1, description="null if every source is too weak")
    up_to: float = SHARE
    interval: tuple[float, float] = Field(description="of up_to, Wilson 95%")
    tries: int | None = Field(None, ge=1, description="rungs up to it: tries an image that up_to allows")
    best_single: float | None = Field(None, ge=0, le=1, description="lowest robust accuracy of one rung up to it")
    quantized: float | None = Field(None, ge=0, le=1, description="as up_to, on 8-bit images; null if not measured")
    expected: float | None = Field(
        None, ge=0, le=1, description="mean of the lowest share of correct members up to it; null if none is drawn"
    )


class Skipped(Frozen):
    """A rung that was omitted."""

    threat: PluginSpec
    attack: str
    why: str


class LadderRecord(Sealed):
    """A defense against every applicable adversary."""

    schema_version: Literal[2] = 2
    kind: Literal["ladder"] = "ladder"
    ladder_id: str = Field(pattern=r"^[0-9a-f]{16}$", description="hash of the ladder and the ids of its runs")
    ladder: str
    profile: str
    defense: PluginSpec
    budget: Budget
    seed: int
    images: int = Field(ge=1)
    clean_accuracy: float = SHARE
    clean_interval: tuple[float, float]
    rungs: list[Rung]
    paper: list[Rung] = Field(description="as measured in the paper; excluded from every worst case")
    skipped: list[Skipped]
    tiers: list[Tier]
    broken_below: float = Field(ge=0, le=1, description="share of the clean accuracy below which a defense is broken")
    first_break: str | None = Field(description="the first tier up to which less than that remains")
    eligible: bool
    seconds: float = Field(ge=0, description="of this command; existing runs take none")

    @model_validator(mode="after")
    def _adds_up(self) -> LadderRecord:
        for before, after in zip(self.tiers, self.tiers[1:], strict=False):
            if after.up_to > before.up_to:
                raise ValueError(f"the worst case rises from {before.tier} to {after.tier}")
        for tier in self.tiers:
            own = [rung.robust_accuracy for rung in self.rungs if rung.tier == tier.tier]
            if tier.up_to > min(own):
                raise ValueError(f"the worst case up to {tier.tier} is above one of its rungs")
        return self


def write_ladder(results: Path, record: LadderRecord) -> Path:
    """Write the record atomically and return its path."""
    return write_document(results / record.ladder_id / "ladder.json", record)


def read_ladders(results: Path) -> list[LadderRecord]:
    """All ladders of a results folder, by their ids.

    Raises:
        CorruptArtifactError: if one is damaged; the field is named.
    """
    fetch(results)
    return [
        read_document(path, LadderRecord, "ladder", of="ladder_id") for path in sorted(results.glob("*/ladder.json"))
    ]
