"""The record of an audit: its subject, findings and adaptive attacks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bench.core.budget import Budget
from bench.core.canonical import digest
from bench.core.frozen import Frozen, Sealed, unset
from bench.core.profile import Profile
from bench.core.spec import KeySpec, PluginSpec
from bench.store.documents import read_document, write_document
from bench.store.record import Found, Provenance


class AuditSpec(Frozen):
    """Everything that determines the findings of an audit."""

    profile: Profile
    defense: PluginSpec
    budget: Budget = Field(description="NORM:EPS, eps an exact fraction on the [0, 1] pixel scale")
    seed: int = Field(ge=0, lt=2**63)
    images: int = Field(ge=1, description="test images selected by the seed, and as many training images")
    key: KeySpec | None = Field(description="null if the defense has no key")
    version: int = Field(ge=1, description="of the battery")
    data: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", exclude_if=unset, description="digest of the test and the training images"
    )

    @property
    def audit_id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical form."""
        return digest({"kind": "audit", **self.model_dump(mode="json")})[:16]


class Answered(Frozen):
    """One adaptive attack against a finding, with its result."""

    check: str
    remedy: str
    before: float = Field(ge=0, le=1, description="robust accuracy under the plain white-box attack")
    after: float = Field(ge=0, le=1, description="under the plain and the adaptive attack together")
    images: int = Field(ge=1)
    meaning: str


class AuditRecord(Sealed):
    """One audited deployment."""

    schema_version: Literal[1] = 1
    kind: Literal["audit"] = "audit"
    audit_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    spec: AuditSpec
    reliable: bool = Field(description="no check failed")
    findings: list[Found]
    answers: list[Answered]
    notes: list[str]
    target: str = Field(pattern=r"^[0-9a-f]{64}$", description="digest of the model")
    sources: dict[str, str] = Field(description="digests of the sources of transfer adversaries, by threat")
    image_ids: list[str]
    seconds: float = Field(ge=0)
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> AuditRecord:
        if self.audit_id != self.spec.audit_id:
            raise ValueError(f"audit_id is not the hash of the spec, which is {self.spec.audit_id}")
        if self.reliable == any(f.status == "fail" for f in self.findings):
            raise ValueError("reliable contradicts the findings")
        return self

    @property
    def failed(self) -> list[Found]:
        """The findings that make figures of this deployment unreliable."""
        return [f for f in self.findings if f.status == "fail"]


def audit_path(results: Path, audit_id: str) -> Path:
    """Path of the record of an audit."""
    return results / audit_id / "audit.json"


def write_audit(results: Path, record: AuditRecord) -> Path:
    """Write the record atomically and return its path."""
    return write_document(audit_path(results, record.audit_id), record)


def read_audit(path: Path) -> AuditRecord:
    """Read and validate a record.

    Raises:
        CorruptArtifactError: if it is invalid; the field is named.
    """
    return read_document(path, AuditRecord, "audit", of="audit_id")
