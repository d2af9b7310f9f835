"""What a contributor writes: the protocols of the plug-in kinds and the base that carries their options.

A plug-in is one class in one file, named by one entry point. Its pydantic fields are its options, its docstring's
first line is what `bench list` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from bench.core.budget import Norm
from bench.core.nouns import Adversary, Batch, Precision, Trained
from bench.core.profile import Profile
from bench.core.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.core.key import Key

Item = TypeVar("Item")
Result = TypeVar("Result")


class Plugin(BaseModel):
    """Base of every plug-in: frozen, its fields are its options, unknown options are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def options(self) -> dict[str, Any]:
        """The options, defaults included, as JSON-like data: part of the run's identity."""
        return self.model_dump(mode="json")


class KeyTransform(Protocol):
    """t(x, K): images to images of the same shape, in [0, 1]."""

    def bind(self, key: Key, *, block_size: int, image_shape: tuple[int, int, int]) -> nn.Module:
        """The transform under one key, as a module with an ``inverse``; its key tensors are never saved.

        Args:
            key: The secret.
            block_size: P, in pixels; must divide height and width.
            image_shape: (C, H, W).

        Raises:
            InputError: ``block_size`` does not divide the image.
        """


class Split(Protocol):
    """A named part of a data set in a fixed order."""

    ids: Sequence[str]

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at ``positions``, float32 in [0, 1], on the CPU."""

    def digest(self) -> str:
        """Digest of ids, labels and pixels."""


class Dataset(Protocol):
    """Named splits of images with stable ids."""

    def split(self, name: str) -> Split:
        """The split ``train`` or ``test``."""


@dataclass(frozen=True)
class Kit:
    """All that a defense gets to make one model: a fresh base, the key, the training split, a seed."""

    base: Callable[[], nn.Module]
    key: Key | None
    data: Callable[[], Split]
    profile: Profile
    seed: int
    device: str
    progress: Progress


class Defense(Protocol):
    """How a defended model is made. ``train`` then ``save`` then ``load`` is the only way to a model."""

    keyed: ClassVar[bool]

    def check(self, profile: Profile) -> None:
        """Raise InputError where the options cannot work in this profile; costs nothing."""

    def recipe(self, profile: Profile) -> dict[str, Any]:
        """What fixes the weights besides options, base, data, key and seed; empty where nothing is trained."""

    def train(self, kit: Kit, folder: Path) -> None:
        """Make the model and leave its files in ``folder``, without the key."""

    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """The model of the files in ``folder``: images in [0, 1] to logits, frozen, in evaluation mode."""

    def options(self) -> dict[str, Any]:
        """See :class:`Plugin`."""


class Knowledge(StrEnum):
    """What an adversary may hold; asking for anything not declared raises KnowledgeError."""

    PRETRAINED = "the pre-trained model"
    MECHANISM = "the defense's mechanism and training data"
    SIBLING = "a sibling device, key and all"
    TARGET = "the deployed model's weights and key"


class View(Protocol):
    """The deployment as one adversary sees it."""

    def base(self) -> Trained:
        """The undefended pre-trained model. Needs PRETRAINED."""

    def substitute(self, guess: int = 0) -> Trained:
        """A model made as the defender makes them, with the adversary's own key number ``guess``. MECHANISM."""

    def sibling(self, index: int = 0) -> Trained:
        """Another device of the same maker with its own key. Needs SIBLING."""

    def target(self) -> Trained:
        """The deployed model itself. Needs TARGET."""


class ThreatModel(Protocol):
    """Which model the adversary holds; the only thing in which threats differ."""

    tier: ClassVar[str]
    knows: ClassVar[frozenset[Knowledge]]

    def source(self, view: View) -> Trained:
        """The model that the attack sees."""

    def options(self) -> dict[str, Any]:
        """See :class:`Plugin`."""


class Attack(Protocol):
    """Perturb images to raise the loss of the adversary's source."""

    per_image: ClassVar[bool]  # the candidate of an image does not depend on its batch
    norms: ClassVar[frozenset[Norm]]
    precisions: ClassVar[frozenset[Precision]]  # that its search knows; float32 alone where it does not say

    def perturb(self, adversary: Adversary, batch: Batch) -> Tensor:
        """Candidates of the shape and dtype of ``batch.images``; ``warnings.warn`` what the record should say."""

    def options(self) -> dict[str, Any]:
        """See :class:`Plugin`."""


class Backend(Protocol):
    """Where shards run."""

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results as they are ready, in any order."""
