"""The record of a run: Spec, metrics, provenance, digest of the verdicts. Validated on write and on read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bench.core.frozen import Frozen
from bench.core.nouns import Access, Outcome
from bench.core.spec import Spec
from bench.store.documents import read_document, write_document

Sha = Field(pattern=r"^[0-9a-f]{64}$")


class Metrics(Frozen):
    """Figures computed from the verdicts, all fractions in [0, 1]."""

    images: int = Field(ge=1)
    clean_accuracy: float = Field(ge=0, le=1, description="target right on clean images")
    robust_accuracy: float = Field(ge=0, le=1, description="verdicts ROBUST; an upper bound on robustness")
    robust_accuracy_interval: tuple[float, float] = Field(
        description="Wilson 95%, exact at 0 and n; with spec.stop_at that of a confidence sequence"
    )
    source_clean_accuracy: float = Field(ge=0, le=1, description="source right on clean images")
    outcomes: dict[Outcome, int]

    @model_validator(mode="after")
    def _adds_up(self) -> Metrics:
        if sum(self.outcomes.values()) != self.images:
            raise ValueError("outcomes do not add up to images")
        if abs(self.robust_accuracy - self.outcomes[Outcome.ROBUST] / self.images) > 1e-12:
            raise ValueError("robust_accuracy is not the share of robust outcomes")
        return self


class Digests(Frozen):
    """What was judged, by content."""

    data: str = Field(pattern=r"^[0-9a-f]{64}$", description="ids, labels and pixels of the images judged, in order")
    target: str = Sha
    source: str = Sha
    verdicts: str = Sha


class Part(Frozen):
    """What one attack cost; counts of images, times in seconds."""

    attack: str
    forwards: int = Field(ge=0)
    backwards: int = Field(ge=0)
    padding: int = Field(ge=0, description="rows evaluated only to keep the batch shape")
    model_seconds: float = Field(ge=0, description="in the model; 0 where the attack does not tell")
    seconds: float = Field(ge=0)
    claims: int = Field(ge=0, description="images that the search called fooled; measured again in fp32")
    refuted: int = Field(ge=0, description="claims that fp32 did not confirm; those images were attacked in fp32")
    recovered: int = Field(ge=0, description="refuted images that fp32 fooled after all")
    fooled: int = Field(ge=0, description="images that it fooled the source on; 0 where the attack does not tell")
    flat: int = Field(ge=0, description="images of its first batch whose gradient is zero")
    halvings: int = Field(ge=0, description="how often the batch was halved for want of memory")
    skipped: int = Field(ge=0, description="images the attack cannot run on, for want of classes")


class Cost(Frozen):
    """What the adversarial images cost to make, whoever made them, and what was taken over."""

    parts: list[Part] = Field(description="by attack, in the order in which they ran")
    source_forwards: int = Field(ge=0, description="images forward through the source, in all attacks")
    source_backwards: int = Field(ge=0, description="images backward through the source, in all attacks")
    images_per_second: float | None = Field(ge=0, description="images attacked per second of attack; null for none")
    flops_forward: int = Field(ge=0, description="of the source, for one image")
    flops_backward: int = Field(ge=0, description="of the source, for one image, to the image alone")
    peak_flops: float | None = Field(gt=0, description="measured matrix-product peak of this device, per second")
    mfu: float | None = Field(
        ge=0, description="share of the peak used while in the model; null where images were kept already or not timed"
    )
    attack_seconds: float = Field(ge=0, description="time in attacks, of the making")
    total_seconds: float = Field(ge=0, description="this process, from start to record")
    shards: int = Field(ge=1)
    shards_resumed: int = Field(ge=0, description="found finished from an earlier, broken run")
    shards_reused: int = Field(ge=0, description="judged on adversarial images that were kept already")


class AdversaryAbout(Frozen):
    """Who attacked: what the threat model declares."""

    tier: str = Field(description="T0, T1, T1s, T2, T3, T4 or T5; see docs/threats.md")
    knows: list[str]
    access: Access = Field(description="what the source answers with")
    queries: int | None = Field(description="of the target, allowed for each image attacked; null where none is asked")
    query_budget: int | None = Field(description="of the target, allowed in all before an image is attacked")
    cost: str = Field(description="what it would cost the attacker")


class Found(Frozen):
    """One sign that was looked for; see docs/audit.md."""

    check: str
    status: Literal["pass", "warn", "fail", "skipped"]
    figure: float | None = Field(description="what was measured; null where nothing could be")
    meaning: str


class Provenance(Frozen):
    """Where and with what the run was made."""

    started: str = Field(description="UTC, ISO 8601")
    command: str
    versions: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    platform: str
    device: str
    precision: Literal["fp32"] = Field(description="of the verdicts")
    threads: int
    key_name: str | None = Field(description="the name the key has in the defender's keyring")


class Record(Frozen):
    """One evaluated Spec."""

    schema_version: Literal[3] = 3
    kind: Literal["measured"] = "measured"
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    spec: Spec
    adversary: AdversaryAbout
    metrics: Metrics
    eligible: bool = Field(description="may stand on a leaderboard")
    ineligible_because: list[str]
    notes: list[str] = Field(description="what a reader of the figures must know")
    warnings: list[str] = Field(description="what the attacks warned of")
    audit: list[Found] = Field(description="the cheap checks of the battery, on a few images; empty where eps is 0")
    reliable: bool = Field(description="no check failed")
    population: int = Field(ge=1, description="images that a run without an early end would judge")
    digests: Digests
    cost: Cost
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        if self.run_id != self.spec.run_id:
            raise ValueError(f"run_id is not the hash of the spec, which is {self.spec.run_id}")
        if self.eligible == bool(self.ineligible_because):
            raise ValueError("eligible contradicts ineligible_because")
        if self.reliable == any(found.status == "fail" for found in self.audit):
            raise ValueError("reliable contradicts the audit")
        if self.eligible and not self.reliable:
            raise ValueError("eligible contradicts reliable")
        return self


def write_record(path: Path, record: Record) -> None:
    """Write the record whole."""
    write_document(path, record)


def read_record(path: Path) -> Record:
    """Read and validate a record.

    Raises:
        CorruptArtifactError: if it is invalid; the field is named.
    """
    return read_document(path, Record, "record")
