"""What a defense is: how a defended model is made, kept and loaded."""

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


class InnerAdversary(Protocol):
    """An adversary inside the training, which moves the images of a step before the weights learn from them."""

    @property
    def steps(self) -> int:
        """Gradients in each training step."""

    def move(self, model: Model, images: Tensor, labels: Tensor, start: Tensor) -> Tensor:
        """Images (B, C, H, W) of the ball around ``images`` that ``model`` finds hard; ``start`` is in [-1, 1]."""


class Defense(Plugin, kind="defense"):
    """How a defended model is made. ``train``, which leaves files, then ``load`` is the only way to a model.

    A class needs ``recipe``, ``train`` and ``load``; a keyed one inherits most of it from
    :class:`bench.defenses.keyed.KeyedDefense`.

    Attributes:
        keyed: Models depend on a secret key; ``Kit.key`` is the holder's.
        key_free: A keyed defense that can also be made without a key, which an adversary may do.
        ready: Models come with their own weights: nothing is trained, neither base nor training images are needed.
        tuning: Name of the profile's recipe by which the weights of :meth:`trainable` are trained; None where no recipe
            of the profile is used.
    """

    keyed: ClassVar[bool] = False
    key_free: ClassVar[bool] = False
    ready: ClassVar[bool] = False
    tuning: ClassVar[str | None] = None

    @property
    def leaks(self) -> bool:
        """Whether the weights can be had without the key: a class that defines :meth:`leak` says so."""
        return type(self).leak is not Defense.leak

    @overridable
    def embeddings(self) -> int:
        """Keyed networks that one model consists of; a class attribute or an option."""
        return 1

    def check(self, profile: Profile) -> None:
        """Raise InputError where the options cannot work in this profile; costs little. Without it all do."""

    @abstractmethod
    def recipe(self, profile: Profile) -> dict[str, Any]:
        """What fixes the weights besides options, base, data, key and seed; empty where the base is used as it is."""

    @abstractmethod
    def train(self, kit: Kit, folder: Path) -> None:
        """Make the model and leave its files in ``folder``, without the key."""

    @abstractmethod
    def load(self, kit: Kit, folder: Path) -> nn.Module:
        """The model of the files in ``folder``: images in [0, 1] to logits, frozen, in evaluation mode."""

    def leak(self, kit: Kit, folder: Path) -> nn.Module:
        """The model of the files in ``folder`` without its key (``kit.key`` is None), fed with plain images.

        Raises:
            NotApplicableError: the defense does not keep a key apart from its weights, as by default.
        """
        raise NotApplicableError(f"{type(self).__name__} keeps no key apart from its weights; expected a keyed defense "
                                 "that says what leaks (`leak`)")  # fmt: skip

    def bind(self, key: Key, profile: Profile) -> nn.Module:
        """The keyed transform t(., K) before the network, as a module.

        Raises:
            NotApplicableError: the defense does not say how a key is bound, as by default.
        """
        raise NotApplicableError(f"{type(self).__name__} does not say how a key is bound; expected a keyed defense "
                                 "with `bind`")  # fmt: skip

    def trainable(self, network: nn.Module, seed: int) -> nn.Module:
        """``network`` with the weights that train requiring a gradient; needed by a defense that names its ``tuning``.

        Raises:
            NotApplicableError: the defense does not fine-tune, as by default.
        """
        raise NotApplicableError(f"{type(self).__name__} does not fine-tune; expected a defense that does")

    def hardening(self, profile: Profile) -> InnerAdversary | None:
        """The adversary inside the training; None, as by default, where training sees the images as they are."""
        return None

    def preprocessing(self) -> str | None:
        """Name of the preset that the model was made for; None, as by default, for the profile's.

        Raises:
            UnknownNameError: the options name a model that is not known.
        """
        return None

    def weights_file(self, weights: Path | None) -> Path | None:
        """Where a ``ready`` model's file is on this machine; None, as by default, where it is not.

        Args:
            weights: The file or folder that the user named.
        """
        return None
