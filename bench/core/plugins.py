"""What a contributor writes: the protocols of the plug-in kinds and the base that carries their options.

A plug-in is one class in one file, named by one entry point. Its pydantic fields are its options, its docstring's
first line is what `bench list` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from bench.core.budget import Norm
from bench.core.nouns import Access, Adversary, Batch, Precision, Trained
from bench.core.preprocessing import Preprocessing
from bench.core.profile import Augmentation, Profile
from bench.core.progress import Progress, Silent

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
    """A named part of a data set in a fixed order that does not depend on how it is stored."""

    ids: Sequence[str]
    labels: Sequence[int]

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at ``positions`` as they are judged: preprocessed, float32 (B, C, H, W) in [0, 1], on the CPU.

        Raises:
            UnreadableImageError: an image cannot be decoded.
        """

    def draw(self, positions: Sequence[int], seeds: Sequence[int], how: Augmentation) -> tuple[Tensor, Tensor]:
        """Images to train on, uint8 or float32 in [0, 1], with labels (B,) int64.

        What is drawn as an image is read (``how.crop``, ``how.flip``) is drawn from the seed beside its position
        alone. Called in worker processes.
        """

    def digest(self) -> str:
        """SHA-256 of ids and labels, and of pixels where they are in memory; what a trained model is made from."""

    def problems(self) -> list[str]:
        """What is missing or too much against the data set's published make-up, one line each."""


@dataclass(frozen=True)
class Storage:
    """Where a data set lies and how its images are read; only shape and preprocessing may change a pixel.

    Attributes:
        root: The folder that the user names with ``--data``; None for a data set that needs none.
        image_shape: (C, H, W) after preprocessing.
        preprocessing: Resize and crop for ``Split.read``.
        workers: Threads that decode.
        cache: A folder where an index of what lies in archives may be kept.
    """

    root: Path | None
    image_shape: tuple[int, int, int]
    preprocessing: Preprocessing
    workers: int = 1
    cache: Path | None = None


class Dataset(Protocol):
    """Named splits of images with stable ids."""

    needs_root: ClassVar[bool]  # images lie in a folder that the user must name
    # `sizes`, where a data set has a published make-up: images by the name of the split

    def split(self, name: str, storage: Storage) -> Split:
        """The split ``train`` or ``test``.

        Raises:
            InputError: nothing readable there; says what was got, what was expected and what to do.
        """


@dataclass(frozen=True)
class TrainingMeans:
    """With what a model is trained; none of it may change the weights but by rounding.

    Attributes:
        device: ``cpu`` or ``cuda``; processes started by ``accelerate launch`` share the work.
        progress: Told each step.
        workspace: Where checkpoints and the log are kept, so that a killed training goes on; None for nowhere.
        micro_batch: Images at once on one device; None for all of a step's share.
        workers: Processes that read images.
        checkpoint_every: Steps between checkpoints.
        tensorboard: Write TensorBoard's event files beside the log.
    """

    device: str = "cpu"
    progress: Progress = field(default_factory=Silent)
    workspace: Path | None = None
    micro_batch: int | None = None
    workers: int = 0
    checkpoint_every: int = 500
    tensorboard: bool = False


@dataclass(frozen=True)
class Kit:
    """All that a defense gets to make one model: a fresh start, the key, the training split, a seed.

    ``start`` gives what fine-tuning starts from: the undefended base, unless the profile names another. ``weights`` is
    the file or folder of weights that the user named.
    """

    start: Callable[[], nn.Module]
    weights: Path | None
    offline: bool
    key: Key | None
    data: Callable[[], Split]
    profile: Profile
    seed: int
    training: TrainingMeans


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

    # `leak(kit, folder)`, of a defense that keeps the key apart from the weights: the model of the files in ``folder``
    # without its key (``kit.key`` is None), fed with plain images

    def options(self) -> dict[str, Any]:
        """See :class:`Plugin`."""


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


class ThreatModel(Protocol):
    """Which model the adversary holds; the only thing in which threats differ.

    Further class attributes, each with a default: ``access`` (what the source answers with; gradients), ``attack`` (the
    attack where the user names none; autoattack), ``cost`` (what it would cost the attacker, in one sentence).
    ``queries`` (per image attacked) and ``query_budget`` (in all, before any image is attacked) are attributes or
    options; None where nothing is asked.
    """

    tier: ClassVar[str]
    knows: ClassVar[frozenset[Knowledge]]

    def source(self, view: View) -> Trained:
        """The model that the attack sees."""

    def options(self) -> dict[str, Any]:
        """See :class:`Plugin`."""


class Attack(Protocol):
    """Perturb images to raise the loss of the adversary's source.

    ``needs`` (an :class:`Access`, gradients where it is absent) says what the source must answer with. Where there is a
    ``check(source)``, it raises InputError for a source that the attack cannot run on.
    """

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
