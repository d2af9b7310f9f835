"""The threat plug-in: what an adversary knows, and the model that they attack because of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bench.core.nouns import Access, Trained
from bench.core.plugins.contract import overridable
from bench.core.plugins.dataset import Split
from bench.core.plugins.defense import TrainingMeans
from bench.core.plugins.plugin import Plugin
from bench.core.profile import Profile
from bench.core.tiers import TierName

if TYPE_CHECKING:
    from torch import nn


class Knowledge(StrEnum):
    """What an adversary may have; access to anything undeclared raises KnowledgeError."""

    PRETRAINED = "the pre-trained model"
    MECHANISM = "the defense's mechanism and training data"
    SIBLING = "a sibling device, key and all"
    QUERIES = "the deployed model's answers"
    WEIGHTS = "the deployed model's weights, not its key"
    TARGET = "the deployed model's weights and key"


@dataclass(frozen=True)
class Leak:
    """A deployed model without its key: the content of a device, and the public description of the mechanism.

    Attributes:
        model: The network including normalisation, fed with plain images; frozen.
        digest: Digest of the files.
        options: The defense's options.
    """

    model: nn.Module
    digest: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Workshop:
    """Tools for an adversary to train a model of its own.

    Attributes:
        start: A fresh copy of the undefended model, to be trained.
        data: The training split.
        profile: The profile.
        seed: The adversary's seed.
        training: Device, progress.
        keep: Folder and digest of the files that ``build`` writes, made once for all inputs that determine them.
    """

    start: Callable[[], nn.Module]
    data: Callable[[], Split]
    profile: Profile
    seed: int
    training: TrainingMeans
    keep: Callable[[dict[str, Any], Callable[[Path], None]], tuple[Path, str]]


class View(Protocol):
    """One adversary's view of the deployment."""

    def base(self) -> Trained:
        """The undefended pre-trained model. Needs PRETRAINED."""

    def substitute(self, guess: int = 0) -> Trained:
        """A model trained by the defender's method with the adversary's own key number ``guess``. Needs MECHANISM."""

    def key_free(self, draw: int = 0, *, permuted: bool = False) -> Trained:
        """A model trained by the defender's method, but on plain images and without a key. Needs MECHANISM.

        With ``permuted``, the inputs of its first layer are permuted at random inside blocks before the training.
        """

    def workshop(self) -> Workshop:
        """Tools to train another model. Needs PRETRAINED and MECHANISM."""

    def sibling(self, index: int) -> Trained:
        """Device number ``index`` of the same maker, with its own key; number 0 has the named key. Needs SIBLING."""

    def answers(self, access: Access, limit: int | None = None) -> Trained:
        """The deployed model behind a query counter, with at most ``limit`` queries. Needs QUERIES."""

    def leaked(self) -> Leak:
        """The deployed model's weights; its key is never read. Needs WEIGHTS."""

    def target(self) -> Trained:
        """The deployed model itself. Needs TARGET."""


class Threat(Plugin, kind="threat"):
    """The model that the adversary has; threats differ in nothing else.

    A class needs ``tier``, ``knows`` and ``source``.

    Attributes:
        tier: Tier on the ladder of adversaries, as in docs/threats.md.
        knows: What the adversary may have; the view refuses everything else.
        access: What the source returns.
        attack: Name of the default attack.
        cost: The attacker's cost, in one sentence.
    """

    tier: ClassVar[TierName]
    knows: ClassVar[frozenset[Knowledge]]
    access: ClassVar[Access] = Access.GRADIENTS
    attack: ClassVar[str] = "autoattack"
    cost: ClassVar[str] = ""

    @overridable
    def queries(self) -> int | None:
        """Query limit of the deployed model per attacked image, None for no limit; class attribute or option."""
        return None

    @overridable
    def query_budget(self) -> int | None:
        """Total queries before any image is attacked; None if there are none. Class attribute or option."""
        return None

    @abstractmethod
    def source(self, view: View) -> Trained:
        """The model that the attack sees, obtained or trained from what ``view`` provides.

        Raises:
            KnowledgeError: if something is accessed that ``knows`` does not declare.
            NotApplicableError: if the threat does not apply to this defense.
        """
