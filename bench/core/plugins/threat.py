"""What a threat model is: what an adversary knows, and which model they attack because of it."""

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
    """What an adversary may hold; asking for anything not declared raises KnowledgeError."""

    PRETRAINED = "the pre-trained model"
    MECHANISM = "the defense's mechanism and training data"
    SIBLING = "a sibling device, key and all"
    QUERIES = "the deployed model's answers"
    WEIGHTS = "the deployed model's weights, not its key"
    TARGET = "the deployed model's weights and key"


@dataclass(frozen=True)
class Leak:
    """A deployed model without its key: what is stored on a device, and what the mechanism's description says.

    Attributes:
        model: The network as it stands, normalisation included, fed with plain images; frozen.
        digest: Of the files.
        options: The defense's options.
    """

    model: nn.Module
    digest: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Workshop:
    """With what an adversary makes a model of its own.

    Attributes:
        start: A fresh copy of the undefended model, to be trained.
        data: The training split.
        profile: The world.
        seed: The adversary's.
        training: Device, progress.
        keep: Folder and digest of what ``build`` leaves in a folder, made once for everything that decides it.
    """

    start: Callable[[], nn.Module]
    data: Callable[[], Split]
    profile: Profile
    seed: int
    training: TrainingMeans
    keep: Callable[[dict[str, Any], Callable[[Path], None]], tuple[Path, str]]


class View(Protocol):
    """The deployment as one adversary sees it."""

    def base(self) -> Trained:
        """The undefended pre-trained model. Needs PRETRAINED."""

    def substitute(self, guess: int = 0) -> Trained:
        """A model made as the defender makes them, with the adversary's own key number ``guess``. Needs MECHANISM."""

    def key_free(self, draw: int = 0) -> Trained:
        """A model made as the defender makes them, but on plain images and without a key. Needs MECHANISM."""

    def workshop(self) -> Workshop:
        """With what to make another model. Needs PRETRAINED and MECHANISM."""

    def sibling(self, index: int) -> Trained:
        """Device number ``index`` of the same maker, with its own key; the named key is number 0's. Needs SIBLING."""

    def answers(self, access: Access, limit: int | None = None) -> Trained:
        """The deployed model behind a counter of what is asked, ``limit`` images at most. Needs QUERIES."""

    def leaked(self) -> Leak:
        """The deployed model's weights; its key is not even read. Needs WEIGHTS."""

    def target(self) -> Trained:
        """The deployed model itself. Needs TARGET."""


class Threat(Plugin, kind="threat"):
    """Which model the adversary holds; threats differ in nothing else.

    A class needs ``tier``, ``knows`` and ``source``.

    Attributes:
        tier: Place on the ladder of adversaries, as in docs/threats.md.
        knows: What the adversary may hold; the view refuses everything else.
        access: What the source answers with.
        attack: Name of the attack where the user names none.
        cost: What this would cost an attacker, in one sentence.
    """

    tier: ClassVar[TierName]
    knows: ClassVar[frozenset[Knowledge]]
    access: ClassVar[Access] = Access.GRADIENTS
    attack: ClassVar[str] = "autoattack"
    cost: ClassVar[str] = ""

    @overridable
    def queries(self) -> int | None:
        """Questions to the deployed model for each image attacked, None for any number; class attribute or option."""
        return None

    @overridable
    def query_budget(self) -> int | None:
        """Questions in all, before any image is attacked; None where none is asked. Class attribute or option."""
        return None

    @abstractmethod
    def source(self, view: View) -> Trained:
        """The model that the attack sees, taken or made from what ``view`` hands out.

        Raises:
            KnowledgeError: something is asked for that ``knows`` does not declare.
            NotApplicableError: the threat makes no sense for this defense.
        """
