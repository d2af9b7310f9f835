"""The record of a run: Spec, metrics, provenance, digest of the verdicts. Validated on write and on read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from bench.checks.tiers import on_target, source_check, tier_of, too_weak
from bench.core.frozen import Frozen, Sealed, unset
from bench.core.nouns import Access, Outcome
from bench.core.spec import Spec
from bench.store.documents import read_document, write_document
from bench.store.eligibility import Code, Reason, reasons_of

Sha = Field(pattern=r"^[0-9a-f]{64}$")


class Controls(Frozen):
    """Shares of images that stay correct without an attack on them, beside that under the attack.

    Of the images that the target classifies correctly and whose candidate is valid and differs from the clean image.
    """

    images: int = Field(ge=1)
    own: float = Field(ge=0, le=1, description="under their own perturbation")
    other: float | None = Field(ge=0, le=1, description="under another image's; null if every image was alone")
    noise: float = Field(ge=0, le=1, description="under noise of the size of their own")


class Estimate(Frozen):
    """What a run with ``--estimate`` ran, and what it says of the full run: the whole attack on all ``n1`` images."""

    points: float = Field(gt=0, description="half width at which the sample was large enough, in percentage points")
    n1: int = Field(ge=1, description="images on which the attack's first part ran")
    survivors: int = Field(ge=0, description="those that it left robust")
    n2: int = Field(ge=0, description="survivors on which the whole attack ran: a random sample of them")
    fell: int = Field(ge=0, description="of those, the ones that it fooled")
    estimate: float = Field(ge=0, le=1, description="survivors / n1 times 1 - fell / n2")
    low: float = Field(ge=0, le=1, description="95% interval of the full run's robust accuracy on these n1 images")
    high: float = Field(ge=0, le=1)
    behind: tuple[float, float] = Field(description="95% interval of the accuracy on the population behind the images")

    @property
    def text(self) -> str:
        """In words: what was run."""
        return f"estimated, n1 = {self.n1:,}, n2 = {self.n2:,} of {self.survivors:,} survivors"


class Metrics(Frozen):
    """Figures computed from the verdicts: counts, and fractions in [0, 1]."""

    images: int = Field(ge=1)
    clean_accuracy: float = Field(ge=0, le=1, description="accuracy of the target on clean images")
    robust_accuracy: float = Field(ge=0, le=1, description="share of verdicts ROBUST; an upper bound on robustness")
    robust_accuracy_interval: tuple[float, float] = Field(
        description="Wilson 95%, exact at 0 and n; with spec.stop_at that of a confidence sequence"
    )
    source_clean_accuracy: float = Field(ge=0, le=1, description="accuracy of the source on clean images")
    target_alone: int = Field(ge=0, description="clean images that only the target classifies correctly")
    source_alone: int = Field(ge=0, description="clean images that only the source classifies correctly")
    outcomes: dict[Outcome, int]
    paper_accuracy: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share correct on the candidate, whatever the clean prediction (arXiv 2311.16577, III-F)",
    )
    controls: Controls | None = Field(None, description="null if no image was moved, or not measured")
    quantized_accuracy: float | None = Field(
        None, ge=0, le=1, description="share correct without attack and after rounding the candidate to 8 bits"
    )
    expected_accuracy: float | None = Field(
        None, ge=0, le=1, description="of a model that draws a member: mean share of members correct on the candidate"
    )
    every_member_accuracy: float | None = Field(
        None, ge=0, le=1, description="of such a model: share of images on which every member is correct"
    )

    estimate: Estimate | None = Field(
        None,
        exclude_if=unset,
        description="of a run with spec.estimate: robust_accuracy is its estimate, robust_accuracy_interval its "
        "interval, and outcome robust includes survivors of the first part alone; left out for a full run",
    )

    @model_validator(mode="after")
    def _adds_up(self) -> Metrics:
        if sum(self.outcomes.values()) != self.images:
            raise ValueError("outcomes do not add up to images")
        if self.estimate is not None:
            if self.robust_accuracy != self.estimate.estimate:
                raise ValueError("robust_accuracy is not the estimate")
        elif abs(self.robust_accuracy - self.outcomes[Outcome.ROBUST] / self.images) > 1e-12:
            raise ValueError("robust_accuracy is not the share of robust outcomes")
        gap = (self.target_alone - self.source_alone) / self.images
        if abs(self.clean_accuracy - self.source_clean_accuracy - gap) > 1e-9:
            raise ValueError("target_alone and source_alone do not give the gap between the clean accuracies")
        return self

    def as_said(self, said: Metrics) -> Metrics:
        """These figures without the paper's, where ``said``, of an older version, does not give it."""
        return self.model_copy(update={"paper_accuracy": None}) if said.paper_accuracy is None else self

    @property
    def source_too_weak(self) -> bool:
        """Whether the source says nothing about the target, on the run's own images."""
        right = round(self.clean_accuracy * self.images)
        return too_weak(target_right=right, target_alone=self.target_alone, source_alone=self.source_alone)


