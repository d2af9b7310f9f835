"""A keyed ViT is a plain ViT with another patch embedding: exact to 1e-10 in float64."""

import pytest
import torch

from bench.core.errors import InputError
from bench.core.key import Key
from bench.core.profile import load_profile
from bench.core.registry import registry
from bench.models.classifier import Classifier, backbone, freeze
from bench.models.fold import fold

PROFILE = load_profile("digits")
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)  # not equal across channels, so that the order matters


def keyed(transform: str, block: int, seed: int) -> Classifier:
    defense = registry("defenses").make("key-full", {"transform": transform, "block_size": block})
    bound = defense.bind(Key.from_seed(seed, "test"), PROFILE)
    return freeze(Classifier(backbone(PROFILE.base, 10, seed), MEAN, STD, bound)).double()


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("block", [2, 4, 8])
@pytest.mark.parametrize("transform", ["pixel-shuffle", "negative-positive", "pixel-shuffle+negative-positive"])
def test_the_folded_model_has_the_keyed_models_logits(transform, block, seed):
    model = keyed(transform, block, seed)
    x = torch.rand(8, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    folded = fold(model)
    assert (folded(x) - model(x)).abs().max() < 1e-10
    assert not list(folded.transform.parameters())
    plain = Classifier(model.network, MEAN, STD)
    assert (plain(x) - model(x)).abs().max() > 1e-3  # the key does something


def test_a_block_larger_than_the_patch_does_not_fold():
    with pytest.raises(InputError, match="does not act inside one 8 x 8 patch"):
        fold(keyed("pixel-shuffle", 16, 0))


def test_a_transform_that_is_not_affine_does_not_fold():
    class Square(torch.nn.Module):
        def forward(self, x):
            return x**2

    model = keyed("pixel-shuffle", 4, 0)
    model.transform = Square()
    with pytest.raises(InputError, match="not affine"):
        fold(model)


def test_a_network_without_a_patch_embedding_does_not_fold():
    with pytest.raises(InputError, match="Linear has no patch embedding"):
        fold(Classifier(torch.nn.Linear(3, 3), MEAN, STD))
