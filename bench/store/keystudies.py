"""The record of a key study: its figures and the runs they are based on; it contains nothing of any key."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from bench.core.canonical import digest
from bench.core.frozen import Frozen, Sealed
from bench.core.spec import PluginSpec, Spec
from bench.store.documents import read_document, write_document
from bench.store.record import Provenance

SHARE = Field(ge=0, le=1)
RunId = Field(pattern=r"^[0-9a-f]{16}$")
Kind = Literal[
    "two devices",
    "device and base",
    "device and key-free substitute",
    "device and keyed substitute",
    "two keyed substitutes",
    "other models",
    "itself nearby",
    "itself, another image",
    "random direction",
]


class KeyStudySpec(Frozen):
    """Everything that determines the figures of a key study."""

    run: Spec = Field(description="of white-box on device 0: profile, defense, attack, budget, seed, images, key")
    devices: int = Field(ge=2)
    wrong_keys: int = Field(ge=1)
    draws: int = Field(ge=1, description="of orders at each distance from the correct one")
    guesses: int = Field(ge=1, description="orders that each climb may try")
    substitute_attacks: list[PluginSpec] = Field(description="attacks that compare keyed and key-free substitutes")
    version: int = Field(ge=1, description="of the study")

    @property
    def study_id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical form."""
        return digest({"kind": "key-study", **self.model_dump(mode="json")})[:16]


class StudiedModel(Frozen):
    """A model of the study."""

    name: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    clean_accuracy: float = SHARE


class Cosine(Frozen):
    """Cosine of two input gradients on the same images, in pixel space."""

    kind: Kind
    a: str
    b: str
    loss: Literal["margin", "cross-entropy"]
    images: int = Field(ge=0, description="on which neither gradient is zero")
    mean: float | None = Field(ge=-1, le=1, description="null if there are no images")
    quantiles: list[float] = Field(description="5, 25, 50, 75, 95%")
    shared: float | None = Field(
        ge=-1, le=1, description="mean after averaging channels that are equal in all images; null where none are"
    )


class FirstLayers(Frozen):
    """Cosine of two first layers, transform and normalisation folded in, filter by filter."""

    kind: Kind
    a: str
    b: str
    whole: float = Field(ge=-1, le=1, description="of all weights as one vector")
    shared: float | None = Field(
        ge=-1, le=1, description="the same after averaging channels that are equal in all images; null where none are"
    )
    mean: float = Field(ge=-1, le=1, description="over filters")
    quantiles: list[float] = Field(description="5, 25, 50, 75, 95%, over filters")


class SiblingPair(Frozen):
    """The adversary holds one device and attacks another; on the diagonal, the same."""

    compromised: int = Field(ge=0)
    judged: int = Field(ge=0)
    run_id: str = RunId
    robust_accuracy: float = SHARE
    interval: tuple[float, float]
    clean_accuracy: float = SHARE


class Substitutes(Frozen):
    """A keyed and a key-free substitute with one attack on device 0, image by image; one of each, so a single key."""

    attack: str
    keyed_run: str = RunId
    key_free_run: str = RunId
    keyed: float = Field(ge=0, le=1, description="robust accuracy against the keyed substitute")
    key_free: float = Field(ge=0, le=1, description="robust accuracy against the key-free substitute")
    keyed_interval: tuple[float, float]
    key_free_interval: tuple[float, float]
    difference_interval: tuple[float, float] = Field(description="of keyed minus key-free, Newcombe 95%")
    p_exact: float = Field(ge=0, le=1, description="exact McNemar")
    p_holm: float = Field(ge=0, le=1, description="adjusted for all attacks")


class AtDistance(Frozen):
    """Accuracy of device 0 behind an order that is ``exchanges`` swaps of two entries from the correct one."""

    exchanges: int | None = Field(ge=0, description="null for random orders")
    draws: int = Field(ge=1)
    moved: float = Field(ge=0, le=1, description="mean share of entries in a wrong position")
    mean: float = SHARE
    low: float = SHARE
    high: float = SHARE


class Keys(Frozen):
    """Accuracy of device 0 with the correct key, with no key, with wrong keys."""

    right: float = SHARE
    none: float = Field(ge=0, le=1, description="plain images into the keyed network")
    wrong_keys: int = Field(ge=1)
    mean: float = SHARE
    high: float = SHARE
    quantiles: list[float] = Field(description="5, 25, 50, 75, 95%")


class Guess(Frozen):
    """Intermediate result of an estimation of the order."""

    how: Literal["assignment", "climb in cross-entropy", "climb in accuracy", "assignment, then cross-entropy"]
    guesses: int = Field(ge=0, description="orders tried")
    forwards: int = Field(ge=0, description="training images sent through the leaked network")
    entries: float = Field(ge=0, le=1, description="share of entries recovered")
    positions: float = Field(ge=0, le=1, description="the same, up to channels that are equal in the data")
    accuracy: float = Field(ge=0, le=1, description="of the leaked network behind the order, on the test images")


class KeyStudyRecord(Sealed):
    """The study of one defense."""

    schema_version: Literal[1] = 1
    kind: Literal["key-study"] = "key-study"
    study_id: str = RunId
    spec: KeyStudySpec
    images: int = Field(ge=1, description="test images that could be read")
    models: list[StudiedModel]
    cosines: list[Cosine]
    first_layers: list[FirstLayers]
    matrix: list[SiblingPair] = Field(description="every ordered pair of devices")
    substitutes: list[Substitutes]
    distance: list[AtDistance] = Field(description="empty if the transform has no order")
    keys: Keys | None = Field(description="null if the transform cannot be bound to another key")
    estimation: list[Guess] = Field(description="empty if it does not apply")
    notes: list[str] = Field(description="what does not apply, and why")
    seconds: float = Field(ge=0, description="of this command; existing runs take none")
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> KeyStudyRecord:
        if self.study_id != self.spec.study_id:
            raise ValueError(f"study_id is not the hash of the spec, which is {self.spec.study_id}")
        pairs = [(cell.compromised, cell.judged) for cell in self.matrix]
        n = self.spec.devices
        if pairs != [(i, j) for i in range(n) for j in range(n)]:
            raise ValueError(f"the matrix is not {n} x {n}")
        return self

    @property
    def run_ids(self) -> list[str]:
        """Ids of all runs that the figures are based on."""
        pairs = [run for s in self.substitutes for run in (s.keyed_run, s.key_free_run)]
        return list(dict.fromkeys([cell.run_id for cell in self.matrix] + pairs))


def keystudy_path(results: Path, study_id: str) -> Path:
    """Path of the record of a key study."""
    return results / study_id / "key-study.json"


def write_keystudy(results: Path, record: KeyStudyRecord) -> Path:
    """Write the record atomically and return its path."""
    return write_document(keystudy_path(results, record.study_id), record)


def read_keystudy(path: Path) -> KeyStudyRecord:
    """Read and validate a record.

    Raises:
        CorruptArtifactError: if it is invalid; the field is named.
    """
    return read_document(path, KeyStudyRecord, "key study", of="study_id")