class Digests(Frozen):
    """Digests of everything that was judged."""

    data: str = Field(pattern=r"^[0-9a-f]{64}$", description="ids, labels and pixels of the images judged, in order")
    target: str = Sha
    source: str = Sha
    verdicts: str = Sha


class Part(Frozen):
    """Cost of one attack; counts of images, times in seconds."""

    attack: str
    forwards: int = Field(ge=0)
    backwards: int = Field(ge=0)
    padding: int = Field(ge=0, description="rows evaluated only to keep the batch shape")
    model_seconds: float = Field(ge=0, description="in the model; 0 if the attack does not report it")
    seconds: float = Field(ge=0)
    claims: int = Field(ge=0, description="images that the search called fooled; confirmed or refuted in fp32")
    refuted: int = Field(ge=0, description="claims that fp32 did not confirm; those images were attacked in fp32")
    recovered: int = Field(ge=0, description="refuted images that were then fooled in fp32")
    fooled: int = Field(ge=0, description="images that fooled the source; 0 if the attack does not report it")
    flat: int = Field(ge=0, description="images of its first batch with zero gradient")
    halvings: int = Field(ge=0, description="number of times the batch was halved because memory ran out")
    skipped: int = Field(ge=0, description="images that the attack cannot run on because there are too few classes")


class Cost(Frozen):
    """Original cost of the adversarial images, and what was reused."""

    parts: list[Part] = Field(description="by attack, in the order in which they ran")
    source_forwards: int = Field(ge=0, description="images forward through the source, in all attacks")
    source_backwards: int = Field(ge=0, description="images backward through the source, in all attacks")
    images_per_second: float | None = Field(ge=0, description="images attacked per second of attack; null for none")
    flops_forward: int | None = Field(ge=0, description="of the source, per image; null if it could not be counted")
    flops_backward: int | None = Field(
        ge=0, description="of the source, per image, to the image alone; null if it could not be counted"
    )
    peak_flops: float | None = Field(gt=0, description="measured matrix-product peak of this device, per second")
    mfu: float | None = Field(
        ge=0, description="share of the peak used while in the model; null if images were reused or not timed"
    )
    attack_seconds: float = Field(ge=0, description="time in attacks, when the images were made")
    total_seconds: float = Field(ge=0, description="this process, from start to record")
    shards: int = Field(ge=1)
    shards_resumed: int = Field(ge=0, description="finished by an earlier, interrupted run")
    shards_reused: int = Field(ge=0, description="judged on stored adversarial images")


class AdversaryAbout(Frozen):
    """The adversary, as declared by threat model and attack."""

    tier: str = Field(max_length=20, description="declared by the threat: T0, T1, T1s, T2, T3, T4 or T5")
    knows: list[str]
    access: Access = Field(description="what the source returns")
    queries: int | None = Field(description="queries of the target allowed per attacked image; null if there are none")
    query_budget: int | None = Field(description="queries of the target allowed in total before the attack")
    cost: str = Field(description="the attacker's cost")
    for_transfer: bool = Field(description="the attack is designed for transfer")


class Changed(Frozen):
    """Options with values other than the plug-in's defaults when the run was made, by name."""

    defense: list[str]
    threat: list[str]
    attack: list[str]
    fallback: list[str] = Field(description="empty if the run has no such attack")


class Found(Frozen):
    """The finding of one check; see docs/audit.md."""

    check: str
    status: Literal["pass", "warn", "fail", "skipped"]
    figure: float | None = Field(description="measured value; null if nothing could be measured")
    meaning: str


class Provenance(Frozen):
    """Machine and software of the run."""

    started: str = Field(description="UTC, ISO 8601")
    command: str
    versions: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    platform: str
    device: str
    precision: Literal["fp32"] = Field(description="of the verdicts")
    threads: int
    key_name: str | None = Field(description="the key's name in the defender's keyring")
    isolated: bool | None = Field(
        None, description="the target answered the judge in a process of its own; null if not recorded"
    )


