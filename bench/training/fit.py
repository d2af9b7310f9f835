"""One loop for pre-training, full, partial and LoRA fine-tuning: what differs is what requires a gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, nn

from bench.core.errors import BenchError
from bench.core.plugins import Split
from bench.core.profile import Recipe
from bench.core.progress import Progress, stage
from bench.training.augment import augment

# Part of the address of every trained model: raise it when the same recipe would give other weights.
TRAINING_VERSION = 1


def fit(
    model: nn.Module, data: Split, recipe: Recipe, *, seed: int, device: str, progress: Progress, title: str
) -> None:
    """Train in place the parameters of ``model`` that require a gradient, by cross-entropy.

    Args:
        model: Images (B, C, H, W) in [0, 1] to logits (B, K); a key transform inside it sees augmented images.
        data: The training split, and nothing else.
        recipe: Steps, batch size, rates.
        seed: Of the order of the images and of the augmentation, drawn on the CPU on every device.
        device: Where the model is.
        progress: Told each step.
        title: Shown beside the progress.

    Raises:
        BenchError: the loss is no longer finite.
    """
    generator = Generator().manual_seed(seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
    model.train()
    with stage(progress, title, recipe.steps, "step") as advance:
        for step in range(recipe.steps):
            chosen = torch.randint(len(data.ids), (recipe.batch_size,), generator=generator).tolist()
            batch = data.read(chosen).to(device)
            loss = F.cross_entropy(model(augment(batch.images, recipe.augmentation, generator)), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, recipe.clip)
            optimizer.step()
            schedule.step()
            if not torch.isfinite(loss):
                raise BenchError(f"{title}: the loss is {loss.item()} at step {step}; expected a finite one: lower the "
                                 "learning rate of the recipe")  # fmt: skip
            advance(1)
    model.eval()
