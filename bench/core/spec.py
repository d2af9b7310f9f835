"""The complete description of a run as data; the hash of its canonical form is the run id."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from bench.core.budget import Budget
from bench.core.canonical import digest
from bench.core.frozen import Frozen, unset
from bench.core.nouns import Precision, Protocol
from bench.core.profile import Profile
from bench.core.selection import IdList


class PluginSpec(Frozen):
    """A plug-in by name with every option written out."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    code: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        exclude_if=unset,
        description="SHA-256 of its source files; left out for a plug-in of this package",
    )


class KeySpec(Frozen):
    """The defender's key, by fingerprint; a record never contains the key itself."""

    fingerprint: str = Field(pattern=r"^[0-9a-f]{16}$")
    origin: Literal["keyring", "seed"] = Field(description="seed: derived from the run's public seed, not secret")


class Spec(Frozen):
    """Everything that determines the verdicts of a run. Device and versions are provenance, not Spec."""

    profile: Profile
    defense: PluginSpec
    threat: PluginSpec
    attack: PluginSpec
    fallback: PluginSpec | None = Field(description="strict only: attacks images that the attack returns clean")
    budget: Budget = Field(description="NORM:EPS, eps an exact fraction on the [0, 1] pixel scale")
    protocol: Protocol
    precision: Precision = Field(description="of the attacks' search; every verdict is measured in float32")
    seed: int = Field(ge=0, lt=2**63)
    ids: IdList | None = Field(description="the test images to judge, in this order; null for all")
    limit: int | None = Field(default=None, ge=1, description="number of images, from the first; null for all")
    stop_at: float | None = Field(
        None, gt=0, description="percentage points: images come in random order until the interval's half is as narrow"
    )
    estimate: float | None = Field(
        None,
        gt=0,
        exclude_if=unset,
        description="percentage points: the attack's first part runs on all images, the rest on a random sample of its "
        "survivors until the interval's half is as narrow; left out for a full run",
    )
    batch_size: int = Field(ge=1)
    shard_size: int = Field(ge=1)
    device: int = Field(0, ge=0, description="number of the device to judge; the key named below belongs to number 0")
    key: KeySpec | None = Field(description="null if the defense has no key")
    quantize: Literal[8] | None = Field(
        None, exclude_if=unset, description="bits to which adversarial images are also rounded; left out for none"
    )
    images: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        exclude_if=unset,
        description="SHA-256 of ids, labels and contents of the selected images; left out if unknown",
    )
    training: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        exclude_if=unset,
        description="the same of the training images; left out if nothing is trained on them, or they are not here",
    )

    @property
    def without_images(self) -> Spec:
        """The same run without naming its images and those its models are trained on."""
        return self.model_copy(update={"images": None, "training": None})

    @property
    def run_id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical form."""
        return digest(self.model_dump(mode="json"))[:16]
