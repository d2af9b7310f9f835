"""Train a model on the answers of another one, with a limited number of queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from bench.core.errors import InputError
from bench.core.plugins import Split, TrainingMeans
from bench.core.profile import Recipe
from bench.core.progress import stage
from bench.core.seeds import seed_of
from bench.training.augment import draw_moves
from bench.training.optimise import make_optimizer, make_schedule
from bench.training.order import Order

if TYPE_CHECKING:
    from bench.core.nouns import Model

# Part of the address of every distilled model: increase it if the same recipe would give other weights.
DISTILLING_VERSION = 1


def distil(
    student: nn.Module, teacher: Model, data: Split, recipe: Recipe, questions: int, *, seed: int, means: TrainingMeans
) -> None:
    """Train ``student`` in place to reproduce the teacher's probabilities.

    The teacher is queried with ``questions`` images, each once: training images, augmented as in the recipe. The
    student sees them repeatedly; an image is regenerated from its step's seed, so that only answers are stored.

    Args:
        student: Images (B, C, H, W) in [0, 1] to logits (B, K), on the device.
        teacher: Answers with logits (B, K).
        data: The training split.
        recipe: Steps, batch size, rates, augmentation.
        questions: Number of queries allowed.
        seed: Seed of order and augmentation.
        means: Device, progress.

    Raises:
        InputError: if there are fewer queries than one batch.

    Source: Hinton et al., arXiv:1503.02531; as an attack, Papernot et al., arXiv:1602.02697.
    """
    batches = questions // recipe.batch_size
    if not batches:
        raise InputError(f"{questions} queries do not fill one batch; expected {recipe.batch_size} or more")
    lesson = _Lesson(data, recipe, seed, means.device)
    answers: list[Tensor] = []
    student.train().requires_grad_(True)
    optimizer = make_optimizer(list(student.parameters()), recipe)
    schedule = make_schedule(optimizer, recipe)
    total = recipe.steps * recipe.batch_size
    with stage(means.progress, "fit to the target's answers", total, "image") as advance:
        for step in range(recipe.steps):
            turn = step % batches
            images = lesson.images(turn)
            if turn == len(answers):
                answers.append(teacher(images).float())
            loss = F.kl_div(student(images).log_softmax(1), answers[turn].softmax(1), reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), recipe.clip)
            optimizer.step()
            schedule.step()
            advance(recipe.batch_size)
    student.eval().requires_grad_(False)


class _Lesson:
    """The images of each step, a function of the seed and the step only."""

    def __init__(self, data: Split, recipe: Recipe, seed: int, device: str) -> None:
        self._data, self._recipe, self._seed, self._device = data, recipe, seed, device
        self._order = Order(data.labels, recipe, seed_of(seed, "order"))

    def images(self, turn: int) -> Tensor:
        """Augmented images (B, C, H, W) in [0, 1], on the device."""
        recipe, chosen = self._recipe, self._order.step(turn)
        seeds = [seed_of(self._seed, "draw", turn, at) for at in range(len(chosen))]
        images, _ = self._data.draw(chosen, seeds, recipe.augmentation)
        x = (images.float() / 255 if images.dtype == torch.uint8 else images).to(self._device)
        generator = Generator().manual_seed(seed_of(self._seed, "moves", turn))
        return draw_moves(len(x), tuple(x.shape[1:]), recipe.augmentation, generator).apply(x)
