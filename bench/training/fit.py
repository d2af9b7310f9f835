"""One loop for pre-training, full, partial and LoRA fine-tuning, which differ only in the trainable parameters."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader

from bench.core.devices import on_host
from bench.core.errors import BenchError, InputError
from bench.core.parent import follow_parent
from bench.core.plugins import Split, TrainingMeans
from bench.core.profile import Recipe
from bench.core.progress import stage
from bench.core.seeds import seed_of
from bench.training.augment import Moves, draw_moves
from bench.training.checkpoint import Checkpoint, drop
from bench.training.harden import Hardening
from bench.training.log import Log
from bench.training.optimise import make_optimizer, make_schedule
from bench.training.order import Order, Parts, Share
from bench.training.processes import together

if TYPE_CHECKING:
    from accelerate import Accelerator

# Part of the address of every trained model: increase it if the same recipe would give other weights.
TRAINING_VERSION = 2


def fit(
    model: nn.Module,
    data: Split,
    recipe: Recipe,
    *,
    seed: int,
    means: TrainingMeans,
    title: str,
    hardening: Hardening | None = None,
) -> None:
    """Train in place the parameters of ``model`` that require a gradient, by cross-entropy.

    The images of a step are a function of ``seed`` and the step only, independent of processes, micro-batches, workers
    and interruptions. Processes of ``accelerate launch`` share every step.

    Args:
        model: Images (B, C, H, W) in [0, 1] to logits (B, K), on the device; a key transform inside it sees
            augmented images. Layers without trainable weights stay in evaluation mode (BatchNorm in a frozen
            trunk).
        data: The training split.
        recipe: Steps, batch size, rates.
        seed: Seed of the order of the images and of the augmentation, drawn on the CPU on every device.
        means: Device, checkpoints, progress.
        title: Shown with the progress.
        hardening: The adversary that perturbs a step's images before training on them; None for none.

    Raises:
        InputError: if the batch does not divide among processes and micro-batches.
        BenchError: if the loss is not finite, or the device has too little memory.
    """
    loop = _Loop(model, data, recipe, seed, means, _accelerator(means), hardening)
    try:
        loop.run(title)
    except torch.OutOfMemoryError:
        at_once = means.micro_batch or recipe.batch_size
        raise BenchError(f"{title}: the device has no memory for {at_once} images at once; give a smaller "
                         "--micro-batch (the batch size of a step is unchanged)") from None  # fmt: skip


@dataclass
class _Loop:
    model: nn.Module
    data: Split
    recipe: Recipe
    seed: int
    means: TrainingMeans
    accelerator: Accelerator
    hardening: Hardening | None = None

    def run(self, title: str) -> None:
        recipe, means, leads = self.recipe, self.means, self.accelerator.is_main_process
        share = self._share()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        optimizer = make_optimizer(trained, recipe)
        schedule = make_schedule(optimizer, recipe)
        checkpoint = Checkpoint(self.model, optimizer, schedule)
        done = checkpoint.load(means.workspace) if means.workspace else 0
        _train_mode(self.model)
        shared = self.accelerator.prepare_model(self.model)
        batches = self._batches(share, done)
        log = Log(means.workspace if leads else None, done, tensorboard=means.tensorboard)
        total, size, began = recipe.steps * recipe.batch_size, recipe.batch_size, time.monotonic()
        with log, stage(means.progress, title, total, "image", done=done * size) as advance:
            for step in range(done, recipe.steps):
                rate, clock = float(schedule.get_last_lr()[0]), time.monotonic()
                loss = self._step(step, shared, batches, share)
                if not math.isfinite(loss):
                    raise BenchError(f"{title}: the loss is {loss} at step {step}; expected a finite one: lower the "
                                     "learning rate of the recipe")  # fmt: skip
                nn.utils.clip_grad_norm_(trained, recipe.clip)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                now = time.monotonic()
                log.row(step + 1, loss, rate, size / max(now - clock, 1e-9), now - began)
                if means.workspace and leads and (step + 1) % means.checkpoint_every == 0 and step + 1 < recipe.steps:
                    log.flush()
                    checkpoint.save(means.workspace, step + 1)
                advance(size)
        self.model.eval()

    @property
    def _device(self) -> torch.device:
        """Where the model is, which in one process is where the caller put it."""
        return next(self.model.parameters()).device

    def _step(self, step: int, shared: nn.Module, batches: Iterator[Any], share: Share) -> float:
        """Compute the gradients of one step, over all processes; return the mean loss."""
        recipe, device = self.recipe, self._device
        moves: Moves | None = None
        start: Tensor | None = None
        loss = torch.zeros((), device=device)
        for part in range(share.parts):
            images, labels = next(batches)
            x = _unit(images.to(device, non_blocking=True))
            labels = labels.to(device, non_blocking=True)
            moves = moves or self._moves(step, x)
            own = share.positions(part, recipe.batch_size)
            x = moves.take(own).apply(x)
            if self.hardening:
                start = self._start(step, x, self.hardening) if start is None else start
                x = self._hardened(x, labels, start[own], self.hardening)
            with self._sync(shared, last=part == share.parts - 1):
                with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                    logits = shared(x)
                mean = F.cross_entropy(logits.to(x.dtype), labels) / share.parts
                mean.backward()
            loss += mean.detach()
        return float(self.accelerator.reduce(loss, "mean"))

    def _sync(self, shared: nn.Module, *, last: bool) -> Any:
        """Exchange gradients once per step, with its last micro-batch."""
        return torch.enable_grad() if last else self.accelerator.no_sync(shared)

    def _moves(self, step: int, images: Tensor) -> Moves:
        generator = Generator().manual_seed(seed_of(self.seed, "moves", step))
        return draw_moves(self.recipe.batch_size, tuple(images.shape[1:]), self.recipe.augmentation, generator)

    def _start(self, step: int, images: Tensor, hardening: Hardening) -> Tensor:
        """The adversary's starting points for the whole batch of a step."""
        generator = Generator().manual_seed(seed_of(self.seed, "start", step))
        return hardening.draw(self.recipe.batch_size, tuple(images.shape[1:]), generator)

    def _hardened(self, images: Tensor, labels: Tensor, start: Tensor, hardening: Hardening) -> Tensor:
        """Images perturbed by the adversary, which sees the model in evaluation mode and does not change it."""
        self.model.eval()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            moved = hardening.move(self.model, images, labels, start)
        _train_mode(self.model)
        return moved

    def _share(self) -> Share:
        """Division of a step.

        Raises:
            InputError: if it does not divide.
        """
        batch, processes = self.recipe.batch_size, self.accelerator.num_processes
        each, rest = divmod(batch, processes)
        size = min(self.means.micro_batch or each, each)
        if rest or each % size:
            raise InputError(
                f"a batch of {batch} does not divide into {processes} processes with {size} images at once; expected "
                "divisors: give another --micro-batch, or another number of processes"
            )
        return Share(self.accelerator.process_index, processes, each // size)

    def _batches(self, share: Share, done: int) -> Iterator[Any]:
        order = Order(self.data.labels, self.recipe, seed_of(self.seed, "order"))
        parts = Parts(self.data, order, self.recipe, share, self.seed)
        wanted = range(done * share.parts, self.recipe.steps * share.parts)
        workers, pinned = self.means.workers, not on_host(self._device)
        loader = DataLoader(parts, batch_size=None, sampler=wanted, num_workers=workers, pin_memory=pinned,
                            prefetch_factor=4 if workers else None, worker_init_fn=_follow)  # fmt: skip
        return iter(loader)


def forget(means: TrainingMeans) -> None:
    """Delete the checkpoint of a training after its model is stored."""
    if means.workspace:
        drop(means.workspace)


def _accelerator(means: TrainingMeans) -> Accelerator:
    from accelerate import Accelerator  # noqa: PLC0415 (seconds to import)

    # In one process the model stays on its device; accelerate would take the first of its kind.
    return Accelerator(cpu=on_host(means.device), mixed_precision="no", device_placement=together())


def _follow(_: int) -> None:
    """A process that reads images ends with the training."""
    follow_parent()


def _train_mode(model: nn.Module) -> None:
    """Training mode, except for layers with weights that are all frozen."""
    model.train()
    for layer in model.modules():
        own = list(layer.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            layer.eval()


def _unit(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images