class Record(Sealed):
    """One evaluated Spec."""

    schema_version: Literal[4] = 4
    kind: Literal["measured"] = "measured"
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    spec: Spec
    tier: str = Field(max_length=20, description="tier of the run, whatever the name of its threat")
    adversary: AdversaryAbout
    changed: Changed
    recipe: str | None = Field(description="the profile's recipe that trains the defense; null if there is none")
    metrics: Metrics
    eligible: bool = Field(description="may appear on a leaderboard")
    ineligible_because: list[Reason]
    notes: list[str] = Field(description="what a reader of the figures must know")
    warnings: list[str] = Field(description="warnings of the attacks")
    audit: list[Found] = Field(description="the cheap checks of the battery, on a few images; empty if eps is 0")
    audit_images: int | None = Field(
        None, ge=1, description="images on which the quick form of the audit ran; null if eps is 0, or not recorded"
    )
    reliable: bool = Field(description="no check failed")
    population: int = Field(ge=1, description="images that a run without early stopping would judge")
    digests: Digests
    cost: Cost
    provenance: Provenance

    @property
    def on_target(self) -> bool:
        """Whether the attack has the gradients of the deployed model itself."""
        return on_target(source=self.digests.source, target=self.digests.target, access=self.adversary.access)

    @property
    def weak_source(self) -> bool:
        """Whether the source says nothing about the target."""
        return any(reason.code is Code.WEAK_SOURCE for reason in self.ineligible_because)

    @model_validator(mode="before")
    @classmethod
    def _current(cls, data: Any) -> Any:
        version = data.get("schema_version", 4) if isinstance(data, dict) else 4
        if isinstance(version, int) and version < 4:
            raise ValueError(
                f"schema_version is {version}, of an older version of this program; expected 4: delete the run and "
                "make it again with the same `bench run`"
            )
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Record:
        if self.run_id != self.spec.run_id:
            raise ValueError(f"run_id is not the hash of the spec, which is {self.spec.run_id}")
        if self.tier != (tier := effective_tier(self.spec, self.adversary, self.digests)):
            raise ValueError(f"tier is {self.tier}; adversary, digests and key make it {tier}")
        for kind, names in self.changed.model_dump().items():
            plugin = getattr(self.spec, kind)
            if not set(names) <= set(plugin.options if plugin else ()):
                raise ValueError(f"changed names an option that the {kind} does not have")
        said = self.metrics.estimate.points if self.metrics.estimate else None
        if said != self.spec.estimate:
            raise ValueError(f"metrics.estimate says {said} points, the spec {self.spec.estimate}")
        if self.reliable == any(found.status == "fail" for found in self.audit):
            raise ValueError("reliable contradicts the audit")
        return self

    @model_validator(mode="after")
    def _eligible(self) -> Record:
        found = [reason.code.value for reason in reasons_against(self.spec, self.metrics, self.audit)]
        if self.eligible and found:
            raise ValueError(f"eligible is true; metrics and audit say {', '.join(found)}")
        if self.eligible == bool(self.ineligible_because):
            raise ValueError("eligible contradicts ineligible_because")
        if [reason.code.value for reason in self.ineligible_because] != found:
            raise ValueError(f"ineligible_because is not what metrics and audit say: {', '.join(found) or 'nothing'}")
        return self


def effective_tier(spec: Spec, adversary: AdversaryAbout, digests: Digests) -> str:
    """The tier of a run; see :func:`bench.checks.tiers.tier_of`."""
    return tier_of(
        adversary.tier,
        on_target=on_target(source=digests.source, target=digests.target, access=adversary.access),
        keyed=spec.key is not None,
        knows=adversary.knows,
        access=adversary.access,
        for_transfer=adversary.for_transfer,
    )


def reasons_against(spec: Spec, metrics: Metrics, audit: list[Found]) -> list[Reason]:
    """Why a run is not eligible for a leaderboard; the source only matters if images were attacked."""
    said = (
        f"the source is correct on {metrics.source_clean_accuracy:.0%} of the images, the target on "
        f"{metrics.clean_accuracy:.0%}: "
        "its adversarial images say nothing about the target"
    )
    return reasons_of(
        metrics.outcomes,
        [(found.check, found.meaning) for found in audit if found.status == "fail"],
        source_check=source_check(spec.threat.name),
        estimated=metrics.estimate.text if metrics.estimate else None,
        weak=said if spec.budget.eps > 0 and metrics.source_too_weak else None,
    )


def write_record(path: Path, record: Record) -> None:
    """Write the record atomically."""
    write_document(path, record)


def read_record(path: Path) -> Record:
    """Read and validate a record.

    Raises:
        CorruptArtifactError: if it is invalid; the field is named.
    """
    return read_document(path, Record, "record", of="run_id")
