"""The defense plug-in: how a defended model is trained, stored and loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bench.core.errors import NotApplicableError
from bench.core.plugins.contract import overridable
from bench.core.plugins.dataset import Split
from bench.core.plugins.plugin import Plugin
from bench.core.profile import Profile
from bench.core.progress import Progress, Silent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.core.key import Key
    from bench.core.nouns import Model


@dataclass(frozen=True)
class TrainingMeans:
    """Settings of a training; none of them may change the weights beyond rounding.

    Attributes:
        device: ``cpu`` or ``cuda``; processes started by ``accelerate launch`` share the work.
        progress: Notified of each step.
        workspace: Folder of checkpoints and log, so that an interrupted training resumes; None for none.
        micro_batch: Images per micro-batch on one device; None for the whole share of a step.
        workers: Processes that read images.
        checkpoint_every: Steps between checkpoints.
        tensorboard: Write TensorBoard event files next to the log.
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
    """The inputs for one model: a fresh start, the key, the training split, a seed.

    ``start`` returns the starting model of fine-tuning: the undefended base, unless the profile sets another.
    ``weights`` is the file or folder of weights given by the user. ``permuted``: without a key, the inputs of the first
    layer are permuted at random inside blocks before fine-tuning.
    """

    start: Callable[[], nn.Module]
    weights: Path | None
    offline: bool
    key: Key | None
    data: Callable[[], Split]
    profile: Profile
    seed: int
    training: TrainingMeans
    permuted: bool = False


class InnerAdversary(Protocol):
    """An adversary inside the training, which perturbs the images of a step before training on them."""

    @property
    def steps(self) -> int:
        """Gradients in each training step."""

    def move(self, model: Model, images: Tensor, labels: Tensor, start: Tensor) -> Tensor:
        """Images (B, C, H, W) in the ball around ``images`` that are hard for ``model``; ``start`` is in [-1, 1]."""


class Defense(Plugin, kind="defense"):
    """How a defended model is made. ``train``, which writes files, then ``load`` is the only way to a model.

    A class needs ``recipe``, ``train`` and ``load``; a keyed one inherits most of it from
    :class:`bench.defenses.keyed.KeyedDefense`.

    Attributes:
        keyed: Whether models depend on a secret key; ``Kit.key`` is the holder's.
        key_free: Whether a keyed defense can also be trained without a key, as an adversary may do.
        ready: Whether models come with their own weights: no training, no base and no training images are needed.
        tuning: Name of the profile's recipe that trains the weights of :meth:`trainable`; None if no recipe of the
            profile is used.
    """

    keyed: ClassVar[bool] = False
    key_free: ClassVar[bool] = False
    ready: ClassVar[bool] = False
    tuning: ClassVar[str | None] = None

    @property
    def leaks(self) -> bool:
        """Whether the weights are available without the key: true for a class that defines :meth:`leak`."""
        return type(self).leak is not Defense.leak

    @overridable
    def embeddings(self) -> int:
        """Number of keyed networks in one model; a class attribute or an option."""
        return 1

    def check(self, profile: Profile) -> None:
        """Raise InputError if the options are invalid in this profile; must be cheap. By default all are accepted."""

    @abstractmethod
    def recipe(self, profile: Profile) -> dict[str, Any]:
        """What determines the weights besides options, base, data, key and seed; empty if the base is used as is."""

    @abstractmethod
    def train(self, kit: Kit, folder: Path) -> None:
        """Train the model and write its files to ``folder``, without the key."""

    @abstractmethod
    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """The model from the files in ``folder``: images in [0, 1] to logits, frozen, in evaluation mode."""

    def leak(self, kit: Kit, folder: Path) -> nn.Module:
        """The model from the files in ``folder`` without its key (``kit.key`` is None), fed with plain images.

        Raises:
            NotApplicableError: by default: the defense does not store a key apart from its weights.
        """
        raise NotApplicableError(f"{type(self).__name__} keeps no key apart from its weights; expected a keyed defense "
                                 "that says what leaks (`leak`)")  # fmt: skip

    def bind(self, key: Key, profile: Profile) -> nn.Module:
        """The keyed transform t(., K) before the network, as a module.

        Raises:
            NotApplicableError: by default: the defense does not define how to bind a key.
        """
        raise NotApplicableError(f"{type(self).__name__} does not say how a key is bound; expected a keyed defense "
                                 "with `bind`")  # fmt: skip

    def trainable(self, network: nn.Module, seed: int) -> nn.Module:
        """``network`` with gradients enabled for the trainable weights; required by a defense with ``tuning``.

        Raises:
            NotApplicableError: by default: the defense does not fine-tune.
        """
        raise NotApplicableError(f"{type(self).__name__} does not fine-tune; expected a defense that does")

    def hardening(self, profile: Profile) -> InnerAdversary | None:
        """The adversary inside the training; by default None: the images are not perturbed."""
        return None

    def preprocessing(self) -> str | None:
        """Name of the preprocessing preset of the model; by default None: the profile's.

        Raises:
            UnknownNameError: if the options name an unknown model.
        """
        return None

    def weights_file(self, weights: Path | None) -> Path | None:
        """The local file of a ``ready`` model; None, the default, if there is none.

        Args:
            weights: The file or folder given by the user.
        """
        return None
