"""Fine-tuning behind a key equals fine-tuning on plain images from a permuted patch embedding (docs/equivalence.md)."""

import copy

import pytest
import torch

from bench.core.key import Key
from bench.core.nouns import Batch
from bench.core.plugins import TrainingMeans
from bench.core.profile import Base, Recipe
from bench.core.registry import registry
from bench.models.classifier import Classifier, backbone
from bench.training.fit import fit

SHAPE, PATCH, STEPS = (3, 32, 32), 8, 20
RECIPES = {
    "sgd": Recipe(steps=STEPS, batch_size=16, learning_rate=0.1, optimizer="sgd", momentum=0.9, weight_decay=0.01,
                  schedule="cosine", warmup=5, clip=0.5),
    "adamw": Recipe(steps=STEPS, batch_size=16, learning_rate=0.003, optimizer="adamw", weight_decay=0.05, clip=0.5),
}  # fmt: skip


class RandomImages:
    """Images in float64, as exact as a split can be."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        self.images = torch.rand(64, *SHAPE, generator=generator, dtype=torch.float64)
        self.labels = torch.randint(10, (64,), generator=generator).tolist()
        self.ids = tuple(str(i) for i in range(64))

    def read(self, positions):
        at = list(positions)
        return Batch(tuple(self.ids[i] for i in at), self.images[at], torch.tensor(self.labels)[at])

    def draw(self, positions, seeds, how):
        batch = self.read(positions)
        return batch.images, batch.labels


def classifier(mean, std, transform=None) -> Classifier:
    arguments = {"img_size": SHAPE[1], "patch_size": PATCH, "embed_dim": 48, "depth": 2, "num_heads": 4}
    base = Base(architecture="vit_tiny_patch16_224", arguments=arguments, mean=mean, std=std, pretrained="x")
    return Classifier(backbone(base, 10, 1), mean, std, transform).double()


def on_patches(transform) -> torch.Tensor:
    """A (n, n) with t(x) = A x on a flattened patch (channel, row, column)."""
    n = SHAPE[0] * PATCH * PATCH
    return transform(torch.eye(n, dtype=torch.float64).view(n, SHAPE[0], PATCH, PATCH)).flatten(1).T


def both(recipe, *, mean, std, block):
    """The keyed model after fine-tuning, and the plain one after fine-tuning from the permuted embedding."""
    shuffle = registry("transforms").make("pixel-shuffle")
    transform = shuffle.bind(Key.from_seed(3, "test"), block_size=block, image_shape=SHAPE)
    patch = shuffle.bind(Key.from_seed(3, "test"), block_size=block, image_shape=(SHAPE[0], PATCH, PATCH))
    a = on_patches(patch)
    keyed, plain = classifier(mean, std, transform), classifier(mean, std)
    start = copy.deepcopy(plain.network.patch_embed.proj.weight.detach())
    with torch.no_grad():
        plain.network.patch_embed.proj.weight.copy_((start.flatten(1) @ a).view_as(start))
    for model in (keyed, plain):
        fit(model, RandomImages(), recipe, seed=5, means=TrainingMeans(), title="fine-tune")
    moved = keyed.network.patch_embed.proj.weight.detach()
    assert (moved - start).abs().max() > 1e-3  # it did train
    return keyed, plain, a


@pytest.mark.parametrize("block", [4, 8])
@pytest.mark.parametrize("optimizer", RECIPES)
def test_the_key_only_draws_the_start_of_the_patch_embedding(optimizer, block):
    keyed, plain, a = both(RECIPES[optimizer], mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), block=block)
    ours, theirs = keyed.network.state_dict(), plain.network.state_dict()
    name = "patch_embed.proj.weight"
    assert (ours.pop(name).flatten(1) @ a - theirs.pop(name).flatten(1)).abs().max() < 1e-12
    assert all((ours[n] - theirs[n]).abs().max() < 1e-12 for n in ours)
    images = RandomImages().images
    with torch.no_grad():
        assert (keyed(images) - plain(images)).abs().max() < 1e-12


def test_it_needs_mean_and_std_that_are_equal_across_channels():
    """The condition that the equivalence names is a real one."""
    keyed, plain, _ = both(RECIPES["sgd"], mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), block=4)
    with torch.no_grad():
        images = RandomImages().images
        assert (keyed(images) - plain(images)).abs().max() > 1e-3
